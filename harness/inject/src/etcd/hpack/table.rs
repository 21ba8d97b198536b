//! The tables that headers refer to (RFC 7541, 2.3).

use std::collections::VecDeque;

use super::super::frame::Malformed;

/// The names of the static table (RFC 7541, appendix A), which begins at 1. Nothing here needs its values, but
/// for that of [`PATH_ROOT`].
#[rustfmt::skip]
pub(super) const STATIC_NAMES: [&str; 61] = [
    ":authority", ":method", ":method", ":path", ":path", ":scheme", ":scheme", ":status", ":status", ":status",
    ":status", ":status", ":status", ":status", "accept-charset", "accept-encoding", "accept-language",
    "accept-ranges", "accept", "access-control-allow-origin", "age", "allow", "authorization", "cache-control",
    "content-disposition", "content-encoding", "content-language", "content-length", "content-location",
    "content-range", "content-type", "cookie", "date", "etag", "expect", "expires", "from", "host", "if-match",
    "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "link", "location",
    "max-forwards", "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh", "retry-after",
    "server", "set-cookie", "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via",
    "www-authenticate",
];

/// `:path: /`.
pub(super) const PATH_ROOT: usize = 4;
/// `:status: 200`, as a whole header.
pub(crate) const STATUS_200: u8 = 0x80 | 8;
/// The name `content-type`.
pub(crate) const CONTENT_TYPE: usize = 31;

/// The most that a table may hold, in bytes: what is allowed before the peers have agreed (RFC 9113, 6.5.2), and the
/// proxy lets nobody hear of more.
const LARGEST: usize = 4096;
/// What an entry counts beside its texts, in bytes (RFC 7541, 4.1).
const OVERHEAD: usize = 32;

/// The dynamic table of one direction.
#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<(Vec<u8>, Vec<u8>)>,
    size: usize,
    limit: usize,
}

/// Where in the dynamic table an index points, counted from its newest entry; `None` for the static table.
pub(super) fn dynamic(index: usize) -> Result<Option<usize>, Malformed> {
    match index {
        0 => Err(Malformed("a header refers to nothing")),
        1..=61 => Ok(None),
        _ => Ok(Some(index - 62)),
    }
}

// === impl Table ===

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: LARGEST }
    }
}

impl Table {
    pub(super) fn get(&self, entry: usize) -> Result<(&[u8], &[u8]), Malformed> {
        let (name, value) = self.entries.get(entry).ok_or(Malformed("a header refers beyond its table"))?;
        Ok((name, value))
    }

    /// An entry larger than the table empties it (RFC 7541, 4.4).
    pub(super) fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) {
        let size = name.len() + value.len() + OVERHEAD;
        self.evict(self.limit.saturating_sub(size));
        if size <= self.limit {
            self.size += size;
            self.entries.push_front((name, value));
        }
    }

    pub(super) fn resize(&mut self, limit: usize) -> Result<(), Malformed> {
        if limit > LARGEST {
            return Err(Malformed("a table of headers grows beyond its limit"));
        }
        self.limit = limit;
        self.evict(limit);
        Ok(())
    }

    fn evict(&mut self, to: usize) {
        while self.size > to
            && let Some((name, value)) = self.entries.pop_back()
        {
            self.size -= name.len() + value.len() + OVERHEAD;
        }
    }
}
