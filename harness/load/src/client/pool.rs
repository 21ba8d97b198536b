//! How requests are spread over connections, and how many may be under way.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use futures::future::try_join_all;
use tokio::sync::Semaphore;

use super::{
    ClientError,
    connection::{Slot, Via},
};

/// The connections of a client.
pub(super) struct Pool {
    places: Box<[Place]>,
    /// Requests that one connection may carry.
    streams: u32,
    /// Requests that may still begin, over all connections.
    free: Semaphore,
    /// Where the search for a connection begins.
    turn: AtomicUsize,
}

/// A connection and how many requests it carries.
struct Place {
    slot: Slot,
    under_way: AtomicU32,
}

/// The right to one request on one connection; given back when this is dropped.
pub(super) struct Lease {
    pool: Arc<Pool>,
    index: usize,
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(via: &Via, connections: u16, streams: u32) -> Self {
        let (connections, streams) = (connections.max(1), streams.max(1));
        let place = |_| Place { slot: Slot::new(via.clone()), under_way: AtomicU32::new(0) };
        let all = u64::from(connections) * u64::from(streams);
        Self {
            places: (0..connections).map(place).collect(),
            streams,
            free: Semaphore::new(usize::try_from(all).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)),
            turn: AtomicUsize::new(0),
        }
    }

    /// Opens every connection that is not open.
    pub(super) async fn connect(&self) -> Result<(), ClientError> {
        try_join_all(self.places.iter().map(|place| place.slot.link())).await.map(drop)
    }

    /// Waits until a request may begin; those who wait go in turn.
    pub(super) async fn lease(self: Arc<Self>) -> Lease {
        match self.free.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => self.free.acquire().await.expect("the semaphore is never closed").forget(),
        }
        let index = self.claim();
        Lease { pool: self, index }
    }

    /// Counts a request on the connection that has the fewest; where several have, they take turns.
    fn claim(&self) -> usize {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        loop {
            let (index, count) = (0..self.places.len())
                .map(|offset| first.wrapping_add(offset) % self.places.len())
                .map(|index| (index, self.places[index].under_way.load(Ordering::Relaxed)))
                .min_by_key(|(_, count)| *count)
                .expect("there is at least one connection");
            // Nothing but a count that others changed meanwhile hides the place that the semaphore promised.
            let claimed = count < self.streams
                && self.places[index]
                    .under_way
                    .compare_exchange(count, count + 1, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok();
            if claimed {
                return index;
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under_way = self.places.iter().map(|place| place.under_way.load(Ordering::Relaxed));
        f.debug_list().entries(under_way).finish()
    }
}

// === impl Lease ===

impl Lease {
    pub(super) fn slot(&self) -> &Slot {
        &self.pool.places[self.index].slot
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.places[self.index].under_way.fetch_sub(1, Ordering::AcqRel);
        self.pool.free.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;
    use spangate_scenario::model::Protocol;

    use super::*;
    use crate::client::{ClientIdentity, tls};

    fn pool(connections: u16, streams: u32) -> Arc<Pool> {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let identity = ClientIdentity::none();
        let tls = tls::config(&key.cert.pem(), &identity, Protocol::Http2).unwrap();
        let via = Via::new("https://localhost:1".parse().unwrap(), tls, Protocol::Http2).unwrap();
        Arc::new(Pool::new(&via, connections, streams))
    }

    fn lease(pool: &Arc<Pool>) -> Option<Lease> {
        Arc::clone(pool).lease().now_or_never()
    }

    #[test]
    fn idle_connections_take_turns() {
        let pool = pool(3, 10);
        let used: Vec<_> = (0..6).map(|_| lease(&pool).unwrap().index).collect();
        assert_eq!(used, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_request_waits_for_a_place_and_gets_the_one_that_is_given_back() {
        let pool = pool(2, 1);
        let (first, _second) = (lease(&pool).unwrap(), lease(&pool).unwrap());
        let mut third = Box::pin(Arc::clone(&pool).lease());
        assert!((&mut third).now_or_never().is_none());
        let given = first.index;
        drop(first);
        assert!(lease(&pool).is_none(), "a place went past those who wait");
        assert_eq!(third.now_or_never().unwrap().index, given);
    }

    proptest! {
        #[test]
        fn requests_are_spread_evenly_and_never_above_the_bound(
            connections in 1_u16..5,
            streams in 1_u32..4,
            steps in prop::collection::vec(prop::option::of(any::<prop::sample::Index>()), 0..60),
        ) {
            let pool = pool(connections, streams);
            let mut held = Vec::new();
            for step in steps {
                match step {
                    Some(index) if !held.is_empty() => drop(held.swap_remove(index.index(held.len()))),
                    _ => {
                        let all = usize::from(connections) * streams as usize;
                        let least = pool.places.iter().map(|place| place.under_way.load(Ordering::Relaxed)).min();
                        let new = lease(&pool);
                        prop_assert_eq!(new.is_some(), held.len() < all);
                        if let Some(lease) = &new {
                            let now = pool.places[lease.index].under_way.load(Ordering::Relaxed);
                            prop_assert_eq!(Some(now - 1), least);
                        }
                        held.extend(new);
                    }
                }
                for place in &pool.places {
                    prop_assert!(place.under_way.load(Ordering::Relaxed) <= streams);
                }
            }
        }
    }
}
