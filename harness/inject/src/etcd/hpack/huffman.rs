//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! It is a canonical code: codes of one length follow each other in the order of their symbols, and shorter codes
//! come before longer ones. The lengths alone tell all of it.

use super::super::frame::Malformed;

/// Length of the code of each byte, and of the end of a text, in bits.
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The longest code, in bits.
const LONGEST: usize = 30;
/// The end of a text, which stands in none: only the start of its code fills the last byte.
const END: u16 = 256;

/// The code, by the lengths of codes.
struct Code {
    /// The first code of each length that is not taken, at the left of 32 bits; no such code is greater.
    bounds: [u64; LONGEST + 1],
    /// The first code of each length.
    first: [u32; LONGEST + 1],
    /// Where the symbols of each length begin.
    starts: [usize; LONGEST + 1],
    /// All symbols, in the order of their codes.
    symbols: [u16; 257],
}

const CODE: Code = code();

const fn code() -> Code {
    let mut code = Code {
        bounds: [0; LONGEST + 1],
        first: [0; LONGEST + 1],
        starts: [0; LONGEST + 1],
        symbols: [0; 257],
    };
    let (mut next, mut at, mut length) = (0_u32, 0, 1);
    while length <= LONGEST {
        next <<= 1;
        code.first[length] = next;
        code.starts[length] = at;
        let mut symbol = 0_u16;
        while symbol <= END {
            if LENGTHS[symbol as usize] as usize == length {
                code.symbols[at] = symbol;
                at += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.bounds[length] = (next as u64) << (32 - length);
        length += 1;
    }
    code
}

/// The bytes of a packed text. After an error there are no more.
pub(super) fn decode(packed: &[u8]) -> Decode<'_> {
    Decode { packed: packed.iter(), bits: 0, count: 0 }
}

/// Unpacks a text.
#[derive(Debug)]
pub(super) struct Decode<'a> {
    packed: std::slice::Iter<'a, u8>,
    /// What was read and not used, at the left.
    bits: u64,
    /// How many of `bits` were read.
    count: usize,
}

// === impl Decode ===

impl Iterator for Decode<'_> {
    type Item = Result<u8, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        static TABLE: Code = CODE;
        while self.count <= 56
            && let Some(byte) = self.packed.next()
        {
            self.bits |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
        }
        if self.count == 0 {
            return None;
        }
        // Past the end there are ones, as the padding has them.
        let window = (self.bits | u64::MAX.checked_shr(bits(self.count)).unwrap_or(0)) >> 32;
        let length = (5..=LONGEST).find(|length| window < TABLE.bounds[*length]).unwrap_or(LONGEST);
        let code = usize::try_from(window >> (32 - length)).unwrap_or_default();
        let symbol = TABLE.symbols[TABLE.starts[length] + code - TABLE.first[length] as usize];
        if length > self.count || symbol == END {
            // Less than a byte of ones is padding (RFC 7541, 5.2).
            let padding = self.count < 8 && self.bits | (u64::MAX >> self.count) == u64::MAX;
            self.count = 0;
            self.packed = [].iter();
            return (!padding).then_some(Err(Malformed("a Huffman code in a header is not one")));
        }
        self.bits <<= length;
        self.count -= length;
        Some(Ok(symbol.to_le_bytes()[0]))
    }
}

fn bits(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Packs a text.
    pub(crate) fn encode(text: &[u8]) -> Vec<u8> {
        let code = code();
        let (mut packed, mut bits, mut count) = (Vec::new(), 0_u64, 0);
        for byte in text {
            let length = LENGTHS[usize::from(*byte)] as usize;
            let place = code.symbols.iter().position(|symbol| *symbol == u16::from(*byte)).unwrap();
            let value = u64::from(code.first[length]) + (place - code.starts[length]) as u64;
            bits = bits << length | value;
            count += length;
            while count >= 8 {
                count -= 8;
                packed.push((bits >> count).to_le_bytes()[0]);
            }
        }
        if count > 0 {
            packed.push((bits << (8 - count)).to_le_bytes()[0] | 0xff >> count);
        }
        packed
    }

    fn unpack(packed: &[u8]) -> Result<Vec<u8>, Malformed> {
        decode(packed).collect()
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(text: Vec<u8>) {
            prop_assert_eq!(unpack(&encode(&text)), Ok(text));
        }

        #[test]
        fn no_bytes_make_it_panic(packed: Vec<u8>) {
            if let Ok(text) = unpack(&packed) {
                prop_assert_eq!(encode(&text), packed);
            }
        }
    }

    #[test]
    fn codes_are_those_of_the_appendix() {
        // RFC 7541, appendix C.4.1 and C.6.1.
        assert_eq!(encode(b"www.example.com"), b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff");
        assert_eq!(encode(b"302"), b"\x64\x02");
        // Appendix B: `{` is 15 bits of ones and a zero, `\n` is 30 bits, 0x3ffffffc.
        assert_eq!(encode(b"\n"), b"\xff\xff\xff\xf3");
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(unpack(b"\x64\x02"), Ok(b"302".to_vec()));
        assert!(unpack(b"\x64\x02\xff").is_err(), "a whole byte");
        assert!(unpack(b"\xff\xff\xff\xff").is_err(), "the end of a text stands in none");
        assert!(unpack(b"\x18").is_err(), "zeros: `a` and three bits of `0`");
    }
}
