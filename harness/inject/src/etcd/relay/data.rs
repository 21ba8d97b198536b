//! `DATA`, and what of it must wait.

use super::{
    super::{
        frame::{self, Frame, Malformed, flag, kind},
        stream::{Data, Direction, Gate, Lane, Parcel, weight},
    },
    Flow, Relay,
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
        lane.window.park(bytes, looking);
        flow.window.park(bytes, held);
        let of_connection = if held { all } else { padding };
        let of_stream = if looking { all } else { padding };
        if !held && !lane.waiting {
            lane.waiting = true;
            flow.waiting.push(id);
        }
        // Frames of nothing would pile up without taking any window.
        if end || !data.is_empty() {
            lane.parked.push_back(Parcel::Data(Data {
                bytes: data.to_vec(),
                at: 0,
                end,
                advanced: (held, looking),
            }));
        }
        let back = &mut self.flows.of_mut(direction.back()).out;
        frame::put_credit(back, 0, credit(of_connection));
        if let (Some(number), false) = (number, end) {
            frame::put_credit(back, number, credit(of_stream));
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
                Parcel::Data(mut data) => {
                    if !flow.send(number, lane, &mut data) {
                        lane.parked.push_front(Parcel::Data(data));
                        if !lane.waiting {
                            lane.waiting = true;
                            flow.waiting.push(id);
                        }
                        return;
                    }
                    lane.done = data.end;
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
        let window = &mut self.flows.of_mut(direction).window;
        let credit = lane.parked.drain(..).map(|parcel| match parcel {
            Parcel::Data(data) => window.discard(weight(data.bytes.len() - data.at), data.advanced.0),
            Parcel::Headers { .. } | Parcel::Reset(_) => 0,
        });
        let credit = credit.sum();
        frame::put_credit(&mut self.flows.of_mut(direction.back()).out, 0, credit);
    }
}

impl Flow {
    /// Sends as much of parked data as the windows take; whether that was all.
    fn send(&mut self, number: u32, lane: &mut Lane, data: &mut Data) -> bool {
        loop {
            let rest = &data.bytes[data.at..];
            let room = usize::try_from(self.window.room().min(lane.window.room())).unwrap_or(0);
            let part = &rest[..rest.len().min(room).min(frame::SMALLEST_LIMIT)];
            let last = part.len() == rest.len();
            if part.is_empty() && !last {
                return false;
            }
            lane.window.release(weight(part.len()), data.advanced.1);
            self.window.release(weight(part.len()), data.advanced.0);
            let flags = if last && data.end { flag::END_STREAM } else { 0 };
            frame::put(&mut self.out, kind::DATA, flags, number, part);
            data.at += part.len();
            if last {
                return true;
            }
        }
    }
}

/// As the number of a frame; no frame has more.
fn credit(bytes: i64) -> u32 {
    u32::try_from(bytes).unwrap_or_default()
}
