//! The end of the initial events of a watch.
//!
//! A watch that delivers the state first (`sendInitialEvents`) tells with a bookmark when that is through: it has
//! the annotation `k8s.io/initial-events-end: "true"` (KEP-3157).

use crate::protobuf::{Frames, PROTOBUF};

/// Finds the end of the initial events in a watch, which comes in pieces that end anywhere.
#[derive(Debug)]
pub(crate) enum InitialEvents {
    Json(Lines),
    Protobuf(Frames),
}

/// Looks at the lines of a watch, one event each.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// What there is of the current line, as long as it may be a bookmark.
    line: Vec<u8>,
    /// Whether the current line is of no interest.
    skip: bool,
}

/// How a bookmark begins: Go writes the fields of `metav1.WatchEvent` in their order.
const BOOKMARK: &[u8] = br#"{"type":"BOOKMARK""#;
/// The annotation as Go writes it.
const END: &[u8] = br#""k8s.io/initial-events-end":"true""#;

// === impl InitialEvents ===

impl InitialEvents {
    /// For a watch that is asked for in the media type `accept`.
    pub(crate) fn new(accept: &str) -> Self {
        match accept {
            PROTOBUF => Self::Protobuf(Frames::default()),
            _ => Self::Json(Lines::default()),
        }
    }

    /// Takes the next bytes; true when one of the events so far ends the initial ones.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Json(lines) => lines.end(bytes),
            Self::Protobuf(frames) => frames.initial_events_end(bytes),
        }
    }
}

// === impl Lines ===

impl Lines {
    fn end(&mut self, bytes: &[u8]) -> bool {
        bytes.split_inclusive(|byte| *byte == b'\n').any(|piece| {
            let whole = piece.ends_with(b"\n");
            if !self.skip {
                self.line.extend_from_slice(piece);
                let head = BOOKMARK.len().min(self.line.len());
                self.skip = self.line[..head] != BOOKMARK[..head];
            }
            let found = whole && !self.skip && self.line.windows(END.len()).any(|window| window == END);
            if whole || self.skip {
                self.line.clear();
            }
            self.skip &= !whole;
            found
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARK: &str = r#""annotations":{"k8s.io/initial-events-end":"true"}"#;

    fn event(name: &str, metadata: &str) -> String {
        format!("{{\"type\":\"{name}\",\"object\":{{\"kind\":\"Pod\",\"metadata\":{{{metadata}}}}}}}\n")
    }

    #[test]
    fn only_a_bookmark_with_the_annotation_counts() {
        for other in
            [event("ADDED", MARK), event("BOOKMARK", ""), event("BOOKMARK", &MARK.replace("true", "no"))]
        {
            assert!(!InitialEvents::new("application/json").end(other.as_bytes()), "{other}");
        }
        assert!(InitialEvents::new("application/json").end(event("BOOKMARK", MARK).as_bytes()));
    }

    proptest! {
        #[test]
        fn the_end_is_found_however_the_stream_is_cut(added in 0_usize..5, chunk in 1_usize..90) {
            let mut lines = Lines::default();
            let before = event("ADDED", MARK).repeat(added) + &event("BOOKMARK", "");
            for piece in before.as_bytes().chunks(chunk) {
                prop_assert!(!lines.end(piece));
            }
            prop_assert!(event("BOOKMARK", MARK).as_bytes().chunks(chunk).any(|piece| lines.end(piece)));
        }
    }
}
