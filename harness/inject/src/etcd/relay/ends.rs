//! How calls end, and the connection to etcd.

use super::{
    super::{
        frame::{self, Frame, Malformed, flag, kind, reason},
        stream::{Direction, Gate, Parcel},
    },
    Etcd, Relay,
};

impl Relay {
    /// The end of the stream has been sent on in one direction.
    pub(super) fn finish(&mut self, direction: Direction, id: u32) {
        if direction == Direction::Down
            && let Some(stream) = self.streams.get_mut(id)
        {
            // The response is over, and that is what is noted.
            stream.touches.clear();
        }
        self.settle(id);
    }

    /// Forgets a call that is over in both directions.
    pub(super) fn settle(&mut self, id: u32) {
        if self.streams.get(id).is_some_and(|stream| stream.lanes.up.done && stream.lanes.down.done) {
            self.remove(id);
        }
    }

    /// Forgets a call. Frames for it that are still to come are dropped.
    pub(super) fn remove(&mut self, id: u32) {
        self.discard(Direction::Up, id);
        self.discard(Direction::Down, id);
        drop(self.streams.remove(id));
    }

    pub(super) fn reset(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        let code = frame.number()?;
        let Some(id) = self.find(direction, frame.stream)? else { return Ok(()) };
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        let (up, down) = (&mut stream.lanes.up, &mut stream.lanes.down);
        match direction {
            Direction::Up => {
                let known = stream.etcd.filter(|_| up.gate != Gate::Cut && !(up.done && down.ended));
                if let Some(etcd) = known {
                    frame::put(&mut self.flows.up.out, kind::RST_STREAM, 0, etcd, frame.payload);
                }
                self.remove(id);
            }
            // What came before it is sent before it.
            Direction::Down => {
                up.gate = Gate::Cut;
                down.ended = true;
                down.parked.push_back(Parcel::Reset(code));
                self.discard(Direction::Up, id);
                self.flush(Direction::Down, id);
            }
        }
        Ok(())
    }

    pub(super) fn go_away(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        let (Some((last, rest)), 0) = (frame.payload.split_first_chunk(), frame.stream) else {
            return Err(Malformed("a GOAWAY is not one"));
        };
        if direction == Direction::Up {
            // It counts what etcd pushed, which is nothing.
            frame::put(&mut self.flows.up.out, kind::GOAWAY, 0, 0, frame.payload);
            return Ok(());
        }
        let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
        // The first of two announcements takes back nothing (RFC 9113, 6.8).
        let told = if last < (1 << 31) - 1 { self.leave(last) } else { last };
        let told = told.min(self.told_last.unwrap_or(told));
        self.told_last = Some(told);
        let payload = [&told.to_be_bytes(), rest].concat();
        frame::put(&mut self.flows.down.out, kind::GOAWAY, 0, 0, &payload);
        for id in self.streams.numbers() {
            let etcd = self.streams.get(id).and_then(|stream| stream.etcd);
            match etcd {
                // The client does not know by the announcement that it was not taken: etcd's numbers are in
                // another order.
                Some(etcd) if etcd > last && id <= told => self.turn_away(id),
                // The client makes these again elsewhere; a hold of theirs has no caller any more.
                Some(etcd) if etcd > last => self.remove(id),
                None if id > told => self.remove(id),
                _ => {}
            }
        }
        Ok(())
    }

    /// etcd has taken calls up to its number `last`; up to which number of the client's that is.
    fn leave(&mut self, last: u32) -> u32 {
        if self.etcd == Etcd::Open {
            self.etcd = Etcd::Leaving;
        }
        let taken =
            self.streams.numbers().into_iter().rev().find(|id| {
                self.streams.get(*id).and_then(|stream| stream.etcd).is_some_and(|etcd| etcd <= last)
            });
        taken.unwrap_or(0).max(self.streams.last_over)
    }

    /// The connection to etcd is gone. Calls end as a client would have concluded itself; those that are held
    /// do when their hold ends.
    pub(crate) fn etcd_gone(&mut self) {
        if self.etcd == Etcd::Gone {
            return;
        }
        self.etcd = Etcd::Gone;
        self.flows.up.out.clear();
        let out = &mut self.flows.down.out;
        if !self.flows.down.greeted {
            frame::put(out, kind::SETTINGS, 0, 0, &[]);
        }
        let last = self.streams.last_client.min(self.told_last.unwrap_or(u32::MAX));
        self.told_last = Some(last);
        let payload = [last.to_be_bytes(), reason::NO_ERROR.to_be_bytes()].concat();
        frame::put(out, kind::GOAWAY, 0, 0, &payload);
        for id in self.streams.numbers() {
            let held =
                |stream: &super::super::stream::Stream| stream.holding.is_some() && stream.etcd.is_none();
            if !self.streams.get(id).is_some_and(held) {
                self.end_unavailable(id);
            }
        }
    }

    pub(super) fn ping(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        if frame.stream != 0 || frame.payload.len() != 8 {
            return Err(Malformed("a PING is not one"));
        }
        let (to, flags) = match (direction, self.etcd) {
            // Nobody else is there to answer while calls are still held.
            (Direction::Up, Etcd::Gone) if !frame.has(flag::ACK) => (Direction::Down, flag::ACK),
            _ => (direction, frame.flags),
        };
        frame::put(&mut self.flows.of_mut(to).out, kind::PING, flags, 0, frame.payload);
        Ok(())
    }
}
