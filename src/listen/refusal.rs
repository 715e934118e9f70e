//! The answer to what is turned away before Pingora sees it.

use crate::observe::Rejection;

/// Its body.
#[must_use]
pub(super) fn body(rejection: Rejection) -> String {
    format!("{} {}: {}.\n", rejection.status(), phrase(rejection.status()), rejection.detail())
}

/// The whole answer in HTTP/1.1; empty where there is none.
#[must_use]
pub(super) fn http1(rejection: Rejection, id: &str) -> Vec<u8> {
    let status = rejection.status();
    if status == 0 {
        return Vec::new();
    }
    let (body, phrase) = (body(rejection), phrase(status));
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error")
}
