//! `answer`: a fixed answer, without an upstream.
//!
//! ```yaml
//! - name: robots
//!   path: /robots.txt
//!   answer: { body: "User-agent: *\nDisallow: /\n" }
//! ```

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::config::AnswerSpec;

/// An answer that stands ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its media type.
    pub media_type: HeaderValue,
    /// Its body; a HEAD request gets its length only.
    pub body: Bytes,
}

impl Answer {
    /// Checks the step.
    ///
    /// # Errors
    /// The key that is wrong, and what to write.
    pub fn compile(spec: &AnswerSpec) -> Result<Self, (&'static str, String)> {
        let media_type = spec.media_type.as_deref().unwrap_or("text/plain");
        let status = spec.status.as_ref().map_or(StatusCode::OK, |status| status.get());
        if status.is_informational() {
            return Err(("status", format!("{} is not a final status; write 200 to 599", status.as_u16())));
        }
        Ok(Self {
            status,
            media_type: HeaderValue::from_str(media_type)
                .map_err(|_| ("type", format!("`{media_type}` is not a media type; write one such as `text/plain`")))?,
            body: Bytes::from(spec.body.clone()),
        })
    }

    /// The answer to a health probe on the data port.
    #[must_use]
    pub fn health() -> Self {
        Self {
            status: StatusCode::OK,
            media_type: HeaderValue::from_static("text/plain"),
            body: Bytes::from_static(b"Pylon ready."),
        }
    }
}
