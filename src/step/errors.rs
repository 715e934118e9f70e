//! `errors`: the bodies of errors that Pylon itself answers with. An upstream's own errors pass as they are.
//!
//! ```yaml
//!   errors:
//!     502: { body: "<h1>{status} {reason}</h1><p>Tell us this number: {request_id}</p>" }
//!     504: { file: /srv/www/timedout.html, optional: true, status: 503 }
//! ```
//!
//! Without a page of its own a route answers in the form that the client asks for: JSON, HTML or plain text.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use http::{HeaderValue, StatusCode};

use super::Mistake;
use super::files::media_type;
use super::shared::{Keep, Shared};
use crate::config::value::StatusCode as StatusValue;
use crate::config::{ErrorPageSpec, KeyPath, Loaded};

/// Bytes of a page.
const MOST: u64 = 1 << 20;

/// Error pages by status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages {
    pages: BTreeMap<u16, Own>,
}

/// A page of a route's own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    media_type: String,
    body: String,
    status: Option<StatusCode>,
}

/// A body with its media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status that goes with it.
    pub status: StatusCode,
    /// Its media type.
    pub media_type: String,
    /// The body.
    pub body: String,
}

/// The marker by which a reload sees that a page changed, which the hash of a configuration does not see.
struct Seen;

impl Keep for Seen {}

/// The files that routes have pages from.
#[must_use]
pub fn files(loaded: &Loaded) -> Vec<PathBuf> {
    let pages = loaded.routes.iter().flat_map(|entry| entry.value.errors.values().map(move |page| (entry, page)));
    pages.filter_map(|(entry, page)| Some(loaded.resolve_path(entry.document, page.file.as_ref()?))).collect()
}

impl ErrorPages {
    /// Checks the step, and reads its files. `file` resolves paths that stand in a config file.
    ///
    /// # Errors
    /// All mistakes, below the key.
    pub fn compile(
        spec: &BTreeMap<StatusValue, ErrorPageSpec>,
        file: &dyn Fn(&str) -> PathBuf,
        shared: &Shared,
        before: Option<&Shared>,
    ) -> Result<Self, Vec<Mistake>> {
        let (mut pages, mut mistakes) = (BTreeMap::new(), Vec::new());
        for (status, page) in spec {
            let code = status.as_u16();
            match own(code, page, file) {
                Ok(None) => {}
                Ok(Some(own)) => {
                    if page.file.is_some() {
                        shared.keep(before, &own.body, || Seen);
                    }
                    pages.insert(code, own);
                }
                Err((key, message)) => {
                    let at = KeyPath::root().then(code.to_string());
                    let at = if key.is_empty() { at } else { at.then(key) };
                    mistakes.push(Mistake::new(at, message));
                }
            }
        }
        if mistakes.is_empty() { Ok(Self { pages }) } else { Err(mistakes) }
    }

    /// The page for an error. `accept` is the client's `Accept`, `detail` a text that is safe to show.
    #[must_use]
    pub fn page(&self, status: StatusCode, accept: &str, detail: &str, request_id: &str) -> Page {
        let own = self.pages.get(&status.as_u16());
        let status = own.and_then(|own| own.status).unwrap_or(status);
        let reason = status.canonical_reason().unwrap_or("Error");
        if let Some(own) = own {
            // A proxy that is trusted may have put anything there.
            let is_markup = ["html", "xml", "svg"].iter().any(|kind| own.media_type.contains(kind));
            let request_id = if is_markup { escape(request_id) } else { request_id.to_owned() };
            return Page {
                status,
                media_type: own.media_type.clone(),
                body: own
                    .body
                    .replace("{status}", status.as_str())
                    .replace("{reason}", reason)
                    .replace("{request_id}", &request_id),
            };
        }
        default_page(status, reason, accept, detail, request_id)
    }
}

