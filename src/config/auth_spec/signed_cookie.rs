//! What a config file can say of `auth: { signed_cookie: … }`.

use std::collections::BTreeMap;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::read::{OneOrMany, StringOr};
use crate::config::value::{Flag, Secret, Span, ValueError};

/// Cookies that an application signed with a secret that it shares with Pylon.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignedCookieSpec {
    /// The key of the signatures, 16 bytes or longer. A list while one takes the place of another: each of them counts.
    pub secret: OneOrMany<Secret>,
    /// The hash of the signatures, which are HMACs (RFC 2104): `sha1`, `sha256` or `sha512`; default `sha256`.
    pub hash: Option<CookieHash>,
    /// How signatures are written: `base64`, `base64url` or `hex`; default `base64`.
    pub signature_encoding: Option<CookieSignature>,
    /// The cookies, in the order in which they are checked: one can sign fields of those before it.
    pub cookies: OneOrMany<CookieSpec>,
    /// The user: a template with fields that are signed, `{auth.u}`. Of a list the first whose cookies are there.
    pub user: OneOrMany<String>,
    /// Their name among people, a template as `user`.
    pub name: Option<String>,
    /// Their mail address, a template as `user`.
    pub mail: Option<String>,
    /// Their groups, separated by commas, a template as `user`.
    pub groups: Option<String>,
    /// A cookie that the upstream does not get; all whose names begin so, where it ends in `*`. Default: it gets all.
    pub hide: Option<String>,
}

/// One cookie, and what its signature is over.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CookieSpec {
    /// Its name, with captures of the path: `port_{name}`.
    pub name: String,
    /// What its fields are called after elsewhere: `sess` gives the claim `sess.i`. Default: its name.
    #[serde(rename = "as")]
    pub alias: Option<String>,
    /// How its value is written; default `base64_json`, or `plain` where there are `fields`.
    pub encoding: Option<CookieEncoding>,
    /// The names of its fields in their order, where it is not JSON.
    pub fields: Vec<String>,
    /// What stands between its fields, where it is not JSON; default `|`. Two fields are parted at the last one.
    pub separator: Option<String>,
    /// What its signature is over: a field of this cookie (`u`), one of an earlier cookie (`auth.x`), `{ text: … }` or
    /// `{ capture: … }`. A field of an earlier cookie that is not there is empty.
    pub signed: OneOrMany<StringOr<CookiePartSpec>>,
    /// What stands between the parts of `signed`; no part may hold it. By default nothing does, as some applications have
    /// it: then `matches` must tell where one value ends and the next begins.
    pub join: String,
    /// The field that holds the signature.
    pub signature: String,
    /// Whether it may be missing. One that is there and not good, or too old, counts as missing then.
    pub optional: Flag,
    /// The field with the time at which it was made: seconds of Unix time, or RFC 3339. Not more than 5 minutes ahead.
    pub issued: Option<String>,
    /// How long it is good after `issued`.
    pub max_age: Option<Span>,
    /// The field with the time from which on it is not good any more, written as `issued` is.
    pub expires: Option<String>,
    /// Field → the regular expression that the whole of its value must match: `{ p: "[1-9][0-9]{4}" }`.
    pub matches: BTreeMap<String, String>,
}

/// A part of what is signed: a field, or a text, or a capture of the path.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CookiePartSpec {
    /// A field of this cookie, or of `cookie`.
    pub field: Option<String>,
    /// The earlier cookie that has the field, by what its fields are called after.
    pub cookie: Option<String>,
    /// A fixed text.
    pub text: Option<String>,
    /// A capture of the path.
    pub capture: Option<String>,
}

impl FromStr for CookiePartSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (cookie, field) = match text.split_once('.') {
            Some((cookie, field)) => (Some(cookie.to_owned()), field),
            None => (None, text),
        };
        if field.is_empty() {
            return Err(ValueError::new(format!("{text:?} names no field; write one such as \"u\" or \"auth.x\"")));
        }
        Ok(Self { field: Some(field.to_owned()), cookie, ..Self::default() })
    }
}

/// The hash of an HMAC over cookies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CookieHash {
    /// SHA-1, for applications that have no other.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How the signature of a cookie is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CookieSignature {
    /// Base64 (RFC 4648 §4), with or without padding.
    #[default]
    Base64,
    /// Base64 of URLs (RFC 4648 §5), with or without padding.
    Base64url,
    /// Hexadecimal digits.
    Hex,
}

/// How the value of a cookie is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CookieEncoding {
    /// Base64 (RFC 4648 §4) of a JSON object, with or without padding.
    #[default]
    Base64Json,
    /// Base64 of URLs (RFC 4648 §5) of a JSON object, with or without padding.
    Base64urlJson,
    /// Fields with a separator.
    Plain,
    /// Fields with a separator, percent-encoded as a whole.
    Percent,
}
