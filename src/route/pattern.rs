//! Path patterns: whole segments, captures and the rest.
//!
//! ```text
//! /healthz                       exactly this path
//! /grafana/**                    /grafana and everything below it
//! /users/{id}/keys               one segment captured
//! /yarn/{host}:{port:digits}/**  several captures in one segment
//! /s_{name:word:50}/**           a capture of at most 50 characters
//! ```
//!
//! `**` is the rest of the path with its leading slash, or nothing. A capture takes at least one character and never a
//! slash; `:digits` lets it take decimal digits only, `:word` letters, digits, `_` and `-`, and a number behind that so
//! many of them at most. In a segment with several captures each takes as much as it can.

use std::fmt;
use std::str::FromStr;

/// A path pattern that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
    names: Vec<String>,
    rest: bool,
}

/// One segment of a pattern, without the names of its captures: two patterns of the same shape compare equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    /// These bytes, after percent-decoding.
    Literal(Vec<u8>),
    /// Literal pieces and captures in turn; a single capture is the segment as a whole.
    Captures(Vec<Part>),
}

/// A piece of a segment that captures.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    /// These bytes.
    Literal(Vec<u8>),
    /// One or more of these characters, so many at most.
    Capture(Chars, usize),
}

/// What a capture takes, the least specific first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Chars {
    /// All characters.
    Any,
    /// ASCII letters, digits, `_` and `-`.
    Word,
    /// Decimal digits.
    Digits,
}

impl Chars {
    fn take(self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Digits => byte.is_ascii_digit(),
        }
    }
}

impl PathPattern {
    /// The names of the captures, in the order in which they stand.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the pattern ends in `**`.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        self.rest
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The path that this pattern would match for the given values of its captures: the inverse of a match, without
    /// the rest.
    pub fn fill<'v>(&self, mut value: impl FnMut(&str) -> Option<&'v str>) -> Option<String> {
        let mut path = String::new();
        let mut names = self.names.iter();
        for segment in &self.segments {
            path.push('/');
            match segment {
                Segment::Literal(bytes) => path.push_str(&String::from_utf8_lossy(bytes)),
                Segment::Captures(parts) => {
                    for part in parts {
                        match part {
                            Part::Literal(bytes) => {
                                path.push_str(&String::from_utf8_lossy(bytes));
                            }
                            Part::Capture(..) => path.push_str(value(names.next()?)?),
                        }
                    }
                }
            }
        }
        Some(path)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(body) = text.strip_prefix('/') else {
            return Err(format!("`{text}` does not start with a slash; write `/{text}`"));
        };
        if text.contains(['?', '#']) {
            return Err(format!(
                "`{text}` holds a `?` or `#`; a pattern is matched with the path alone, leave the query out"
            ));
        }
        let mut pattern = Self { text: text.to_owned(), segments: Vec::new(), names: Vec::new(), rest: false };
        let mut segments = body.split('/').peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none();
            if segment == "**" {
                if !last {
                    return Err(format!(
                        "`**` stands inside `{text}`; it is the rest of the path and can only be the last segment"
                    ));
                }
                pattern.rest = true;
            } else if segment.is_empty() && !last {
                return Err(format!(
                    "`{text}` has an empty segment; paths are matched with repeated slashes merged, write one slash"
                ));
            } else if matches!(segment, "." | "..") {
                return Err(format!("`{text}` has a dot segment; paths are matched with dot segments removed"));
            } else {
                let segment = parse_segment(segment, &mut pattern.names)?;
                pattern.segments.push(segment);
            }
        }
        Ok(pattern)
    }
}

pub(super) fn parse_segment(text: &str, names: &mut Vec<String>) -> Result<Segment, String> {
    let mut parts: Vec<Part> = Vec::new();
    let mut left = text;
    while !left.is_empty() {
        if let Some(inner) = left.strip_prefix('{') {
            let Some((capture, after)) = inner.split_once('}') else {
                return Err(format!("`{{` is not closed in `{text}`; write `{{name}}`"));
            };
            if matches!(parts.last(), Some(Part::Capture(..))) {
                return Err(format!("two captures stand side by side in `{text}`; put a character between them"));
            }
            parts.push(parse_capture(capture, names)?);
            left = after;
        } else {
            let end = left.find('{').unwrap_or(left.len());
            let literal = &left[..end];
            if literal.contains(['}', '*']) {
                return Err(format!(
                    "`{literal}` in `{text}` is neither text nor a capture; write `{{name}}` for a capture, `/**` at \
                     the end for the rest"
                ));
            }
            parts.push(Part::Literal(super::path::decode(literal).into_owned()));
            left = &left[end..];
        }
    }
    Ok(match parts.as_mut_slice() {
        [] => Segment::Literal(Vec::new()),
        [Part::Literal(bytes)] => Segment::Literal(std::mem::take(bytes)),
        _ => Segment::Captures(parts),
    })
}

