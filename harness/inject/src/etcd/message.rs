//! The first gRPC message of a request, read ahead to see its key.

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;

/// How much of a request is read ahead at most, in bytes. etcd takes requests of 1.5 MiB and a bit
/// (`--max-request-bytes`).
pub const LONGEST_FIRST_MESSAGE: usize = 4 << 20;

/// Flag and length in front of a message
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
const PREFIX: usize = 5;

/// What was read of a request.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Everything, in order, to be carried on: the first message, and perhaps the start of another.
    pub(crate) bytes: Bytes,
}

// === impl Ahead ===

impl Ahead {
    /// Reads until the first message is complete, the body ends, or there is too much of it.
    pub(crate) async fn read(body: &mut RecvStream) -> Result<Self, h2::Error> {
        let mut ahead = Self::default();
        while let Some(missing) = ahead.missing() {
            let Some(chunk) = body.data().await.transpose()? else { break };
            // Given back at once: a message may be longer than the window, and what is read is bounded.
            body.flow_control().release_capacity(chunk.len())?;
            ahead.push(chunk, missing);
        }
        Ok(ahead)
    }

    /// The first message, when it is there and not compressed.
    pub(crate) fn message(&self) -> Option<&[u8]> {
        let (flag, length) = self.prefix()?;
        (flag == 0).then(|| self.bytes.get(PREFIX..PREFIX.checked_add(length)?)).flatten()
    }

    /// How many bytes are missing at least; `None` when there is nothing to wait for.
    fn missing(&self) -> Option<usize> {
        match self.prefix() {
            None => Some(PREFIX - self.bytes.len()),
            Some((_, length)) if length > LONGEST_FIRST_MESSAGE => None,
            Some((_, length)) => (PREFIX + length).checked_sub(self.bytes.len()).filter(|n| *n > 0),
        }
    }

    fn prefix(&self) -> Option<(u8, usize)> {
        let mut prefix = self.bytes.get(..PREFIX)?;
        let flag = prefix.get_u8();
        Some((flag, usize::try_from(prefix.get_u32()).ok()?))
    }

    /// Most messages come in one frame and are not copied.
    fn push(&mut self, chunk: Bytes, missing: usize) {
        if self.bytes.is_empty() {
            self.bytes = chunk;
            return;
        }
        let mut all = std::mem::take(&mut self.bytes).try_into_mut().unwrap_or_else(|shared| {
            let mut all = BytesMut::with_capacity(shared.len() + missing.max(chunk.len()));
            all.extend_from_slice(&shared);
            all
        });
        all.extend_from_slice(&chunk);
        self.bytes = all.freeze();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message with its prefix.
    pub(crate) fn framed(flag: u8, message: &[u8]) -> Bytes {
        let length = u32::try_from(message.len()).unwrap();
        [&[flag], &length.to_be_bytes()[..], message].concat().into()
    }

    proptest! {
        #[test]
        fn a_message_is_seen_whole_however_it_is_cut(
            message: Vec<u8>,
            more: Vec<u8>,
            sizes in prop::collection::vec(1_usize..20, 1..50),
        ) {
            let stream: Bytes = [&framed(0, &message)[..], &more].concat().into();
            let (mut ahead, mut rest, mut sizes) = (Ahead::default(), stream.clone(), sizes.iter().cycle());
            while let Some(missing) = ahead.missing() {
                prop_assert_eq!(ahead.message(), None);
                prop_assert!(missing <= rest.len());
                let size = (*sizes.next().unwrap()).min(rest.len());
                ahead.push(rest.split_to(size), missing);
            }
            prop_assert_eq!(ahead.message(), Some(&message[..]));
            prop_assert_eq!([&ahead.bytes[..], &rest].concat(), &stream[..]);
        }
    }

    #[test]
    fn a_compressed_message_is_not_shown() {
        let ahead = Ahead { bytes: framed(1, b"squeezed") };
        assert_eq!((ahead.missing(), ahead.message()), (None, None));
    }

    #[test]
    fn a_message_that_is_too_long_is_not_waited_for() {
        let length = u32::try_from(LONGEST_FIRST_MESSAGE + 1).unwrap();
        let ahead = Ahead { bytes: [&[0][..], &length.to_be_bytes()].concat().into() };
        assert_eq!((ahead.missing(), ahead.message()), (None, None));
    }

    #[test]
    fn an_empty_message_is_a_message() {
        assert_eq!(Ahead { bytes: framed(0, b"") }.message(), Some(&b""[..]));
    }
}
