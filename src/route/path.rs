//! The path of a request, in the one form that is both routed on and forwarded.
//!
//! Dot segments are removed (RFC 3986 §5.2.4) and runs of slashes merged; percent-encoding stays as the client wrote
//! it. Servers differ in how they read the rest: some decode `%2F` and `%2E`, take `\` for `/`, end a path at a NUL or
//! drop `;parameters`. [`RequestPath::lenient`] gives the reading of the most lenient of them; the decision refuses a
//! request whose two readings lead to different places.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A request path that has been normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a> {
    text: Cow<'a, str>,
}

/// Why a request target is not a path that can be routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The target does not start with a slash.
    #[error("the request target is not an absolute path")]
    NotAbsolute,
    /// A `..` segment leads above the root.
    #[error("the path climbs above its root")]
    AboveRoot,
    /// A byte that a request target must not hold as it is (RFC 3986 §2).
    #[error("the path holds a control character, a space or a `#`")]
    IllegalByte,
    /// A `%` is not followed by two hexadecimal digits (RFC 3986 §2.1).
    #[error("the path holds a `%` without two hexadecimal digits")]
    BadEncoding,
}

impl<'a> RequestPath<'a> {
    /// Normalises the path part of a request target (without its query).
    ///
    /// # Errors
    /// [`PathError`] says why the text is no path.
    pub fn parse(raw: &'a str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if raw.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'#') {
            return Err(PathError::IllegalByte);
        }
        if !is_encoded(raw.as_bytes()) {
            return Err(PathError::BadEncoding);
        }
        Ok(Self { text: normalise(raw)? })
    }

    /// The normalised path, percent-encoding as the client wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether normalisation changed anything.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        matches!(self.text, Cow::Owned(_))
    }

    /// How the most lenient server would read this path, where that differs from the strict reading.
    ///
    /// `Some(Err(_))` when the lenient reading is no valid path at all.
    #[must_use]
    pub fn lenient(&self) -> Option<Result<RequestPath<'static>, PathError>> {
        if !is_doubtful(&self.text) {
            return None;
        }
        let decoded: Vec<u8> = percent_decode_str(&self.text).collect();
        let mut read = String::with_capacity(decoded.len());
        let mut in_parameters = false;
        for byte in decoded {
            match byte {
                0 => break,
                b'/' | b'\\' => {
                    in_parameters = false;
                    read.push('/');
                }
                _ if in_parameters => {}
                b';' => in_parameters = true,
                b'%' => read.push_str("%25"),
                b'#' => read.push_str("%23"),
                b' ' => read.push_str("%20"),
                1..=31 | 127 => {}
                byte if byte.is_ascii() => read.push(char::from(byte)),
                byte => {
                    read.push('%');
                    read.push_str(&format!("{byte:02X}"));
                }
            }
        }
        Some(normalise(&read).map(|text| RequestPath { text: Cow::Owned(text.into_owned()) }))
    }
}

/// Whether each `%` is followed by two hexadecimal digits.
fn is_encoded(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path)
        .all(|at| matches!(path.get(at + 1..at + 3), Some(digits) if digits.iter().all(u8::is_ascii_hexdigit)))
}

/// Removes dot segments and merges slashes; borrows when there is nothing to do.
fn normalise(raw: &str) -> Result<Cow<'_, str>, PathError> {
    if !raw.contains("/.") && !raw.contains("//") {
        return Ok(Cow::Borrowed(raw));
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_slash = false;
    for segment in raw.split('/').skip(1) {
        ends_in_slash = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop().ok_or(PathError::AboveRoot)?;
            }
            other => kept.push(other),
        }
    }
    let mut text = String::with_capacity(raw.len());
    for segment in &kept {
        text.push('/');
        text.push_str(segment);
    }
    if ends_in_slash || text.is_empty() {
        text.push('/');
    }
    if text == raw {
        return Ok(Cow::Borrowed(raw));
    }
    Ok(Cow::Owned(text))
}

