//! HTTP/2 frames, as they lie on the wire (RFC 9113, 4.1 and 6).

/// Length of the header of a frame, in bytes.
pub(crate) const HEAD: usize = 9;
/// The payload that every peer takes, in bytes (RFC 9113, 4.2).
pub(crate) const SMALLEST_LIMIT: usize = 1 << 14;
/// What a client says first (RFC 9113, 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Why a stream or a connection ended (RFC 9113, 7).
pub(crate) mod reason {
    pub(crate) const NO_ERROR: u32 = 0x0;
    pub(crate) const REFUSED_STREAM: u32 = 0x7;
}

/// What a peer sent is not HTTP/2, or breaks its rules so that the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// A frame in the buffer that it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// The stream, without the reserved bit.
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

/// The first frame of `bytes`, or `None` when it is not there whole. No payload may be longer than `limit`.
pub(crate) fn first(bytes: &[u8], limit: usize) -> Result<Option<Frame<'_>>, Malformed> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
    let &[high, middle, low, kind, flags, stream @ ..] = head;
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    if length > limit {
        return Err(Malformed("a frame is longer than its receiver takes"));
    }
    let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
    Ok(rest.get(..length).map(|payload| Frame { kind, flags, stream, payload }))
}

/// Appends a frame. Its payload is shorter than 16 MiB, as that of every frame that was read.
pub(crate) fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    debug_assert!(payload.len() < 1 << 24);
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    out.reserve(HEAD + payload.len());
    out.extend_from_slice(&length);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends a whole block of headers, in as many frames as every peer takes.
pub(crate) fn put_block(out: &mut Vec<u8>, stream: u32, end_stream: bool, block: &[u8]) {
    let end_stream = if end_stream { flag::END_STREAM } else { 0 };
    let (mut part, mut rest) = block.split_at(block.len().min(SMALLEST_LIMIT));
    let (mut kind, mut flags) = (kind::HEADERS, end_stream);
    loop {
        let last = if rest.is_empty() { flag::END_HEADERS } else { 0 };
        put(out, kind, flags | last, stream, part);
        if rest.is_empty() {
            return;
        }
        (part, rest) = rest.split_at(rest.len().min(SMALLEST_LIMIT));
        (kind, flags) = (kind::CONTINUATION, 0);
    }
}

/// Appends a credit of `bytes`, unless there is none to give.
pub(crate) fn put_credit(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    if bytes > 0 {
        put(out, kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }
}

// === impl Frame ===

impl<'a> Frame<'a> {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What a `DATA` or `HEADERS` frame carries, without padding and priority (RFC 9113, 6.1 and 6.2).
    pub(crate) fn content(&self) -> Result<&'a [u8], Malformed> {
        let mut content = self.payload;
        if self.has(flag::PADDED) {
            let (padding, rest) =
                content.split_first().ok_or(Malformed("a padded frame has no length of it"))?;
            let length = rest.len().checked_sub(usize::from(*padding));
            content = &rest[..length.ok_or(Malformed("a frame has more padding than payload"))?];
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            content = content.get(5..).ok_or(Malformed("a HEADERS frame is too short for its priority"))?;
        }
        Ok(content)
    }

    /// The payload of a frame that has four bytes of it.
    pub(crate) fn number(&self) -> Result<u32, Malformed> {
        let bytes =
            self.payload.try_into().map_err(|_| Malformed("a frame has not the length of its type"))?;
        Ok(u32::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(frame) = first(bytes, SMALLEST_LIMIT).unwrap() {
            frames.push((frame.kind, frame.flags, frame.stream, frame.payload.to_vec()));
            bytes = &bytes[HEAD + frame.payload.len()..];
        }
        assert!(bytes.is_empty());
        frames
    }

    proptest! {
        #[test]
        fn what_is_put_is_read(kind: u8, flags: u8, stream in 0_u32..1 << 31, payload: Vec<u8>, more: Vec<u8>) {
            let mut bytes = Vec::new();
            put(&mut bytes, kind, flags, stream, &payload);
            for cut in 0..bytes.len() {
                prop_assert_eq!(first(&bytes[..cut], 1 << 20), Ok(None));
            }
            bytes.extend(more);
            prop_assert_eq!(first(&bytes, 1 << 20), Ok(Some(Frame { kind, flags, stream, payload: &payload })));
        }

        #[test]
        fn no_content_makes_it_panic(kind in 0_u8..10, flags: u8, payload: Vec<u8>) {
            let frame = Frame { kind, flags, stream: 1, payload: &payload };
            if let Ok(content) = frame.content() {
                prop_assert!(content.len() <= payload.len());
            }
        }

        #[test]
        fn a_block_of_any_length_is_cut_into_frames(length in 0_usize..100_000, end: bool) {
            let block: Vec<u8> = (0_u8..251).cycle().take(length).collect();
            let mut out = Vec::new();
            put_block(&mut out, 5, end, &block);
            let frames = frames(&out);
            prop_assert_eq!(frames.iter().flat_map(|(.., payload)| payload.clone()).collect::<Vec<_>>(), block);
            let last = frames.len() - 1;
            for (index, (kind, flags, stream, _)) in frames.into_iter().enumerate() {
                prop_assert_eq!(kind, if index == 0 { kind::HEADERS } else { kind::CONTINUATION });
                prop_assert_eq!(flags & flag::END_HEADERS != 0, index == last);
                prop_assert_eq!(flags & flag::END_STREAM != 0, index == 0 && end);
                prop_assert_eq!(stream, 5);
            }
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_told_by_its_header() {
        let mut bytes = Vec::new();
        put(&mut bytes, kind::DATA, 0, 1, &vec![0; 17_000]);
        assert!(first(&bytes[..HEAD], SMALLEST_LIMIT).is_err());
    }

    #[test]
    fn padding_and_priority_are_no_content() {
        let flags = flag::PADDED | flag::PRIORITY;
        let payload = [2, 0, 0, 0, 1, 16, b'a', b'b', 0, 0];
        let frame = Frame { kind: kind::HEADERS, flags, stream: 1, payload: &payload };
        assert_eq!(frame.content(), Ok(&b"ab"[..]));
        let all_padding = Frame { kind: kind::DATA, flags: flag::PADDED, stream: 1, payload: &[3, 0, 0, 0] };
        assert_eq!(all_padding.content(), Ok(&b""[..]));
        let too_much = Frame { payload: &[4, 0, 0, 0], ..all_padding };
        assert!(too_much.content().is_err());
    }
}
