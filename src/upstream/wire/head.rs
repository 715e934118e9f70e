//! What a response's header section has to be for it to be relayed.
//!
//! Stricter than RFC 9112 asks for where two readers could find different ends of a message (§6.3, §11.2): the answer of
//! an upstream that is confused, or in another's hands, is refused and never relayed.

use memchr::memchr;

/// The largest header section, informational ones before it included.
const LARGEST: usize = 64 * 1024;

/// Checks header sections as they come in.
#[derive(Debug, Default)]
pub(super) struct HeadCheck {
    /// The beginning of a section whose end has not come yet.
    begun: Vec<u8>,
    seen: usize,
}

impl HeadCheck {
    /// Takes bytes in; `true` when the section of the final response is complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<bool, &'static str> {
        if self.begun.is_empty() {
            return self.look(bytes);
        }
        self.begun.extend_from_slice(bytes);
        if memchr(b'\n', bytes).is_none() && self.seen + self.begun.len() <= LARGEST {
            return Ok(false);
        }
        let begun = std::mem::take(&mut self.begun);
        self.look(&begun)
    }

    fn look(&mut self, mut bytes: &[u8]) -> Result<bool, &'static str> {
        loop {
            match section(bytes)? {
                Some(Section { status, length, chunked }) => {
                    self.seen += length;
                    if self.seen > LARGEST {
                        return Err("its header section is larger than 64 KiB");
                    }
                    bytes = &bytes[length..];
                    if status >= 200 || status == 101 {
                        // What came along already is worth a look: it is not relayed yet.
                        return if chunked { chunk_size(bytes).map(|()| true) } else { Ok(true) };
                    }
                }
                None if self.seen + bytes.len() > LARGEST => return Err("its header section is larger than 64 KiB"),
                None => {
                    bytes.clone_into(&mut self.begun);
                    return Ok(false);
                }
            }
        }
    }
}

/// A header section that is complete.
struct Section {
    status: u16,
    length: usize,
    chunked: bool,
}

/// The section that some bytes begin with; `None` for one that may still become right.
fn section(bytes: &[u8]) -> Result<Option<Section>, &'static str> {
    let Some((line, mut at)) = line(bytes, 0)? else {
        // What does not begin like HTTP will not become it.
        let begin = &bytes[..bytes.len().min(7)];
        return if b"HTTP/1."[..begin.len()] == *begin { Ok(None) } else { Err("its answer is not HTTP/1") };
    };
    let (status, old) = status_line(line)?;
    let mut framing = Framing::default();
    loop {
        let Some((field, next)) = self::line(bytes, at)? else {
            return Ok(None);
        };
        at = next;
        if field.is_empty() {
            framing.check(status, old)?;
            return Ok(Some(Section { status, length: at, chunked: framing.chunked }));
        }
        framing.field(field)?;
    }
}

/// The line that begins at an index, and where the next one begins.
fn line(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, &'static str> {
    let rest = &bytes[at..];
    let Some(end) = memchr(b'\n', rest) else {
        return Ok(None);
    };
    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
    if line.iter().any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f) {
        return Err("its header section holds control characters");
    }
    Ok(Some((line, at + end + 1)))
}

/// Status, and whether the version is 1.0.
fn status_line(line: &[u8]) -> Result<(u16, bool), &'static str> {
    let old = match line.get(..9) {
        Some(b"HTTP/1.1 ") => false,
        Some(b"HTTP/1.0 ") => true,
        _ => return Err("its answer is not HTTP/1"),
    };
    let digits = line.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let status = digits.map(|digits| digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')));
    match (status, line.get(12)) {
        (Some(status @ 100..=599), None | Some(b' ')) => Ok((status, old)),
        _ => Err("its answer has no valid status"),
    }
}

/// Checks the size of the first chunk (RFC 9112 §7.1), as far as it has come.
fn chunk_size(bytes: &[u8]) -> Result<(), &'static str> {
    let wrong = Err("its first chunk has no size");
    let line = memchr(b'\n', bytes).map(|end| &bytes[..end]);
    let size = line.unwrap_or(bytes);
    let digits = size.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let zeros = size.iter().take_while(|b| **b == b'0').count();
    // More than 15 digits is more than any length can be.
    if digits - zeros > 15 || digits > 64 {
        return wrong;
    }
    match (&size[digits..], line) {
        ([] | [b'\r'], None) => Ok(()),
        ([b'\r'] | [b';' | b' ' | b'\t', ..], _) if digits > 0 => Ok(()),
        _ => wrong,
    }
}

/// What a section says about the length of the body.
#[derive(Default)]
struct Framing<'a> {
    length: Option<&'a [u8]>,
    chunked: bool,
}

impl<'a> Framing<'a> {
    fn field(&mut self, field: &'a [u8]) -> Result<(), &'static str> {
        let colon = memchr(b':', field).ok_or("its header section has a line without a colon")?;
        let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
            return Err("its header section has a name that is none");
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = !value.is_empty() && value.len() < 19 && value.iter().all(u8::is_ascii_digit);
            if !digits || self.length.is_some_and(|length| length != value) {
                return Err("its Content-Length is not one number");
            }
            self.length = Some(value);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("its Transfer-Encoding is not `chunked`");
            }
            self.chunked = true;
        }
        Ok(())
    }

    fn check(&self, status: u16, old: bool) -> Result<(), &'static str> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err("it has both Content-Length and Transfer-Encoding"),
            (None, true) if old => Err("it has Transfer-Encoding in HTTP/1.0"),
            (None, true) if status < 200 => Err("it has Transfer-Encoding where no body can be"),
            (Some(length), false) if status < 200 && length != b"0" => {
                Err("it has Content-Length where no body can be")
            }
            _ => Ok(()),
        }
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<bool, &'static str> {
        // In one piece, and byte by byte: the same.
        let whole = HeadCheck::default().feed(text.as_bytes());
        let mut check = HeadCheck::default();
        let mut bytes = text.as_bytes().chunks(1).map(|byte| check.feed(byte));
        let pieces = bytes.find(|result| !matches!(result, Ok(false))).unwrap_or(Ok(false));
        assert_eq!(whole, pieces, "{text:?}");
        whole
    }

    #[test]
    fn proper_heads_pass() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.0 200\r\n\r\n",
            "HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\nX: \t\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000000005\r\nhello",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\x00",
            "HTTP/1.1 200 OK\nServer: old\n\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n000",
        ] {
            assert_eq!(check(text), Ok(true), "{text:?}");
        }
        for text in ["", "HTTP/1", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
            assert_eq!(check(text), Ok(false), "{text:?}");
        }
    }

    #[test]
    fn doubtful_heads_do_not() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 99 x\r\n\r\n",
            "HTTP/1.1 600 x\r\n\r\n",
            "HTTP/1.1 2000 x\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        ] {
            assert!(check(text).is_err(), "{text:?}");
        }
        for chunk in ["x\r\n", "-5\r\n", "+5\r\n", "0x5\r\n", "\r\n", "5x\r\n", "10000000000000005\r\n", "5\n"] {
            let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
            assert!(HeadCheck::default().feed(text.as_bytes()).is_err(), "{text:?}");
        }
        let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(LARGEST));
        assert!(HeadCheck::default().feed(large.as_bytes()).is_err());
        let many = "HTTP/1.1 100 Continue\r\n\r\n".repeat(4000);
        assert!(HeadCheck::default().feed(many.as_bytes()).is_err(), "without end");
    }
}
