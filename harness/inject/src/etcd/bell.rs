//! A waker for things that are polled together in one task.
//!
//! A call that queues a frame wakes the connection that is to send it, which is polled next in the same task
//! anyway. A runtime does not know that: it schedules the task again and wakes another thread to run it, for
//! each frame. The bell notes such rings, and the task goes round once more by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// Rounds before the runtime gets its turn: other tasks of the thread must not starve.
const ROUNDS: usize = 16;

/// Nobody has rung, and the task is not being polled.
const QUIET: u8 = 0;
/// The task is being polled, and nobody has rung since this round began.
const ATTENDED: u8 = 1;
/// Somebody has rung. Another round follows, or the runtime has been told.
const RUNG: u8 = 2;

/// Polls a group of things with one waker.
#[derive(Debug)]
pub(crate) struct Rounds {
    bell: Arc<Bell>,
    waker: Waker,
}

#[derive(Debug)]
struct Bell {
    task: AtomicWaker,
    state: AtomicU8,
}

// === impl Rounds ===

impl Rounds {
    pub(crate) fn new() -> Self {
        let bell = Arc::new(Bell { task: AtomicWaker::new(), state: AtomicU8::new(QUIET) });
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    /// Calls `round` until it is ready or nothing that it polled has rung.
    pub(crate) fn poll<T>(
        &self,
        cx: &Context<'_>,
        mut round: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.bell.task.register(cx.waker());
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..ROUNDS {
            // Whoever rang before this is polled in this round.
            self.bell.state.store(ATTENDED, Ordering::SeqCst);
            if let Poll::Ready(output) = round(&mut inner) {
                return Poll::Ready(output);
            }
            let quiet = self.bell.state.compare_exchange(ATTENDED, QUIET, Ordering::SeqCst, Ordering::SeqCst);
            if quiet.is_ok() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

// === impl Bell ===

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, Ordering::SeqCst) == QUIET {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, thread};

    use super::*;

    /// Counts how often the runtime would have been told.
    #[derive(Default)]
    struct Runtime(AtomicUsize);

    impl Wake for Runtime {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn runtime() -> (Arc<Runtime>, Waker) {
        let runtime = Arc::new(Runtime::default());
        (Arc::clone(&runtime), Waker::from(runtime))
    }

    #[test]
    fn a_ring_during_a_round_is_another_round_and_no_wake() {
        let (runtime, waker) = runtime();
        let mut left = 3;
        let polled = Rounds::new().poll(&Context::from_waker(&waker), |cx| {
            if left > 0 {
                left -= 1;
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert_eq!((polled, left, runtime.0.load(Ordering::SeqCst)), (Poll::Pending, 0, 0));
    }

    #[test]
    fn a_ring_while_quiet_wakes_once() {
        let (runtime, waker) = runtime();
        let rounds = Rounds::new();
        let mut inner = None;
        let _ = rounds.poll(&Context::from_waker(&waker), |cx| {
            inner = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        let inner = inner.unwrap();
        inner.wake_by_ref();
        inner.wake_by_ref();
        assert_eq!(runtime.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn endless_ringing_lets_the_runtime_have_its_turn() {
        let (runtime, waker) = runtime();
        let mut count = 0;
        let polled = Rounds::new().poll(&Context::from_waker(&waker), |cx| {
            count += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!((polled, count, runtime.0.load(Ordering::SeqCst)), (Poll::Pending, ROUNDS, 1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_ring_of_another_thread_is_lost() {
        const RINGS: usize = 20_000;
        let (rounds, rung) = (Rounds::new(), Arc::new(AtomicUsize::new(0)));
        let mut ringer = None;
        let all = std::future::poll_fn(|cx| {
            rounds.poll(cx, |inner| {
                ringer.get_or_insert_with(|| {
                    let (waker, count) = (inner.waker().clone(), Arc::clone(&rung));
                    thread::spawn(move || {
                        for _ in 0..RINGS {
                            count.fetch_add(1, Ordering::SeqCst);
                            waker.wake_by_ref();
                        }
                    })
                });
                if rung.load(Ordering::SeqCst) == RINGS { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        // A lost ring would leave the task asleep for good.
        tokio::time::timeout(std::time::Duration::from_secs(30), all).await.unwrap();
        ringer.unwrap().join().unwrap();
    }
}
