//! `grpc_web`: translate the gRPC-Web of browsers into gRPC.
//!
//! Browsers can neither speak HTTP/2 frames nor see trailers. So gRPC-Web sends the same messages with any version of
//! HTTP, as they are or in base64, and puts the trailers behind them as a last message with a flag of its own:
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>. A call that ends before its first message has its
//! status among the headers, in either protocol; there it stays.

use bytes::{BufMut, Bytes, BytesMut};
use data_encoding::BASE64;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Headers;
use super::body::content_type::media_type;
use super::body::{BodyError, BodyStep};

const GRPC: &str = "application/grpc";
const GRPC_WEB: &str = "application/grpc-web";
const GRPC_WEB_TEXT: &str = "application/grpc-web-text";

/// The flag of the message that holds the trailers.
const TRAILERS: u8 = 0x80;

/// A call, from begin to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What of the request's base64 is still to be decoded, where it comes so.
    request: Option<FromText>,
    /// Whether the client wants its answer in base64.
    wants_text: bool,
    /// Whether the answer is gRPC, so that its trailers have to be translated.
    answered: bool,
}

impl Call {
    /// The call that a request makes; `None` where it is not gRPC-Web.
    #[must_use]
    pub fn of(request: &HeaderMap) -> Option<Self> {
        let content_type = request.get(CONTENT_TYPE)?.to_str().ok()?;
        let (text, _) = form(content_type)?;
        let accepted = request.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let accepted = accepted.flat_map(|line| line.split(',')).find_map(form).map(|(text, _)| text);
        Some(Self { request: text.then(FromText::default), wants_text: accepted.unwrap_or(text), answered: false })
    }

    /// Makes a request gRPC, if it is gRPC-Web.
    pub fn outward(request: &mut dyn Headers) {
        let Some((_, suffix)) = request.text(&CONTENT_TYPE).and_then(form) else {
            return;
        };
        let content_type = format!("{GRPC}{suffix}");
        request.set_text(&CONTENT_TYPE, &content_type);
        request.set(&TE, HeaderValue::from_static("trailers"));
        request.remove(&CONTENT_LENGTH);
        request.remove(&HeaderName::from_static("x-grpc-web"));
    }

    /// The next bytes of the request.
    ///
    /// # Errors
    /// Where they are no base64.
    pub fn take(&mut self, body: &mut Option<Bytes>, end: bool) -> Result<(), NotBase64> {
        let Some(decoder) = &mut self.request else {
            return Ok(());
        };
        if let Some(piece) = body {
            *piece = decoder.push(piece)?;
        }
        if end { decoder.end() } else { Ok(()) }
    }

    /// Makes an answer gRPC-Web, if it is gRPC; and gives the step for its body, where it has one.
    pub fn respond(&mut self, response: &mut dyn Headers) -> Option<ToText> {
        let suffix = response.text(&CONTENT_TYPE)?.strip_prefix(GRPC)?;
        if !suffix.is_empty() && !suffix.starts_with(['+', ';']) {
            return None;
        }
        let content_type = format!("{}{suffix}", if self.wants_text { GRPC_WEB_TEXT } else { GRPC_WEB });
        response.set_text(&CONTENT_TYPE, &content_type);
        response.remove(&CONTENT_LENGTH);
        response.remove(&TRAILER);
        self.answered = true;
        self.wants_text.then_some(ToText)
    }

    /// The last message of the answer: its trailers. `None` where they stay trailers.
    #[must_use]
    pub fn trailers(&self, trailers: &HeaderMap) -> Option<Bytes> {
        if !self.answered {
            return None;
        }
        let mut lines = BytesMut::new();
        for (name, value) in trailers {
            lines.put_slice(name.as_str().as_bytes());
            lines.put_slice(b":");
            lines.put_slice(value.as_bytes());
            lines.put_slice(b"\r\n");
        }
        let mut message = BytesMut::with_capacity(5 + lines.len());
        message.put_u8(TRAILERS);
        message.put_u32(u32::try_from(lines.len()).ok()?);
        message.put_slice(&lines);
        Some(message.freeze())
    }
}

/// Whether a media type is gRPC-Web: in base64 or not, and its message format (`+proto`).
fn form(content_type: &str) -> Option<(bool, &str)> {
    let media = media_type(content_type);
    let after = |start: &str| {
        let (begin, rest) = media.split_at_checked(start.len())?;
        (begin.eq_ignore_ascii_case(start) && (rest.is_empty() || rest.starts_with('+'))).then_some(rest)
    };
    after(GRPC_WEB_TEXT).map(|rest| (true, rest)).or_else(|| after(GRPC_WEB).map(|rest| (false, rest)))
}

/// The body of a request is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not base64, as its type says")]
pub struct NotBase64;

/// Decodes base64 that may be padded in between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FromText {
    /// The characters of a group that has not come whole.
    held: Vec<u8>,
}

impl FromText {
    fn push(&mut self, piece: &[u8]) -> Result<Bytes, NotBase64> {
        self.held.extend_from_slice(piece);
        let whole = self.held.len() - self.held.len() % 4;
        // The library takes padded pieces one behind the other.
        let decoded = BASE64.decode(&self.held[..whole]).map_err(|_| NotBase64)?;
        self.held.drain(..whole);
        self.held.shrink_to(4);
        Ok(decoded.into())
    }

    fn end(&self) -> Result<(), NotBase64> {
        if self.held.is_empty() { Ok(()) } else { Err(NotBase64) }
    }
}

/// Writes each piece of an answer in base64, padded, so that it can be read at once.
#[derive(Debug)]
pub struct ToText;

impl BodyStep for ToText {
    fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), BodyError> {
        out.extend_from_slice(BASE64.encode(chunk).as_bytes());
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), BodyError> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests;
