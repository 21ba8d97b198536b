//! `HEADERS` and `CONTINUATION`: calls that begin, responses that begin, and trailers.

use super::{
    super::{
        frame::{Frame, Malformed, flag},
        hpack::{Heads, LONGEST_BLOCK},
        message::Ahead,
        stream::{Direction, Gate, Looking, Parcel},
    },
    Etcd, Relay, Unfinished,
};

impl Relay {
    pub(super) fn headers(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        let (block, end) = (frame.content()?, frame.has(flag::END_STREAM));
        if frame.has(flag::END_HEADERS) {
            return self.block(direction, frame.stream, end, block);
        }
        let unfinished = Unfinished { stream: frame.stream, end, block: block.to_vec() };
        self.flows.of_mut(direction).unfinished = Some(unfinished);
        Ok(())
    }

    pub(super) fn continuation(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        let unfinished = &mut self.flows.of_mut(direction).unfinished;
        let Some(mut whole) = unfinished.take().filter(|whole| whole.stream == frame.stream) else {
            return Err(Malformed("a CONTINUATION continues nothing"));
        };
        let last = frame.has(flag::END_HEADERS);
        // Frames of nothing without end would cost nothing to send.
        if frame.payload.is_empty() && !last {
            return Err(Malformed("a CONTINUATION has nothing in it"));
        }
        whole.block.extend_from_slice(frame.payload);
        if whole.block.len() > LONGEST_BLOCK {
            return Err(Malformed("a block of headers is too long"));
        }
        if last {
            return self.block(direction, whole.stream, whole.end, &whole.block);
        }
        *unfinished = Some(whole);
        Ok(())
    }

    /// A whole block. It is read also when nobody wants it, for what it does to the table.
    fn block(
        &mut self,
        direction: Direction,
        number: u32,
        end: bool,
        packed: &[u8],
    ) -> Result<(), Malformed> {
        let begins = direction == Direction::Up && number > self.streams.last_client;
        let mut heads = (begins && !self.rules.is_empty()).then(Heads::default);
        let flow = self.flows.of_mut(direction);
        let mut block = std::mem::take(&mut flow.scratch);
        block.clear();
        flow.decoder.carry(packed, &mut block, heads.as_mut())?;
        if begins {
            self.request(number, end, &block, heads.unwrap_or_default())?;
        } else if let Some(id) = self.find(direction, number)? {
            self.later_block(direction, id, end, &block)?;
        }
        self.flows.of_mut(direction).scratch = block;
        Ok(())
    }

    /// A call begins.
    fn request(&mut self, id: u32, end: bool, block: &[u8], heads: Heads) -> Result<(), Malformed> {
        if id.is_multiple_of(2) {
            return Err(Malformed("a client opens a stream with an even number"));
        }
        self.streams.last_client = id;
        if self.etcd != Etcd::Open {
            // The client has been told, or is about to be, that this call is not taken.
            return Ok(());
        }
        let path = heads.path.and_then(|path| String::from_utf8(path).ok()).unwrap_or_default();
        let look = self.rules.may_touch(&path);
        let stream = self.streams.insert(id, self.flows.up.initial, self.flows.down.initial);
        stream.lanes.up.ended = end;
        if let Some(elapsed) = look {
            let parent = heads.traceparent.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
            stream.looking = Some(Looking { path, parent, elapsed, ahead: Ahead::default() });
            stream.lanes.up.gate = Gate::Held;
            stream.lanes.up.parked.push_back(Parcel::Headers { block: block.to_vec(), end });
            if end {
                self.judge(id);
            }
            return Ok(());
        }
        let etcd = self.streams.open(id).ok_or(Malformed("no stream is left at etcd"))?;
        if let Some(stream) = self.streams.get_mut(id) {
            stream.lanes.up.done = end;
        }
        self.flows.up.put_block(etcd, end, block);
        Ok(())
    }

    /// A response begins, or trailers end either side.
    fn later_block(
        &mut self,
        direction: Direction,
        id: u32,
        end: bool,
        block: &[u8],
    ) -> Result<(), Malformed> {
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let number = if direction == Direction::Up { stream.etcd } else { Some(id) };
        let lane = stream.lanes.of_mut(direction);
        if lane.ended {
            return Err(Malformed("a stream goes on after its end"));
        }
        lane.ended = end;
        if lane.gate == Gate::Cut {
            lane.done |= end;
            self.settle(id);
            return Ok(());
        }
        if let (true, Some(number)) = (lane.flows(), number)
            && !(direction == Direction::Down && self.hold_response(id))
        {
            if let Some(stream) = self.streams.get_mut(id) {
                stream.lanes.of_mut(direction).done = end;
            }
            self.flows.of_mut(direction).put_block(number, end, block);
            if end {
                self.finish(direction, id);
            }
            return Ok(());
        }
        if let Some(stream) = self.streams.get_mut(id) {
            let parcel = Parcel::Headers { block: block.to_vec(), end };
            stream.lanes.of_mut(direction).parked.push_back(parcel);
            // Without more of it, its first message never comes.
            if direction == Direction::Up && end && stream.looking.is_some() {
                self.judge(id);
            }
        }
        Ok(())
    }
}
