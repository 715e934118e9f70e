//! `compress`: compress answers for clients that take it.
//!
//! ```yaml
//!   compress: [br, zstd, gzip]
//!   compress: { codings: [br, gzip], types: [text/*, application/json], min_size: 1KiB, level: fast }
//! ```
//!
//! The client's `Accept-Encoding` decides (RFC 9110 §12.5.3), the order of the route where it takes several equally well.
//! What the upstream has compressed itself, parts of bodies, and what `no-transform` stands on pass as they are. A
//! compressed body is another representation: its strong ETag becomes weak, and its ranges and digests go.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Headers;
use super::body::content_type::{media_type, text_type};
use super::body::encode::{Encoder, name};
use super::etag::entity_tags;
use crate::config::value::{ByteSize, MediaRange};
use crate::config::{CompressSpec, CompressionLevel, ContentCoding};

/// What is offered where the route does not say.
const CODINGS: [ContentCoding; 3] = [ContentCoding::Br, ContentCoding::Zstd, ContentCoding::Gzip];

/// The shortest body that is compressed where the route does not say.
const MIN_SIZE: u64 = 1024;

/// Types besides text that become much shorter.
const MORE_TYPES: [&str; 7] = [
    "application/wasm",
    "application/vnd.ms-fontobject",
    "font/ttf",
    "font/otf",
    "image/bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
];

/// Headers that describe the bytes of a body as it was.
const OF_THE_BYTES: [&str; 4] = ["content-md5", "digest", "content-digest", "repr-digest"];

/// The step, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compress {
    codings: Vec<ContentCoding>,
    types: Vec<MediaRange>,
    min_size: u64,
    level: CompressionLevel,
}

/// The request that is answered.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The client's headers.
    pub headers: &'a HeaderMap,
    /// Whether its answer has no body, as that of a HEAD.
    pub head: bool,
}

impl Compress {
    /// The step; `None` where the route offers nothing.
    #[must_use]
    pub fn compile(spec: &CompressSpec) -> Option<Self> {
        let codings = spec.codings.as_ref().map_or(CODINGS.to_vec(), |codings| codings.to_vec());
        let types = spec.types.to_vec();
        let min_size = spec.min_size.map_or(MIN_SIZE, ByteSize::bytes).max(1);
        let level = spec.level.unwrap_or_default();
        (!codings.is_empty()).then_some(Self { codings, types, min_size, level })
    }

    /// Sees to the conditions of a request on its way upstream. A weak tag never matches in `If-Range` (RFC 9110
    /// §13.1.5): the client has a compressed body, and must not put a part of the plain one behind it.
    pub fn outward(request: &mut dyn Headers) {
        if request.text(&IF_RANGE).is_some_and(|tag| tag.trim_start().starts_with("W/")) {
            request.remove(&IF_RANGE);
            request.remove(&RANGE);
        }
    }

    /// Makes the headers of an answer fit, and gives the step for its body; `None` where the body stays as it is.
    pub fn respond(&self, asked: Asked<'_>, status: StatusCode, response: &mut dyn Headers) -> Option<Encoder> {
        let encoded = response.map().get_all(CONTENT_ENCODING).iter().any(|value| {
            let codings = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
            codings.into_iter().any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
        });
        let content_type = response.text(&CONTENT_TYPE);
        let concerned = match content_type {
            None => status == StatusCode::NOT_MODIFIED,
            Some(content_type) => self.concerns(content_type),
        };
        let no_content = status.is_informational() || matches!(status.as_u16(), 204 | 205);
        if no_content || encoded || !concerned || has_token(response.map(), &CACHE_CONTROL, "no-transform") {
            return None;
        }
        if status == StatusCode::NOT_MODIFIED {
            add_vary(response);
            weaken_as_asked(asked.headers, response);
            return None;
        }
        if status == StatusCode::PARTIAL_CONTENT || response.map().contains_key(CONTENT_RANGE) {
            add_vary(response);
            return None;
        }
        let length = response.text(&CONTENT_LENGTH).and_then(|length| length.trim().parse::<u64>().ok());
        if length.is_some_and(|length| length < self.min_size) {
            return None;
        }
        add_vary(response);
        if has_token(asked.headers, &CACHE_CONTROL, "no-transform") {
            return None;
        }
        let coding = negotiate(&self.codings, asked.headers)?;
        response.set(&CONTENT_ENCODING, HeaderValue::from_static(name(coding)));
        for name in [&CONTENT_LENGTH, &ACCEPT_RANGES] {
            response.remove(name);
        }
        for name in OF_THE_BYTES {
            response.remove(&HeaderName::from_static(name));
        }
        weaken(response);
        (!asked.head).then(|| Encoder::new(coding, self.level))
    }

