//! Who is let in: those with the token, and no page of another site that a browser shows.

use std::net::SocketAddr;

use hmac::{Hmac, Mac};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::Sha256;

use super::answer::Refusal;
use super::audit::Refused;
use crate::route::allow::parse_address;
use crate::route::host::split_port;

/// What browsers say of the site that a request comes from, what it is for, and what shows it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// The longest target, with its query.
const TARGET: usize = 16 * 1024;

/// Checks requests before anything is done for them.
#[derive(Debug)]
pub(super) struct Guard {
    /// Tokens are compared by their codes under this key, so that the time it takes tells nothing of them.
    key: [u8; 32],
    refused: Refused,
}

impl Guard {
    /// A guard with a key of its own; none where the system gives no random numbers.
    pub(super) fn new() -> Option<Self> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).ok()?;
        Some(Self { key, refused: Refused::default() })
    }

    /// Turns away what comes from a page of another site, by what browsers say of it, or by a name that such a site has
    /// bound to this machine. `page`: whether it asks for the console page, to which others may link.
    pub(super) fn site(&self, head: &Parts, page: bool, token: bool, peer: SocketAddr) -> Result<(), Refusal> {
        if head.uri.authority().is_some() || head.uri.path_and_query().is_some_and(|p| p.as_str().len() > TARGET) {
            return Err(target(head));
        }
        let headers = &head.headers;
        let host = one(headers, &header::HOST)?.unwrap_or_default();
        let site = one(headers, &SEC_FETCH_SITE)?;
        let origin = one(headers, &header::ORIGIN)?;
        let followed = page && origin.is_none() && one(headers, &SEC_FETCH_MODE)? == Some("navigate");
        let why = if !token && !is_loopback(host) {
            "the Host is not this machine, and there is no token"
        } else if origin.is_some_and(|origin| !is_own(origin, host, token)) {
            "the Origin is another one"
        } else if !followed && site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
            "Sec-Fetch-Site is another site"
        } else {
            return Ok(());
        };
        self.refused.say("foreign origin", peer, why);
        let refusal = Refusal::new(StatusCode::FORBIDDEN, format!("the admin port is for operators: {why}"));
        Err(refusal.cure("ask 127.0.0.1 or localhost from this machine, or set `admin.token` and send it"))
    }

    /// Whether the token was sent, where there is one.
    pub(super) fn token(&self, headers: &HeaderMap, token: Option<&str>, peer: SocketAddr) -> Result<(), Refusal> {
        let Some(token) = token else { return Ok(()) };
        let given = one(headers, &header::AUTHORIZATION)?.and_then(bearer);
        if given.is_some_and(|given| self.is_same(given.as_bytes(), token.as_bytes())) {
            return Ok(());
        }
        let why = if given.is_some() { "the token is wrong" } else { "there is no token" };
        self.refused.say("sign-in", peer, why);
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, why).cure("send `Authorization: Bearer TOKEN`");
        Err(refusal.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
    }

    fn is_same(&self, given: &[u8], token: &[u8]) -> bool {
        let mac = |text: &[u8]| Hmac::<Sha256>::new_from_slice(&self.key).map(|mac| mac.chain_update(text));
        let (Ok(given), Ok(token)) = (mac(given), mac(token)) else { return false };
        given.verify_slice(&token.finalize().into_bytes()).is_ok()
    }
}

/// Whether a body may be what it says it is: a page of another site can send forms and text, but no JSON, without asking
/// first.
pub(super) fn content_type(head: &Parts, empty: bool) -> Result<(), Refusal> {
    if !matches!(head.method, Method::POST | Method::PUT) {
        return Ok(());
    }
    let media = one(&head.headers, &header::CONTENT_TYPE)?.map(|media| media.split(';').next().unwrap_or(media).trim());
    let browser = head.headers.contains_key(header::ORIGIN) || head.headers.contains_key(SEC_FETCH_SITE);
    match media {
        Some(media) if media.eq_ignore_ascii_case("application/json") => Ok(()),
        None if empty && !browser => Ok(()),
        _ => {
            let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is not marked as JSON");
            Err(refusal.cure("send `Content-Type: application/json`"))
        }
    }
}

fn target(head: &Parts) -> Refusal {
    if head.uri.authority().is_some() {
        return Refusal::bad("the target is a whole URL; the admin port is no proxy").cure("send the path alone");
    }
    Refusal::new(StatusCode::URI_TOO_LONG, format!("the target is longer than {TARGET} bytes"))
}

/// The value of a header that can stand there once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value)),
        (Some(Ok(_)), Some(_)) => Err(Refusal::bad(format!("there are two headers {name}"))),
        (Some(Err(_)), _) => Err(Refusal::bad(format!("the header {name} is not text"))),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Whether a `Host` names this machine itself.
fn is_loopback(host: &str) -> bool {
    let name = split_port(host).0.to_ascii_lowercase();
    let named = name == "localhost" || name.ends_with(".localhost");
    named || parse_address(&name).is_some_and(|address| address.to_canonical().is_loopback())
}

/// Whether an `Origin` is that of the admin port itself. Where a token is needed, TLS may have ended before it: a browser
/// sends no token by itself.
fn is_own(origin: &str, host: &str, token: bool) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://").filter(|_| token));
    !host.is_empty() && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_this_machine_are_known() {
        for host in ["localhost", "LOCALHOST:9180", "127.0.0.1", "127.8.9.1:80", "[::1]:9180", "pylon.localhost:1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "evil.example", "127.0.0.1.evil.example", "10.0.0.1:9180", "localhost.evil", "[::2]", "0.0.0.0"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn own_origins_have_scheme_and_authority() {
        assert!(is_own("http://127.0.0.1:9180", "127.0.0.1:9180", false));
        for origin in
            ["null", "", "https://127.0.0.1:9180", "http://127.0.0.1", "http://127.0.0.1:9180.evil", "http://a"]
        {
            assert!(!is_own(origin, "127.0.0.1:9180", false), "{origin}");
        }
        assert!(is_own("https://Admin.example:1", "admin.example:1", true));
        assert!(!is_own("http://", "", true));
    }

    #[test]
    fn tokens_are_compared_whole() {
        let guard = Guard::new().unwrap();
        let token = "correct-horse-battery";
        assert!(guard.is_same(token.as_bytes(), token.as_bytes()));
        for given in ["", "correct-horse-batter", "correct-horse-battery ", "Correct-horse-battery"] {
            assert!(!guard.is_same(given.as_bytes(), token.as_bytes()), "{given:?}");
        }
        assert_eq!(bearer("bearer  x"), Some("x"));
        assert_eq!((bearer("Basic x"), bearer("Bearer")), (None, None));
    }
}
