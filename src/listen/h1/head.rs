//! The header section of an HTTP/1 request, read more strictly than by any server behind Pylon.
//!
//! What this refuses never reaches Pingora's parser, and with it no upstream: where two parsers could differ about where
//! a request ends or whom it is for, there is no second opinion (RFC 9110, RFC 9112).

use super::super::authority::is_authority;
use super::grammar::{is_strange, is_tchar, is_value, length, names_message, other_encoding};
use crate::observe::Rejection;

/// Empty lines before a request that are skipped (RFC 9112 §2.2).
const EMPTY_LINES: usize = 2;
/// No method of the registry is longer.
const LONGEST_METHOD: usize = 32;

/// How large header sections may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole section, request line included.
    pub size: usize,
    /// Header lines.
    pub headers: usize,
    /// Bytes of the request target.
    pub target: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { size: 64 * 1024, headers: 100, target: 16 * 1024 }
    }
}

/// Where the body of a request ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// A header section that is complete and sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Where it begins, after empty lines.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether it asks for another protocol.
    pub upgrade: bool,
    /// From where to where the scheme and authority of an absolute-form target stand, which the origin form lacks.
    pub absolute: Option<(usize, usize)>,
    /// Whether a `Host` line is there.
    pub has_host: bool,
}

/// Reads a header section as it arrives; no byte is looked at twice.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Where the line begins that is read next.
    at: usize,
    /// Up to where no line end was found.
    searched: usize,
    start: usize,
    empty_lines: usize,
    lines: usize,
    request_line: bool,
    old: bool,
    target: (usize, usize),
    asterisk: bool,
    absolute: Option<(usize, usize)>,
    host: Option<(usize, usize)>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    upgrades: bool,
}

impl HeadReader {
    /// Whether a byte of a request has come.
    #[must_use]
    pub fn has_begun(&self, bytes: &[u8]) -> bool {
        bytes.len() > self.start
    }

