//! Where the ids and times of an encoded span lie, so that they can be changed in place.

/// The places of an encoded `Span` message, from its first byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Of the 16 bytes of the trace id.
    pub(super) trace_id: usize,
    /// Of the 8 bytes of the span id.
    pub(super) span_id: usize,
    /// Of the 8 bytes of the parent's id, unless it is a root.
    pub(super) parent: Option<usize>,
    /// Of the `fixed64` of every time: start, end, events.
    pub(super) times: Vec<usize>,
}

/// A position in a message.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A field: its number and what it holds.
enum Field {
    /// A `fixed64` at this place.
    Fixed64(u64, usize),
    /// So many bytes from this place on.
    Delimited(u64, usize, usize),
    /// Something without ids and times.
    Other,
}

// === impl Places ===

impl Places {
    /// The places of a span that prost has encoded; `None` when the bytes are no message.
    pub(super) fn of(span: &[u8]) -> Option<Self> {
        let mut places = Self::default();
        let mut fields = Fields { bytes: span, at: 0 };
        while fields.at < span.len() {
            match fields.next()? {
                Field::Delimited(1, at, 16) => places.trace_id = at,
                Field::Delimited(2, at, 8) => places.span_id = at,
                Field::Delimited(4, at, 8) => places.parent = Some(at),
                Field::Fixed64(7 | 8, at) => places.times.push(at),
                Field::Delimited(11, at, length) => {
                    let mut event = Fields { bytes: span.get(..at + length)?, at };
                    while event.at < event.bytes.len() {
                        if let Field::Fixed64(1, at) = event.next()? {
                            places.times.push(at);
                        }
                    }
                }
                _ => {}
            }
        }
        Some(places)
    }
}

// === impl Fields ===

impl Fields<'_> {
    /// Reads a field and passes over it.
    fn next(&mut self) -> Option<Field> {
        let key = self.varint()?;
        let number = key >> 3;
        let (field, length) = match key & 7 {
            0 => {
                self.varint()?;
                (Field::Other, 0)
            }
            1 => (Field::Fixed64(number, self.at), 8),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                (Field::Delimited(number, self.at, length), length)
            }
            5 => (Field::Other, 4),
            _ => return None,
        };
        self.at = self.at.checked_add(length).filter(|at| *at <= self.bytes.len())?;
        Some(field)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for place in 0..10 {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{Span, span::Event};
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_place_is_where_it_is_said_to_be() {
        let event = |time_unix_nano| Event { time_unix_nano, name: "x".repeat(200), ..Event::default() };
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_span_id: vec![3; 8],
            name: "audit".to_owned(),
            flags: 0x301,
            start_time_unix_nano: 0x0101_0101_0101_0101,
            end_time_unix_nano: 0x0202_0202_0202_0202,
            events: vec![event(0x0303_0303_0303_0303), event(0), event(0x0404_0404_0404_0404)],
            ..Span::default()
        };
        let bytes = span.encode_to_vec();
        let places = Places::of(&bytes).unwrap();
        assert_eq!(bytes[places.trace_id..][..16], [1; 16]);
        assert_eq!(bytes[places.span_id..][..8], [2; 8]);
        assert_eq!(bytes[places.parent.unwrap()..][..8], [3; 8]);
        let times: Vec<_> = places.times.iter().map(|at| bytes[*at..][..8].to_vec()).collect();
        assert_eq!(times, [[1; 8], [2; 8], [3; 8], [4; 8]]);
    }

    #[test]
    fn what_is_cut_off_has_no_places() {
        let span = Span { trace_id: vec![1; 16], end_time_unix_nano: 5, ..Span::default() };
        let bytes = span.encode_to_vec();
        assert!(Places::of(&bytes).is_some());
        for end in [1, 2, 10, 17, 19, bytes.len() - 1] {
            assert_eq!(Places::of(&bytes[..end]), None, "{end}");
        }
    }
}
