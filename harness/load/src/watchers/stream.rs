//! One answer of the API server, as a watcher reads it: a page as a whole, a watch line by line.

use std::ops::ControlFlow;

/// Cuts a stream into lines; it comes in pieces that end anywhere.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
}

// === impl Lines ===

impl Lines {
    /// Takes the next piece, and gives every line that it ends to `each` until that breaks.
    pub(super) fn feed<B>(
        &mut self,
        mut piece: &[u8],
        mut each: impl FnMut(&[u8]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (line, left) = (&piece[..end], &piece[end + 1..]);
            piece = left;
            if self.rest.is_empty() {
                each(line)?;
            } else {
                self.rest.extend_from_slice(line);
                let whole = std::mem::take(&mut self.rest);
                each(&whole)?;
            }
        }
        self.rest.extend_from_slice(piece);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            let flow: ControlFlow<()> = lines.feed(piece, |line| {
                found.push(line.to_vec());
                ControlFlow::Continue(())
            });
            assert!(flow.is_continue());
        }
        found
    }

    #[test]
    fn a_line_without_an_end_is_not_there_yet() {
        assert_eq!(lines(&[b"a", b"b\nc"]), [b"ab"]);
        assert_eq!(lines(&[b"a\n\n", b"b\n"]), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn nothing_comes_after_a_break() {
        let mut count = 0;
        let flow = Lines::default().feed(b"a\nb\nc\n", |_| {
            count += 1;
            if count == 2 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
        });
        assert_eq!((flow, count), (ControlFlow::Break("enough"), 2));
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_stream_is_cut(
            text in proptest::collection::vec("[a-z]{0,9}", 0..9),
            size in 1_usize..20,
        ) {
            let whole: String = text.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            let pieces: Vec<_> = whole.as_bytes().chunks(size).collect();
            let found = lines(&pieces);
            prop_assert_eq!(found, text.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
