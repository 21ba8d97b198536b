//! The streams of a connection, and what of them is parked.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    time::Duration,
};

use futures::stream::AbortHandle;
use spangate_trace::TraceContext;

use super::{message::Ahead, rules::Touch, window::Window};

/// A way that frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to etcd.
    Up,
    /// From etcd to the client.
    Down,
}

/// One for each direction.
#[derive(Debug, Default)]
pub(crate) struct Both<T> {
    pub(crate) up: T,
    pub(crate) down: T,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Its number at etcd, once its headers have been sent there.
    pub(crate) etcd: Option<u32>,
    pub(crate) lanes: Both<Lane>,
    /// While it is open whether a fault touches it.
    pub(crate) looking: Option<Looking>,
    /// What faults do to it, but while it is held.
    pub(crate) touches: Vec<Touch>,
    /// While it is held.
    pub(crate) holding: Option<Holding>,
    /// Whether etcd has begun to respond.
    pub(crate) begun: bool,
    /// What the client granted before etcd knew the stream, in bytes.
    pub(crate) granted: u32,
}

/// One direction of a call.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) window: Window,
    pub(crate) parked: VecDeque<Parcel>,
    pub(crate) gate: Gate,
    /// Whether it waits for room in a window and is in the list of those.
    pub(crate) waiting: bool,
    /// Whether the end of the stream has come.
    pub(crate) ended: bool,
    /// Whether the end of the stream has been sent on.
    pub(crate) done: bool,
}

/// What happens to the frames of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// They are sent on as the windows allow.
    Open,
    /// They are held.
    Held,
    /// Their receiver is not there any more: they are dropped.
    Cut,
}

/// What is parked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parcel {
    Headers { block: Vec<u8>, end: bool },
    Data(Data),
    Reset(u32),
}

/// Data that is parked, without padding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) bytes: Vec<u8>,
    /// How much of it has been sent on.
    pub(crate) at: usize,
    pub(crate) end: bool,
    /// Whether the sender was given as much back, of the connection and of the stream.
    pub(crate) advanced: (bool, bool),
}

/// A call whose first message is not there yet.
#[derive(Debug)]
pub(crate) struct Looking {
    pub(crate) path: String,
    pub(crate) parent: Option<TraceContext>,
    /// How long load had been going on when the call came.
    pub(crate) elapsed: Duration,
    pub(crate) ahead: Ahead,
}

/// Ends a hold when it is dropped.
#[derive(Debug)]
pub(crate) struct Holding(pub(crate) AbortHandle);

/// All calls that are going on. Calls are known by the client's number.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    calls: HashMap<u32, Stream, BuildHasherDefault<NumberHasher>>,
    by_etcd: HashMap<u32, u32, BuildHasherDefault<NumberHasher>>,
    /// The last number that the client has used; 0 for none.
    pub(crate) last_client: u32,
    /// The last number that was used at etcd; 0 for none.
    pub(crate) last_etcd: u32,
    /// The greatest number of the client's that is over.
    pub(crate) last_over: u32,
}

/// Spreads numbers of streams, which nobody can choose.
#[derive(Debug, Default)]
pub(crate) struct NumberHasher(u64);

// === impl Direction ===

impl Direction {
    pub(crate) fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

// === impl Both ===

impl<T> Both<T> {
    pub(crate) fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    pub(crate) fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }
}

// === impl Lane ===

impl Lane {
    pub(crate) fn new(room: i64) -> Self {
        let window = Window::new(room);
        Self { window, parked: VecDeque::new(), gate: Gate::Open, waiting: false, ended: false, done: false }
    }

    /// Whether a frame need not wait for others.
    pub(crate) fn flows(&self) -> bool {
        self.gate == Gate::Open && self.parked.is_empty()
    }
}

/// A length as what it takes of a window.
pub(crate) fn weight(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

// === impl Holding ===

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Streams ===

impl Streams {
    pub(crate) fn get(&self, id: u32) -> Option<&Stream> {
        self.calls.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.calls.get_mut(&id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The numbers of all calls, in the order in which the client made them.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.calls.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.calls.values_mut()
    }

    /// The client's number for a stream of etcd's.
    pub(crate) fn of_etcd(&self, etcd: u32) -> Option<u32> {
        self.by_etcd.get(&etcd).copied()
    }

    /// A new call with the windows that new ones have.
    pub(crate) fn insert(&mut self, id: u32, up: i64, down: i64) -> &mut Stream {
        let stream = Stream {
            etcd: None,
            lanes: Both { up: Lane::new(up), down: Lane::new(down) },
            looking: None,
            touches: Vec::new(),
            holding: None,
            begun: false,
            granted: 0,
        };
        self.calls.entry(id).insert_entry(stream).into_mut()
    }

    /// Gives a call the next number at etcd. `None` when there is no such call, or no number is left.
    pub(crate) fn open(&mut self, id: u32) -> Option<u32> {
        let stream = self.calls.get_mut(&id)?;
        // The first number is 1, and clients have the odd ones.
        let etcd = (self.last_etcd + 1) | 1;
        if etcd >= 1 << 31 {
            return None;
        }
        self.last_etcd = etcd;
        stream.etcd = Some(etcd);
        self.by_etcd.insert(etcd, id);
        Some(etcd)
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Stream> {
        let stream = self.calls.remove(&id)?;
        if let Some(etcd) = stream.etcd {
            self.by_etcd.remove(&etcd);
        }
        self.last_over = self.last_over.max(id);
        Some(stream)
    }
}

// === impl NumberHasher ===

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // 2^64 over the golden ratio (Knuth, volume 3, 6.4): neighbours end up far from each other.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_etcd_rise_in_the_order_of_opening() {
        let mut streams = Streams::default();
        for id in [1, 3, 7] {
            streams.insert(id, 0, 0);
        }
        assert_eq!([7, 1, 3].map(|id| streams.open(id)), [Some(1), Some(3), Some(5)]);
        assert_eq!([1, 3, 5, 7].map(|etcd| streams.of_etcd(etcd)), [Some(7), Some(1), Some(3), None]);
        assert_eq!(streams.open(9), None);
        assert_eq!(streams.remove(1).unwrap().etcd, Some(3));
        assert_eq!((streams.of_etcd(3), streams.last_over, streams.numbers()), (None, 1, vec![3, 7]));
    }

    #[test]
    fn numbers_run_out() {
        let mut streams = Streams { last_etcd: (1 << 31) - 3, ..Streams::default() };
        streams.insert(1, 0, 0);
        streams.insert(3, 0, 0);
        assert_eq!((streams.open(1), streams.open(3)), (Some((1 << 31) - 1), None));
    }

    #[test]
    fn dropping_a_call_ends_its_hold() {
        let (handle, _registration) = AbortHandle::new_pair();
        let mut streams = Streams::default();
        streams.insert(1, 0, 0).holding = Some(Holding(handle.clone()));
        drop(streams.remove(1));
        assert!(handle.is_aborted());
    }
}
