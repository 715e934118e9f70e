//! The cookies of a request (RFC 6265): read byte by byte, as those of others may hold what is no text, and taken out.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::Headers;

/// Names and values, as they came.
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let whole = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    whole.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = memchr::memchr(b'=', pair)?;
        Some((&pair[..at], &pair[at + 1..]))
    })
}

/// The value of a cookie, where it is text; of several of one name the first.
#[must_use]
pub fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let (_, value) = pairs(headers).find(|(known, _)| *known == name.as_bytes())?;
    std::str::from_utf8(value).ok()
}

/// Takes out of a request the cookies of these names; whether there were any.
pub fn hide(headers: &mut dyn Headers, is_hidden: impl Fn(&[u8]) -> bool) -> bool {
    if !pairs(headers.map()).any(|(name, _)| is_hidden(name)) {
        return false;
    }
    let name = |pair: &[u8]| memchr::memchr(b'=', pair).unwrap_or(pair.len());
    let whole = headers.map().get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let kept = whole.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty() && !is_hidden(&pair[..name(pair)]));
    let kept = kept.collect::<Vec<_>>().join(&b"; "[..]);
    headers.remove(&COOKIE);
    if let Ok(value) = HeaderValue::from_bytes(&kept)
        && !kept.is_empty()
    {
        headers.set(&COOKIE, value);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    #[test]
    fn cookies_are_found_beside_what_is_no_text() {
        let headers = request(&[b"a=\xff; \xe4=1;b=2", b" c ; d=x=y;b=3"]);
        assert_eq!((value(&headers, "b"), value(&headers, "d")), (Some("2"), Some("x=y")));
        assert_eq!((value(&headers, "a"), value(&headers, "c"), value(&headers, "e")), (None, None, None));
    }

    #[test]
    fn hidden_cookies_go_and_the_others_stay_as_they_are() {
        let left = |hidden: &[u8]| {
            let mut headers = request(&[b"a=1; s.0=x;s.1=\xff", b"b=\xe4;c"]);
            hide(&mut headers, |name| name.starts_with(hidden));
            headers.get(COOKIE).map(|line| line.as_bytes().to_vec())
        };
        assert_eq!(left(b"s.").as_deref(), Some(&b"a=1; b=\xe4; c"[..]));
        assert_eq!(left(b"a").as_deref(), Some(&b"s.0=x; s.1=\xff; b=\xe4; c"[..]));
        assert_eq!(left(b"z").as_deref(), Some(&b"a=1; s.0=x;s.1=\xff"[..]), "nothing was to be changed");
        assert_eq!(left(b""), None);
    }
}
