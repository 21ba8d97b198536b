//! One direction of a call, carried from one connection to the other.

use std::{
    future::poll_fn,
    task::{Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};

/// Why a direction ended before its end of stream was passed on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The side that data comes from reset the stream, or its connection is gone.
    Source(h2::Error),
    /// The side that data goes to wants no more; the reason when it gave one.
    Sink(Option<Reason>),
}

/// Carries data and trailers until the end of the stream.
pub(crate) async fn pump(from: &mut RecvStream, to: &mut SendStream<Bytes>) -> Result<(), Broken> {
    let mut first = true;
    while let Some(chunk) = next(from, to).await? {
        let (length, end) = (chunk.len(), from.is_end_stream());
        if first {
            // A stream that was just opened has no room before its headers are written. To wait for it would
            // cost every small request a write more; one frame is no pile.
            to.send_data(chunk, end).map_err(sink)?;
            first = false;
        } else {
            send(to, chunk, end).await?;
        }
        if end {
            return Ok(());
        }
        // Only now: the source may send more once the sink has taken this much.
        from.flow_control().release_capacity(length).map_err(Broken::Source)?;
    }
    match poll_fn(|cx| from.poll_trailers(cx)).await.map_err(Broken::Source)? {
        Some(trailers) => to.send_trailers(trailers).map_err(sink),
        None => to.send_data(Bytes::new(), true).map_err(sink),
    }
}

/// Sends all of `chunk` as the sink takes it, with the end of the stream if this is it.
async fn send(to: &mut SendStream<Bytes>, mut chunk: Bytes, end: bool) -> Result<(), Broken> {
    while !chunk.is_empty() {
        to.reserve_capacity(chunk.len());
        let room = room(to).await?;
        let part = chunk.split_to(room.min(chunk.len()));
        to.send_data(part, end && chunk.is_empty()).map_err(sink)?;
        if end && chunk.is_empty() {
            return Ok(());
        }
    }
    if end { to.send_data(chunk, true).map_err(sink) } else { Ok(()) }
}

/// The next data, or `None` when only trailers can follow. Ends early when the sink does.
async fn next(from: &mut RecvStream, to: &mut SendStream<Bytes>) -> Result<Option<Bytes>, Broken> {
    poll_fn(|cx| match from.poll_data(cx) {
        Poll::Ready(data) => Poll::Ready(data.transpose().map_err(Broken::Source)),
        Poll::Pending => to.poll_reset(cx).map(|reset| Err(Broken::Sink(reset.ok()))),
    })
    .await
}

/// How many bytes the sink takes now, at least one.
async fn room(to: &mut SendStream<Bytes>) -> Result<usize, Broken> {
    poll_fn(|cx| {
        loop {
            // Capacity that is there already is not announced by `poll_capacity`.
            match to.capacity() {
                0 => match ready!(to.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(sink(error))),
                    None => {
                        let reset = to.poll_reset(cx).map(Result::ok);
                        let Poll::Ready(reason) = reset else { return Poll::Ready(Err(Broken::Sink(None))) };
                        return Poll::Ready(Err(Broken::Sink(reason)));
                    }
                },
                room => return Poll::Ready(Ok(room)),
            }
        }
    })
    .await
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn sink(error: h2::Error) -> Broken {
    Broken::Sink(error.reason())
}
