//! Headers as HTTP/2 packs them (HPACK, RFC 7541), made fit to be held, reordered or dropped.
//!
//! A block of headers may refer to headers of earlier blocks, by the dynamic table that either end of a
//! connection keeps. Such a block cannot be held while later ones pass. The proxy therefore lets each peer hear
//! that the other one keeps no table (`SETTINGS_HEADER_TABLE_SIZE` 0), after which every block stands on its own
//! and is carried byte for byte. Blocks that a peer sent before it heard that are written anew, with everything
//! spelled out that refers to the table or changes it.
//!
//! No library is used: what there is decodes a block into headers, and gives no means to tell where in the block a
//! header lies, or to look at two of them and leave the others packed.

use super::frame::Malformed;

mod huffman;
mod read;
mod table;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use read::{put_header, put_named};
pub(crate) use table::{CONTENT_TYPE, STATUS_200};

use read::{Reader, Text};
use table::Table;

/// Longest block of headers that is carried, in bytes, packed or written anew. gRPC servers and clients take far
/// less.
pub(crate) const LONGEST_BLOCK: usize = 1 << 20;

/// What begins a block after which the dynamic table has no room (RFC 7541, 6.3).
pub(crate) const NO_TABLE: u8 = 0x20;

/// Reads the blocks of one peer, in the order in which they come.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    table: Table,
}

/// The headers of a request that the proxy looks at; the first of each name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) traceparent: Option<Vec<u8>>,
}

/// A header as the block has it.
struct Field<'a> {
    name: Name<'a>,
    value: Text<'a>,
}

/// The name of a header.
enum Name<'a> {
    /// Of an entry of the static table.
    Static(usize),
    /// Of an entry of the dynamic table, counted from its newest.
    Dynamic(usize),
    Spelled(Text<'a>),
}

// === impl Decoder ===

impl Decoder {
    /// Appends `block` to `out`, without references to the dynamic table and without changes of its size.
    /// Notes the headers that somebody wants to see.
    pub(crate) fn carry(
        &mut self,
        block: &[u8],
        out: &mut Vec<u8>,
        mut heads: Option<&mut Heads>,
    ) -> Result<(), Malformed> {
        let mut reader = Reader::new(block);
        // Everything from here on is to be carried as it is.
        let mut raw = 0;
        while let Some(size) = reader.size_update()? {
            self.table.resize(size)?;
            raw = reader.at();
        }
        let longest = out.len() + LONGEST_BLOCK;
        while let Some(first) = reader.peek() {
            let start = reader.at();
            let rewritten = if first & 0x80 != 0 {
                // An indexed header (RFC 7541, 6.1).
                let index = reader.integer(7)?;
                match table::dynamic(index)? {
                    None => {
                        if let Some(heads) = &mut heads {
                            heads.see_static(index);
                        }
                        continue;
                    }
                    Some(entry) => {
                        let (name, value) = self.table.get(entry)?;
                        out.extend_from_slice(&block[raw..start]);
                        out.push(0);
                        read::put_plain(out, name);
                        read::put_plain(out, value);
                        if let Some(heads) = &mut heads {
                            heads.see(name, value);
                        }
                        true
                    }
                }
            } else {
                // A literal: with indexing, without, or never to be indexed (RFC 7541, 6.2).
                let indexing = first & 0x40 != 0;
                let field = Field::read(&mut reader, if indexing { 6 } else { 4 })?;
                if let Some(heads) = &mut heads {
                    field.show(&self.table, heads)?;
                }
                let never = if indexing { 0 } else { first & 0x10 };
                let stands_alone = !indexing && !matches!(field.name, Name::Dynamic(_));
                if !stands_alone {
                    out.extend_from_slice(&block[raw..start]);
                    field.spell(&self.table, never, out)?;
                }
                if indexing {
                    let (name, value) = field.plain(&self.table)?;
                    self.table.insert(name, value);
                }
                !stands_alone
            };
            if rewritten {
                raw = reader.at();
            }
            if out.len() > longest {
                return Err(Malformed("a block of headers is too long"));
            }
        }
        out.extend_from_slice(&block[raw..]);
        if out.len() > longest {
            return Err(Malformed("a block of headers is too long"));
        }
        Ok(())
    }
}

// === impl Heads ===

impl Heads {
    fn see_static(&mut self, index: usize) {
        if index == table::PATH_ROOT {
            self.path.get_or_insert_with(|| b"/".to_vec());
        }
    }

    fn see(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b":path" => drop(self.path.get_or_insert_with(|| value.to_vec())),
            b"traceparent" => drop(self.traceparent.get_or_insert_with(|| value.to_vec())),
            _ => {}
        }
    }
}

// === impl Field ===

impl<'a> Field<'a> {
    fn read(reader: &mut Reader<'a>, bits: u8) -> Result<Self, Malformed> {
        let name = match reader.integer(bits)? {
            0 => Name::Spelled(reader.text()?),
            index => match table::dynamic(index)? {
                None => Name::Static(index),
                Some(entry) => Name::Dynamic(entry),
            },
        };
        Ok(Self { name, value: reader.text()? })
    }

    /// Appends the header so that it needs no dynamic table.
    fn spell(&self, table: &Table, never: u8, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self.name {
            Name::Static(index) => read::put_integer(out, never, 4, index),
            Name::Dynamic(entry) => {
                out.push(never);
                read::put_plain(out, table.get(entry)?.0);
            }
            Name::Spelled(name) => {
                out.push(never);
                name.put(out);
            }
        }
        self.value.put(out);
        Ok(())
    }

    /// Name and value, unpacked.
    fn plain(&self, table: &Table) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let name = match self.name {
            Name::Static(index) => table::STATIC_NAMES[index - 1].as_bytes().to_vec(),
            Name::Dynamic(entry) => table.get(entry)?.0.to_vec(),
            Name::Spelled(name) => name.plain()?,
        };
        Ok((name, self.value.plain()?))
    }

    /// Unpacks the value if somebody wants to see it.
    fn show(&self, table: &Table, heads: &mut Heads) -> Result<(), Malformed> {
        let is = |wanted: &str| match self.name {
            Name::Static(index) => table::STATIC_NAMES[index - 1] == wanted,
            Name::Dynamic(entry) => table.get(entry).is_ok_and(|(name, _)| name == wanted.as_bytes()),
            Name::Spelled(name) => name.is(wanted.as_bytes()),
        };
        if heads.path.is_none() && is(":path") {
            heads.path = Some(self.value.plain()?);
        } else if heads.traceparent.is_none() && is("traceparent") {
            heads.traceparent = Some(self.value.plain()?);
        }
        Ok(())
    }
}
