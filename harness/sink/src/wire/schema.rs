//! The messages of OTLP traces as tables, for checking what a walk does not look at.
//!
//! A span is decoded long after its sender was told that it arrived, so whatever cannot be decoded must be
//! refused at the door. The tables follow `opentelemetry/proto/{trace,common,resource}/v1` as
//! opentelemetry-proto knows them: a field that is not listed there is skipped, as prost does.

use super::reader::{Problem, Reader, WireError, WireType};

/// A message: its fields by number.
pub(super) struct Message(&'static [Field]);

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// Not a field of this message.
    Unknown,
    /// A number, a truth value or an enumeration.
    Varint,
    /// `fixed32`.
    Fixed32,
    /// `fixed64` or `double`.
    Fixed64,
    /// `string`.
    Text,
    /// `bytes`.
    Bytes,
    /// Another message.
    Message(&'static Message),
}

use Field::{Bytes, Fixed32, Fixed64, Text, Unknown, Varint};

pub(super) static RESOURCE_SPANS: Message =
    Message(&[Unknown, Field::Message(&RESOURCE), Field::Message(&SCOPE_SPANS), Text]);
pub(super) static RESOURCE: Message =
    Message(&[Unknown, Field::Message(&KEY_VALUE), Varint, Field::Message(&ENTITY_REF)]);
static ENTITY_REF: Message = Message(&[Unknown, Text, Text, Text, Text]);
pub(super) static SCOPE_SPANS: Message =
    Message(&[Unknown, Field::Message(&SCOPE), Field::Message(&SPAN), Text]);
pub(super) static SCOPE: Message = Message(&[Unknown, Text, Text, Field::Message(&KEY_VALUE), Varint]);
pub(super) static SPAN: Message = Message(&[
    Unknown,
    Bytes,
    Bytes,
    Text,
    Bytes,
    Text,
    Varint,
    Fixed64,
    Fixed64,
    Field::Message(&KEY_VALUE),
    Varint,
    Field::Message(&EVENT),
    Varint,
    Field::Message(&LINK),
    Varint,
    Field::Message(&STATUS),
    Fixed32,
]);
static EVENT: Message = Message(&[Unknown, Fixed64, Text, Field::Message(&KEY_VALUE), Varint]);
static LINK: Message = Message(&[Unknown, Bytes, Bytes, Text, Field::Message(&KEY_VALUE), Varint, Fixed32]);
pub(super) static STATUS: Message = Message(&[Unknown, Unknown, Text, Varint]);
pub(super) static KEY_VALUE: Message = Message(&[Unknown, Text, Field::Message(&ANY_VALUE), Varint]);
pub(super) static ANY_VALUE: Message = Message(&[
    Unknown,
    Text,
    Varint,
    Varint,
    Fixed64,
    Field::Message(&ARRAY_VALUE),
    Field::Message(&KEY_VALUE_LIST),
    Bytes,
    Varint,
]);
static ARRAY_VALUE: Message = Message(&[Unknown, Field::Message(&ANY_VALUE)]);
static KEY_VALUE_LIST: Message = Message(&[Unknown, Field::Message(&KEY_VALUE)]);

// === impl Message ===

impl Message {
    /// Checks the rest of `reader`, in which messages may be nested `depth` deep.
    pub(super) fn check(&self, mut reader: Reader<'_>, depth: u32) -> Result<(), WireError> {
        while !reader.is_done() {
            let (field, wire_type) = reader.key()?;
            self.check_field(&mut reader, field, wire_type, depth)?;
        }
        Ok(())
    }

    /// Checks and passes over one field whose key has been read.
    #[inline]
    pub(super) fn check_field(
        &self,
        reader: &mut Reader<'_>,
        field: u32,
        wire_type: WireType,
        depth: u32,
    ) -> Result<(), WireError> {
        let kind = self.0.get(field as usize).copied().unwrap_or(Unknown);
        match (kind, wire_type) {
            (Unknown, _)
            | (Varint, WireType::Varint)
            | (Fixed32, WireType::Fixed32)
            | (Fixed64, WireType::Fixed64)
            | (Bytes, WireType::Delimited) => reader.skip(wire_type),
            (Text, WireType::Delimited) => reader.delimited()?.text().map(drop),
            (Field::Message(message), WireType::Delimited) => {
                let inner = deeper(reader, depth)?;
                message.check(reader.delimited()?, inner)
            }
            _ => Err(reader.fail(Problem::WireType { field })),
        }
    }
}

/// The depth that is left within one more message.
#[inline]
pub(super) fn deeper(reader: &Reader<'_>, depth: u32) -> Result<u32, WireError> {
    depth.checked_sub(1).ok_or_else(|| reader.fail(Problem::Depth))
}
