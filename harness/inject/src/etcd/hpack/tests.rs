//! The examples of RFC 7541, and blocks of any shape against a decoder of headers that are spelled out.

use proptest::prelude::*;

use super::*;

/// A block in the hexadecimal of the appendix.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// The headers of a block that stands on its own. Of the static table only the examples' entries have values.
pub(crate) fn headers(block: &[u8]) -> Vec<(String, String)> {
    let (mut reader, mut headers) = (Reader::new(block), Vec::new());
    let table = Table::default();
    while let Some(first) = reader.peek() {
        headers.push(if first & 0x80 != 0 {
            let index = reader.integer(7).unwrap();
            assert_eq!(table::dynamic(index), Ok(None), "the block refers to a dynamic table");
            let value = match index {
                2 => "GET",
                3 => "POST",
                4 => "/",
                6 => "http",
                7 => "https",
                8 => "200",
                _ => panic!("no example has {index}"),
            };
            (table::STATIC_NAMES[index - 1].to_owned(), value.to_owned())
        } else {
            assert_eq!(first & 0xe0, 0, "the block changes the dynamic table");
            let (name, value) = Field::read(&mut reader, 4).unwrap().plain(&table).unwrap();
            (String::from_utf8(name).unwrap(), String::from_utf8(value).unwrap())
        });
    }
    headers
}

fn carry(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    decoder.carry(block, &mut out, None).map(|()| out)
}

fn texts(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// RFC 7541, appendices C.3 and C.4: three requests of one connection, plain and packed.
#[test]
fn the_requests_of_the_appendix() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let packed = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, packed] {
        let mut decoder = Decoder::default();
        let first = carry(&mut decoder, &hex(blocks[0])).unwrap();
        let expected =
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
        assert_eq!(texts(&headers(&first)), expected);
        let second = carry(&mut decoder, &hex(blocks[1])).unwrap();
        let expected = [&expected[..], &[("cache-control", "no-cache")]].concat();
        assert_eq!(texts(&headers(&second)), expected);
        // The path of the third is the entry 5, which has no value here.
        let third = carry(&mut decoder, &hex(blocks[2])).unwrap();
        assert_eq!(&third[..3], &hex("8287 85"));
        let expected = [(":authority", "www.example.com"), ("custom-key", "custom-value")];
        assert_eq!(texts(&headers(&third[3..])), expected);
    }
}

/// RFC 7541, appendices C.5 and C.6: three responses, with a table of 256 bytes.
#[test]
fn the_responses_of_the_appendix() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 \
         3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 \
         7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 \
         6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let packed = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad \
         1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 \
         e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    let (date, location) = ("Mon, 21 Oct 2013 20:13:21 GMT", "https://www.example.com");
    for blocks in [plain, packed] {
        let mut decoder = Decoder::default();
        decoder.table.resize(256).unwrap();
        let answer = |decoder: &mut Decoder, block| headers(&carry(decoder, &hex(block)).unwrap());
        let first = answer(&mut decoder, blocks[0]);
        let rest = [("cache-control", "private"), ("date", date), ("location", location)];
        assert_eq!(texts(&first), [&[(":status", "302")], &rest[..]].concat());
        let second = answer(&mut decoder, blocks[1]);
        assert_eq!(texts(&second), [&[(":status", "307")], &rest[..]].concat());
        let third = answer(&mut decoder, blocks[2]);
        let expected = [
            (":status", "200"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
            ("location", location),
            ("content-encoding", "gzip"),
            ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
        ];
        assert_eq!(texts(&third), expected);
    }
}

/// One header of a block, and how it is written.
#[derive(Debug, Clone)]
struct Written {
    name: Option<usize>,
    value: String,
    huffman: bool,
    /// With incremental indexing, without, or never to be indexed.
    form: u8,
}

fn written() -> impl Strategy<Value = Written> {
    (prop::option::of(0_usize..5), "[ -~]{0,40}", any::<bool>(), 0_u8..3)
        .prop_map(|(name, value, huffman, form)| Written { name, value, huffman, form })
}

const NAMES: [&str; 5] = ["traceparent", "x-a", "grpc-timeout", "x-longer-than-others", "te"];

