//! What belongs to one connection, and what only looks like a header that is trusted: neither is passed on.

use http::header::{CONNECTION, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

use super::context::Context;
use crate::step::Headers;

/// Headers that Pylon or servers behind it trust, or that frame a message. Many servers read `_` in a name as `-`.
const TRUSTED: [&str; 20] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-real-ip",
    "x-request-id",
    "x-scheme",
    "x-original-url",
];
/// Beginnings of more of them.
const TRUSTED_FAMILIES: [&str; 2] = ["x-forwarded-", "x-client-cert-"];

/// Headers of an answer that a server cannot take away by naming them in `Connection`: without them it is another one.
const KEPT: [&str; 16] = [
    "age",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "vary",
];

static SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
static ISSUER: HeaderName = HeaderName::from_static("x-client-cert-issuer");
static NAMES: HeaderName = HeaderName::from_static("x-client-cert-names");
static SERIAL: HeaderName = HeaderName::from_static("x-client-cert-serial");
static FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");

/// Takes out of a request what is not for anyone behind Pylon: imitations of trusted headers, what only Pylon may say of a
/// client's certificate, and upgrades that the connection does not ask for (RFC 9110 §7.8).
pub(super) fn clean(request: &mut RequestHeader) {
    let imitated: Vec<HeaderName> =
        request.headers.keys().filter(|name| is_imitation(name.as_str())).cloned().collect();
    for name in &imitated {
        request.remove(name);
    }
    let headers = &request.headers;
    if headers.contains_key(UPGRADE)
        && !(tokens(headers, &CONNECTION).any(|t| t.eq_ignore_ascii_case(b"upgrade")) && is_upgrade(headers))
    {
        request.remove(&UPGRADE);
    }
}

/// Whether the protocol that is asked for is one that may be switched to: not one of HTTP's own (RFC 9113 §3.1).
fn is_upgrade(headers: &HeaderMap) -> bool {
    let own = |token: &[u8]| {
        let lower = token.to_ascii_lowercase();
        lower.is_empty() || ["h2", "http/", "tls/"].iter().any(|begin| lower.starts_with(begin.as_bytes()))
    };
    !tokens(headers, &UPGRADE).any(own)
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii)
}

/// Whether a name is one that only Pylon may use, or looks like a trusted one to a server that takes `_` for `-`.
fn is_imitation(name: &str) -> bool {
    if name.starts_with("x-client-cert-") {
        return true;
    }
    if !name.contains('_') {
        return false;
    }
    let read = name.replace('_', "-");
    let read = read.trim_matches('-');
    TRUSTED.contains(&read) || TRUSTED_FAMILIES.iter().any(|begin| read.starts_with(begin))
}

/// Tells the upstream who the client's certificate says it is.
pub(super) fn identify(request: &mut RequestHeader, ctx: &Context) {
    let tls = ctx.connection.as_ref().and_then(|connection| connection.tls.as_ref());
    let Some(identity) = tls.and_then(|tls| tls.identity.as_ref()) else { return };
    let names = [&identity.san_dns, &identity.san_uri, &identity.san_email].into_iter().flatten();
    let names: Vec<&str> = names.map(String::as_str).collect();
    let said = [
        (&SUBJECT, identity.subject.as_str()),
        (&ISSUER, identity.issuer.as_str()),
        (&NAMES, &names.join(",")),
        (&SERIAL, identity.serial.as_str()),
        (&FINGERPRINT, identity.fingerprint.as_str()),
    ];
    for (name, text) in said {
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            request.set(name, value);
        }
    }
}

/// Removes from an answer what belongs to the connection with the upstream (RFC 9110 §7.6.1); framing is Pingora's.
pub(super) fn strip(response: &mut ResponseHeader, http2: bool) {
    let named: Vec<HeaderName> = tokens(&response.headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !KEPT.contains(&name.as_str()))
        .collect();
    for name in named.iter().filter(|name| **name != TRANSFER_ENCODING && **name != CONTENT_LENGTH) {
        response.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authenticate", "upgrade", "te", "http2-settings"] {
        if response.headers.contains_key(name) {
            response.remove(&HeaderName::from_static(name));
        }
    }
    if !http2 {
        // Trailers go to clients of HTTP/2 alone.
        response.remove(&TRAILER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imitations_are_told_from_other_names() {
        for name in [
            "x_forwarded-for",
            "x-forwarded_proto",
            "host_",
            "_host",
            "content_length",
            "x-client-cert-subject",
            "x_real_ip",
        ] {
            assert!(is_imitation(name), "{name}");
        }
        for name in ["x-forwarded-for", "host", "my_own", "remote_user", "x-real-ip", "hosts_"] {
            assert!(!is_imitation(name), "{name}");
        }
    }
}
