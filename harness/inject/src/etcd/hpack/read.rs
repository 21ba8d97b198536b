//! Integers and texts of a block (RFC 7541, 5).

use super::{super::frame::Malformed, huffman};

/// Reads a block from its start.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

/// A text, as the block has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    huffman: bool,
    bytes: &'a [u8],
    /// With its length.
    raw: &'a [u8],
}

/// Appends an integer whose first byte has `bits` of it, after the bits of `pattern`.
pub(super) fn put_integer(out: &mut Vec<u8>, pattern: u8, bits: u8, value: usize) {
    let most = (1_usize << bits) - 1;
    if value < most {
        out.push(pattern | low_byte(value));
        return;
    }
    out.push(pattern | low_byte(most));
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(low_byte(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(low_byte(rest));
}

/// Appends a text that is not packed.
pub(super) fn put_plain(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// Appends a header that is not indexed; of `name`, an entry of the static table.
pub(crate) fn put_named(out: &mut Vec<u8>, name: usize, value: &[u8]) {
    put_integer(out, 0, 4, name);
    put_plain(out, value);
}

/// Appends a header that is not indexed, with its name.
pub(crate) fn put_header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    put_plain(out, name);
    put_plain(out, value);
}

fn low_byte(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        Self { block, at: 0 }
    }

    /// How much has been read, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte, which stays.
    pub(super) fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    /// A change of the size of the dynamic table, if that is what comes next.
    pub(super) fn size_update(&mut self) -> Result<Option<usize>, Malformed> {
        match self.peek() {
            Some(first) if first & 0xe0 == super::NO_TABLE => self.integer(5).map(Some),
            _ => Ok(None),
        }
    }

    /// An integer whose first byte has `bits` of it.
    pub(super) fn integer(&mut self, bits: u8) -> Result<usize, Malformed> {
        const TRUNCATED: Malformed = Malformed("a block of headers ends within an integer");
        let most = (1_usize << bits) - 1;
        let mut value = usize::from(self.next().ok_or(TRUNCATED)?) & most;
        if value < most {
            return Ok(value);
        }
        // No length or index of a block that is taken needs more.
        for shift in [0, 7, 14, 21] {
            let byte = self.next().ok_or(TRUNCATED)?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("an integer in a block of headers is too large"))
    }

    /// A text with its length.
    pub(super) fn text(&mut self) -> Result<Text<'a>, Malformed> {
        let start = self.at;
        let huffman = self.peek().is_some_and(|first| first & 0x80 != 0);
        let length = self.integer(7)?;
        let bytes = self.block.get(self.at..self.at + length);
        let bytes = bytes.ok_or(Malformed("a block of headers ends within a text"))?;
        self.at += length;
        Ok(Text { huffman, bytes, raw: &self.block[start..self.at] })
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }
}

// === impl Text ===

impl Text<'_> {
    /// Appends it as it came.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.raw);
    }

    /// The text, unpacked.
    pub(super) fn plain(&self) -> Result<Vec<u8>, Malformed> {
        if self.huffman { huffman::decode(self.bytes).collect() } else { Ok(self.bytes.to_vec()) }
    }

    /// Whether it is this one.
    pub(super) fn is(&self, wanted: &[u8]) -> bool {
        if self.huffman {
            huffman::decode(self.bytes).eq(wanted.iter().map(|byte| Ok(*byte)))
        } else {
            self.bytes == wanted
        }
    }
}
