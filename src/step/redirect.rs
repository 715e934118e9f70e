//! `redirect`: send the client elsewhere.
//!
//! ```yaml
//! - name: grafana-slash
//!   path: /grafana
//!   redirect: { to: /grafana/, status: 301 }
//! ```
//!
//! A path becomes absolute with the scheme and Host of the request. The query goes along, byte for byte, unless the
//! target has one of its own.

use http::StatusCode;

use crate::config::RedirectSpec;
use crate::route::template::{Template, Values, Vocabulary};

/// A redirect that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

impl Redirect {
    /// Checks the step.
    ///
    /// # Errors
    /// The key that is wrong, and what to write.
    pub fn compile(spec: &RedirectSpec, vocabulary: &Vocabulary<'_>) -> Result<Self, (&'static str, String)> {
        let status = spec.status.as_ref().map_or(StatusCode::FOUND, |status| status.get());
        if !is_redirect(status) {
            let message = format!("{} is not a redirect; write one of 301, 302, 303, 307, 308", status.as_u16());
            return Err(("status", message));
        }
        let absolute = ["/", "http://", "https://", "{scheme}://"];
        if !absolute.iter().any(|start| spec.to.starts_with(start)) {
            let message = format!("`{}` is neither a path nor a URL; write `/path` or `https://host/path`", spec.to);
            return Err(("to", message));
        }
        let to = Template::parse(&spec.to, vocabulary).map_err(|message| ("to", message))?;
        if let Some(c) = to.illegal_in_url() {
            let message = format!("{:?} holds {c:?}, which a URL cannot; write it percent-encoded", spec.to);
            return Err(("to", message));
        }
        Ok(Self { to, status })
    }

    /// Where a request goes. `query` is the query with its `?`, or empty.
    #[must_use]
    pub fn location(&self, values: &Values<'_>, query: &str) -> String {
        let mut target = String::new();
        self.to.render(values, &mut target);
        let mut location = String::with_capacity(target.len() + query.len() + 32);
        if target.starts_with('/') {
            location.push_str(values.scheme);
            location.push_str("://");
            location.push_str(values.host);
        }
        location.push_str(&target);
        if !target.contains('?') {
            location.push_str(query);
        }
        location
    }
}

/// Whether a status is a redirect that clients follow (RFC 9110 §15.4).
#[must_use]
pub fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
