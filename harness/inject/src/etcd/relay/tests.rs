//! The relay between two peers that speak in frames.

use std::sync::Arc;

use futures::stream::AbortHandle;
use serde_json::json;
use spangate_trace::Clock;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::{
    super::{
        frame::{kind, put},
        key::tests::txn,
        message::tests::framed,
    },
    *,
};
use crate::{
    hold::Timer,
    ledger::{Answer, Injection},
    note::Recorder,
};

mod calls;
mod interleaved;
mod peer;

use peer::Peer;

/// Two peers, and the relay between them.
struct Between {
    client: Peer,
    etcd: Peer,
    relay: Relay,
    /// What the relay has been given and has not taken.
    given: Both<Vec<u8>>,
    held: Vec<(Hold, AbortHandle)>,
    ledger: UnboundedReceiver<Injection>,
}

/// Requests of one RPC are held, responses of another, a third is answered in place of etcd, and of a fourth only
/// the key is looked at.
fn rules() -> (Rules, UnboundedReceiver<Injection>) {
    let faults = json!([
        {"name": "request", "rpc": "KV/Put", "delay": {"fixed": "1h"}},
        {"name": "response", "rpc": "KV/Range", "delay": {"fixed": "1h"}, "hold": "response"},
        {"name": "status", "rpc": "KV/DeleteRange", "status": "ABORTED"},
        {"name": "elsewhere", "rpc": "KV/Txn", "keyPrefix": "/elsewhere", "status": "ABORTED"},
    ]);
    let (ledger, entries) = mpsc::unbounded_channel();
    let recorder = Recorder { clock: Clock::new(), timer: Timer::start().unwrap(), ledger };
    let armed = recorder.clock.now();
    let rules = Rules::new(serde_json::from_value(faults).unwrap(), 7, recorder).unwrap();
    rules.gate.arm(armed);
    (rules, entries)
}

fn path(rpc: &str) -> String {
    format!("/etcdserverpb.{rpc}")
}

impl Between {
    fn new(client_window: i64, etcd_window: i64) -> Self {
        let (rules, ledger) = rules();
        Self {
            client: Peer::new(Direction::Up, client_window),
            etcd: Peer::new(Direction::Down, etcd_window),
            relay: Relay::new(Arc::new(rules)),
            given: Both::default(),
            held: Vec::new(),
            ledger,
        }
    }

    /// Up to `most` bytes go from a peer to the relay.
    fn give(&mut self, direction: Direction, most: usize) {
        let peer = if direction == Direction::Up { &mut self.client } else { &mut self.etcd };
        let given = self.given.of_mut(direction);
        given.extend(peer.out.drain(..most.min(peer.out.len())));
        let taken = self.relay.take(direction, given).unwrap();
        given.drain(..taken);
        for hold in self.relay.holds() {
            let handle = hold.registration.handle();
            self.held.push((hold, handle));
        }
    }

    /// What the relay has for a peer goes there.
    fn deliver(&mut self, direction: Direction) {
        let bytes = std::mem::take(self.relay.out(direction));
        let peer = if direction == Direction::Up { &mut self.etcd } else { &mut self.client };
        peer.receive(&bytes);
    }

    /// Everything that is under way arrives.
    fn settle(&mut self) {
        loop {
            for direction in [Direction::Up, Direction::Down] {
                self.give(direction, usize::MAX);
                self.deliver(direction);
            }
            let relayed = self.relay.flows.up.out.is_empty() && self.relay.flows.down.out.is_empty();
            if relayed && self.client.out.is_empty() && self.etcd.out.is_empty() {
                return;
            }
        }
    }

    /// Ends a hold; one whose caller has gone is dropped, as its future would be.
    fn release(&mut self, which: usize) {
        let (hold, handle) = self.held.swap_remove(which);
        if !handle.is_aborted() {
            self.relay.release(hold.id, hold.touches, hold.request);
        }
    }

    /// A call with a whole request.
    fn call(&mut self, id: u32, rpc: &str, body: &[u8]) {
        self.client.block(id, false, &[(":path", &path(rpc))]);
        self.client.data(id, body, None, true);
    }
}

/// A small first message.
fn message() -> Vec<u8> {
    framed(0, &txn(b"/a", b"value")).to_vec()
}
