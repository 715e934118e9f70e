//! Keys, and the variants of enums, which are written as keys.

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_yaml::Value;

use super::de::Node;
use super::error::Error;
use super::segment_of;

/// A key: text, or a number where the type of the key is one.
pub(super) struct Key<'de>(pub(super) &'de Value);

impl<'de> Key<'de> {
    fn text(&self) -> &'de str {
        self.0.as_str().unwrap_or_default()
    }
}

/// A key that should be a number is read from its text.
macro_rules! numeric_keys {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let text = self.text();
            match (text.parse(), text.parse()) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => visitor.visit_borrowed_str(text),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(Bare(self.text()))
    }

    numeric_keys! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// A variant written as its name alone.
pub(super) struct Bare<'de>(pub(super) &'de str);

impl<'de> EnumAccess<'de> for Bare<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name = IntoDeserializer::<Error>::into_deserializer(self.0);
        Ok((seed.deserialize(name)?, self))
    }
}

impl Bare<'_> {
    fn needs_a_value<T>(&self) -> Result<T, Error> {
        let name = self.0;
        Err(de::Error::custom(format!("`{name}` needs a value; write it as `{name}: …`")))
    }
}

impl<'de> VariantAccess<'de> for Bare<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, Error> {
        self.needs_a_value()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, _visitor: V) -> Result<V::Value, Error> {
        self.needs_a_value()
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], _visitor: V) -> Result<V::Value, Error> {
        self.needs_a_value()
    }
}

/// A variant written as a mapping from its name to its value.
pub(super) struct Tagged<'de> {
    pub(super) key: &'de Value,
    pub(super) node: Node<'de>,
}

impl<'de> EnumAccess<'de> for Tagged<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name = seed.deserialize(Key(self.key));
        Ok((name.map_err(|error| error.on_key(self.key))?, self))
    }
}

impl<'de> VariantAccess<'de> for Tagged<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        let name = self.key.as_str().unwrap_or_default();
        if self.node.is_null() {
            return Ok(());
        }
        let error: Error = de::Error::custom(format!("`{name}` takes no value; write just `{name}`"));
        Err(error.under(segment_of(self.key)))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let value = seed.deserialize(self.node);
        value.map_err(|error| error.under(segment_of(self.key)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, Error> {
        let value = self.node.deserialize_any(visitor);
        value.map_err(|error| error.under(segment_of(self.key)))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        let value = self.node.deserialize_struct("", fields, visitor);
        value.map_err(|error| error.under(segment_of(self.key)))
    }
}