    /// Reads on in `bytes`, which hold all that came since the request began; `None` until the section is complete.
    ///
    /// # Errors
    /// Why the request is refused.
    pub fn read(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<Head>, Rejection> {
        while let Some(offset) = memchr::memchr(b'\n', bytes.get(self.searched..).unwrap_or_default()) {
            let newline = self.searched + offset;
            let line = bytes.get(self.at..newline).and_then(|line| line.strip_suffix(b"\r"));
            let Some(line) = line.filter(|line| !line.contains(&b'\r')) else {
                // What is no HTTP at all is better told so.
                self.check_begin(bytes.get(self.at..newline).unwrap_or_default(), limits)?;
                return Err(Rejection::LineEnding);
            };
            let (from, next) = (self.at, newline + 1);
            (self.at, self.searched) = (next, next);
            if !self.request_line {
                if line.is_empty() {
                    self.empty_lines += 1;
                    self.start = next;
                    if self.empty_lines > EMPTY_LINES {
                        return Err(Rejection::RequestLine);
                    }
                    continue;
                }
                self.read_request_line(line, from, limits)?;
            } else if line.is_empty() {
                return self.finish(bytes, next).map(Some);
            } else {
                self.lines += 1;
                if self.lines > limits.headers {
                    return Err(Rejection::TooManyHeaders);
                }
                self.read_header(line, from)?;
            }
            if next - self.start > limits.size {
                return Err(Rejection::HeaderTooLarge);
            }
        }
        self.searched = bytes.len();
        let rest = bytes.get(self.at..).unwrap_or_default();
        if !self.request_line {
            self.check_begin(rest, limits)?;
        }
        if memchr::memchr(b'\r', rest).is_some_and(|at| at + 1 < rest.len()) {
            return Err(Rejection::LineEnding);
        }
        if bytes.len() - self.start > limits.size {
            return Err(Rejection::HeaderTooLarge);
        }
        Ok(None)
    }

    /// Tells early what can be no request line, so that garbage does not wait for its deadline.
    fn check_begin(&self, line: &[u8], limits: &HeadLimits) -> Result<(), Rejection> {
        if self.request_line {
            return Ok(());
        }
        if line.first() == Some(&0x16) {
            return Err(Rejection::TlsOnPlain);
        }
        let method = line.split(|b| *b == b' ').next().unwrap_or_default();
        let method = method.strip_suffix(b"\r").unwrap_or(method);
        if !method.iter().all(|b| is_tchar(*b)) {
            return Err(Rejection::Method);
        }
        if method.len() > LONGEST_METHOD {
            return Err(Rejection::MethodNotImplemented);
        }
        if line.len() > method.len() + limits.target + " HTTP/1.1 ".len() {
            return Err(Rejection::TargetTooLong);
        }
        Ok(())
    }

    fn read_request_line(&mut self, line: &[u8], from: usize, limits: &HeadLimits) -> Result<(), Rejection> {
        self.check_begin(line, limits)?;
        self.request_line = true;
        let mut parts = line.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Rejection::RequestLine);
        };
        if method.is_empty() {
            return Err(Rejection::Method);
        }
        self.old = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                return Err(Rejection::Version);
            }
            _ if is_strange(method, version) => return Err(Rejection::NotHttp),
            _ => return Err(Rejection::RequestLine),
        };
        // A tunnel through the way in, and a mirror of what it adds, are both not for clients.
        if matches!(method, b"CONNECT" | b"TRACE") {
            return Err(Rejection::MethodNotImplemented);
        }
        if target.len() > limits.target {
            return Err(Rejection::TargetTooLong);
        }
        let begin = from + method.len() + 1;
        self.target = (begin, begin + target.len());
        self.read_target(method, target, begin)
    }

    fn read_target(&mut self, method: &[u8], target: &[u8], begin: usize) -> Result<(), Rejection> {
        let query = memchr::memchr(b'?', target).unwrap_or(target.len());
        let sound = |at: usize, b: u8| match b {
            0..=0x20 | 0x7f | b'"' | b'#' | b'<' | b'>' => false,
            b'\\' => at > query,
            _ => true,
        };
        if !target.iter().enumerate().all(|(at, b)| sound(at, *b)) {
            return Err(Rejection::Target);
        }
        match target {
            [b'/', ..] => Ok(()),
            b"*" if method == b"OPTIONS" => {
                self.asterisk = true;
                Ok(())
            }
            _ => {
                let scheme = [&b"http://"[..], b"https://"]
                    .into_iter()
                    .find(|scheme| target.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)));
                let from = scheme.ok_or(Rejection::Target)?.len();
                let rest = &target[from..];
                let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
                if !is_authority(&rest[..end]) {
                    return Err(Rejection::Target);
                }
                self.absolute = Some((begin + from, begin + from + end));
                Ok(())
            }
        }
    }

    fn read_header(&mut self, line: &[u8], from: usize) -> Result<(), Rejection> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(Rejection::FoldedHeader);
        }
        let colon = memchr::memchr(b':', line).ok_or(Rejection::HeaderName)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|b| is_tchar(*b)) {
            return Err(Rejection::HeaderName);
        }
        if !value.iter().all(|b| is_value(*b)) {
            return Err(Rejection::HeaderValue);
        }
        let value = value.trim_ascii();
        // Only what frames, addresses or steers the request is of interest here.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let begin =
                    from + colon + 1 + line[colon + 1..].iter().take_while(|b| **b == b' ' || **b == b'\t').count();
                if self.host.is_some() || !is_authority(value) {
                    return Err(Rejection::Host);
                }
                self.host = Some((begin, begin + value.len()));
            }
            6 if name.eq_ignore_ascii_case(b"expect") && !self.old && !value.eq_ignore_ascii_case(b"100-continue") => {
                return Err(Rejection::Expectation);
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.upgrades |=
                    value.split(|b| *b == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
                if value.split(|b| *b == b',').any(names_message) {
                    return Err(Rejection::Connection);
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(Rejection::Length);
                }
                self.length = Some(length(value).ok_or(Rejection::Length)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || self.old {
                    return Err(Rejection::Encoding);
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(other_encoding(value));
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&self, bytes: &[u8], end: usize) -> Result<Head, Rejection> {
        let framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Rejection::LengthWithEncoding),
            (None, true) => Framing::Chunked,
            (Some(0) | None, false) => Framing::None,
            (Some(length), false) => Framing::Length(length),
        };
        let named = self.host.and_then(|(from, to)| bytes.get(from..to));
        match (named, self.absolute.and_then(|(from, to)| bytes.get(from..to))) {
            (None, _) if !self.old => return Err(Rejection::Host),
            // RFC 9112 §3.2.2 would let the target win; a server behind may let Host win.
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => return Err(Rejection::Host),
            _ => {}
        }
        let absolute = self.absolute.map(|(_, to)| (self.target.0, to));
        Ok(Head {
            start: self.start,
            end,
            framing,
            upgrade: self.upgrade && self.upgrades,
            absolute,
            has_host: named.is_some(),
        })
    }
}
