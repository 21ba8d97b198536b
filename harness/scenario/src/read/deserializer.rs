//! A serde deserializer over a node.

use serde::{
    Deserializer,
    de::{Visitor, value::StrDeserializer},
    forward_to_deserialize_any,
};

use super::{
    MAX_MISTAKES, Place, Reader,
    access::{Entries, Items, Variant},
    failure::Failure,
    required,
};
use crate::{
    node::{Entry, Node, Scalar, Value},
    suggest,
};

/// Reads one node.
#[derive(Clone, Copy)]
pub(super) struct NodeDeserializer<'a> {
    pub(super) reader: &'a Reader,
    pub(super) node: &'a Node,
    pub(super) place: &'a Place<'a>,
}

// === impl NodeDeserializer ===

impl<'a> NodeDeserializer<'a> {
    /// Reads a mapping with known keys. Unknown, repeated and missing keys are all noted.
    pub(super) fn known_keys<'de, V: Visitor<'de>>(
        self,
        known: &'static [&'static str],
        required: &[String],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        if self.reader.foreign {
            return self.deserialize_map(visitor);
        }
        let Some(entries) = self.node.entries() else {
            let help = (!known.is_empty()).then(|| format!("its keys: {}", suggest::list(known)));
            return Err(Failure::Expected { what: "a mapping".to_owned(), help });
        };
        let unknown = || entries.iter().filter(|entry| !known.contains(&entry.key.as_str()));
        unknown().for_each(|entry| self.reader.set_aside(&entry.value));
        let mut misspelt = Vec::new();
        // Further ones would not be shown.
        for entry in unknown().take(MAX_MISTAKES) {
            misspelt.extend(suggest::nearest(&entry.key, known.iter().copied()));
            self.refuse(
                entry,
                format!("unknown key `{}`", entry.key),
                Some(suggest::help(&entry.key, known)),
            );
        }
        // A key that is there under a misspelt name is not said to be missing as well.
        let written = |key: &str| misspelt.contains(&key) || entries.iter().any(|entry| entry.key == key);
        let missing: Vec<&String> = required.iter().filter(|key| !written(key)).collect();
        if !missing.is_empty() {
            let (keys, are) = if missing.len() == 1 { ("key", "is") } else { ("keys", "are") };
            let message = format!("the {keys} {} {are} missing", suggest::list(&missing));
            self.reader.note(self.place.path(), self.node.head(self.place.key()), message, None);
        }
        self.any_keys(entries, visitor).map_err(|failure| match failure {
            Failure::Missing(key) if !missing.is_empty() || written(key) => Failure::Incomplete,
            other => other,
        })
    }

    /// Reads a mapping with any keys. Repeated ones are noted.
    fn any_keys<'de, V: Visitor<'de>>(self, entries: &'a [Entry], visitor: V) -> Result<V::Value, Failure> {
        let mut seen = std::collections::HashSet::new();
        for entry in entries {
            if !seen.insert(entry.key.as_str()) && !self.reader.is_aside(&entry.value) {
                self.refuse(entry, format!("the key `{}` is given more than once", entry.key), None);
            }
        }
        visitor.visit_map(Entries::new(self, entries))
    }

    /// Notes a key and sets its value aside.
    pub(super) fn refuse(&self, entry: &Entry, message: String, help: Option<String>) {
        let place = Place::Key(self.place, &entry.key, &entry.key_span);
        self.reader.note(place.path(), entry.key_span.clone(), message, help);
        self.reader.set_aside(&entry.value);
    }

    fn text(&self) -> Result<&'a str, Failure> {
        match (self.node.scalar(), &self.node.value) {
            (Some(Scalar::Text(text)), _) => Ok(text),
            (Some(Scalar::Null) | None, _) => Err(Failure::expected("text")),
            (Some(_), Value::Scalar { text, .. }) => {
                let help = Some(format!("quote it: \"{text}\""));
                Err(Failure::Expected { what: "text".to_owned(), help })
            }
            (Some(_), _) => Err(Failure::expected("text")),
        }
    }

    /// The scalar is not a number or truth value as expected; the quotes may be all that is wrong.
    fn expected_unquoted(&self, what: impl Into<String>) -> Failure {
        let help = self.node.is_quoted_value().then(|| "remove the quotes".to_owned());
        Failure::Expected { what: what.into(), help }
    }

    fn unsigned(&self, max: u64) -> Result<u64, Failure> {
        match self.node.scalar() {
            Some(Scalar::Unsigned(number)) if number <= max => Ok(number),
            _ => Err(self.expected_unquoted(format!("a whole number from 0 to {max}"))),
        }
    }

    fn signed(&self, min: i64, max: i64) -> Result<i64, Failure> {
        let number = match self.node.scalar() {
            Some(Scalar::Unsigned(number)) => i64::try_from(number).ok(),
            Some(Scalar::Signed(number)) => Some(number),
            _ => None,
        };
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.expected_unquoted(format!("a whole number from {min} to {max}")))
    }
}

