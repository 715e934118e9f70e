//! `errors`: the bodies of errors that Pylon itself answers with. An upstream's own errors pass as they are.
//!
//! ```yaml
//!   errors:
//!     502: { body: "<h1>{status} {reason}</h1><p>Tell us this number: {request_id}</p>" }
//! ```
//!
//! Without a page of its own a route answers in the form that the client asks for: JSON, HTML or plain text.

use std::collections::BTreeMap;

use http::StatusCode;

use crate::config::ErrorPageSpec;
use crate::config::value::StatusCode as StatusValue;

/// Error pages by status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages {
    pages: BTreeMap<u16, (String, String)>,
}

/// A body with its media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its media type.
    pub media_type: String,
    /// The body.
    pub body: String,
}

impl ErrorPages {
    /// Checks the step.
    ///
    /// # Errors
    /// The status whose page can never be shown, and why.
    pub fn compile(spec: &BTreeMap<StatusValue, ErrorPageSpec>) -> Result<Self, (String, String)> {
        let mut pages = BTreeMap::new();
        for (status, page) in spec {
            let code = status.as_u16();
            if code < 400 {
                return Err((code.to_string(), format!("{code} is not an error; write 400 to 599")));
            }
            let media_type = page.media_type.as_deref().unwrap_or("text/html; charset=utf-8");
            if http::HeaderValue::from_str(media_type).is_err() || !media_type.contains('/') {
                let message = format!("{media_type:?} is not a media type; write one such as `text/html`");
                return Err((code.to_string(), message));
            }
            pages.insert(code, (media_type.to_owned(), page.body.clone()));
        }
        Ok(Self { pages })
    }

    /// The page for an error. `accept` is the client's `Accept`, `detail` a text that is safe to show.
    #[must_use]
    pub fn page(&self, status: StatusCode, accept: &str, detail: &str, request_id: &str) -> Page {
        let reason = status.canonical_reason().unwrap_or("Error");
        if let Some((media_type, body)) = self.pages.get(&status.as_u16()) {
            // A proxy that is trusted may have put anything there.
            let request_id = if media_type.contains("html") { escape(request_id) } else { request_id.to_owned() };
            return Page {
                media_type: media_type.clone(),
                body: body
                    .replace("{status}", status.as_str())
                    .replace("{reason}", reason)
                    .replace("{request_id}", &request_id),
            };
        }
        default_page(status, reason, accept, detail, request_id)
    }
}

fn default_page(status: StatusCode, reason: &str, accept: &str, detail: &str, request_id: &str) -> Page {
    let code = status.as_u16();
    if accept.contains("text/html") {
        let body = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{code} {reason}</title>\n<style>body{{font:16px/1.5 \
             system-ui,sans-serif;margin:15vh auto;max-width:32rem;padding:0 1rem;color-scheme:light dark}}\
             h1{{font-size:1.4rem}}code{{font-size:.9em}}</style></head>\n<body><h1>{code} {reason}</h1><p>{}</p>\
             <p>Request <code>{}</code></p></body></html>\n",
            escape(detail),
            escape(request_id)
        );
        return Page { media_type: "text/html; charset=utf-8".to_owned(), body };
    }
    if accept.contains("json") {
        let body = serde_json::json!({
            "status": code, "title": reason, "detail": detail, "request_id": request_id,
        });
        return Page { media_type: "application/problem+json".to_owned(), body: format!("{body}\n") };
    }
    Page {
        media_type: "text/plain; charset=utf-8".to_owned(),
        body: format!("{code} {reason}: {detail}\nrequest {request_id}\n"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_gets_the_form_it_asks_for() {
        let pages = ErrorPages::default();
        let page = |accept| pages.page(StatusCode::BAD_GATEWAY, accept, "a<b", "id1");
        assert!(page("text/html,*/*").body.contains("a&lt;b"));
        let odd = pages.page(StatusCode::BAD_GATEWAY, "text/html", "x", "<script>");
        assert!(!odd.body.contains("<script>") && odd.body.contains("&lt;script&gt;"));
        assert!(page("application/json").body.contains("\"request_id\":\"id1\""));
        assert_eq!(page("*/*").body, "502 Bad Gateway: a<b\nrequest id1\n");
    }
}
