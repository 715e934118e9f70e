//! Media types, and ranges of them.

use std::fmt;
use std::str::FromStr;

use super::ValueError;

/// A media type or all of a kind: `application/json`, `text/*`, `*/*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaRange(String);

impl MediaRange {
    /// Whether a media type, which has no parameters, is in it.
    #[must_use]
    pub fn contains(&self, media: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some("*/") => media.contains('/'),
            Some(kind) => media.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)),
            None => media.eq_ignore_ascii_case(&self.0),
        }
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MediaRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let token = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&b))
        };
        let trimmed = text.trim();
        match trimmed.split_once('/') {
            Some((kind, sub)) if token(kind) && (token(sub) || sub == "*") => Ok(Self(trimmed.to_ascii_lowercase())),
            Some(("*", "*")) => Ok(Self(trimmed.to_owned())),
            _ if trimmed.contains(';') => Err(ValueError::new(format!(
                "{text:?} has parameters; write the media type alone, such as \"text/html\""
            ))),
            _ => Err(ValueError::new(format!(
                "{text:?} is not a media type; write one such as \"application/json\" or \"text/*\""
            ))),
        }
    }
}

super::scalar!(MediaRange, "a media type such as \"text/*\"", {
    "description": "A media type, or all of a kind: application/json, text/*, */*.",
    "type": "string",
    "pattern": r"^\s*[^/\s;]+/[^/\s;]+\s*$|\$\{",
    "examples": ["application/json", "text/*"],
});
super::serialize_as_text!(MediaRange);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_types() {
        for (range, media, expected) in [
            ("text/*", "text/html", true),
            ("text/*", "TEXT/html", true),
            ("TEXT/*", "text/html", true),
            ("text/*", "textual/html", false),
            ("text/*", "", false),
            ("application/json", "Application/JSON", true),
            ("application/json", "application/json5", false),
            ("*/*", "image/png", true),
            ("*/*", "", false),
        ] {
            assert_eq!(range.parse::<MediaRange>().unwrap().contains(media), expected, "{range} {media}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in ["", "html", "text/", "/html", "*/html", "te*/html", "text/h*", "text/a/b", "text/html; charset=x"]
        {
            assert!(text.parse::<MediaRange>().is_err(), "{text}");
        }
    }
}