    /// Whether bodies of this `Content-Type` are compressed. gRPC never is: it compresses its messages by itself.
    fn concerns(&self, content_type: &str) -> bool {
        let media = media_type(content_type);
        let grpc = media.get(..16).is_some_and(|start| start.eq_ignore_ascii_case("application/grpc"));
        let listed = match self.types.as_slice() {
            [] => text_type(media) || MORE_TYPES.iter().any(|more| media.eq_ignore_ascii_case(more)),
            types => types.iter().any(|range| range.contains(media)),
        };
        listed && !grpc
    }
}

/// The coding that suits the client best; `None` for the body as it is.
pub(super) fn negotiate(codings: &[ContentCoding], request: &HeaderMap) -> Option<ContentCoding> {
    let lines = request.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let members: Vec<(&str, u16)> = lines.flat_map(|line| line.split(',')).map(member).collect();
    let named = |wanted: &[&str]| {
        let is = |name: &str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        members.iter().find(|(name, _)| is(name)).map(|(_, weight)| *weight)
    };
    let any = named(&["*"]);
    // Where it is not named, the plain body will do, and anything named is better.
    let plain = named(&["identity"]).or(any).unwrap_or(0);
    let mut best = None;
    for coding in codings {
        let own = match coding {
            ContentCoding::Gzip => named(&["gzip", "x-gzip"]),
            other => named(&[name(*other)]),
        };
        let weight = own.or(any).unwrap_or(0);
        if weight > 0 && weight >= plain && best.is_none_or(|(_, before)| weight > before) {
            best = Some((*coding, weight));
        }
    }
    best.map(|(coding, _)| coding)
}

/// A member of `Accept-Encoding` with its weight in thousandths; 0 where that cannot be read.
fn member(text: &str) -> (&str, u16) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, weight.map_or(1000, |weight| thousandths(weight).unwrap_or(0)))
}

/// A weight, as RFC 9110 §12.4.2 writes it: 0 to 1 with at most three digits behind the point.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, digits) = weight.split_once('.').unwrap_or((weight, ""));
    if digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{digits:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

/// Whether a header that is a list of tokens has this one.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter();
    let mut tokens = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Says that the answer depends on `Accept-Encoding`, unless that is said.
fn add_vary(response: &mut dyn Headers) {
    if has_token(response.map(), &VARY, "*") || has_token(response.map(), &VARY, ACCEPT_ENCODING.as_str()) {
        return;
    }
    let lines = response.map().get_all(VARY).iter().map(HeaderValue::as_bytes).filter(|line| !line.is_empty());
    let merged = lines.chain([&b"Accept-Encoding"[..]]).collect::<Vec<_>>().join(&b", "[..]);
    if let Ok(merged) = HeaderValue::from_bytes(&merged) {
        response.set(&VARY, merged);
    }
}

/// Makes a strong ETag weak; one that is neither goes.
fn weaken(response: &mut dyn Headers) {
    match response.map().get(ETAG).map(HeaderValue::as_bytes) {
        Some([b'"', .., b'"']) => {
            if let Some(weak) = response.text(&ETAG).map(|tag| format!("W/{tag}")) {
                response.set_text(&ETAG, &weak);
            }
        }
        Some([b'W', b'/', b'"', ..]) | None => {}
        Some(_) => response.remove(&ETAG),
    }
}

/// Of a 304, names the body by the tag that the client has it under, weak where it was compressed.
fn weaken_as_asked(request: &HeaderMap, response: &mut dyn Headers) {
    let Some(tag) = response.text(&ETAG).filter(|tag| tag.starts_with('"')) else {
        return;
    };
    let lines: Vec<&str> = request.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok()).collect();
    let has = |wanted: &str| lines.iter().any(|line| entity_tags(line).contains(&wanted));
    if has(&format!("W/{tag}")) && !has(tag) {
        weaken(response);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests;
