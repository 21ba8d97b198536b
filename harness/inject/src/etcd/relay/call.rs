//! What faults do to a call: it is looked at, held, answered in place of etcd, or let go.

use futures::stream::AbortHandle;
use spangate_scenario::model::{GrpcStatus, HeldSide};

use super::{
    super::{
        frame::{self, kind, reason},
        hpack::{self, CONTENT_TYPE, STATUS_200},
        rules::Touch,
        stream::{Direction, Gate, Holding, Parcel},
    },
    Etcd, Hold, Relay,
};
use crate::ledger::Answer;

impl Relay {
    /// The first message of a call is there, or will never be.
    pub(super) fn judge(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let Some(looking) = stream.looking.take() else { return };
        let touches =
            self.rules.touch(&looking.path, looking.parent, looking.ahead.message(), looking.elapsed);
        let held = touches.iter().any(|touch| touch.status.is_some() || delays(touch, HeldSide::Request));
        if held {
            self.hold(id, touches, true);
        } else {
            stream.touches = touches;
            self.admit(id);
        }
    }

    fn hold(&mut self, id: u32, touches: Vec<Touch>, request: bool) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (handle, registration) = AbortHandle::new_pair();
        stream.holding = Some(Holding(handle));
        self.holds.push(Hold { id, touches, request, registration });
    }

    /// Before the first block of a response: whether the response is to be held.
    pub(super) fn hold_response(&mut self, id: u32) -> bool {
        let Some(stream) = self.streams.get_mut(id) else { return false };
        let begun = std::mem::replace(&mut stream.begun, true);
        if begun || !stream.touches.iter().any(|touch| delays(touch, HeldSide::Response)) {
            return false;
        }
        let touches = std::mem::take(&mut stream.touches);
        stream.lanes.down.gate = Gate::Held;
        self.hold(id, touches, false);
        true
    }

    /// A hold has ended.
    pub(crate) fn release(&mut self, id: u32, touches: Vec<Touch>, request: bool) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.holding = None;
        let status = touches.iter().find_map(|touch| touch.status);
        // They are noted when the call is over.
        stream.touches = touches;
        match (request, status) {
            (true, Some(status)) => self.fail(id, status),
            (true, None) => self.admit(id),
            (false, _) => {
                stream.lanes.down.gate = Gate::Open;
                self.flush(Direction::Down, id);
            }
        }
    }

    /// Sends a call on to etcd, as far as that takes calls.
    fn admit(&mut self, id: u32) {
        match self.etcd {
            Etcd::Open => {}
            Etcd::Leaving => return self.turn_away(id),
            Etcd::Gone => return self.end_unavailable(id),
        }
        let Some(etcd) = self.streams.open(id) else { return self.turn_away(id) };
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.lanes.up.gate = Gate::Open;
        let granted = std::mem::take(&mut stream.granted);
        if let Some(Parcel::Headers { block, end }) = stream.lanes.up.parked.pop_front() {
            stream.lanes.up.done = end;
            self.flows.up.put_block(etcd, end, &block);
            frame::put_credit(&mut self.flows.up.out, etcd, granted);
        }
        self.flush(Direction::Up, id);
    }

    /// Tells the caller that etcd has not seen the call, which it may make again (RFC 9113, 8.7).
    pub(super) fn turn_away(&mut self, id: u32) {
        let code = reason::REFUSED_STREAM.to_be_bytes();
        frame::put(&mut self.flows.down.out, kind::RST_STREAM, 0, id, &code);
        self.remove(id);
    }

    /// Answers in place of etcd.
    fn fail(&mut self, id: u32, status: GrpcStatus) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        for touch in &mut stream.touches {
            touch.note.answer(Answer::Grpc(status as u8));
        }
        let ended = stream.lanes.up.ended;
        let mut block = response();
        put_status(&mut block, status, "injected by spangate");
        self.flows.down.put_block(id, true, &block);
        if !ended {
            // The caller need not send the rest (RFC 9113, 8.1).
            let code = reason::NO_ERROR.to_be_bytes();
            frame::put(&mut self.flows.down.out, kind::RST_STREAM, 0, id, &code);
        }
        self.remove(id);
    }

    /// Ends a call whose connection to etcd broke, after what has come of its response.
    pub(super) fn end_unavailable(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let (up, down) = (&mut stream.lanes.up, &mut stream.lanes.down);
        if !down.ended {
            let mut block = if stream.begun { Vec::new() } else { response() };
            put_status(&mut block, GrpcStatus::Unavailable, "the connection to etcd broke");
            down.ended = true;
            down.parked.push_back(Parcel::Headers { block, end: true });
        }
        if up.ended {
            up.done = true;
        } else {
            down.parked.push_back(Parcel::Reset(reason::NO_ERROR));
        }
        up.gate = Gate::Cut;
        self.discard(Direction::Up, id);
        self.flush(Direction::Down, id);
        self.settle(id);
    }
}

fn delays(touch: &Touch, side: HeldSide) -> bool {
    touch.side == side && !touch.delay.is_zero()
}

/// The start of a response of nothing but headers.
fn response() -> Vec<u8> {
    let mut block = vec![STATUS_200];
    hpack::put_named(&mut block, CONTENT_TYPE, b"application/grpc");
    block
}

/// A space is a printable character, which needs no percent-encoding in a message.
fn put_status(block: &mut Vec<u8>, status: GrpcStatus, message: &str) {
    hpack::put_header(block, b"grpc-status", (status as u8).to_string().as_bytes());
    hpack::put_header(block, b"grpc-message", message.as_bytes());
}
