//! The thread that the load has for itself.
//!
//! It runs an async runtime of one thread: connections, operations and the dispatcher wake each other without a
//! call into the kernel, and what wakes one of them sees work of several at once, which goes out in one packet. A
//! runtime of many threads hands each step of a request from thread to thread, which costs more than the request.

use std::{io, sync::Arc, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinHandle,
};

use super::timer::Timer;

/// The name of the thread, by which it can be given a priority of its own.
pub const THREAD: &str = "load";

/// A thread with a runtime. It ends when this is dropped, and gives up what runs on it.
#[derive(Debug)]
pub(super) struct LoadThread {
    handle: Handle,
    timer: Arc<Timer>,
    /// To drop it ends the thread.
    _running: oneshot::Sender<()>,
}

// === impl LoadThread ===

impl LoadThread {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let timer = {
            let _on_the_runtime = handle.enter();
            Arc::new(Timer::new()?)
        };
        let (running, over) = oneshot::channel();
        thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            // Nothing is ever sent: an error is the end.
            let _ = runtime.block_on(over);
        })?;
        Ok(Self { handle, timer, _running: running })
    }

    /// The timer for what runs on the thread; one task at a time can wait for it.
    pub(super) fn timer(&self) -> Arc<Timer> {
        Arc::clone(&self.timer)
    }

    /// Runs `task` to its end.
    pub(super) async fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        let task: JoinHandle<T> = self.handle.spawn(task);
        match task.await {
            Ok(output) => output,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_on_the_thread_runs_on_one_thread_apart() {
        let load = LoadThread::start().unwrap();
        let id = || async { (thread::current().id(), thread::current().name().map(str::to_owned)) };
        let (first, second) =
            (load.run(id()).await, load.run(async move { tokio::spawn(id()).await.unwrap() }).await);
        assert_eq!((&first, first.1.as_deref()), (&second, Some(THREAD)));
        assert_ne!(first.0, thread::current().id());
    }

    #[tokio::test]
    async fn the_end_of_the_thread_gives_up_what_runs_on_it() {
        let load = LoadThread::start().unwrap();
        let (held, gone) = oneshot::channel::<()>();
        load.run(async move {
            drop(tokio::spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            }));
        })
        .await;
        drop(load);
        assert!(gone.await.is_err());
    }
}
