//! One connection of a client and its connection to etcd: what moves bytes between them and the [`Relay`].
//!
//! Both connections and all their calls live in one task: a frame goes from one socket to the other without
//! waking another task, and often within one poll. What a round has for a socket is written at its end, as one.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{
    Stream,
    stream::{Abortable, FuturesUnordered},
};
use spangate_scenario::model::HeldSide;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{
    frame::Malformed,
    relay::{Hold, Relay},
    rules::{Rules, Touch},
    stream::Direction,
};

/// What is read at once, in bytes: a few frames.
const PIECE: usize = 64 << 10;

/// What may wait for a peer that does not read before the other peer is not read any more, in bytes.
const BACKLOG: usize = 256 << 10;

/// Rounds before the runtime gets its turn: other tasks of the thread must not starve.
const ROUNDS: usize = 16;

/// How long a peer may take to read the last words of the other, or to close its side when the proxy has closed its
/// own.
const LINGER: Duration = Duration::from_secs(1);

/// A socket and what has been read from it.
struct Socket<S> {
    io: S,
    /// What was read is before `filled`, and the rest is room.
    read: Vec<u8>,
    filled: usize,
}

/// What reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Some,
    /// The peer is gone.
    End,
}

/// Carries calls until either side is gone.
pub(crate) async fn carry<C, E>(client: C, etcd: E, rules: Arc<Rules>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Unpin,
{
    let (mut client, mut etcd) = (Socket::new(client), Some(Socket::new(etcd)));
    let mut relay = Relay::new(rules);
    let mut holds = FuturesUnordered::new();
    let carried = poll_fn(|cx| {
        for _ in 0..ROUNDS {
            let mut idle = true;
            while let Poll::Ready(Some(held)) = Pin::new(&mut holds).poll_next(cx) {
                // A hold that was aborted has no call any more.
                if let Ok((id, touches, request)) = held {
                    relay.release(id, touches, request);
                }
            }
            // A peer that does not read stops the other one.
            let full = [Direction::Down, Direction::Up].map(|direction| relay.out(direction).len() > BACKLOG);
            if let (Some(socket), [false, _]) = (&mut etcd, full)
                && let Poll::Ready(read) = socket.poll_read(cx, &mut relay, Direction::Down)?
            {
                idle = false;
                if read == Read::End {
                    tracing::debug!("etcd has closed a connection");
                    etcd = None;
                    relay.etcd_gone();
                }
            }
            let mut client_gone = false;
            if !full[1]
                && let Poll::Ready(read) = client.poll_read(cx, &mut relay, Direction::Up)?
            {
                idle = false;
                client_gone = read == Read::End;
            }
            for Hold { id, touches, request, registration } in relay.holds() {
                idle = false;
                holds.push(Abortable::new(hold(id, touches, request), registration));
            }
            // The caller waits; etcd may be told of windows after that.
            match client.poll_write(cx, relay.out(Direction::Down)) {
                Poll::Ready(Ok(())) if relay.is_over() => return Poll::Ready(Ok(())),
                Poll::Ready(Err(_)) => client_gone = true,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            match &mut etcd {
                // That etcd is gone is told by reading, after its last words.
                Some(socket) => drop(socket.poll_write(cx, relay.out(Direction::Up))),
                None => relay.out(Direction::Up).clear(),
            }
            if client_gone {
                return Poll::Ready(Ok(()));
            }
            let drained =
                [Direction::Down, Direction::Up].map(|direction| relay.out(direction).len() <= BACKLOG);
            if idle && full == drained.map(|drained| !drained) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    let carried: Result<(), Malformed> = carried.await;
    let (over, last_words) = (relay.is_over(), std::mem::take(relay.out(Direction::Up)));
    // Here the calls are noted that have lost their caller.
    drop((relay, holds));
    match (carried, etcd) {
        (Err(error), _) => tracing::debug!(%error, "closing a connection to etcd"),
        (Ok(()), None) if over => drop(timeout(LINGER, client.close()).await),
        (Ok(()), Some(etcd)) => drop(timeout(LINGER, etcd.tell(&last_words)).await),
        (Ok(()), None) => {}
    }
}

/// Holds a call for the delays of one side, one after the other, and of both sides when it is answered in place
/// of etcd.
async fn hold(id: u32, mut touches: Vec<Touch>, request: bool) -> (u32, Vec<Touch>, bool) {
    let both = request && touches.iter().any(|touch| touch.status.is_some());
    for side in [HeldSide::Request, HeldSide::Response] {
        if both || request == (side == HeldSide::Request) {
            for touch in touches.iter_mut().filter(|touch| touch.side == side) {
                touch.note.hold(touch.delay).await;
            }
        }
    }
    (id, touches, request)
}

// === impl Socket ===

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    fn new(io: S) -> Self {
        Self { io, read: vec![0; PIECE], filled: 0 }
    }

    /// Reads once, and hands on the frames that are whole.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        relay: &mut Relay,
        direction: Direction,
    ) -> Poll<Result<Read, Malformed>> {
        if self.filled == self.read.len() {
            // A frame that its receiver takes may be longer. What is longer than that is refused before.
            self.read.resize(2 * self.filled, 0);
        }
        let mut room = ReadBuf::new(&mut self.read[self.filled..]);
        let read = match ready!(Pin::new(&mut self.io).poll_read(cx, &mut room)) {
            Ok(()) => room.filled().len(),
            Err(_) => 0,
        };
        if read == 0 {
            return Poll::Ready(Ok(Read::End));
        }
        self.filled += read;
        let taken = relay.take(direction, &self.read[..self.filled])?;
        self.read.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        Poll::Ready(Ok(Read::Some))
    }

    /// Writes what the socket takes, and takes it out of `bytes`; ready when nothing is left.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let result = loop {
            if written == bytes.len() {
                break Poll::Ready(Ok(()));
            }
            match Pin::new(&mut self.io).poll_write(cx, &bytes[written..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(some)) => written += some,
                Poll::Ready(Err(error)) => {
                    // Nothing of it will ever be taken.
                    written = bytes.len();
                    break Poll::Ready(Err(error));
                }
                Poll::Pending => break Poll::Pending,
            }
        };
        bytes.drain(..written);
        if result.is_ready() {
            // Nothing to do but for a socket that keeps bytes, as TLS does.
            let _ = Pin::new(&mut self.io).poll_flush(cx);
        }
        result
    }

    /// Writes all there is to say before it is dropped.
    async fn tell(mut self, last_words: &[u8]) -> io::Result<()> {
        self.io.write_all(last_words).await?;
        self.io.flush().await
    }

    /// Closes its side, and waits until the peer has closed the other: what is not read when a socket is closed
    /// makes the kernel take back what the peer has not read either.
    async fn close(mut self) {
        if self.io.shutdown().await.is_ok() {
            while matches!(self.io.read(&mut self.read).await, Ok(1..)) {}
        }
    }
}
