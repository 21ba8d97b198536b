//! A peer that speaks in frames, counts windows as strictly as the standard lets it, and remembers what it saw.

use std::collections::{BTreeMap, VecDeque};

use super::super::super::{
    frame::{self, Frame, flag, kind},
    hpack,
    stream::Direction,
    window,
};

/// One end of a connection.
pub(super) struct Peer {
    /// Where it sends.
    pub(super) direction: Direction,
    /// What it has sent and nobody has taken.
    pub(super) out: Vec<u8>,
    /// What has come and is not a whole frame yet.
    read: Vec<u8>,
    pub(super) send: i64,
    pub(super) receive: i64,
    /// Data of the connection that was read and not granted again.
    pub(super) ungranted: i64,
    send_initial: i64,
    receive_initial: i64,
    unacknowledged: VecDeque<i64>,
    /// Whether it has put its common header into the table of its blocks.
    common: bool,
    last_opened: u32,
    pub(super) streams: BTreeMap<u32, End>,
    pub(super) go_aways: Vec<u32>,
    pub(super) pings: Vec<(u8, [u8; 8])>,
}

/// One end of a stream.
#[derive(Debug, Default)]
pub(super) struct End {
    send: i64,
    receive: i64,
    ungranted: i64,
    pub(super) blocks: Vec<Vec<(String, String)>>,
    pub(super) data: Vec<u8>,
    pub(super) ended: bool,
    pub(super) sent: usize,
    pub(super) finished: bool,
    /// With which code it was reset, and whether by this side.
    pub(super) reset: Option<(u32, bool)>,
}

// === impl Peer ===

impl Peer {
    pub(super) fn new(direction: Direction, receive_initial: i64) -> Self {
        let mut peer = Self {
            direction,
            out: Vec::new(),
            read: Vec::new(),
            send: window::INITIAL,
            receive: window::INITIAL,
            ungranted: 0,
            send_initial: window::INITIAL,
            receive_initial: window::INITIAL,
            unacknowledged: VecDeque::new(),
            common: false,
            last_opened: 0,
            streams: BTreeMap::new(),
            go_aways: Vec::new(),
            pings: Vec::new(),
        };
        if direction == Direction::Up {
            peer.out.extend_from_slice(frame::PREFACE);
        }
        peer.change_initial(receive_initial);
        peer
    }

    /// Asks for another window of streams.
    pub(super) fn change_initial(&mut self, to: i64) {
        let value = u32::try_from(to).unwrap().to_be_bytes();
        frame::put(&mut self.out, kind::SETTINGS, 0, 0, &[&[0, 4], &value[..]].concat());
        self.unacknowledged.push_back(to);
    }

    /// Sends a block of headers that refers to earlier ones.
    pub(super) fn block(&mut self, id: u32, end: bool, headers: &[(&str, &str)]) {
        let mut block = Vec::new();
        for (name, value) in headers {
            hpack::put_header(&mut block, name.as_bytes(), value.as_bytes());
        }
        if std::mem::replace(&mut self.common, true) {
            block.push(0xbe);
        } else {
            let start = block.len();
            hpack::put_header(&mut block, b"x-common", b"same");
            block[start] = 0x40;
        }
        frame::put_block(&mut self.out, id, end, &block);
        let (send, receive) = (self.send_initial, self.receive_initial);
        let stream = self.streams.entry(id).or_insert_with(|| End { send, receive, ..End::default() });
        stream.finished |= end;
    }

    /// How much data a stream takes now.
    pub(super) fn room(&self, id: u32) -> usize {
        usize::try_from(self.send.min(self.streams[&id].send)).unwrap_or(0).min(frame::SMALLEST_LIMIT)
    }

    /// Sends a frame of data, with as much padding as there is room for, up to `padding`.
    pub(super) fn data(&mut self, id: u32, data: &[u8], padding: Option<u8>, end: bool) {
        let room = self.room(id);
        assert!(data.len() <= room);
        let stream = self.streams.get_mut(&id).unwrap();
        let end_flag = if end { flag::END_STREAM } else { 0 };
        let padding = padding.filter(|padding| data.len() + usize::from(*padding) < room);
        let (flags, payload) = match padding {
            Some(padding) => {
                (flag::PADDED | end_flag, [&[padding], data, &vec![0; usize::from(padding)]].concat())
            }
            None => (end_flag, data.to_vec()),
        };
        frame::put(&mut self.out, kind::DATA, flags, id, &payload);
        self.send -= weight(payload.len());
        stream.send -= weight(payload.len());
        stream.sent += data.len();
        stream.finished = end;
    }

    pub(super) fn reset(&mut self, id: u32, code: u32) {
        frame::put(&mut self.out, kind::RST_STREAM, 0, id, &code.to_be_bytes());
        self.streams.get_mut(&id).unwrap().reset.get_or_insert((code, true));
    }

