//! `DATA`, and what of it must wait.

use super::{
    super::{
        frame::{self, Frame, Malformed, flag, kind},
        stream::{Direction, Gate, Parcel, weight},
    },
    Relay,
};

impl Relay {
    pub(super) fn data(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        let bytes = weight(frame.payload.len());
        if bytes > self.flows.of(direction).window.sender() {
            return Err(Malformed("a peer sends more than the window of the connection allows"));
        }
        let Some(id) = self.find(direction, frame.stream)? else {
            self.refuse_data(direction, bytes);
            return Ok(());
        };
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let lane = stream.lanes.of_mut(direction);
        if lane.ended {
            return Err(Malformed("a stream goes on after its end"));
        }
        if bytes > lane.window.sender() + self.flows.of(direction).in_sight() {
            return Err(Malformed("a peer sends more than the window of a stream allows"));
        }
        let end = frame.has(flag::END_STREAM);
        lane.ended = end;
        if lane.gate == Gate::Cut {
            lane.done |= end;
            self.refuse_data(direction, bytes);
            self.settle(id);
            return Ok(());
        }
        if direction == Direction::Up
            && let Some(looking) = &mut stream.looking
        {
            looking.ahead.push(frame.content()?);
            if looking.ahead.is_incomplete() && !end {
                return self.park(direction, id, frame);
            }
            self.judge(id);
        }
        let room = self.flows.of(direction).window.room();
        let Some(stream) = self.streams.get_mut(id) else {
            self.refuse_data(direction, bytes);
            return Ok(());
        };
        let number = if direction == Direction::Up { stream.etcd } else { Some(id) };
        let lane = stream.lanes.of_mut(direction);
        let (true, Some(number)) = (lane.flows() && bytes <= room.min(lane.window.room()).max(0), number)
        else {
            return self.park(direction, id, frame);
        };
        lane.window.pass(bytes);
        lane.done = end;
        let flow = self.flows.of_mut(direction);
        flow.window.pass(bytes);
        frame::put(&mut flow.out, kind::DATA, frame.flags, number, frame.payload);
        if end {
            self.finish(direction, id);
        }
        Ok(())
    }

    /// Keeps the data of a frame until the call goes on, or until there is room. The sender gets what it may
    /// send on the whole connection back, so that held calls do not stop others; on the stream only for a first
    /// message, which may be longer than its window.
    fn park(&mut self, direction: Direction, id: u32, frame: &Frame<'_>) -> Result<(), Malformed> {
        let (data, end) = (frame.content()?, frame.has(flag::END_STREAM));
        let (all, padding) = (weight(frame.payload.len()), weight(frame.payload.len() - data.len()));
        let bytes = weight(data.len());
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let number = if direction == Direction::Up { Some(id) } else { stream.etcd };
        let (looking, lane) = (stream.looking.is_some(), stream.lanes.of_mut(direction));
        let flow = self.flows.of_mut(direction);
        let held = lane.gate == Gate::Held;
        lane.window.park(all);
        flow.window.park(all);
        let (mut of_stream, mut of_connection) = (lane.window.discard(padding), flow.window.discard(padding));
        if held {
            flow.window.advance(bytes);
            of_connection += credit(bytes);
        } else if !lane.waiting {
            lane.waiting = true;
            flow.waiting.push(id);
        }
        if looking {
            lane.window.advance(bytes);
            of_stream += credit(bytes);
        }
        // Frames of nothing would pile up without taking any window.
        if end || !data.is_empty() {
            lane.parked.push_back(Parcel::Data { bytes: data.to_vec(), at: 0, end });
        }
        let back = &mut self.flows.of_mut(direction.back()).out;
        frame::put_credit(back, 0, of_connection);
        if let (Some(number), false) = (number, end) {
            frame::put_credit(back, number, of_stream);
        }
        Ok(())
    }

    /// Data that nobody will read: the sender gets it back at once.
    fn refuse_data(&mut self, direction: Direction, bytes: i64) {
        frame::put_credit(&mut self.flows.of_mut(direction.back()).out, 0, credit(bytes));
    }

    /// Sends what is parked of a lane, as far as gate and windows allow.
    pub(super) fn flush(&mut self, direction: Direction, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let number = if direction == Direction::Up { stream.etcd } else { Some(id) };
        let (Some(number), lane) = (number, stream.lanes.of_mut(direction)) else { return };
        let flow = self.flows.of_mut(direction);
        if lane.gate != Gate::Open {
            return;
        }
        while let Some(parcel) = lane.parked.pop_front() {
            match parcel {
                Parcel::Headers { block, end } => {
                    lane.done = end;
                    flow.put_block(number, end, &block);
                }
                Parcel::Data { bytes, mut at, end } => {
                    loop {
                        let room = flow.window.room().min(lane.window.room()).max(0);
                        let rest = &bytes[at..];
                        let length =
                            rest.len().min(usize::try_from(room).unwrap_or(0)).min(frame::SMALLEST_LIMIT);
                        let (part, last) = (&rest[..length], length == rest.len());
                        if part.is_empty() && !last {
                            lane.parked.push_front(Parcel::Data { bytes, at, end });
                            if !lane.waiting {
                                lane.waiting = true;
                                flow.waiting.push(id);
                            }
                            return;
                        }
                        lane.window.release(weight(length));
                        flow.window.release(weight(length));
                        let flags = if last && end { flag::END_STREAM } else { 0 };
                        frame::put(&mut flow.out, kind::DATA, flags, number, part);
                        at += length;
                        if last {
                            break;
                        }
                    }
                    lane.done = end;
                }
                Parcel::Reset(code) => {
                    frame::put(&mut flow.out, kind::RST_STREAM, 0, number, &code.to_be_bytes());
                    self.remove(id);
                    return;
                }
            }
        }
        if lane.done {
            self.finish(direction, id);
        }
    }

    /// The window of a connection has grown: sends what waits for that.
    pub(super) fn flush_waiting(&mut self, direction: Direction) {
        for id in std::mem::take(&mut self.flows.of_mut(direction).waiting) {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.lanes.of_mut(direction).waiting = false;
                self.flush(direction, id);
            }
        }
    }

    /// Forgets what is parked of a lane.
    pub(super) fn discard(&mut self, direction: Direction, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let lane = stream.lanes.of_mut(direction);
        let bytes = lane.parked.drain(..).map(|parcel| parcel.weight()).sum();
        let credit = self.flows.of_mut(direction).window.discard(bytes);
        frame::put_credit(&mut self.flows.of_mut(direction.back()).out, 0, credit);
    }
}

/// As the number of a frame; no frame has more.
fn credit(bytes: i64) -> u32 {
    u32::try_from(bytes).unwrap_or_default()
}
