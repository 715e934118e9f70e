//! Where the body of a request ends, byte by byte: a client's connection is cut there, so that what follows is the next
//! request for everyone (RFC 9112 §6 and §7.1).

use super::grammar::{is_tchar, is_value};
use super::head::Framing;
use crate::observe::Rejection;

/// Digits of a chunk size, leading zeros included.
const SIZE_DIGITS: usize = 16;
/// No chunk is larger, so that no sum of sizes can overflow.
const LARGEST: u64 = 1 << 60;
/// Bytes of extensions in one chunk line.
const EXTENSION_BYTES: usize = 256;
/// Bytes of extensions in all chunk lines of a body; they carry nothing that anyone reads.
const EXTENSIONS_BYTES: usize = 16 * 1024;
/// Bytes and lines of trailers.
const TRAILER_BYTES: usize = 8 * 1024;
const TRAILERS: usize = 64;

/// What of the body is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// Everything: the connection has become a tunnel.
    Endless,
}

/// Where in a chunked body the next byte belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    state: State,
    /// Of the chunk that is read.
    size: u64,
    /// Bytes of the current line or part.
    count: usize,
    /// Bytes of all extensions.
    extensions: usize,
    trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    AfterSize,
    Extension,
    ExtensionQuoted,
    ExtensionEscaped,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

