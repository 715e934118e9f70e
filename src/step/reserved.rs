//! What only Pylon may tell an upstream: names of headers that tell who asks, and cookies of its own.

use http::HeaderName;

use super::{Headers, cookies};

/// All names under which routes tell who asks: what a client sends under them, or under a name that a server takes for one of
/// them, passes on no route. Neither do cookies that are Pylon's own: who has one could come in another's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved {
    /// As lenient servers read them, sorted.
    names: Vec<Vec<u8>>,
    cookies: Vec<Box<str>>,
}

impl Reserved {
    /// Reserves names.
    #[must_use]
    pub fn new<'n>(names: impl Iterator<Item = &'n HeaderName>) -> Self {
        let read = |name: &HeaderName| name.as_str().bytes().map(read).collect();
        let mut names: Vec<Vec<u8>> = names.map(read).collect();
        names.sort_unstable();
        names.dedup();
        Self { names, ..Self::default() }
    }

    /// Reserves cookies too: those of these names, and of what follows them behind a dot.
    #[must_use]
    pub fn with_cookies<'n>(self, names: impl Iterator<Item = &'n str>) -> Self {
        let mut cookies: Vec<Box<str>> = names.map(Into::into).collect();
        cookies.sort_unstable();
        cookies.dedup();
        Self { cookies, ..self }
    }

    /// Removes what is reserved.
    pub fn clean(&self, headers: &mut dyn Headers) {
        if !self.cookies.is_empty() {
            cookies::hide(headers, |name| self.cookies.iter().any(|one| is_part(name, one.as_bytes())));
        }
        if self.names.is_empty() {
            return;
        }
        let found: Vec<HeaderName> = headers.map().keys().filter(|name| self.has(name.as_str())).cloned().collect();
        for name in &found {
            headers.remove(name);
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|one| one.len() == name.len() && name.bytes().map(read).eq(one.iter().copied()))
    }
}

/// A letter of a name as lenient servers read it: what is neither letter nor digit is all the same to them.
fn read(letter: u8) -> u8 {
    if letter.is_ascii_alphanumeric() { letter } else { b'-' }
}

/// Whether a cookie is the one of a name, or a part of it.
fn is_part(cookie: &[u8], name: &[u8]) -> bool {
    cookie.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn what_a_server_could_take_for_a_reserved_name_is_removed() {
        let name = HeaderName::from_static("remote_user");
        let reserved = Reserved::new([&name].into_iter());
        let mut headers = HeaderMap::new();
        for name in ["remote_user", "remote-user", "remote.user", "x-remote-user"] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("eve"));
        }
        reserved.clean(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-remote-user"]);
    }

    #[test]
    fn cookies_of_pylon_go_and_others_of_like_names_stay() {
        let reserved = Reserved::default().with_cookies(["session", "session"].into_iter());
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("session=1; session.0=2; sessions=3; a=4; session.login.x=5"));
        reserved.clean(&mut headers);
        assert_eq!(headers[COOKIE], "sessions=3; a=4");
    }
}
