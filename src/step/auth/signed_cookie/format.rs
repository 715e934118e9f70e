//! How the value of a cookie, its signature and its times are written.

use std::borrow::Cow;
use std::fmt;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, Encoding, HEXLOWER, HEXLOWER_PERMISSIVE};
use percent_encoding::percent_decode_str;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::CookieSignature;

/// How many characters a date has, to the second.
const DATE: usize = "2016-01-01T00:00:00".len();
/// The most fields that are read.
const MOST: usize = 64;

/// How a value is written.
#[derive(Debug)]
pub(super) enum Format {
    /// Base64 of a JSON object.
    Json {
        /// In the alphabet of URLs.
        url: bool,
    },
    /// Fields with a separator.
    Plain {
        /// Their names.
        fields: Vec<String>,
        separator: String,
        /// Whether the whole is percent-encoded.
        percent: bool,
    },
}

/// The fields of a cookie.
#[derive(Debug)]
pub(super) struct Fields(Vec<(String, Scalar)>);

/// A value: its text, or none where it cannot stand in what is signed.
#[derive(Debug)]
struct Scalar(Option<String>);

impl Fields {
    /// The text of a field.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, Scalar(text)) = self.0.iter().find(|(known, _)| known == name)?;
        text.as_deref()
    }
}

impl Format {
    /// The fields of a value; why there are none is for the log.
    pub(super) fn read(&self, value: &str) -> Result<Fields, &'static str> {
        match self {
            Self::Json { url } => {
                let bytes = decode_base64(*url, value).ok_or("is not base64")?;
                serde_json::from_slice(&bytes).map_err(|_| "is not a JSON object of values, each once")
            }
            Self::Plain { fields, separator, percent } => {
                let value = if *percent {
                    percent_decode_str(value).decode_utf8().map_err(|_| "is not UTF-8")?
                } else {
                    Cow::Borrowed(value)
                };
                let mut parts: SmallVec<[&str; 4]> = if fields.len() == 2 {
                    value.rsplitn(2, separator.as_str()).collect()
                } else {
                    value.rsplitn(MOST, separator.as_str()).collect()
                };
                parts.reverse();
                if parts.len() != fields.len() {
                    return Err("does not have the fields that it must");
                }
                let pair = |(name, text): (&String, &&str)| (name.clone(), Scalar(Some((*text).to_owned())));
                Ok(Fields(fields.iter().zip(&parts).map(pair).collect()))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, Scalar)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Self::Value = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.len() == MOST || fields.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom("a name comes twice, or there are too many"));
                    }
                    fields.push((name, map.next_value()?));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object).map(Self)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Single;

        impl<'de> Visitor<'de> for Single {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar(Some(text.to_owned())))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(number.to_string())))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(number.to_string())))
            }

            // Applications write these in different ways: what is signed could not be told.
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Scalar(None))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Scalar(None))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Scalar(None))
            }

            // Fields that are not signed may hold anything.
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }
        }

        deserializer.deserialize_any(Single)
    }
}

/// Base64 with its padding or without.
fn decode_base64(url: bool, text: &str) -> Option<Vec<u8>> {
    let encoding: Encoding = match (url, text.ends_with('=')) {
        (false, true) => BASE64,
        (false, false) => BASE64_NOPAD,
        (true, true) => BASE64URL,
        (true, false) => BASE64URL_NOPAD,
    };
    encoding.decode(text.as_bytes()).ok()
}

/// The bytes of a signature.
pub(super) fn decode_signature(form: CookieSignature, text: &str) -> Option<Vec<u8>> {
    match form {
        CookieSignature::Base64 => decode_base64(false, text),
        CookieSignature::Base64url => decode_base64(true, text),
        CookieSignature::Hex => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
    }
}

/// A signature in the one form in which other cookies sign it: Base64 with padding, that of URLs without, small digits.
pub(super) fn encode_signature(form: CookieSignature, bytes: &[u8]) -> String {
    match form {
        CookieSignature::Base64 => BASE64.encode(bytes),
        CookieSignature::Base64url => BASE64URL_NOPAD.encode(bytes),
        CookieSignature::Hex => HEXLOWER.encode(bytes),
    }
}

/// A time in seconds of Unix time. Each time is written in one way only, as far as digits at its beginning go, so that none
/// of them can be taken from, or given to, a value that stands before it. At its end they can, which is looked after at
/// load. A date without a zone is one of UTC.
pub(super) fn moment(text: &str) -> Option<u64> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if is_number(whole) {
        return whole.parse().ok().filter(|_| !whole.starts_with('0') && is_number(fraction));
    }
    let zone = text.get(DATE..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let text: Cow<'_, str> = match zone.as_bytes() {
        [] => format!("{text}Z").into(),
        [b'+' | b'-', digits @ ..] if digits.len() == 4 => {
            let (hours, minutes) = text.split_at_checked(text.len() - 2)?;
            format!("{hours}:{minutes}").into()
        }
        _ => text.into(),
    };
    OffsetDateTime::parse(&text, &Rfc3339).ok()?.unix_timestamp().try_into().ok()
}