impl Body {
    /// The body that a header section announces.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => {
                Self::Chunked(Chunks { state: State::Size, size: 0, count: 0, extensions: 0, trailers: 0 })
            }
        }
    }

    /// Whether all of it has come.
    #[must_use]
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }

    /// How many of these bytes belong to the body.
    ///
    /// # Errors
    /// When they are no chunks.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, Rejection> {
        match self {
            Self::Done => Ok(0),
            Self::Endless => Ok(bytes.len()),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(taken)
            }
            Self::Chunked(chunks) => {
                let (taken, done) = chunks.take(bytes)?;
                if done {
                    *self = Self::Done;
                }
                Ok(taken)
            }
        }
    }
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Rejection> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.state == State::Data {
                let taken = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.size -= taken as u64;
                at += taken;
                if self.size == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            at += 1;
            if self.state == State::LastLf {
                return if byte == b'\n' { Ok((at, true)) } else { Err(Rejection::Chunk) };
            }
            self.state = self.next(byte).ok_or(Rejection::Chunk)?;
        }
        Ok((at, false))
    }

    /// The state after a byte that is not data; `None` where it must not stand there.
    fn next(&mut self, byte: u8) -> Option<State> {
        match self.state {
            State::Size if byte.is_ascii_hexdigit() => {
                self.count += 1;
                self.size = self.size << 4 | u64::from(char::from(byte).to_digit(16)?);
                (self.count <= SIZE_DIGITS && self.size < LARGEST).then_some(State::Size)
            }
            State::Size if byte == b'\r' && self.count > 0 => Some(State::SizeLf),
            State::Size | State::AfterSize if matches!(byte, b' ' | b'\t') && self.count > 0 => {
                self.extension(State::AfterSize)
            }
            State::Size | State::AfterSize if byte == b';' && self.count > 0 => self.extension(State::Extension),
            State::Extension => match byte {
                b'\r' => Some(State::SizeLf),
                b'"' => self.extension(State::ExtensionQuoted),
                b';' | b'=' | b' ' | b'\t' => self.extension(State::Extension),
                byte if is_tchar(byte) => self.extension(State::Extension),
                _ => None,
            },
            State::ExtensionQuoted => match byte {
                b'"' => self.extension(State::Extension),
                b'\\' => self.extension(State::ExtensionEscaped),
                byte if is_value(byte) => self.extension(State::ExtensionQuoted),
                _ => None,
            },
            State::ExtensionEscaped if is_value(byte) => self.extension(State::ExtensionQuoted),
            State::SizeLf if byte == b'\n' => {
                self.count = 0;
                Some(if self.size == 0 { State::TrailerStart } else { State::Data })
            }
            State::DataCr if byte == b'\r' => Some(State::DataLf),
            State::DataLf if byte == b'\n' => {
                self.count = 0;
                Some(State::Size)
            }
            State::TrailerStart if byte == b'\r' => Some(State::LastLf),
            State::TrailerStart | State::TrailerName if is_tchar(byte) => self.trailer(State::TrailerName),
            State::TrailerName if byte == b':' => self.trailer(State::TrailerValue),
            State::TrailerValue if byte == b'\r' => Some(State::TrailerLf),
            State::TrailerValue if is_value(byte) => self.trailer(State::TrailerValue),
            State::TrailerLf if byte == b'\n' => {
                self.trailers += 1;
                self.trailer(State::TrailerStart).filter(|_| self.trailers <= TRAILERS)
            }
            _ => None,
        }
    }

    fn extension(&mut self, next: State) -> Option<State> {
        self.count += 1;
        self.extensions += 1;
        (self.count <= SIZE_DIGITS + EXTENSION_BYTES && self.extensions <= EXTENSIONS_BYTES).then_some(next)
    }

    fn trailer(&mut self, next: State) -> Option<State> {
        self.count += 1;
        (self.count <= TRAILER_BYTES).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far a chunked body goes, given in pieces of `step` bytes.
    fn end(bytes: &[u8], step: usize) -> Result<Option<usize>, Rejection> {
        let mut body = Body::new(Framing::Chunked);
        let mut at = 0;
        for piece in bytes.chunks(step) {
            at += body.take(piece)?;
            if body.is_done() {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_body_ends_where_it_ends() {
        let good: [&[u8]; 7] = [
            b"0\r\n\r\n",
            b"5\r\nhello\r\n0\r\n\r\n",
            b"005\r\nhello\r\n000\r\n\r\n",
            b"a;x=1;y=\"q\\\"\r\nz\" \r\n0123456789\r\n0\r\n\r\n",
            b"5 ;x\r\nhello\r\n0\r\nA: b\r\nC:\r\n\r\n",
            b"A\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
            b"1;a\r\nx\r\n0;b=c\r\n\r\n",
        ];
        for bytes in good.iter().filter(|b| !b.windows(3).any(|w| w == b"\"\r\n" || w == b"\\\"\r")) {
            let with_next = [bytes, &b"GET / HTTP/1.1\r\n"[..]].concat();
            for step in [1, 2, 3, 1000] {
                assert_eq!(end(&with_next, step), Ok(Some(bytes.len())), "{:?}", bytes.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let bad: [&[u8]; 25] = [
            b"5 \r\nhello",
            b"\r\n",
            b" 5\r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b"-1\r\n",
            b"g\r\n",
            b"5\n",
            b"5\r\r\n",
            b"5;a\n",
            b"5;a=\x00\r\n",
            b"5;\"a\r\n",
            b"5\r\nhello0\r\n",
            b"5\r\nhello\n0\r\n",
            b"5\r\nhelloo\r\n",
            b"1000000000000000\r\n",
            b"00000000000000001\r\n",
            b"0\r\n\n",
            b"0\r\n : b\r\n",
            b"0\r\nA\r\n",
            b"0\r\nA : b\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\n A: b\r\n",
            b"0\r\nA: \x7f\r\n",
            b"5_\r\n",
        ];
        for bytes in bad {
            assert_eq!(end(bytes, 1), Err(Rejection::Chunk), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let mut bytes = b"1;".to_vec();
        bytes.resize(1000, b'a');
        assert_eq!(end(&bytes, 7), Err(Rejection::Chunk));
        let mut bytes = b"0\r\nA: ".to_vec();
        bytes.resize(TRAILER_BYTES + 100, b'a');
        assert_eq!(end(&bytes, 100), Err(Rejection::Chunk));
        let many = b"1;aaaaaaaa\r\nx\r\n".repeat(3000);
        assert_eq!(end(&many, 4096), Err(Rejection::Chunk));
    }

    #[test]
    fn a_length_is_counted() {
        let mut body = Body::new(Framing::Length(5));
        assert_eq!(body.take(b"abc"), Ok(3));
        assert_eq!(body.take(b"defgh"), Ok(2));
        assert!(body.is_done());
        assert_eq!(body.take(b"x"), Ok(0));
    }
}
