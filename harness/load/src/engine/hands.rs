//! Tasks that carry out arrivals, one after the other.
//!
//! A task of the runtime for each arrival would do, but to make one and to throw it away costs as much as a tenth of
//! a request. There are as many of these as operations were ever under way at once.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    task::{Poll, Waker},
};

use spangate_trace::UnixNanos;
use tokio::task::JoinSet;

use super::worker::Worker;
use crate::Arrival;

/// Carries out so many arrivals at once as the load allows.
pub(super) struct Hands {
    worker: Arc<Worker>,
    queue: Arc<Queue>,
    tasks: JoinSet<()>,
}

/// What is to be done, and by how many.
#[derive(Debug, Default)]
struct Queue {
    /// Arrivals that wait or are being carried out.
    busy: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Arrivals for idle hands.
    waiting: VecDeque<Job>,
    /// Idle hands by their numbers, each once. The last one that became idle is the first to be woken: the memory
    /// that it uses is still at hand.
    idle: Vec<(usize, Waker)>,
    /// Whether each hand is among them.
    listed: Vec<bool>,
    /// Whether no more come.
    closed: bool,
}

/// An arrival and the time at which it was to start.
type Job = (Arrival, UnixNanos);

// === impl Hands ===

impl Hands {
    pub(super) fn new(worker: Arc<Worker>) -> Self {
        Self { worker, queue: Arc::default(), tasks: JoinSet::new() }
    }

    /// Has `arrival` carried out; false when as many as are allowed are under way.
    pub(super) fn take(&mut self, arrival: Arrival, intended: UnixNanos) -> bool {
        let busy = self.queue.busy.load(Ordering::Relaxed);
        if busy >= self.worker.max_in_flight() {
            return false;
        }
        self.queue.busy.fetch_add(1, Ordering::Relaxed);
        let job = (arrival, intended);
        if (busy as usize) < self.tasks.len() {
            self.queue.give(job);
        } else {
            let (worker, queue) = (Arc::clone(&self.worker), Arc::clone(&self.queue));
            self.tasks.spawn(work(self.tasks.len(), worker, queue, job));
        }
        true
    }

    /// Returns when everything is done.
    pub(super) async fn finish(self) {
        self.queue.close();
        self.tasks.join_all().await;
    }
}

/// Does `job`, and then what the queue gives.
async fn work(number: usize, worker: Arc<Worker>, queue: Arc<Queue>, mut job: Job) {
    let mut ends = worker.ends();
    loop {
        let (arrival, intended) = job;
        worker.perform_until(arrival, intended, &mut ends).await;
        queue.busy.fetch_sub(1, Ordering::Relaxed);
        match queue.next(number).await {
            Some(next) => job = next,
            None => return,
        }
    }
}

// === impl Queue ===

impl Queue {
    fn give(&self, job: Job) {
        let mut state = self.state();
        state.waiting.push_back(job);
        if let Some((number, waker)) = state.idle.pop() {
            state.listed[number] = false;
            drop(state);
            waker.wake();
        }
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for (_, waker) in std::mem::take(&mut state.idle) {
            waker.wake();
        }
    }

    /// The next job of hand `number`; `None` when no more come.
    async fn next(&self, number: usize) -> Option<Job> {
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(job) = state.waiting.pop_front() {
                state.unlist(number);
                return Poll::Ready(Some(job));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            state.list(number, context.waker());
            Poll::Pending
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

// === impl State ===

impl State {
    /// Notes that hand `number` is idle, once: something else than a job may have woken it.
    fn list(&mut self, number: usize, waker: &Waker) {
        if self.listed.len() <= number {
            self.listed.resize(number + 1, false);
        }
        if !std::mem::replace(&mut self.listed[number], true) {
            self.idle.push((number, waker.clone()));
        }
    }

    /// Notes that hand `number` is not idle: it may have found a job that another was woken for.
    fn unlist(&mut self, number: usize) {
        if self.listed.get(number) == Some(&true) {
            self.listed[number] = false;
            self.idle.retain(|(idle, _)| *idle != number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Context, time::Duration};

    use futures::{FutureExt, future::join};

    use super::*;

    fn job(number: u64) -> Job {
        (crate::testing::arrival(number), UnixNanos(number))
    }

    #[test]
    fn a_hand_that_is_woken_by_something_else_is_idle_once() {
        let (queue, mut context) = (Queue::default(), Context::from_waker(Waker::noop()));
        let mut next = pin!(queue.next(7));
        for _ in 0..3 {
            assert!(next.as_mut().poll(&mut context).is_pending());
            assert_eq!(queue.state().idle.len(), 1);
        }
        // A job that another takes after the hand was woken for it.
        queue.give(job(1));
        assert!(queue.next(8).now_or_never().flatten().is_some());
        assert!(next.as_mut().poll(&mut context).is_pending());
        assert_eq!(queue.state().idle.len(), 1);
        queue.give(job(2));
        assert_eq!(next.poll(&mut context), Poll::Ready(Some(job(2))));
        assert_eq!(queue.state().idle.len(), 0);
    }

    #[test]
    fn a_hand_that_takes_what_another_was_woken_for_is_no_longer_idle() {
        let (queue, mut context) = (Queue::default(), Context::from_waker(Waker::noop()));
        let (mut one, mut other) = (pin!(queue.next(0)), pin!(queue.next(1)));
        assert!(
            one.as_mut().poll(&mut context).is_pending() && other.as_mut().poll(&mut context).is_pending()
        );
        queue.give(job(1));
        assert_eq!(one.poll(&mut context), Poll::Ready(Some(job(1))));
        assert!(other.as_mut().poll(&mut context).is_pending());
        assert_eq!(queue.state().idle.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1]);
    }

    #[tokio::test]
    async fn every_job_is_given_once_also_those_that_wait_at_the_end() {
        let queue = Queue::default();
        let take = async {
            let mut taken = Vec::new();
            while let Some((arrival, _)) = queue.next(0).await {
                taken.push(arrival.number);
                tokio::task::yield_now().await;
            }
            taken
        };
        let give = async {
            for number in 0..5 {
                queue.give(job(number));
                tokio::task::yield_now().await;
            }
            (5..9).for_each(|number| queue.give(job(number)));
            queue.close();
        };
        let taken = tokio::time::timeout(Duration::from_secs(5), join(take, give)).await.unwrap().0;
        assert_eq!(taken, (0..9).collect::<Vec<_>>());
    }
}
