//! `adapt` and `redirects`: what of an answer is mapped back under the public prefix.
//!
//! ```yaml
//!   adapt: [location, cookies, html]
//!   redirects: { via: any, status: 301, drop_body: true }
//! ```

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderName, HeaderValue, StatusCode};

use super::Headers;
use super::body::html::LinkMap;
use super::redirect::is_redirect;
use crate::config::Adaptation;
use crate::route::public::{PublicMap, Via};

/// The step, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adapt {
    /// Map `Location`, `Content-Location` and `Refresh`.
    pub location: bool,
    /// Map `Set-Cookie`.
    pub cookies: bool,
    /// Map links in HTML.
    pub html: bool,
    /// Where redirects to other servers go.
    pub via: Option<Arc<Via>>,
    /// The status that every redirect gets.
    pub status: Option<StatusCode>,
    /// Whether redirects lose their body.
    pub drop_body: bool,
}

impl Adapt {
    /// The flags of a list.
    #[must_use]
    pub fn compile(list: &[Adaptation]) -> Self {
        Self {
            location: list.contains(&Adaptation::Location),
            cookies: list.contains(&Adaptation::Cookies),
            html: list.contains(&Adaptation::Html),
            ..Self::default()
        }
    }

    /// Whether an answer has anything for this step to do, so that a map must be made.
    #[must_use]
    pub fn concerns(&self, headers: &http::HeaderMap) -> bool {
        (self.location && LOCATION_NAMES.iter().any(|name| headers.contains_key(name)))
            || (self.cookies && headers.contains_key(SET_COOKIE))
            || (self.html && is_html(headers))
    }

    /// Maps the headers of an answer.
    pub fn apply(&self, headers: &mut dyn Headers, map: &PublicMap) {
        if self.location {
            for name in &LOCATION_NAMES[..2] {
                if let Some(mapped) = headers.text(name).and_then(|value| map.location(value)) {
                    headers.set_text(name, &mapped);
                }
            }
            if let Some(mapped) = headers.text(&REFRESH).and_then(|value| refresh(value, map)) {
                headers.set_text(&REFRESH, &mapped);
            }
        }
        if self.cookies {
            cookies(headers, map);
        }
    }

    /// The status of an answer, and whether its body goes.
    #[must_use]
    pub fn redirect(&self, status: StatusCode, headers: &http::HeaderMap) -> (StatusCode, bool) {
        if is_redirect(status) && headers.contains_key(LOCATION) {
            (self.status.unwrap_or(status), self.drop_body)
        } else {
            (status, false)
        }
    }
}

/// The headers with a URL in them.
static LOCATION_NAMES: [HeaderName; 3] = [LOCATION, CONTENT_LOCATION, REFRESH];

/// Whether an answer is HTML.
#[must_use]
pub fn is_html(headers: &http::HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next()).map(str::trim);
    media_type.is_some_and(|m| m.eq_ignore_ascii_case("text/html") || m.eq_ignore_ascii_case("application/xhtml+xml"))
}

/// Turns a redirect's body off.
pub fn drop_body(headers: &mut dyn Headers) {
    headers.remove(&CONTENT_TYPE);
    headers.set(&CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.remove(&http::header::TRANSFER_ENCODING);
    headers.remove(&http::header::CONTENT_ENCODING);
}

/// Maps `5; url=/x`.
fn refresh(value: &str, map: &PublicMap) -> Option<String> {
    let at = value.to_ascii_lowercase().find("url=")? + 4;
    let url = value[at..].trim().trim_matches(['"', '\'']);
    map.location(url).map(|mapped| format!("{}{mapped}", &value[..at]))
}

fn cookies(headers: &mut dyn Headers, map: &PublicMap) {
    let lines: Vec<HeaderValue> = headers.map().get_all(SET_COOKIE).iter().cloned().collect();
    let mut changed = false;
    let mapped: Vec<HeaderValue> = lines
        .into_iter()
        .map(|line| {
            let new = std::str::from_utf8(line.as_bytes()).ok().and_then(|text| map.cookie(text));
            match new.and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok()) {
                Some(new) => {
                    changed = true;
                    new
                }
                None => line,
            }
        })
        .collect();
    if changed {
        headers.remove(&SET_COOKIE);
        for line in mapped {
            headers.append(&SET_COOKIE, line);
        }
    }
}

impl LinkMap for PublicMap {
    fn map(&self, url: &str) -> Option<String> {
        self.link(url)
    }
}
