//! Words of HTTP: header names, status codes, methods.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::ValueError;

/// The name of a header, in any case: `X-Request-Id` and `x-request-id` are the same (RFC 9110, section 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderName(::http::HeaderName);

impl HeaderName {
    /// The name.
    #[must_use]
    pub const fn get(&self) -> &::http::HeaderName {
        &self.0
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<::http::HeaderName> for HeaderName {
    fn from(name: ::http::HeaderName) -> Self {
        Self(name)
    }
}

impl From<HeaderName> for ::http::HeaderName {
    fn from(name: HeaderName) -> Self {
        name.0
    }
}

impl PartialOrd for HeaderName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HeaderName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HeaderName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let cure = text.trim().trim_end_matches(':').replace([' ', '_'], "-");
        text.parse().map(Self).map_err(|_| {
            let cure = match cure.parse::<::http::HeaderName>() {
                Ok(_) => format!("write \"{cure}\""),
                Err(_) => "write letters, digits and dashes, such as \"x-request-id\"".to_owned(),
            };
            ValueError::new(format!("{text:?} is not a header name; {cure}"))
        })
    }
}

super::scalar!(HeaderName, "a header name such as \"x-request-id\"", {
    "description": "The name of a header, in any case.",
    "type": "string",
    "pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$|\$\{",
    "examples": ["x-request-id"],
});
super::serialize_as_text!(HeaderName);

/// A status code, from 100 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(::http::StatusCode);

impl StatusCode {
    /// The status code.
    #[must_use]
    pub const fn get(self) -> ::http::StatusCode {
        self.0
    }

    /// The status code as a number.
    #[must_use]
    pub fn as_u16(self) -> u16 {
        self.0.as_u16()
    }
}

impl From<StatusCode> for ::http::StatusCode {
    fn from(status: StatusCode) -> Self {
        status.0
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for StatusCode {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.trim()
            .parse::<::http::StatusCode>()
            .ok()
            .filter(|status| status.as_u16() < 600)
            .map(Self)
            .ok_or_else(|| ValueError::new(format!("{text:?} is not a status code; write one from 100 to 599")))
    }
}

impl Serialize for StatusCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.as_u16())
    }
}

super::scalar!(StatusCode, "a status code such as 404", {
    "description": "A status code.",
    "type": ["integer", "string"],
    "minimum": 100,
    "maximum": 599,
    "pattern": r"^\s*[1-5][0-9][0-9]\s*$|\$\{",
});

/// A method, in upper case: `GET`. Methods of one's own are possible (RFC 9110, section 16.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Method(::http::Method);

impl Method {
    /// The method.
    #[must_use]
    pub const fn get(&self) -> &::http::Method {
        &self.0
    }

    /// The name of the method.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<Method> for ::http::Method {
    fn from(method: Method) -> Self {
        method.0
    }
}

impl PartialOrd for Method {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Method {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Method {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let upper = text.trim().to_ascii_uppercase();
        match upper.parse() {
            Ok(method) if upper == text => Ok(Self(method)),
            Ok(_) => Err(ValueError::new(format!("{text:?} is not a method; write \"{upper}\""))),
            Err(_) => Err(ValueError::new(format!("{text:?} is not a method; write one such as \"GET\""))),
        }
    }
}

super::scalar!(Method, "a method such as \"GET\"", {
    "description": "A method, in upper case.",
    "type": "string",
    "pattern": r"^[!#$%&'*+.^_`|~0-9A-Z-]+$|\$\{",
    "examples": ["GET", "POST"],
});
super::serialize_as_text!(Method);
