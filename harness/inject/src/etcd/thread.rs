//! A thread of its own for everything that a proxy carries.
//!
//! On the threads of a shared runtime, an event of a socket may wake an idle thread to look for more work, and
//! other tasks of the process stand before the proxy's. Here one thread waits for all sockets of the proxy and
//! does all its work.

use std::{future::Future, io, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::task::TaskTracker;

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
