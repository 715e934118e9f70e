//! The types of single values in a configuration: each accepts only what makes sense, and says what to write instead.
//!
//! All of them read from a string or, where it is one, a number, so that a `${VARIABLE}`, which is always a string, can
//! stand for any of them. All but [`Secret`] are written back in a form that reads as the same value.

mod http;
mod media;
mod net;
mod number;
mod pool;
mod secret;
mod size;
mod span;
mod tls;
mod url;

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{self, Visitor};

pub use http::{HeaderName, Method, StatusCode};
pub use media::MediaRange;
pub use net::{Cidr, ListenAddress, canonical};
pub use number::{Count, Flag, Percent};
pub use pool::{HashKey, ServerAddress, StatusRange, is_cookie_name};
pub use secret::{Secret, optional as optional_secret};
pub use size::ByteSize;
pub use span::Span;
pub use tls::{CipherSuite, Hsts, TlsVersion};
pub use url::{HttpUrl, Scheme};

/// Why a text is not a value of its type, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

impl ValueError {
    /// An error with its whole message, such as `"x" is not a size; write one such as "32MiB"`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Reads a scalar of any type from its text.
struct Scalar<T> {
    expecting: &'static str,
    as_type: PhantomData<T>,
}

impl<T: FromStr<Err: Display>> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(if value { "true" } else { "false" })
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        self.visit_str(&value.to_string())
    }
}

pub(crate) fn deserialize_scalar<'de, T, D>(deserializer: D, expecting: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Scalar { expecting, as_type: PhantomData })
}

/// Implements `Deserialize` by `FromStr`, and `JsonSchema`, for a value type.
macro_rules! scalar {
    ($type:ident, $expecting:literal, $($schema:tt)+) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::value::deserialize_scalar(deserializer, $expecting)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($($schema)+)
            }
        }
    };
}

/// Implements `Serialize` by `Display`.
macro_rules! serialize_as_text {
    ($($type:ident)+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

pub(crate) use {scalar, serialize_as_text};

#[cfg(test)]
mod tests;
