//! User name and password as clients send them (RFC 7617), for the ways that check them.

use data_encoding::{BASE64, BASE64_NOPAD};
use http::HeaderValue;
use http::header::AUTHORIZATION;

use super::{Asking, Mistake};

/// The most bytes of a user name.
const USER: usize = 256;
/// The most bytes of a password.
const PASSWORD: usize = 4096;

/// A user name and a password. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct UserPassword {
    /// Never empty, and without control characters.
    pub(super) user: String,
    /// As it came.
    pub(super) password: String,
}

impl UserPassword {
    /// What a request has; why it is not good is for the log.
    pub(super) fn of(asking: &Asking<'_>) -> Result<Option<Self>, &'static str> {
        let Some(credentials) = asking.credentials("Basic") else { return Ok(None) };
        if asking.headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            return Err("there is more than one `Authorization`");
        }
        let encoding = if credentials.ends_with('=') { BASE64 } else { BASE64_NOPAD };
        let bytes = encoding.decode(credentials.as_bytes()).map_err(|_| "it is not base64")?;
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
        let (user, password) = text.split_once(':').ok_or("there is no colon in it")?;
        if user.is_empty() {
            return Err("the user name is empty");
        }
        if text.chars().any(char::is_control) {
            return Err("there is a control character in it");
        }
        if user.len() > USER || password.len() > PASSWORD {
            return Err("it is too long");
        }
        Ok(Some(Self { user: user.to_owned(), password: password.to_owned() }))
    }
}

/// The challenge that asks for a user name and a password.
pub(super) fn challenge(realm: Option<&str>) -> Result<HeaderValue, Mistake> {
    let realm = realm.unwrap_or("Pylon");
    let text = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
    let is_plain = realm.bytes().all(|b| b == b' ' || (b.is_ascii_graphic() && b != b'"' && b != b'\\'));
    HeaderValue::from_str(&text).ok().filter(|_| is_plain && !realm.is_empty()).ok_or_else(|| {
        Mistake::at("realm", format!("{realm:?} cannot be a realm; write ASCII letters without quotes and backslashes"))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::step::forwarded::Client;

    fn of(lines: &[&str]) -> Result<Option<(String, String)>, &'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
        }
        let peer = "127.0.0.1".parse().unwrap();
        let asking = Asking {
            method: &Method::GET,
            target: "/",
            path: "/",
            host: "site",
            headers: &headers,
            client: &Client { peer, trusted: false, address: peer, scheme: "https" },
            has_body: false,
            captures: &(),
            now: std::time::SystemTime::now(),
        };
        UserPassword::of(&asking).map(|found| found.map(|found| (found.user, found.password)))
    }

    fn basic(text: &[u8]) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    #[test]
    fn credentials_are_read_as_they_are_sent() {
        let pair = |user: &str, password: &str| Ok(Some((user.to_owned(), password.to_owned())));
        assert_eq!(of(&[&basic(b"ann:secret")]), pair("ann", "secret"));
        assert_eq!(of(&["bAsIc YW5uOnNlY3JldA"]), pair("ann", "secret"));
        assert_eq!(of(&[&basic("zoë:pässwörd:x".as_bytes())]), pair("zoë", "pässwörd:x"));
        assert_eq!(of(&[&basic(b"ann:")]), pair("ann", ""));
        for absent in [&[][..], &["Bearer abc"], &["Basic"]] {
            assert_eq!(of(absent), Ok(None), "{absent:?}");
        }
    }

    #[test]
    fn what_is_not_sound_is_refused() {
        for bad in [
            vec![basic(b"ann")],
            vec![basic(b":x")],
            vec![basic(b"ann\0:x")],
            vec![basic(b"ann:x\n")],
            vec![basic(b"\xff:x")],
            vec![basic("a".repeat(257).as_bytes())],
            vec![basic(format!("a:{}", "a".repeat(4097)).as_bytes())],
            vec!["Basic !".to_owned()],
            vec![basic(b"ann:x"), basic(b"bob:x")],
            vec![basic(b"ann:x"), "Bearer x".to_owned()],
        ] {
            let lines: Vec<&str> = bad.iter().map(String::as_str).collect();
            assert!(of(&lines).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_realm_cannot_end_its_quotes() {
        assert_eq!(challenge(Some("the lab")).unwrap(), "Basic realm=\"the lab\", charset=\"UTF-8\"");
        for bad in ["a\"b", "a\\b", "a\nb", "é", ""] {
            assert!(challenge(Some(bad)).is_err(), "{bad}");
        }
    }
}
