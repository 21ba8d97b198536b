//! The protobuf wire format: keys, varints, fixed-width numbers and length-delimited fields.
//!
//! What is refused here is what prost refuses, plus groups: proto3 has none, and no OTLP sender writes them.

/// Bytes that are not the protobuf message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an OTLP trace export: {problem} at byte {offset}")]
pub struct WireError {
    /// Where in the message.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What can be wrong with a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The message ends within a field.
    #[error("the message ends within a field")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("a varint is longer than 64 bits")]
    Varint,
    /// A key with field number 0, a number above 2^29 - 1 or an unknown wire type.
    #[error("a field has an invalid key")]
    Key,
    /// A group, which proto3 does not have.
    #[error("a group, which proto3 does not have,")]
    Group,
    /// A known field with a foreign wire type.
    #[error("field {field} has the wrong wire type")]
    WireType {
        /// The field number within its message.
        field: u32,
    },
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// Messages nested deeper than prost's limit of 100.
    #[error("messages are nested more than {} deep", super::MAX_DEPTH)]
    Depth,
    /// A message of 4 GiB or more, which a store cannot address.
    #[error("the message has 4 GiB or more")]
    Length,
}

/// How a field is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    /// A varint.
    Varint,
    /// Eight bytes, little endian.
    Fixed64,
    /// A length and that many bytes.
    Delimited,
    /// Four bytes, little endian.
    Fixed32,
}

/// A position in a (sub-)message; offsets are those of the outermost message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// At the start of the message that is all of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Whether the (sub-)message has been read.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The position in the outermost message.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The position behind the last byte of this (sub-)message, in the outermost message.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// `problem`, here.
    pub(super) fn fail(&self, problem: Problem) -> WireError {
        WireError { offset: self.at, problem }
    }

    /// Reads the key of the next field.
    #[inline]
    pub(super) fn key(&mut self) -> Result<(u32, WireType), WireError> {
        let here = *self;
        let key = u32::try_from(self.varint()?).map_err(|_| here.fail(Problem::Key))?;
        let wire_type = match key & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Delimited,
            3 | 4 => return Err(here.fail(Problem::Group)),
            5 => WireType::Fixed32,
            _ => return Err(here.fail(Problem::Key)),
        };
        match key >> 3 {
            0 => Err(here.fail(Problem::Key)),
            field => Ok((field, wire_type)),
        }
    }

    /// Reads a varint of at most 64 bits.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        // Nearly all keys and lengths are of one byte.
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    #[cold]
    fn long_varint(&mut self) -> Result<u64, WireError> {
        let here = *self;
        let mut value = 0;
        for (place, byte) in self.rest().iter().take(10).enumerate() {
            // Nine bytes carry 63 bits; the tenth has room for one more.
            if place == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.at += place + 1;
                return Ok(value);
            }
        }
        let problem = if here.rest().len() < 10 { Problem::Truncated } else { Problem::Varint };
        Err(here.fail(problem))
    }

    /// Reads eight bytes, little endian.
    #[inline]
    pub(super) fn fixed64(&mut self) -> Result<u64, WireError> {
        let bytes = *self.rest().first_chunk().ok_or_else(|| self.fail(Problem::Truncated))?;
        self.at += 8;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a length-delimited field, as a reader of its own.
    #[inline]
    pub(super) fn delimited(&mut self) -> Result<Self, WireError> {
        let here = *self;
        let length = usize::try_from(self.varint()?).map_err(|_| here.fail(Problem::Truncated))?;
        if length > self.rest().len() {
            return Err(here.fail(Problem::Truncated));
        }
        let field = Self { bytes: &self.bytes[..self.at + length], at: self.at };
        self.at += length;
        Ok(field)
    }

    /// What has not been read, as text.
    #[inline]
    pub(super) fn text(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.rest()).map_err(|_| self.fail(Problem::Text))
    }

    /// Passes over a field of this wire type.
    #[inline]
    pub(super) fn skip(&mut self, wire_type: WireType) -> Result<(), WireError> {
        let width = match wire_type {
            WireType::Varint => return self.varint().map(drop),
            WireType::Delimited => return self.delimited().map(drop),
            WireType::Fixed64 => 8,
            WireType::Fixed32 => 4,
        };
        if self.rest().len() < width {
            return Err(self.fail(Problem::Truncated));
        }
        self.at += width;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::encoding::{decode_varint, encode_varint};

    use super::*;

    proptest! {
        #[test]
        fn a_varint_is_what_prost_wrote(value: u64, tail: Vec<u8>) {
            let mut bytes = Vec::new();
            encode_varint(value, &mut bytes);
            let length = bytes.len();
            bytes.extend(tail);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.offset(), length);
        }

        #[test]
        fn a_varint_is_refused_when_prost_refuses_it(bytes in proptest::collection::vec(0x7f_u8.., 0..12)) {
            let prost = decode_varint(&mut bytes.as_slice()).ok();
            prop_assert_eq!(Reader::new(&bytes).varint().ok(), prost);
        }
    }

    #[test]
    fn a_key_is_refused_for_what_is_wrong_with_it() {
        for (bytes, problem) in [
            (&[0x02][..], Problem::Key),
            (&[0x0e], Problem::Key),
            (&[0x0b], Problem::Group),
            (&[0x0c], Problem::Group),
            (&[0x80, 0x80, 0x80, 0x80, 0x10], Problem::Key),
            (&[0x80], Problem::Truncated),
            (&[0xff; 11], Problem::Varint),
        ] {
            assert_eq!(Reader::new(bytes).key(), Err(WireError { offset: 0, problem }), "{bytes:x?}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_where_it_stands() {
        let mut reader = Reader::new(&[0x0a, 0x05, b'a', b'b']);
        reader.key().unwrap();
        let error = reader.delimited().unwrap_err();
        assert_eq!(error, WireError { offset: 1, problem: Problem::Truncated });
        assert_eq!(error.to_string(), "not an OTLP trace export: the message ends within a field at byte 1");
    }
}
