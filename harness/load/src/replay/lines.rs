//! The lines of a record, one at a time and none of them too long.

use std::io::{self, BufRead, Read};

/// Bytes of a line. An event at level `RequestResponse` holds an object twice, and etcd takes none above 1.5 MiB.
const LONGEST: usize = 16 << 20;

/// The lines of a record that are not empty.
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
}

/// The number of a line, from one, and the line or what is wrong with it.
pub(super) type Line<'a> = (u64, Result<&'a [u8], String>);

// === impl Lines ===

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), number: 0 }
    }

    /// The next line; `None` at the end. Not an iterator, since the line is lent.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.line.clear();
            let limit = LONGEST as u64 + 1;
            if self.reader.by_ref().take(limit).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if self.line.len() > LONGEST {
                if self.line.last() != Some(&b'\n') {
                    self.reader.skip_until(b'\n')?;
                }
                return Ok(Some((self.number, Err(format!("is longer than {} MiB", LONGEST >> 20)))));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        // Its end is no part of it: a line that was cut off is to be told as that.
        Ok(Some((self.number, Ok(self.line.trim_ascii_end()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_empty_ones_passed_over() {
        let mut lines = Lines::new(&b"a\n\n \nb"[..]);
        assert_eq!(lines.next().unwrap(), Some((1, Ok(&b"a"[..]))));
        assert_eq!(lines.next().unwrap(), Some((4, Ok(&b"b"[..]))));
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn a_line_without_an_end_is_refused_and_the_next_one_read() {
        let mut text = vec![b'x'; 2 * LONGEST];
        text.extend(b"\nb\n");
        let mut lines = Lines::new(&text[..]);
        assert!(matches!(lines.next().unwrap(), Some((1, Err(_)))));
        assert!(lines.line.capacity() <= 2 * LONGEST, "no more is held than may be used");
        assert_eq!(lines.next().unwrap(), Some((2, Ok(&b"b"[..]))));
    }
}