    /// Grants what was read, of the connection or of a stream.
    pub(super) fn grant(&mut self, id: u32) {
        let (ungranted, receive) = match self.streams.get_mut(&id) {
            Some(stream) => (&mut stream.ungranted, &mut stream.receive),
            None => (&mut self.ungranted, &mut self.receive),
        };
        let bytes = std::mem::take(ungranted);
        *receive += bytes;
        frame::put_credit(&mut self.out, id, u32::try_from(bytes).unwrap());
    }

    /// Bytes come.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.read.extend_from_slice(bytes);
        if self.direction == Direction::Down && self.read.starts_with(b"PRI") {
            if self.read.len() < frame::PREFACE.len() {
                return;
            }
            assert_eq!(self.read.drain(..frame::PREFACE.len()).as_slice(), frame::PREFACE);
        }
        let read = std::mem::take(&mut self.read);
        let mut rest = &read[..];
        let mut block = None;
        while let Some(frame) = frame::first(rest, frame::SMALLEST_LIMIT).unwrap() {
            rest = &rest[frame::HEAD + frame.payload.len()..];
            match frame.kind {
                kind::HEADERS => {
                    block = Some((frame.stream, frame.has(flag::END_STREAM), frame.payload.to_vec()));
                }
                kind::CONTINUATION => block.as_mut().unwrap().2.extend_from_slice(frame.payload),
                _ => self.frame(&frame),
            }
            if frame.has(flag::END_HEADERS)
                && let Some((id, end, block)) = block.take_if(|_| frame.kind != kind::DATA)
            {
                self.headers(id, end, &block);
            }
        }
        assert!(block.is_none(), "a block comes in one piece");
        self.read = rest.to_vec();
    }

    fn headers(&mut self, id: u32, end: bool, block: &[u8]) {
        let block = block.strip_prefix(&[hpack::NO_TABLE]).unwrap_or(block);
        if self.direction == Direction::Down && !self.streams.contains_key(&id) {
            assert!(id > self.last_opened && !id.is_multiple_of(2), "{id} after {}", self.last_opened);
            self.last_opened = id;
            let (send, receive) = (self.send_initial, self.receive_initial);
            self.streams.insert(id, End { send, receive, ..End::default() });
        }
        let stream = self.streams.get_mut(&id).unwrap();
        assert!(!stream.ended, "{id} goes on");
        stream.blocks.push(hpack::tests::headers(block));
        stream.ended = end;
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        match frame.kind {
            kind::DATA => {
                let bytes = weight(frame.payload.len());
                let stream = self.streams.get_mut(&frame.stream).unwrap();
                assert!(!stream.ended, "{} goes on", frame.stream);
                stream.data.extend_from_slice(frame.content().unwrap());
                stream.ended = frame.has(flag::END_STREAM);
                stream.receive -= bytes;
                stream.ungranted += bytes;
                self.receive -= bytes;
                self.ungranted += bytes;
                let known = bytes == 0 || (self.receive >= 0 && stream.receive >= 0);
                assert!(known, "windows are overrun: {} and {}", self.receive, stream.receive);
            }
            kind::RST_STREAM => {
                let stream = self.streams.get_mut(&frame.stream).unwrap();
                stream.reset.get_or_insert((frame.number().unwrap(), false));
            }
            kind::SETTINGS if frame.has(flag::ACK) => {
                let to = self.unacknowledged.pop_front().unwrap();
                for stream in self.streams.values_mut() {
                    stream.receive += to - self.receive_initial;
                }
                self.receive_initial = to;
            }
            kind::SETTINGS => {
                for setting in frame.payload.chunks(6) {
                    let value = i64::from(u32::from_be_bytes(setting[2..].try_into().unwrap()));
                    match setting[1] {
                        1 | 2 => assert_eq!(value, 0),
                        4 => {
                            for stream in self.streams.values_mut() {
                                stream.send += value - self.send_initial;
                            }
                            self.send_initial = value;
                        }
                        other => panic!("nobody has sent setting {other}"),
                    }
                }
                frame::put(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
            }
            kind::WINDOW_UPDATE => {
                let bytes = i64::from(frame.number().unwrap());
                match self.streams.get_mut(&frame.stream) {
                    Some(stream) => stream.send += bytes,
                    None if frame.stream == 0 => self.send += bytes,
                    None => panic!("a window of a stream that there is not"),
                }
            }
            kind::GOAWAY => {
                let (last, _) = frame.payload.split_first_chunk().unwrap();
                self.go_aways.push(u32::from_be_bytes(*last));
            }
            kind::PING => self.pings.push((frame.flags, frame.payload.try_into().unwrap())),
            other => panic!("nobody has sent a frame of type {other}"),
        }
    }
}

// === impl End ===

impl End {
    /// Whether this side may send on it.
    pub(super) fn can_send(&self) -> bool {
        !self.finished && self.reset.is_none()
    }

    /// The value of a header of the first block.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let block = self.blocks.first()?;
        block.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

fn weight(length: usize) -> i64 {
    i64::try_from(length).unwrap()
}
