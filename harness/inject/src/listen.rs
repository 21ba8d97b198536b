//! A listener whose connections all end with it.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Pause after a failed `accept`, which most often means that no file descriptor was left.
const PAUSE: Duration = Duration::from_millis(20);

/// A listener at work. Dropping it closes the port and every connection.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) addr: SocketAddr,
    tasks: TaskTracker,
    stop: DropGuard,
}

// === impl Listening ===

impl Listening {
    /// Listens on `at` and serves every connection in a task of its own, among `tasks`.
    pub(crate) async fn start<F, S>(at: SocketAddr, tasks: TaskTracker, serve: F) -> io::Result<Self>
    where
        F: Fn(TcpStream, SocketAddr) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(at).await?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        tasks.spawn(stop.clone().run_until_cancelled_owned({
            let (tasks, stop) = (tasks.clone(), stop.clone());
            async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, peer)) => {
                            // Without it the kernel delays small frames while an acknowledgement is due.
                            let _ = stream.set_nodelay(true);
                            tasks.spawn(stop.clone().run_until_cancelled_owned(serve(stream, peer)));
                        }
                        Err(error) => {
                            tracing::warn!(%addr, %error, "cannot accept a connection");
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            }
        }));
        tasks.close();
        Ok(Self { addr, tasks, stop: stop.drop_guard() })
    }

    /// Closes the port and every connection, and waits until the last task has ended.
    pub(crate) async fn shutdown(self) {
        drop(self.stop);
        self.tasks.wait().await;
    }
}
