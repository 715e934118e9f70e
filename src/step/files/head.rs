//! What a file is answered with: status, headers, and which bytes of it (RFC 9110 §13, §14).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::range::{Range, Ranges, ranges};
use super::{Files, Served};
use crate::step::Headers;
use crate::step::body::encode::name;
use crate::step::etag::entity_tags;

/// A file that changed less than this ago may change again without a change of its time: its tag is a weak one.
const SETTLED: Duration = Duration::from_secs(1);

/// A request for a file.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Its method: GET or HEAD.
    pub method: &'a Method,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// When it came.
    pub now: SystemTime,
}

/// An answer: what goes out before the body, and of what the body is made.
#[derive(Debug)]
pub struct Head {
    /// The status. With 412 and 416 an error page is the body.
    pub status: StatusCode,
    /// The headers, but for those of framing.
    pub headers: HeaderMap,
    /// The body, which a HEAD request gets the length of.
    pub body: Vec<Segment>,
}

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Text between parts of the file.
    Text(Bytes),
    /// A part of the file.
    Part {
        /// Its first byte.
        start: u64,
        /// How many there are.
        length: u64,
    },
}

impl Segment {
    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Part { length, .. } => *length,
        }
    }
}

impl Files {
    /// What a request for a file that is there is answered with.
    #[must_use]
    pub fn answer(&self, served: &Served, asked: Asked<'_>) -> Head {
        let state = State::of(served, asked.now);
        let mut headers = HeaderMap::with_capacity(10);
        if let Some(tag) = HeaderValue::from_str(&state.tag).ok().filter(|_| served.modified.is_some()) {
            headers.insert(ETAG, tag);
        }
        if let Some(date) = state.date.as_deref().and_then(|date| HeaderValue::from_str(date).ok()) {
            headers.insert(LAST_MODIFIED, date);
        }
        if let Some(value) = self.caching(served) {
            headers.insert(CACHE_CONTROL, value);
        }
        if !self.codings.is_empty() {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        let whole = vec![Segment::Part { start: 0, length: served.size }];
        if let Some(status) = state.condition(asked.headers) {
            return Head { status, headers, body: Vec::new() };
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_TYPE, served.media_type.clone());
        if let Some(coding) = served.coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name(coding)));
        }
        let found = match Headers::text(asked.headers, &RANGE) {
            Some(range) if *asked.method == Method::GET && state.goes_on(asked.headers) => ranges(range, served.size),
            _ => Ranges::Whole,
        };
        match found {
            Ranges::Whole => Head { status: StatusCode::OK, headers, body: whole },
            Ranges::Outside => {
                headers.remove(CONTENT_ENCODING);
                set(&mut headers, CONTENT_RANGE, &format!("bytes */{}", served.size));
                Head { status: StatusCode::RANGE_NOT_SATISFIABLE, headers, body: Vec::new() }
            }
            Ranges::Some(found) => match found.as_slice() {
                [one] => {
                    set(&mut headers, CONTENT_RANGE, &content_range(*one, served.size));
                    let body = vec![Segment::Part { start: one.start, length: one.length }];
                    Head { status: StatusCode::PARTIAL_CONTENT, headers, body }
                }
                // What is compressed is of no use in pieces that belong together in one body.
                _ if served.coding.is_some() => Head { status: StatusCode::OK, headers, body: whole },
                several => {
                    let body = multipart(&mut headers, several, served.size);
                    Head { status: StatusCode::PARTIAL_CONTENT, headers, body }
                }
            },
        }
    }

    /// What stands in place of a file that is not there, as a 404.
    #[must_use]
    pub fn missing(served: &Served) -> Head {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_TYPE, served.media_type.clone());
        let body = vec![Segment::Part { start: 0, length: served.size }];
        Head { status: StatusCode::NOT_FOUND, headers, body }
    }

    fn caching(&self, served: &Served) -> Option<HeaderValue> {
        if served.instead { Some(HeaderValue::from_static("no-cache")) } else { self.cache_control.clone() }
    }
}