/// Checks a page, and reads it; `None` where it may be missing, and is.
fn own(code: u16, spec: &ErrorPageSpec, file: &dyn Fn(&str) -> PathBuf) -> Result<Option<Own>, (&'static str, String)> {
    if code < 400 {
        return Err(("", format!("{code} is not an error; write 400 to 599")));
    }
    let (body, named) = match (&spec.body, &spec.file) {
        (Some(_), Some(_)) => return Err(("file", "`body` is there as well; keep one of them".to_owned())),
        (None, None) => return Err(("", "it is empty; write `body` or `file`".to_owned())),
        (Some(body), None) => (body.clone(), None),
        (None, Some(path)) => {
            let path = file(path);
            if spec.optional.0 && matches!(path.try_exists(), Ok(false)) {
                tracing::warn!(file = %path.display(), status = code, "the error page is not there; Pylon's own is shown");
                return Ok(None);
            }
            (text_of(&path).map_err(|message| ("file", message))?, media_type(&path).to_str().ok().map(str::to_owned))
        }
    };
    let media_type = spec.media_type.clone().or(named).unwrap_or_else(|| "text/html; charset=utf-8".to_owned());
    if HeaderValue::from_str(&media_type).is_err() || !media_type.contains('/') {
        return Err(("", format!("{media_type:?} is not a media type; write one such as `text/html`")));
    }
    let status = spec.status.as_ref().map(|status| status.get());
    match status {
        Some(status) if status.as_u16() < 200 || matches!(status.as_u16(), 204 | 205 | 304) => {
            Err(("status", format!("{} has no body; write another, such as 503", status.as_u16())))
        }
        status => Ok(Some(Own { media_type, body, status })),
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("`{shown}` cannot be read ({error}); name a text file in UTF-8");
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(format!("`{shown}` is not a file; name one"));
    }
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_string(&mut text));
    match read {
        Ok(length) if length as u64 > MOST => Err(format!("`{shown}` has more than 1 MiB; write a shorter page")),
        Ok(_) => Ok(text),
        Err(error) => Err(failed(error)),
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
        return Page { status, media_type: "text/html; charset=utf-8".to_owned(), body };
    }
    if accept.contains("json") {
        let body = serde_json::json!({
            "status": code, "title": reason, "detail": detail, "request_id": request_id,
        });
        return Page { status, media_type: "application/problem+json".to_owned(), body: format!("{body}\n") };
    }
    Page {
        status,
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

    #[test]
    fn pages_are_read_from_files_and_may_have_another_status() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("late.html"), "<p>{status} {reason} {request_id}</p>").unwrap();
        std::fs::write(at("bytes.html"), b"\xff").unwrap();
        std::fs::write(at("long.html"), vec![b'x'; (1 << 20) + 1]).unwrap();
        let compile = |yaml: &str| {
            let spec: BTreeMap<StatusValue, ErrorPageSpec> = serde_yaml::from_str(yaml).unwrap();
            ErrorPages::compile(&spec, &|name| at(name), &Shared::default(), None)
        };
        let pages = compile("{ 502: { file: late.html, status: 503 } }").unwrap();
        let none = compile("{ 502: { file: none.html, optional: true } }").unwrap();
        assert!(none.page(StatusCode::BAD_GATEWAY, "", "x", "id").body.starts_with("502 Bad Gateway: x"));
        let page = pages.page(StatusCode::BAD_GATEWAY, "", "x", "<id>");
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            (&*page.media_type, &*page.body),
            ("text/html; charset=utf-8", "<p>503 Service Unavailable &lt;id&gt;</p>")
        );
        for (page, key) in [
            ("{ file: none.html }", "502.file"),
            ("{ file: bytes.html }", "502.file"),
            ("{ file: long.html }", "502.file"),
            ("{ file: '.' }", "502.file"),
            ("{ file: bytes.html, optional: true }", "502.file"),
            ("{ file: late.html, body: x }", "502.file"),
            ("{ type: text/plain }", "502"),
            ("{ body: x, type: text }", "502"),
            ("{ body: x, status: 304 }", "502.status"),
        ] {
            let mistakes = compile(&format!("{{ 502: {page} }}")).unwrap_err();
            assert_eq!(mistakes[0].path.to_string().replace('"', ""), key, "{page}: {mistakes:?}");
        }
    }
}
