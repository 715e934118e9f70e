//! What the admin port answers: JSON and text, errors with their cure, and the headers that every answer has.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

/// A whole answer.
pub(super) type Answer = Response<Bytes>;

/// What a browser may do with any answer but the console page: nothing.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Headers that every answer has.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Why something is not done, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
    cure: Option<String>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), cure: None, header: None }
    }

    /// The request is wrong.
    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(super) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// What is wrong.
    pub(super) fn error(&self) -> &str {
        &self.error
    }

    pub(super) fn into_answer(self) -> Answer {
        let mut body = json!({ "error": self.error });
        if let Some(cure) = self.cure {
            body["cure"] = cure.into();
        }
        let mut answer = with_status(self.status, "application/json", body.to_string());
        if let Some((name, value)) = self.header.map(|header| *header) {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

/// A value as JSON.
pub(super) fn as_json(value: &impl Serialize) -> Result<Answer, Refusal> {
    json_with(StatusCode::OK, value)
}

/// A value as JSON, with this status.
pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Result<Answer, Refusal> {
    match serde_json::to_vec(value) {
        Ok(text) => Ok(with_status(status, "application/json", text)),
        Err(error) => {
            tracing::error!(%error, "an answer of the admin port cannot be written");
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the answer cannot be written: {error}")))
        }
    }
}

/// Lines for people and probes.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    with_status(status, "text/plain; charset=utf-8", text)
}

/// A body of this type.
pub(super) fn with_status(status: StatusCode, media: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    answer
}

/// Adds what every answer has.
pub(super) fn harden(headers: &mut HeaderMap) {
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING);
}
