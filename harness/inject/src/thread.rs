//! A thread of its own for everything that an injector carries.
//!
//! On the threads of a shared runtime, an event of a socket may wake an idle thread to look for more work, and
//! other tasks of the process stand before the injector's. Here one thread waits for all sockets of the injector
//! and does all its work. It has a name, so that it can be given a priority of its own.

use std::{future::Future, io, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::task::TaskTracker;

/// The names of the threads that stand between a call and its entry in the ledger.
pub const THREADS: [&str; 3] = [ETCD, WEBHOOKS, HOLDS];

/// Carries the calls of etcd. The kernel keeps 15 characters of a name.
pub(crate) const ETCD: &str = "spangate-etcd";
/// Answers webhooks.
pub(crate) const WEBHOOKS: &str = "spangate-hooks";
/// Ends holds.
pub(crate) const HOLDS: &str = "spangate-hold";

/// A thread for the tasks of a tracker. Once this is dropped, it ends with the last of them.
#[derive(Debug)]
pub(crate) struct Thread {
    runtime: Handle,
    tasks: TaskTracker,
}

// === impl Thread ===

impl Thread {
    /// Starts the thread.
    pub(crate) fn start(name: &str, tasks: TaskTracker) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = Self { runtime: runtime.handle().clone(), tasks: tasks.clone() };
        thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(tasks.wait()))?;
        Ok(thread)
    }

    /// Runs `work` there; what it spawns runs there too.
    pub(crate) async fn run<F>(&self, work: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime
            .spawn(work)
            .await
            .expect("work does not panic, and the thread does not end before this is dropped")
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.tasks.close();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn the_kernel_keeps_the_whole_names() {
        assert!(THREADS.iter().all(|name| name.len() <= 15), "{THREADS:?}");
    }

    #[tokio::test]
    async fn tasks_go_on_when_it_is_dropped_and_end_with_it() {
        let tasks = TaskTracker::new();
        let thread = Thread::start("spangate-test", tasks.clone()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let spawned = tasks.clone();
        let work = async move {
            drop(spawned.spawn(async { tell.send((stopped.await, thread::current().id())) }));
        };
        thread.run(work).await;
        drop(thread);
        assert!(!tasks.is_empty());
        stop.send(()).unwrap();
        let (got, ran_on) = told.await.unwrap();
        assert_eq!(got, Ok(()));
        assert_ne!(ran_on, thread::current().id());
        tasks.wait().await;
    }
}
