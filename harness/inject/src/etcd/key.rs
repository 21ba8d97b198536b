//! The key that an etcd request is about, found by walking the wire format of protobuf.
//!
//! Field numbers are those of `etcd/api/etcdserverpb/rpc.proto` (etcd 3.7); they are part of etcd's protocol
//! and do not change. Walking finds the key in well under a microsecond and copies nothing.

/// Transactions may nest; etcd itself nests them never, and Kubernetes not either.
const DEEPEST_TRANSACTION: usize = 8;

/// The payload of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    /// Strings, bytes and messages.
    Bytes(&'a [u8]),
    /// Any other type; none of them is of use here.
    Number,
}

/// The fields of one message, until its end or until something that is not protobuf.
#[derive(Debug, Clone)]
struct Fields<'a>(&'a [u8]);

/// The first key of a request of `rpc` (`KV/Txn`), or `None` when that RPC has no key or the message none.
pub(crate) fn first_key<'a>(rpc: &str, message: &'a [u8]) -> Option<&'a [u8]> {
    match rpc {
        // `RangeRequest.key`, `PutRequest.key` and `DeleteRangeRequest.key`.
        "KV/Range" | "KV/RangeStream" | "KV/Put" | "KV/DeleteRange" => field(message, 1),
        "KV/Txn" => transaction(message, 0),
        // `WatchRequest.create_request`, `WatchCreateRequest.key`.
        "Watch/Watch" => field(field(message, 1)?, 1),
        _ => None,
    }
}

/// The first key of a `TxnRequest`: that of a comparison, of an operation on success, of one on failure.
fn transaction(message: &[u8], depth: usize) -> Option<&[u8]> {
    if depth > DEEPEST_TRANSACTION {
        return None;
    }
    // `TxnRequest.compare`, `Compare.key`.
    let compared = fields(message, 1).find_map(|compare| field(compare, 3));
    // `TxnRequest.success` and `TxnRequest.failure`.
    compared
        .or_else(|| fields(message, 2).find_map(|operation| request_op(operation, depth)))
        .or_else(|| fields(message, 3).find_map(|operation| request_op(operation, depth)))
}

/// The key of a `RequestOp`: `request_range`, `request_put`, `request_delete_range` or `request_txn`.
fn request_op(message: &[u8], depth: usize) -> Option<&[u8]> {
    Fields(message).find_map(|(number, value)| match (number, value) {
        (1..=3, Value::Bytes(request)) => field(request, 1),
        (4, Value::Bytes(nested)) => transaction(nested, depth + 1),
        _ => None,
    })
}

/// The first field with this number that is bytes.
fn field(message: &[u8], number: u64) -> Option<&[u8]> {
    fields(message, number).next()
}

/// All fields with this number that are bytes.
fn fields(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    Fields(message).filter_map(move |field| match field {
        (found, Value::Bytes(bytes)) if found == number => Some(bytes),
        _ => None,
    })
}

// === impl Fields ===

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        field
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        // Wire types: <https://protobuf.dev/programming-guides/encoding/>; groups (3 and 4) are extinct.
        let value = match tag & 7 {
            0 => self.varint().map(|_| Value::Number)?,
            1 => self.take(8).map(|_| Value::Number)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => self.take(4).map(|_| Value::Number)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A varint on the wire.
    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).unwrap());
        bytes
    }

    /// A field of bytes on the wire.
    pub(crate) fn bytes_field(number: u64, bytes: &[u8]) -> Vec<u8> {
        [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
    }

    fn number_field(number: u64, value: u64) -> Vec<u8> {
        [varint(number << 3), varint(value)].concat()
    }

    /// A transaction as Kubernetes sends it: compare the revision of `key`, put it, else read it.
    pub(crate) fn txn(key: &[u8], value: &[u8]) -> Vec<u8> {
        let compare = [number_field(1, 0), number_field(2, 2), bytes_field(3, key), number_field(6, 41)];
        let put = [bytes_field(1, key), bytes_field(2, value)];
        [
            bytes_field(1, &compare.concat()),
            bytes_field(2, &bytes_field(2, &put.concat())),
            bytes_field(3, &bytes_field(1, &bytes_field(1, key))),
        ]
        .concat()
    }

    #[test]
    fn the_key_of_every_request_is_found() {
        let range = [bytes_field(1, b"/a"), bytes_field(2, b"/b"), number_field(3, 500)].concat();
        for rpc in ["KV/Range", "KV/RangeStream", "KV/Put", "KV/DeleteRange"] {
            assert_eq!(first_key(rpc, &range), Some(&b"/a"[..]), "{rpc}");
        }
        assert_eq!(first_key("KV/Txn", &txn(b"/k", b"v")), Some(&b"/k"[..]));
        let create = bytes_field(1, &[bytes_field(1, b"/w/"), bytes_field(2, b"/w0")].concat());
        assert_eq!(first_key("Watch/Watch", &create), Some(&b"/w/"[..]));
    }

    #[test]
    fn a_transaction_without_comparison_has_the_key_of_its_first_operation() {
        for (branch, operation) in [(2, 1), (2, 2), (2, 3), (3, 1), (3, 3)] {
            let message = bytes_field(branch, &bytes_field(operation, &bytes_field(1, b"/k")));
            assert_eq!(first_key("KV/Txn", &message), Some(&b"/k"[..]), "{branch} {operation}");
        }
        let nested = bytes_field(2, &bytes_field(4, &txn(b"/n", b"")));
        assert_eq!(first_key("KV/Txn", &nested), Some(&b"/n"[..]));
    }

    #[test]
    fn a_request_without_a_key_has_none() {
        assert_eq!(first_key("Lease/LeaseGrant", &number_field(1, 60)), None);
        assert_eq!(first_key("KV/Txn", b""), None);
        // A cancel request of a watch stream.
        assert_eq!(first_key("Watch/Watch", &bytes_field(2, &number_field(1, 5))), None);
    }

    #[test]
    fn nesting_without_end_is_given_up() {
        let mut message = txn(b"/deep", b"");
        for _ in 0..1000 {
            message = bytes_field(2, &bytes_field(4, &message));
        }
        assert_eq!(first_key("KV/Txn", &message), None);
    }

    proptest! {
        #[test]
        fn any_key_is_found_among_other_fields(
            key: Vec<u8>,
            value: Vec<u8>,
            others in prop::collection::vec((4_u64..1 << 20, any::<u64>()), 0..5),
        ) {
            let mut message: Vec<u8> = others.iter().flat_map(|(n, v)| number_field(*n, *v)).collect();
            message.extend(txn(&key, &value));
            prop_assert_eq!(first_key("KV/Txn", &message), Some(&key[..]));
        }

        #[test]
        fn no_bytes_make_it_panic(message: Vec<u8>) {
            for rpc in ["KV/Range", "KV/Txn", "Watch/Watch"] {
                if let Some(key) = first_key(rpc, &message) {
                    prop_assert!(key.len() < message.len());
                }
            }
        }

        #[test]
        fn a_truncated_message_has_its_key_or_none(key in prop::collection::vec(any::<u8>(), 1..40), cut: prop::sample::Index) {
            let message = txn(&key, b"value");
            let found = first_key("KV/Txn", &message[..cut.index(message.len())]);
            prop_assert!(found.is_none() || found == Some(&key[..]));
        }
    }
}
