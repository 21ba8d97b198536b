//! The first gRPC message of a request, read ahead to see its key.

use bytes::Buf;

/// How much of a request is read ahead at most, in bytes. etcd takes requests of 1.5 MiB and a bit
/// (`--max-request-bytes`).
pub const LONGEST_FIRST_MESSAGE: usize = 4 << 20;

/// Flag and length in front of a message
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
const PREFIX: usize = 5;

/// The start of a request.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Vec<u8>);

// === impl Ahead ===

impl Ahead {
    /// More of the request.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    /// Whether more must come before the first message is complete, and is to be waited for.
    pub(crate) fn is_incomplete(&self) -> bool {
        match self.prefix() {
            None => true,
            Some((_, length)) => length <= LONGEST_FIRST_MESSAGE && self.0.len() < PREFIX + length,
        }
    }

    /// The first message, when it is there and not compressed.
    pub(crate) fn message(&self) -> Option<&[u8]> {
        let (flag, length) = self.prefix()?;
        (flag == 0).then(|| self.0.get(PREFIX..PREFIX.checked_add(length)?)).flatten()
    }

    fn prefix(&self) -> Option<(u8, usize)> {
        let mut prefix = self.0.get(..PREFIX)?;
        let flag = prefix.get_u8();
        Some((flag, usize::try_from(prefix.get_u32()).ok()?))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
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
            let mut rest: Bytes = [&framed(0, &message)[..], &more].concat().into();
            let (mut ahead, mut sizes) = (Ahead::default(), sizes.iter().cycle());
            while ahead.is_incomplete() {
                prop_assert_eq!(ahead.message(), None);
                let size = (*sizes.next().unwrap()).min(rest.len());
                ahead.push(&rest.split_to(size));
            }
            prop_assert_eq!(ahead.message(), Some(&message[..]));
        }
    }

    fn ahead(bytes: &[u8]) -> Ahead {
        let mut ahead = Ahead::default();
        ahead.push(bytes);
        ahead
    }

    #[test]
    fn a_compressed_message_is_not_shown() {
        let ahead = ahead(&framed(1, b"squeezed"));
        assert_eq!((ahead.is_incomplete(), ahead.message()), (false, None));
    }

    #[test]
    fn a_message_that_is_too_long_is_not_waited_for() {
        let length = u32::try_from(LONGEST_FIRST_MESSAGE + 1).unwrap();
        let ahead = ahead(&[&[0][..], &length.to_be_bytes()].concat());
        assert_eq!((ahead.is_incomplete(), ahead.message()), (false, None));
    }

    #[test]
    fn an_empty_message_is_a_message() {
        assert_eq!(ahead(&framed(0, b"")).message(), Some(&b""[..]));
    }
}