fn parse_capture(text: &str, names: &mut Vec<String>) -> Result<Part, String> {
    let (name, kind) = text.split_once(':').map_or((text, None), |(name, kind)| (name, Some(kind)));
    let (kind, most) = kind.map_or((None, None), |kind| match kind.split_once(':') {
        Some((kind, most)) => (Some(kind), Some(most)),
        None => (Some(kind), None),
    });
    let chars = match kind {
        None => Chars::Any,
        Some("digits") => Chars::Digits,
        Some("word") => Chars::Word,
        Some(kind) => {
            return Err(format!(
                "`{kind}` is not a kind of capture; write `{{{name}}}`, `{{{name}:digits}}` or `{{{name}:word}}`"
            ));
        }
    };
    let most = match most.map(str::parse::<usize>) {
        None => usize::MAX,
        Some(Ok(most)) if most > 0 => most,
        Some(_) => {
            return Err(format!("`{text}` does not end in a number of characters; write one such as `{name}:word:50`"));
        }
    };
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        return Err(format!("`{name}` is not a name for a capture; write letters, digits and `_`, a letter first"));
    }
    if names.iter().any(|known| known == name) {
        return Err(format!("the capture `{name}` stands twice; give each a name of its own"));
    }
    names.push(name.to_owned());
    Ok(Part::Capture(chars, most))
}

/// Matches one raw segment with literal pieces and captures; pushes the byte ranges of the captures, relative to it.
pub(super) fn match_parts(
    parts: &[Part],
    segment: &[u8],
    offset: usize,
    found: &mut impl Extend<(usize, usize)>,
) -> bool {
    let Some((first, others)) = parts.split_first() else {
        return offset == segment.len();
    };
    let left = &segment[offset..];
    match first {
        Part::Literal(bytes) => left.starts_with(bytes) && match_parts(others, segment, offset + bytes.len(), found),
        Part::Capture(chars, most) => {
            let longest = left.iter().take(*most).take_while(|byte| chars.take(**byte)).count();
            for length in (1..=longest).rev() {
                let mut inner: smallvec::SmallVec<[(usize, usize); 4]> = smallvec::SmallVec::new();
                if match_parts(others, segment, offset + length, &mut inner) {
                    found.extend([(offset, offset + length)]);
                    found.extend(inner);
                    return true;
                }
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, segment: &str) -> Option<Vec<String>> {
        let pattern: PathPattern = format!("/{text}").parse().unwrap();
        let Segment::Captures(parts) = &pattern.segments()[0] else {
            panic!("{text} captures nothing");
        };
        let mut found = Vec::new();
        match_parts(parts, segment.as_bytes(), 0, &mut found)
            .then(|| found.iter().map(|&(a, b)| segment[a..b].to_owned()).collect())
    }

    #[test]
    fn several_captures_share_a_segment() {
        assert_eq!(parts("{host}:{port:digits}", "10.0.0.9:8088"), Some(vec!["10.0.0.9".into(), "8088".into()]));
        assert_eq!(parts("{host}:{port:digits}", "[::1]:80"), Some(vec!["[::1]".into(), "80".into()]));
        assert_eq!(parts("{host}:{port:digits}", "host:"), None);
        assert_eq!(parts("{host}:{port:digits}", ":80"), None);
        assert_eq!(parts("{host}:{port:digits}", "a:b"), None);
        assert_eq!(parts("jci_{name}", "jci_x"), Some(vec!["x".into()]));
        assert_eq!(parts("jci_{name}", "jci_"), None);
        assert_eq!(parts("jci_{name:word:3}", "jci_a-_"), Some(vec!["a-_".into()]));
        assert_eq!(parts("jci_{name:word:3}", "jci_abcd"), None);
        assert_eq!(parts("jci_{name:word}", "jci_a.b"), None);
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, part) in [
            ("a", "write `/a`"),
            ("/a//b", "one slash"),
            ("/**/a", "last segment"),
            ("/a**", "neither text nor a capture"),
            ("/{a}{b}", "side by side"),
            ("/{a}/{a}", "stands twice"),
            ("/{a:int}", "{a:digits}"),
            ("/{a:word:0}", "a:word:50"),
            ("/{a:digits:x}", "number of characters"),
            ("/{", "not closed"),
            ("/{}", "not a name"),
            ("/a?b", "query"),
            ("/a/../b", "dot segment"),
        ] {
            let message = text.parse::<PathPattern>().unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_pattern_can_be_filled_in() {
        let pattern: PathPattern = "/yarn/{host}:{port:digits}/**".parse().unwrap();
        let filled = pattern.fill(|name| Some(if name == "host" { "h" } else { "1" }));
        assert_eq!(filled.as_deref(), Some("/yarn/h:1"));
    }
}
