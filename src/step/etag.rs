//! `etag`: mark ETags with a tag of the route's rules.
//!
//! ```yaml
//!   etag: auto        # or a text of your own
//! ```
//!
//! An answer that Pylon rewrote must not be revalidated across a change of the rules: `"v"` goes out as `"v|TAG"`, and
//! of the client's conditions only those that carry the tag reach the upstream, without it (RFC 9110 §8.8.3, §13.1).

use http::HeaderName;
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};

use super::Headers;

/// The tag of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    suffix: String,
}

impl Tag {
    /// Checks a tag.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(text: &str) -> Result<Self, String> {
        let valid = |b: u8| b == b'!' || (0x23..=0x7e).contains(&b);
        if text.is_empty() || !text.bytes().all(valid) {
            return Err(format!(
                "`{text}` cannot stand in an ETag; write printable ASCII without quotes and spaces, or `auto`"
            ));
        }
        Ok(Self { suffix: format!("|{text}") })
    }

    /// Takes the tag off a request's conditions on its way upstream.
    pub fn unmark(&self, request: &mut dyn Headers) {
        self.unmark_list(request, &IF_NONE_MATCH, false);
        self.unmark_list(request, &IF_MATCH, true);
        let if_range = request.text(&IF_RANGE).filter(|value| value.contains('"'));
        if let Some(value) = if_range.map(str::to_owned) {
            match self.without(value.trim()) {
                Some(bare) => request.set_text(&IF_RANGE, &bare),
                // A range of what has changed since: the whole is to come (RFC 9110 §13.1.5).
                None => {
                    request.remove(&IF_RANGE);
                    request.remove(&RANGE);
                }
            }
        }
    }

    /// Puts the tag on a response's ETag on its way to the client.
    pub fn mark(&self, response: &mut dyn Headers) {
        let Some(value) = response.text(&ETAG) else {
            return;
        };
        if let Some(opaque) = value.trim().strip_suffix('"').filter(|v| v.contains('"')) {
            let marked = format!("{opaque}{}\"", self.suffix);
            response.set_text(&ETAG, &marked);
        }
    }

    /// Takes the tag off each entity tag of a list. Tags without it go, unless they are kept: an `If-Match` that
    /// vanished would make a conditional write unconditional.
    fn unmark_list(&self, request: &mut dyn Headers, name: &HeaderName, keep_foreign: bool) {
        if !request.map().contains_key(name) {
            return;
        }
        let mut kept: Vec<String> = Vec::new();
        for line in request.map().get_all(name) {
            for tag in entity_tags(&String::from_utf8_lossy(line.as_bytes())) {
                match self.without(tag) {
                    Some(bare) => kept.push(bare),
                    None if keep_foreign || tag == "*" => kept.push(tag.to_owned()),
                    None => {}
                }
            }
        }
        if kept.is_empty() {
            request.remove(name);
        } else {
            request.set_text(name, &kept.join(", "));
        }
    }

    /// An entity tag without the tag; `None` where it does not carry it.
    fn without(&self, entity_tag: &str) -> Option<String> {
        let inner = entity_tag.strip_suffix('"')?.strip_suffix(&self.suffix)?;
        inner.contains('"').then(|| format!("{inner}\""))
    }
}

/// Splits a list of entity tags; commas inside quotes belong to the tag.
pub(super) fn entity_tags(list: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut quoted = false;
    let mut start = 0;
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                tags.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    tags.push(list[start..].trim());
    tags.retain(|tag| !tag.is_empty());
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn etags_go_out_marked() {
        let tag = Tag::compile("T").unwrap();
        for (etag, expected) in
            [("\"v\"", "\"v|T\""), ("W/\"v\"", "W/\"v|T\""), ("\"\"", "\"|T\""), ("bare", "bare"), ("\"", "\"")]
        {
            let mut response = with(ETAG, etag);
            tag.mark(&mut response);
            assert_eq!(response[ETAG], expected);
        }
    }

    #[test]
    fn conditions_come_in_unmarked() {
        let tag = Tag::compile("T").unwrap();
        for (list, expected) in [
            ("\"v|T\"", Some("\"v\"")),
            ("W/\"a,b|T\", \"c|T\"", Some("W/\"a,b\", \"c\"")),
            ("\"v|OLD\", \"w|T\"", Some("\"w\"")),
            ("\"v|OLD\"", None),
            ("\"v\"", None),
            ("*", Some("*")),
            ("", None),
        ] {
            let mut request = with(IF_NONE_MATCH, list);
            tag.unmark(&mut request);
            assert_eq!(request.get(IF_NONE_MATCH).map(|v| v.to_str().unwrap()), expected, "{list}");
        }
    }

    #[test]
    fn a_conditional_write_stays_conditional() {
        let tag = Tag::compile("T").unwrap();
        let mut request = with(IF_MATCH, "\"v|T\", \"w\"");
        tag.unmark(&mut request);
        assert_eq!(request[IF_MATCH], "\"v\", \"w\"");
        let mut request = with(IF_MATCH, "\"w|OLD\"");
        tag.unmark(&mut request);
        assert_eq!(request[IF_MATCH], "\"w|OLD\"");
    }

    #[test]
    fn a_range_of_what_has_changed_asks_for_the_whole() {
        let tag = Tag::compile("T").unwrap();
        for (value, expected) in [
            ("\"v|T\"", Some("\"v\"")),
            ("\"v|OLD\"", None),
            ("Sat, 21 Nov 2026 00:00:00 GMT", Some("Sat, 21 Nov 2026 00:00:00 GMT")),
        ] {
            let mut request = with(IF_RANGE, value);
            request.insert(RANGE, HeaderValue::from_static("bytes=5-"));
            tag.unmark(&mut request);
            assert_eq!(request.get(IF_RANGE).map(|v| v.to_str().unwrap()), expected);
            assert_eq!(request.contains_key(RANGE), expected.is_some());
        }
    }

    #[test]
    fn a_tag_fits_into_an_etag() {
        assert!(Tag::compile("a\"b").is_err());
        assert!(Tag::compile("a b").is_err());
        assert!(Tag::compile("").is_err());
    }
}