/// By what a client knows the state of a file.
struct State {
    tag: String,
    modified: Option<SystemTime>,
    date: Option<String>,
    /// Whether equal tags and dates say that every byte is the same.
    strong: bool,
}

impl State {
    fn of(served: &Served, now: SystemTime) -> Self {
        let modified = served.modified.filter(|time| *time > SystemTime::UNIX_EPOCH);
        let nanos = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let nanos = nanos.map_or(0, |since| since.as_nanos());
        let strong = modified.is_some_and(|time| now.duration_since(time).is_ok_and(|age| age >= SETTLED));
        let weak = if strong { "" } else { "W/" };
        let coding = served.coding.map(name).unwrap_or_default();
        Self {
            tag: format!("{weak}\"{nanos:x}-{:x}{coding}\"", served.size),
            modified,
            date: modified.map(httpdate::fmt_http_date),
            strong,
        }
    }

    /// What the conditions of a request come to (RFC 9110 §13.2.2): 304, 412, or that it goes on.
    fn condition(&self, headers: &HeaderMap) -> Option<StatusCode> {
        let date =
            |name: &HeaderName| Headers::text(headers, name).and_then(|text| httpdate::parse_http_date(text).ok());
        // Dates are in whole seconds.
        let is_newer = |than: SystemTime| self.modified.is_some_and(|time| seconds(time) > seconds(than));
        if headers.contains_key(IF_MATCH) {
            if !self.is_listed(headers, &IF_MATCH, true) {
                return Some(StatusCode::PRECONDITION_FAILED);
            }
        } else if date(&IF_UNMODIFIED_SINCE).is_some_and(is_newer) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
        if headers.contains_key(IF_NONE_MATCH) {
            return self.is_listed(headers, &IF_NONE_MATCH, false).then_some(StatusCode::NOT_MODIFIED);
        }
        let known = date(&IF_MODIFIED_SINCE).filter(|_| self.modified.is_some());
        known.is_some_and(|known| !is_newer(known)).then_some(StatusCode::NOT_MODIFIED)
    }

    /// Whether a list of tags has this one. A weak tag is like none where every byte counts.
    fn is_listed(&self, headers: &HeaderMap, name: &HeaderName, strongly: bool) -> bool {
        let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
        let same = |tag: &str| if strongly { self.strong && tag == self.tag } else { opaque(tag) == opaque(&self.tag) };
        let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(entity_tags).any(|tag| tag == "*" || same(tag))
    }