impl Written {
    fn put(&self, out: &mut Vec<u8>) {
        let (pattern, bits) = [(0x40, 6), (0, 4), (0x10, 4)][usize::from(self.form)];
        let text = |out: &mut Vec<u8>, text: &str| {
            if self.huffman {
                let packed = huffman::tests::encode(text.as_bytes());
                read::put_integer(out, 0x80, 7, packed.len());
                out.extend(packed);
            } else {
                read::put_plain(out, text.as_bytes());
            }
        };
        match self.name {
            Some(name) => {
                out.push(pattern);
                text(out, NAMES[name]);
            }
            // `:path`.
            None => read::put_integer(out, pattern, bits, 4),
        }
        text(out, &self.value);
    }

    fn header(&self) -> (String, String) {
        (self.name.map_or(":path", |name| NAMES[name]).to_owned(), self.value.clone())
    }
}

proptest! {
    #[test]
    fn blocks_say_the_same_and_stand_on_their_own(
        blocks in prop::collection::vec((prop::collection::vec(written(), 0..12), 0_usize..4, prop::option::of(0_usize..4097)), 1..8)
    ) {
        let mut decoder = Decoder::default();
        // What the table of the sender holds, to refer to it.
        let mut table = Table::default();
        for (fields, repeats, resize) in blocks {
            let (mut block, mut expected) = (Vec::new(), Vec::new());
            if let Some(size) = resize {
                read::put_integer(&mut block, 0x20, 5, size);
                table.resize(size).unwrap();
            }
            for field in &fields {
                field.put(&mut block);
                expected.push(field.header());
                if field.form == 0 {
                    let (name, value) = field.header();
                    table.insert(name.into(), value.into());
                }
                for entry in 0..repeats {
                    let Ok((name, value)) = table.get(entry) else { break };
                    read::put_integer(&mut block, 0x80, 7, 62 + entry);
                    expected.push((String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap()));
                }
                // The name of the newest entry, with another value.
                if let (Ok((name, _)), 1) = (table.get(0), repeats) {
                    read::put_integer(&mut block, 0x10, 4, 62);
                    read::put_plain(&mut block, b"other");
                    expected.push((String::from_utf8(name.to_vec()).unwrap(), "other".to_owned()));
                }
            }
            let (mut out, mut heads) = (Vec::new(), Heads::default());
            decoder.carry(&block, &mut out, Some(&mut heads)).unwrap();
            let found = headers(&out);
            prop_assert_eq!(&found, &expected);
            let value = |name: &str| expected.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone().into_bytes());
            prop_assert_eq!(heads, Heads { path: value(":path"), traceparent: value("traceparent") });
            if resize.is_none() && fields.iter().all(|field| field.form != 0) && repeats == 0 {
                prop_assert_eq!(out, block, "it stood on its own already");
            }
        }
    }

    #[test]
    fn no_blocks_make_it_panic(blocks in prop::collection::vec(any::<Vec<u8>>(), 1..5)) {
        let mut decoder = Decoder::default();
        for block in blocks {
            if let Ok(out) = carry(&mut decoder, &block) {
                // What comes out is carried as it is by the next one.
                prop_assert_eq!(carry(&mut Decoder::default(), &out), Ok(out));
            }
        }
    }
}

#[test]
fn a_small_block_that_becomes_a_large_one_is_refused() {
    let mut decoder = Decoder::default();
    let mut block = vec![0x40];
    read::put_plain(&mut block, b"x");
    read::put_plain(&mut block, &[b'v'; 4000]);
    carry(&mut decoder, &block).unwrap();
    assert!(carry(&mut decoder, &[0xbe; 200]).is_ok());
    assert!(carry(&mut decoder, &[0xbe; 300]).is_err());
}

#[test]
fn what_is_not_hpack_is_refused() {
    for block in ["80", "be", "7f", "00", "0f", "0001", "0085 ff", "3fe2 1f", "bfff ffff ffff ffff"] {
        assert!(carry(&mut Decoder::default(), &hex(block)).is_err(), "{block}");
    }
    let mut later = hex("82");
    later.push(NO_TABLE);
    // Not at the start (RFC 7541, 4.2), so it is read as a header, which there is not.
    assert!(carry(&mut Decoder::default(), &later).is_err());
}