/// Whether some server might read the path differently: cheap, and `false` for nearly all paths.
fn is_doubtful(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.iter().enumerate().any(|(at, &byte)| match byte {
        b'\\' | b';' => true,
        b'%' => {
            matches!(bytes.get(at + 1..at + 3), Some([high, low]) if is_separator(*high, *low))
        }
        _ => false,
    })
}

/// Whether `%` with these two digits encodes a slash, a dot, a backslash, a semicolon or a control character.
fn is_separator(high: u8, low: u8) -> bool {
    match high {
        b'0' | b'1' => low.is_ascii_hexdigit(),
        b'2' => matches!(low, b'e' | b'E' | b'f' | b'F'),
        b'3' => matches!(low, b'b' | b'B'),
        b'5' => matches!(low, b'c' | b'C'),
        b'7' => matches!(low, b'f' | b'F'),
        _ => false,
    }
}

/// A segment with its percent-encoding removed, for comparison with a pattern.
pub(super) fn decode(segment: &str) -> Cow<'_, [u8]> {
    if segment.contains('%') { percent_decode_str(segment).into() } else { Cow::Borrowed(segment.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(raw: &str) -> String {
        RequestPath::parse(raw).unwrap().as_str().to_owned()
    }

    #[test]
    fn dot_segments_and_repeated_slashes_go() {
        for (raw, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/.hidden/x", "/.hidden/x"),
            ("/a/...", "/a/..."),
            ("/a%2Fb/./c", "/a%2Fb/c"),
        ] {
            assert_eq!(normal(raw), expected, "{raw}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        assert_eq!(RequestPath::parse("a"), Err(PathError::NotAbsolute));
        assert_eq!(RequestPath::parse("/.."), Err(PathError::AboveRoot));
        assert_eq!(RequestPath::parse("/a/../../b"), Err(PathError::AboveRoot));
        assert_eq!(RequestPath::parse("/a b"), Err(PathError::IllegalByte));
        assert_eq!(RequestPath::parse("/a%zz"), Err(PathError::BadEncoding));
        assert_eq!(RequestPath::parse("/a%2"), Err(PathError::BadEncoding));
        assert_eq!(RequestPath::parse("/a#b"), Err(PathError::IllegalByte));
    }

    #[test]
    fn only_doubtful_paths_have_a_lenient_reading() {
        assert!(RequestPath::parse("/a/%41%20b").unwrap().lenient().is_none());
        for (raw, lenient) in [
            ("/a/..%2f..", None),
            ("/a/%2e%2e/b", Some("/b")),
            ("/a/b%2Fc", Some("/a/b/c")),
            ("/a\\b", Some("/a/b")),
            ("/a/..;x=1/b", Some("/b")),
            ("/a%00/b", Some("/a")),
            ("/a/%0d%0ab", Some("/a/b")),
        ] {
            let reading = RequestPath::parse(raw).unwrap().lenient().unwrap();
            match lenient {
                Some(text) => assert_eq!(reading.unwrap().as_str(), text, "{raw}"),
                None => assert!(reading.is_err(), "{raw}"),
            }
        }
    }

    proptest! {
        #[test]
        fn normalisation_is_idempotent(raw in "/[a-c./%2Fe;]{0,24}") {
            if let Ok(once) = RequestPath::parse(&raw) {
                let again = RequestPath::parse(once.as_str()).unwrap();
                prop_assert_eq!(once.as_str(), again.as_str());
                prop_assert!(!again.is_changed());
            }
        }

        #[test]
        fn no_dot_segment_survives(raw in "(/|\\.|a|%2e){1,16}") {
            let raw = format!("/{raw}");
            if let Ok(path) = RequestPath::parse(&raw) {
                prop_assert!(path.as_str().split('/').all(|s| s != "." && s != ".."));
                prop_assert!(!path.as_str().contains("//"));
            }
        }
    }
}
