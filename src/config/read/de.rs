//! A `serde` deserialiser over a tree that passes over masked nodes.

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_yaml::{Mapping, Value};

use super::error::{Error, Kind};
use super::key::{Bare, Key, Tagged};
use super::{explain, segment_of};
use crate::config::document::Mask;
use crate::config::report::Segment;

/// A value with the part of the mask that lies over it.
#[derive(Clone, Copy)]
pub(super) struct Node<'de> {
    value: &'de Value,
    mask: Option<&'de Mask>,
}

impl<'de> Node<'de> {
    pub(super) fn new(value: &'de Value, mask: Option<&'de Mask>) -> Self {
        Self { value, mask }
    }

    pub(super) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// The part of the mask for an entry, or none if the entry is dropped.
    #[expect(clippy::option_option, reason = "an entry can be without a mask and still be there")]
    fn mask_below(&self, segment: impl FnOnce() -> Segment) -> Option<Option<&'de Mask>> {
        let mask = self.mask.and_then(|mask| mask.below(&segment()));
        (!mask.is_some_and(Mask::is_dropped)).then_some(mask)
    }

    fn entries(self, map: &'de Mapping) -> impl Iterator<Item = (&'de Value, Node<'de>)> + use<'de> {
        map.iter().filter_map(move |(key, value)| {
            let mask = self.mask_below(|| segment_of(key))?;
            Some((key, Node { value, mask }))
        })
    }

    fn items(self, list: &'de [Value]) -> impl Iterator<Item = (usize, Node<'de>)> + use<'de> {
        list.iter().enumerate().filter_map(move |(index, value)| {
            let mask = self.mask_below(|| Segment::Index(index))?;
            Some((index, Node { value, mask }))
        })
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(list) => visitor.visit_seq(Items(self.items(list))),
            Value::Mapping(map) => visitor.visit_map(Entries { entries: self.entries(map), current: None }),
            Value::Tagged(tagged) => Node { value: &tagged.value, ..self }.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // A derived struct would take the items of a list as its fields, in their order: nobody means that.
        if self.value.is_sequence() {
            return Err(de::Error::invalid_type(Unexpected::Seq, &visitor));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::String(name) => visitor.visit_enum(Bare(name)),
            Value::Mapping(map) => {
                let mut entries = self.entries(map);
                if let (Some((key, node)), None) = (entries.next(), entries.next()) {
                    visitor.visit_enum(Tagged { key, node })
                } else {
                    Err(Error::new(Kind::Mismatch {
                        found: format!("a mapping of {} keys", self.entries(map).count()),
                        expected: explain::one_of(variants),
                    }))
                }
            }
            other => Err(Error::new(Kind::Mismatch {
                found: explain::found_value(other),
                expected: explain::one_of(variants),
            })),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }
}

struct Items<I>(I);

impl<'de, I: Iterator<Item = (usize, Node<'de>)>> SeqAccess<'de> for Items<I> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, node)) = self.0.next() else {
            return Ok(None);
        };
        let item = seed.deserialize(node);
        item.map(Some).map_err(|error| error.under(Segment::Index(index)))
    }
}

struct Entries<'de, I> {
    entries: I,
    current: Option<(&'de Value, Node<'de>)>,
}

impl<'de, I: Iterator<Item = (&'de Value, Node<'de>)>> MapAccess<'de> for Entries<'de, I> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        let name = seed.deserialize(Key(key));
        name.map(Some).map_err(|error| error.on_key(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let Some((key, node)) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(node).map_err(|error| error.under(segment_of(key)))
    }
}
