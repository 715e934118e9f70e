//! The console page, and the description of the API for programs.

use data_encoding::BASE64;
use http::StatusCode;
use http::header::{self, HeaderValue};
use once_cell::sync::Lazy;
use sha2::{Digest, Sha256};

use super::answer::{Answer, with_status};

/// The console: one page, with its style and its script in it. It holds no data, and asks the API like any client.
const PAGE: &str = include_str!("console.html");
const OPENAPI: &str = include_str!("openapi.json");

/// Only the page's own style and script are let in, by their hashes; it may speak to the admin port alone.
static POLICY: Lazy<String> = Lazy::new(|| {
    let (style, script) = (source(PAGE, "style"), source(PAGE, "script"));
    format!(
        "default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
});

/// `GET /`.
pub(super) fn page() -> Answer {
    let mut answer = with_status(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// `GET /api/openapi.json`.
pub(super) fn openapi() -> Answer {
    with_status(StatusCode::OK, "application/json", OPENAPI)
}

/// The hash of what stands in the one element of this name, as a source of a content security policy.
fn source(page: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let inner = page.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map(|(inner, _)| inner);
    inner.map_or_else(|| "'none'".to_owned(), |inner| format!("'sha256-{}'", BASE64.encode(&Sha256::digest(inner))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_style_and_one_script_and_asks_nobody_else() {
        for element in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{element}>")).count(), 1, "{element}");
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element} with attributes");
            assert!(source(PAGE, element).starts_with("'sha256-"));
        }
        for foreign in ["src=\"http", "href=\"http", "//cdn", " onclick=", " style=", "@import", "eval("] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn hashes_are_those_of_browsers() {
        // From the specification of the policy.
        let page = "<script>alert('Hello, world.');</script>";
        assert_eq!(source(page, "script"), "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='");
        assert_eq!(source(page, "style"), "'none'");
    }
}
