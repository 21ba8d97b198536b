//! A socket that is written once a round.
//!
//! `h2` writes each large `DATA` frame on its own and what follows it on its own again, so that an answer
//! leaves in two writes, and many requests in as many. On loopback a write carries its segment through the
//! stack of the kernel up to the receiver, and wakes it. Here the frames of a round gather and leave as one.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// What gathers before it is written in the middle of a round, in bytes: a slow reader must not make it pile
/// up.
const GATHERED: usize = 64 << 10;

/// The socket as `h2` has it.
#[derive(Debug)]
pub(crate) struct Socket {
    reader: OwnedReadHalf,
    writer: Writer,
}

/// The side of a [`Socket`] that is written.
#[derive(Debug, Clone)]
pub(crate) struct Writer(Arc<Mutex<Gathering>>);

#[derive(Debug)]
struct Gathering {
    half: OwnedWriteHalf,
    frames: Vec<u8>,
    /// How much of `frames` has been written.
    written: usize,
    /// Whether a flush by `h2` waits for the end of the round.
    gathers: bool,
    /// Why the end of a round could not write; for `h2` to hear of.
    failed: Option<io::Error>,
}

// === impl Socket ===

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (reader, half) = stream.into_split();
        let gathering = Gathering { half, frames: Vec::new(), written: 0, gathers: false, failed: None };
        Self { reader, writer: Writer(Arc::new(Mutex::new(gathering))) }
    }

    pub(crate) fn writer(&self) -> Writer {
        self.writer.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().reader).poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathering = self.writer.lock();
        if gathering.frames.len() >= GATHERED {
            ready!(gathering.poll_write_all(cx))?;
        }
        Poll::Ready(Ok(gathering.gather(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.writer.lock();
        if let Some(error) = gathering.failed.take() {
            return Poll::Ready(Err(error));
        }
        if gathering.gathers { Poll::Ready(Ok(())) } else { gathering.poll_write_all(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.writer.lock();
        ready!(gathering.poll_write_all(cx))?;
        Pin::new(&mut gathering.half).poll_shutdown(cx)
    }
}

// === impl Writer ===

impl Writer {
    /// From now on what `h2` flushes waits for the end of the round.
    pub(crate) fn gather(&self) {
        self.lock().gathers = true;
    }

    /// Ends a round: writes what has gathered, as far as the socket takes it; the task is woken when it takes
    /// more. `h2` hears of an error with its next flush, and the task is woken for that too.
    pub(crate) fn end_round(&self, cx: &mut Context<'_>) {
        let mut gathering = self.lock();
        if let Poll::Ready(Err(error)) = gathering.poll_write_all(cx) {
            gathering.failed = Some(error);
            cx.waker().wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gathering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Gathering ===

impl Gathering {
    fn gather(&mut self, slices: &[IoSlice<'_>]) -> usize {
        let before = self.frames.len();
        for slice in slices {
            self.frames.extend_from_slice(slice);
        }
        self.frames.len() - before
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.frames.len() {
            let rest = &self.frames[self.written..];
            match ready!(Pin::new(&mut self.half).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => self.written += written,
                Err(error) => {
                    // Nothing of it will ever be taken.
                    self.clear();
                    return Poll::Ready(Err(error));
                }
            }
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        io::Read,
        net::{Ipv4Addr, TcpListener},
        pin::pin,
    };

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A socket, and its other end, which waits for nothing: what was written to loopback is there.
    async fn pair() -> (Socket, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        here.set_nonblocking(true).unwrap();
        let (peer, _) = listener.accept().unwrap();
        peer.set_nonblocking(true).unwrap();
        let here = TcpStream::from_std(here).unwrap();
        // The runtime believes it only once it has waited for that.
        here.writable().await.unwrap();
        (Socket::new(here), peer)
    }

    fn arrived(mut peer: &std::net::TcpStream) -> Vec<u8> {
        let mut piece = vec![0; 1 << 20];
        match peer.read(&mut piece) {
            Ok(read) => piece.truncate(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => piece.clear(),
            Err(error) => panic!("{error}"),
        }
        piece
    }

    async fn end_round(writer: &Writer) {
        poll_fn(|cx| {
            writer.end_round(cx);
            Poll::Ready(())
        })
        .await;
    }

    async fn write(socket: &mut Socket, bytes: &[u8]) {
        socket.write_all(bytes).await.unwrap();
        socket.flush().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_flushed_in_a_round_leaves_at_its_end_as_one() {
        let (mut socket, peer) = pair().await;
        let writer = socket.writer();
        write(&mut socket, b"preface").await;
        assert_eq!(arrived(&peer), b"preface", "nobody has said that there are rounds");
        writer.gather();
        for frame in [&b"headers"[..], b"data", b"trailers"] {
            write(&mut socket, frame).await;
        }
        assert_eq!(arrived(&peer), b"");
        end_round(&writer).await;
        assert_eq!(arrived(&peer), b"headersdatatrailers");
        end_round(&writer).await;
        assert_eq!(arrived(&peer), b"");
    }

    #[tokio::test]
    async fn closing_does_not_wait_for_the_end_of_a_round() {
        let (mut socket, peer) = pair().await;
        socket.writer().gather();
        write(&mut socket, b"last words").await;
        socket.shutdown().await.unwrap();
        assert_eq!(arrived(&peer), b"last words");
        assert_eq!((&peer).read(&mut [0]).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_stops_the_writer_and_loses_nothing() {
        let (mut socket, peer) = pair().await;
        let writer = socket.writer();
        writer.gather();
        let filling = async {
            let mut sent = Vec::new();
            for number in 0_u32.. {
                let frame: Vec<u8> = number.to_be_bytes().repeat(2_500);
                let Poll::Ready(written) = futures::poll!(pin!(socket.write(&frame))) else { break };
                assert_eq!(written.unwrap(), frame.len());
                sent.extend_from_slice(&frame);
                end_round(&writer).await;
                // The buffers of the kernel are bounded too, but not by us.
                assert!(sent.len() < 64 << 20, "{} bytes were taken, and nobody reads", sent.len());
            }
            sent
        };
        // The runtime would say that the socket takes no more once a task has had its share.
        let sent = tokio::task::unconstrained(filling).await;
        assert!(writer.lock().frames.len() < GATHERED + 10_000);
        let mut received = Vec::new();
        while received.len() < sent.len() {
            received.extend(arrived(&peer));
            // Lets the runtime hear that there is room.
            tokio::task::yield_now().await;
            end_round(&writer).await;
        }
        assert!(received == sent, "what arrived is not what was sent");
    }

    #[tokio::test]
    async fn an_error_at_the_end_of_a_round_is_told_to_the_next_flush() {
        let (mut socket, peer) = pair().await;
        let writer = socket.writer();
        writer.gather();
        // Bytes that nobody has read make closing a reset.
        write(&mut socket, b"unread").await;
        end_round(&writer).await;
        drop(peer);
        write(&mut socket, b"too late").await;
        end_round(&writer).await;
        let error = socket.flush().await.unwrap_err();
        assert!(
            matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{error}"
        );
    }
}
