//! The parts of a node: entries of a mapping, items of a list, the variant of an enum.

use serde::{
    Deserializer,
    de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor},
};

use super::{
    Place,
    deserializer::{NodeDeserializer, name},
    failure::Failure,
    required,
};
use crate::{
    node::{Entry, Node, Value},
    path::Step,
    suggest,
    units::Duration,
};

/// The entries of a mapping that were not set aside.
pub(super) struct Entries<'a> {
    whole: NodeDeserializer<'a>,
    rest: std::slice::Iter<'a, Entry>,
    current: Option<&'a Entry>,
}

/// The items of a list that were not set aside.
pub(super) struct Items<'a> {
    whole: NodeDeserializer<'a>,
    rest: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

/// The variant of an enum: a word, or a mapping with the word as its only key.
pub(super) struct Variant<'a> {
    whole: NodeDeserializer<'a>,
    enum_name: &'static str,
    tag: &'a str,
    content: Option<&'a Entry>,
}

// === impl Entries ===

impl<'a> Entries<'a> {
    pub(super) fn new(whole: NodeDeserializer<'a>, entries: &'a [Entry]) -> Self {
        Self { whole, rest: entries.iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let reader = self.whole.reader;
        self.current = self.rest.by_ref().find(|entry| !reader.is_aside(&entry.value));
        let Some(entry) = self.current else { return Ok(None) };
        match seed.deserialize(name(&entry.key)) {
            // The model denies keys that it does not know; each is told at its own place.
            Err(Failure::Other { message, help }) if reader.foreign => {
                self.whole.refuse(entry, message, help);
                Err(Failure::Noted)
            }
            key => key.map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let entry = self.current.take().ok_or_else(|| Failure::expected("a key before its value"))?;
        let place = Place::Key(self.whole.place, &entry.key, &entry.key_span);
        self.whole.reader.part(&entry.value, &place, |value| seed.deserialize(value))
    }
}

// === impl Items ===

impl<'a> Items<'a> {
    pub(super) fn new(whole: NodeDeserializer<'a>, items: &'a [Node]) -> Self {
        Self { whole, rest: items.iter().enumerate() }
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let reader = self.whole.reader;
        let Some((index, item)) = self.rest.by_ref().find(|(_, item)| !reader.is_aside(item)) else {
            return Ok(None);
        };
        let place = Place::Index(self.whole.place, index);
        reader.part(item, &place, |item| seed.deserialize(item)).map(Some)
    }
}

// === impl Variant ===

impl<'a> Variant<'a> {
    pub(super) fn new(
        whole: NodeDeserializer<'a>,
        enum_name: &'static str,
        known: &'static [&'static str],
    ) -> Result<Self, Failure> {
        let one_of = || Failure::expected(format!("one of {}", suggest::list(known)));
        let (tag, content) = match &whole.node.value {
            Value::Scalar { text, .. } if !whole.node.is_null() => (text, None),
            Value::Scalar { .. } | Value::Sequence(_) => return Err(one_of()),
            Value::Mapping(entries) => match entries.as_slice() {
                [] => return Err(one_of()),
                [entry] => (&entry.key, Some(entry)),
                [first, second, ..] => return Err(several(first, second, known)),
            },
        };
        if !known.contains(&tag.as_str()) {
            let what = if content.is_some() { "key" } else { "value" };
            let bare = (content.is_none() && enum_name == DELAY).then(|| bare_delay(&whole, tag)).flatten();
            let help = Some(bare.unwrap_or_else(|| suggest::help(tag, known)));
            return Err(Failure::Other { message: format!("unknown {what} `{tag}`"), help });
        }
        if content.is_some_and(|entry| whole.reader.is_aside(&entry.value)) {
            return Err(Failure::Incomplete);
        }
        Ok(Self { whole, enum_name, tag, content })
    }

    /// Reads the content of a variant that must have one.
    fn content<T>(self, read: impl FnOnce(NodeDeserializer<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let tag = self.tag;
        let entry = self.content.ok_or_else(|| Failure::Other {
            message: format!("`{tag}` needs a value"),
            help: Some(format!("write `{tag}: ...`")),
        })?;
        let place = Place::Key(self.whole.place, &entry.key, &entry.key_span);
        self.whole.reader.part(&entry.value, &place, read)
    }
}

/// The enum whose simplest form is often taken for a plain duration.
const DELAY: &str = "Delay";

/// What to write in place of `delay: 80ms`, or of `delay: 80`.
fn bare_delay(whole: &NodeDeserializer<'_>, text: &str) -> Option<String> {
    let fixed = match text.parse::<Duration>() {
        Ok(fixed) => fixed.to_string(),
        Err(_) => format!("{}ms", text.parse::<u64>().ok()?),
    };
    let path = whole.place.path();
    let Some(Step::Key(key)) = path.steps().last() else { return None };
    Some(format!("write `{key}: {{fixed: {fixed}}}`"))
}

/// A mapping with several keys where one was expected; most often the keys below the first one are not
/// indented.
fn several(first: &Entry, second: &Entry, known: &[&str]) -> Failure {
    let message =
        format!("expected exactly one of {}, got `{}` and `{}`", suggest::list(known), first.key, second.key);
    let help = (first.value.is_null() && !known.contains(&second.key.as_str()))
        .then(|| format!("indent what belongs to `{}` further than `{}` itself", first.key, first.key));
    Failure::Other { message, help }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Failure> {
        Ok((seed.deserialize(name(self.tag))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(Failure::Other {
                message: format!("`{}` takes no value", self.tag),
                help: Some(format!("write `{}` alone, without the colon", self.tag)),
            }),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Failure> {
        self.content(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        self.content(|content| content.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let required = required::of_variant(self.enum_name, self.tag);
        self.content(|content| content.known_keys(known, required, visitor))
    }
}
