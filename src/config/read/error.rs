//! Errors of reading that keep their path and their parts.

use std::fmt;

use serde::de::{self, Expected, Unexpected};
use serde_yaml::Value;

use super::{explain, segment_of};
use crate::config::report::{KeyPath, Segment};

/// What went wrong, still in parts.
#[derive(Debug)]
pub(super) enum Kind {
    UnknownKey {
        key: String,
        expected: &'static [&'static str],
    },
    MissingKey(&'static str),
    /// One field given under two of its names.
    WrittenTwice(&'static str),
    UnknownVariant {
        found: String,
        expected: &'static [&'static str],
    },
    /// A value of another type, range or length; both in plain words.
    Mismatch {
        found: String,
        expected: String,
    },
    Custom(String),
}

/// An error and its path, which grows at the front while the error rises.
#[derive(Debug)]
pub(super) struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    reversed: Vec<Segment>,
    on_key: bool,
    kind: Kind,
}

impl Error {
    pub(super) fn new(kind: Kind) -> Self {
        Self(Box::new(Parts { reversed: Vec::new(), on_key: false, kind }))
    }

    /// The error, one step further from where it arose.
    pub(super) fn under(mut self, segment: Segment) -> Self {
        self.0.reversed.push(segment);
        self
    }

    /// An error about a key: that of an unknown field belongs to the mapping, any other to the entry.
    pub(super) fn on_key(mut self, key: &Value) -> Self {
        if matches!(self.0.kind, Kind::UnknownKey { .. }) {
            return self;
        }
        self.0.on_key = true;
        self.under(segment_of(key))
    }

    /// The path from where reading began, whether the key is meant rather than its value, and what is wrong.
    pub(super) fn into_parts(self) -> (KeyPath, bool, Kind) {
        let parts = *self.0;
        (parts.reversed.into_iter().rev().collect(), parts.on_key, parts.kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain::message(&self.0.kind))
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Custom(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Kind::Mismatch { found: explain::found(&found), expected: explain::expected(&expected.to_string()) })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(Kind::Mismatch {
            found: format!("{length} of them"),
            expected: explain::expected(&expected.to_string()),
        })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownVariant { found: variant.to_owned(), expected })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownKey { key: field.to_owned(), expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::MissingKey(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(Kind::WrittenTwice(field))
    }
}
