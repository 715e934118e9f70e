//! A struct that may be written as a list instead, without losing the paths in either form.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use super::OneOrMany;

/// What a list by itself says of a struct.
pub trait FromList {
    /// An item of the list.
    type Item;

    /// The struct that a list stands for.
    fn from_list(list: OneOrMany<Self::Item>) -> Self;
}

/// A struct that may be written as a list, or the only item of one: `[br, gzip]` for `{ codings: [br, gzip] }`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListOr<T>(pub T);

impl<T> std::ops::Deref for ListOr<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T> Deserialize<'de> for ListOr<T>
where
    T: Deserialize<'de> + FromList<Item: Deserialize<'de>>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either(PhantomData)).map(Self)
    }
}

struct Either<T>(PhantomData<T>);

impl<'de, T> Visitor<'de> for Either<T>
where
    T: Deserialize<'de> + FromList<Item: Deserialize<'de>>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or a mapping")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        OneOrMany::deserialize(StrDeserializer::new(text)).map(T::from_list)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        OneOrMany::deserialize(SeqAccessDeserializer::new(list)).map(T::from_list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

impl<T: Serialize> Serialize for ListOr<T> {
    /// The long form.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: JsonSchema + FromList<Item: JsonSchema>> JsonSchema for ListOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("ListOr_{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T::Item>();
        json_schema!({ "anyOf": [item, { "type": "array", "items": item }, generator.subschema_for::<T>()] })
    }
}
