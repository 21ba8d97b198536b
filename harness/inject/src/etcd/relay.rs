//! What is done with each frame of two connections that are carried as one. It knows no socket: bytes come, and
//! bytes are to be sent.
//!
//! Frames are passed on one for one, and most of them are but copied, with another number of their stream. Numbers
//! at etcd must rise in the order in which streams are opened there (RFC 9113, 5.1.1), and calls that were held
//! are opened late.

use std::{collections::VecDeque, sync::Arc};

use futures::stream::AbortRegistration;

use super::{
    frame::{self, Frame, Malformed, flag, kind},
    hpack::Decoder,
    rules::{Rules, Touch},
    stream::{Both, Direction, Streams},
    window::{self, Window},
};

mod call;
mod control;
mod data;
mod ends;
mod headers;
#[cfg(test)]
mod tests;

/// A client's connection and its connection to etcd.
#[derive(Debug)]
pub(crate) struct Relay {
    rules: Arc<Rules>,
    flows: Both<Flow>,
    streams: Streams,
    etcd: Etcd,
    /// Whether the client has said that it speaks HTTP/2.
    prefaced: bool,
    /// The last stream that the client was told of in a `GOAWAY`.
    told_last: Option<u32>,
    holds: Vec<Hold>,
}

/// A call that is to be held from now on.
#[derive(Debug)]
pub(crate) struct Hold {
    /// The call, to give back to [`Relay::release`].
    pub(crate) id: u32,
    pub(crate) touches: Vec<Touch>,
    /// Whether it is the request that is held.
    pub(crate) request: bool,
    /// Is told when the caller goes away.
    pub(crate) registration: AbortRegistration,
}

/// Whether etcd takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Etcd {
    Open,
    /// It said that it takes no more.
    Leaving,
    /// The connection is gone.
    Gone,
}

/// One direction of the connections.
#[derive(Debug)]
struct Flow {
    /// What is to be sent to the receiver.
    out: Vec<u8>,
    decoder: Decoder,
    /// A block of headers of which not all frames have come.
    unfinished: Option<Unfinished>,
    /// Keeps its memory from one block to the next.
    scratch: Vec<u8>,
    window: Window,
    /// The window of the receiver's new streams, as the sender has acknowledged it, in bytes.
    initial: i64,
    /// The settings of the receiver that the sender has not acknowledged: the window of new streams, if they
    /// change it.
    unacknowledged: VecDeque<Option<i64>>,
    /// The longest payload that the receiver has ever taken, in bytes.
    longest: usize,
    /// Whether the sender has begun with its settings (RFC 9113, 3.4).
    greeted: bool,
    /// Whether the receiver is to be told with the next block that no table of headers is used.
    announce: bool,
    /// The calls that wait for room in a window.
    waiting: Vec<u32>,
}

/// The start of a block of headers.
#[derive(Debug)]
struct Unfinished {
    /// As the sender numbers it.
    stream: u32,
    end: bool,
    block: Vec<u8>,
}

// === impl Relay ===

impl Relay {
    pub(crate) fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            flows: Both { up: Flow::new(), down: Flow::new() },
            streams: Streams::default(),
            etcd: Etcd::Open,
            prefaced: false,
            told_last: None,
            holds: Vec::new(),
        }
    }

    /// Takes whole frames off the start of `bytes`; how many bytes that were.
    pub(crate) fn take(&mut self, direction: Direction, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        if direction == Direction::Up && !self.prefaced {
            let (seen, wanted) = (bytes.len().min(frame::PREFACE.len()), frame::PREFACE);
            if bytes[..seen] != wanted[..seen] {
                return Err(Malformed("the client does not speak HTTP/2"));
            }
            if seen < wanted.len() {
                return Ok(0);
            }
            self.flows.up.out.extend_from_slice(wanted);
            (self.prefaced, at) = (true, seen);
        }
        while let Some(frame) = frame::first(&bytes[at..], self.flows.of(direction).longest)? {
            self.frame(direction, &frame)?;
            at += frame::HEAD + frame.payload.len();
        }
        Ok(at)
    }

    /// What is to be sent on; the sender takes it out.
    pub(crate) fn out(&mut self, direction: Direction) -> &mut Vec<u8> {
        &mut self.flows.of_mut(direction).out
    }

    /// The calls that are to be held from now on.
    pub(crate) fn holds(&mut self) -> std::vec::Drain<'_, Hold> {
        self.holds.drain(..)
    }

    /// Whether etcd is gone and the client has been told the end of every call.
    pub(crate) fn is_over(&self) -> bool {
        self.etcd == Etcd::Gone && self.streams.is_empty()
    }

    fn frame(&mut self, direction: Direction, frame: &Frame<'_>) -> Result<(), Malformed> {
        let flow = self.flows.of(direction);
        if !flow.greeted && (frame.kind != kind::SETTINGS || frame.has(flag::ACK)) {
            return Err(Malformed("a connection does not begin with settings"));
        }
        if flow.unfinished.is_some() && frame.kind != kind::CONTINUATION {
            return Err(Malformed("a frame stands within a block of headers"));
        }
        match frame.kind {
            kind::DATA => self.data(direction, frame),
            kind::HEADERS => self.headers(direction, frame),
            kind::CONTINUATION => self.continuation(direction, frame),
            kind::RST_STREAM => self.reset(direction, frame),
            kind::SETTINGS => self.settings(direction, frame),
            kind::PING => self.ping(direction, frame),
            kind::GOAWAY => self.go_away(direction, frame),
            kind::WINDOW_UPDATE => self.window_update(direction, frame),
            // The client is said not to want any.
            kind::PUSH_PROMISE => Err(Malformed("etcd pushes")),
            // Priorities are no more (RFC 9113, 5.3.2), and frames of unknown types go no further than one
            // hop (5.5).
            _ => Ok(()),
        }
    }

    /// The call that a frame is for; `None` when it is over.
    fn find(&self, direction: Direction, stream: u32) -> Result<Option<u32>, Malformed> {
        let (found, last) = match direction {
            Direction::Up => (self.streams.get(stream).map(|_| stream), self.streams.last_client),
            Direction::Down => (self.streams.of_etcd(stream), self.streams.last_etcd),
        };
        if found.is_none() && (stream > last || stream.is_multiple_of(2)) {
            return Err(Malformed("a frame is for a stream that there never was"));
        }
        Ok(found)
    }
}

// === impl Flow ===

impl Flow {
    fn new() -> Self {
        Self {
            out: Vec::new(),
            decoder: Decoder::default(),
            unfinished: None,
            scratch: Vec::new(),
            window: Window::new(window::INITIAL),
            initial: window::INITIAL,
            unacknowledged: VecDeque::new(),
            longest: frame::SMALLEST_LIMIT,
            greeted: false,
            announce: true,
            waiting: Vec::new(),
        }
    }

    /// Sends a block of headers to the receiver.
    fn put_block(&mut self, stream: u32, end: bool, block: &[u8]) {
        if std::mem::take(&mut self.announce) {
            let announced = [&[super::hpack::NO_TABLE], block].concat();
            frame::put_block(&mut self.out, stream, end, &announced);
        } else {
            frame::put_block(&mut self.out, stream, end, block);
        }
    }
}