    /// Whether a part fits what the client has already: `If-Range`.
    fn goes_on(&self, headers: &HeaderMap) -> bool {
        match headers.get(IF_RANGE).map(HeaderValue::as_bytes) {
            None => true,
            Some(known) => {
                let date = self.date.as_deref().map(str::as_bytes);
                self.strong && (known == self.tag.as_bytes() || Some(known) == date)
            }
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn content_range(range: Range, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.start + range.length - 1)
}

/// Several parts in one body (RFC 9110 §14.6).
fn multipart(headers: &mut HeaderMap, parts: &[Range], size: u64) -> Vec<Segment> {
    let boundary = format!("{:032x}", fastrand::u128(..));
    let media_type = Headers::text(headers, &CONTENT_TYPE).unwrap_or_default().to_owned();
    set(headers, CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
    let mut body = Vec::with_capacity(parts.len() * 2 + 1);
    for (index, part) in parts.iter().enumerate() {
        let line = if index == 0 { "" } else { "\r\n" };
        let range = content_range(*part, size);
        let head = format!("{line}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n");
        body.push(Segment::Text(head.into()));
        body.push(Segment::Part { start: part.start, length: part.length });
    }
    body.push(Segment::Text(format!("\r\n--{boundary}--\r\n").into()));
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::files::testing::served;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn head(pairs: &[(&HeaderName, &str)]) -> Head {
        let headers =
            pairs.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_str(value).unwrap())).collect();
        let now = SystemTime::UNIX_EPOCH + NOW;
        let (files, served) = served(10, now - Duration::from_secs(3600));
        files.answer(&served, Asked { method: &Method::GET, headers: &headers, now })
    }

    #[test]
    fn conditions_are_those_of_the_standard() {
        let plain = head(&[]);
        let tag = plain.headers[ETAG].to_str().unwrap().to_owned();
        let date = plain.headers[LAST_MODIFIED].to_str().unwrap().to_owned();
        let (later, earlier) = ("Mon, 14 Nov 2033 22:13:20 GMT", "Mon, 14 Nov 2011 22:13:20 GMT");
        let other = "\"other\"";
        let weak = format!("W/{tag}");
        for (pairs, status) in [
            (vec![(&IF_NONE_MATCH, tag.as_str())], 304),
            (vec![(&IF_NONE_MATCH, weak.as_str())], 304),
            (vec![(&IF_NONE_MATCH, "*")], 304),
            (vec![(&IF_NONE_MATCH, other), (&IF_MODIFIED_SINCE, date.as_str())], 200),
            (vec![(&IF_MODIFIED_SINCE, date.as_str())], 304),
            (vec![(&IF_MODIFIED_SINCE, later)], 304),
            (vec![(&IF_MODIFIED_SINCE, earlier)], 200),
            (vec![(&IF_MODIFIED_SINCE, "yesterday")], 200),
            (vec![(&IF_MATCH, tag.as_str())], 200),
            (vec![(&IF_MATCH, weak.as_str())], 412),
            (vec![(&IF_MATCH, other)], 412),
            (vec![(&IF_MATCH, tag.as_str()), (&IF_UNMODIFIED_SINCE, earlier)], 200),
            (vec![(&IF_UNMODIFIED_SINCE, earlier)], 412),
            (vec![(&IF_UNMODIFIED_SINCE, date.as_str())], 200),
            (vec![(&RANGE, "bytes=0-1")], 206),
            (vec![(&RANGE, "bytes=0-1"), (&IF_RANGE, tag.as_str())], 206),
            (vec![(&RANGE, "bytes=0-1"), (&IF_RANGE, date.as_str())], 206),
            (vec![(&RANGE, "bytes=0-1"), (&IF_RANGE, weak.as_str())], 200),
            (vec![(&RANGE, "bytes=0-1"), (&IF_RANGE, later)], 200),
            (vec![(&RANGE, "bytes=50-")], 416),
            (vec![(&RANGE, "bytes=50-"), (&IF_NONE_MATCH, tag.as_str())], 304),
        ] {
            assert_eq!(head(&pairs).status.as_u16(), status, "{pairs:?}");
        }
    }

    #[test]
    fn a_part_is_told_and_several_stand_in_one_body() {
        let one = head(&[(&RANGE, "bytes=2-3")]);
        assert_eq!(one.headers[CONTENT_RANGE], "bytes 2-3/10");
        assert_eq!(one.body, [Segment::Part { start: 2, length: 2 }]);
        let two = head(&[(&RANGE, "bytes=0-0,-1")]);
        assert!(!two.headers.contains_key(CONTENT_RANGE));
        assert_eq!(two.body.len(), 5);
        assert_eq!(head(&[(&RANGE, "bytes=99-")]).headers[CONTENT_RANGE], "bytes */10");
    }

    #[test]
    fn what_may_still_change_has_a_weak_tag_and_no_parts_that_go_on() {
        let now = SystemTime::UNIX_EPOCH + NOW;
        let (files, served) = served(10, now);
        let headers = HeaderMap::new();
        let fresh = files.answer(&served, Asked { method: &Method::GET, headers: &headers, now });
        let tag = fresh.headers[ETAG].clone();
        assert!(tag.to_str().unwrap().starts_with("W/\""));
        let range = [(RANGE, HeaderValue::from_static("bytes=0-1")), (IF_RANGE, tag)].into_iter().collect();
        assert_eq!(files.answer(&served, Asked { method: &Method::GET, headers: &range, now }).status, StatusCode::OK);
    }
}