/// Reads whole numbers of every width.
macro_rules! integers {
    ($($method:ident $visit:ident $read:ident($($limit:expr),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            visitor.$visit(self.$read($($limit.into()),*)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Failure;

    integers! {
        deserialize_u8 visit_u64 unsigned(u8::MAX);
        deserialize_u16 visit_u64 unsigned(u16::MAX);
        deserialize_u32 visit_u64 unsigned(u32::MAX);
        deserialize_u64 visit_u64 unsigned(u64::MAX);
        deserialize_i8 visit_i64 signed(i8::MIN, i8::MAX);
        deserialize_i16 visit_i64 signed(i16::MIN, i16::MAX);
        deserialize_i32 visit_i64 signed(i32::MIN, i32::MAX);
        deserialize_i64 visit_i64 signed(i64::MIN, i64::MAX);
    }

    forward_to_deserialize_any! { i128 u128 bytes byte_buf }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match (&self.node.value, self.node.scalar()) {
            (Value::Sequence(items), _) => visitor.visit_seq(Items::new(self, items)),
            (Value::Mapping(entries), _) => self.any_keys(entries, visitor),
            (_, Some(Scalar::Bool(truth))) => visitor.visit_bool(truth),
            (_, Some(Scalar::Unsigned(number))) => visitor.visit_u64(number),
            (_, Some(Scalar::Signed(number))) => visitor.visit_i64(number),
            (_, Some(Scalar::Float(number))) => visitor.visit_f64(number),
            (_, Some(Scalar::Text(text))) => visitor.visit_str(text),
            (_, Some(Scalar::Null) | None) => visitor.visit_unit(),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.scalar() {
            Some(Scalar::Bool(truth)) => visitor.visit_bool(truth),
            _ => Err(self.expected_unquoted("true or false")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.scalar() {
            Some(Scalar::Unsigned(number)) => visitor.visit_f64(number as f64),
            Some(Scalar::Signed(number)) => visitor.visit_f64(number as f64),
            Some(Scalar::Float(number)) => visitor.visit_f64(number),
            _ => Err(self.expected_unquoted("a number")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.reader.foreign && self.node.is_null() {
            return visitor.visit_none();
        }
        if self.node.is_null() {
            // Read as absent, a key whose lines are commented out would be ignored in silence.
            return Err(Failure::Other {
                message: "has no value".to_owned(),
                help: Some("give it a value, or leave the key out".to_owned()),
            });
        }
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() { visitor.visit_unit() } else { Err(Failure::expected("nothing")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Sequence(items) => visitor.visit_seq(Items::new(self, items)),
            _ if self.reader.foreign && self.node.is_null() => visitor.visit_seq(Items::new(self, &[])),
            Value::Scalar { .. } | Value::Mapping(_) => Err(Failure::expected("a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Mapping(entries) => self.any_keys(entries, visitor),
            _ if self.reader.foreign && self.node.is_null() => self.any_keys(&[], visitor),
            Value::Scalar { .. } | Value::Sequence(_) => Err(Failure::expected("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.known_keys(known, required::of_struct(name), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(Variant::new(self, name, known)?)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
}

/// A key or the name of a variant.
pub(super) fn name(text: &str) -> StrDeserializer<'_, Failure> {
    serde::de::IntoDeserializer::into_deserializer(text)
}
