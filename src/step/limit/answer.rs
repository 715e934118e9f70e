//! What a client is told of limits.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::super::Mistake;
use super::local::Verdict;
use crate::config::{KeyPath, LimitAnswerSpec, LimitHeaders};

static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static WINDOW: HeaderName = HeaderName::from_static("x-ratelimit-window");

/// Headers that a client gets.
pub type Told = SmallVec<[(HeaderName, HeaderValue); 4]>;

/// A body with its media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The body.
    pub body: Bytes,
    /// Its media type.
    pub media_type: HeaderValue,
}

/// The answer to requests over a limit.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) document: Option<Document>,
}

impl Refusal {
    /// Checks the answer.
    ///
    /// # Errors
    /// All mistakes, below the limit.
    pub(super) fn compile(spec: Option<&LimitAnswerSpec>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut wrong = |key: &str, message: String| {
            mistakes.push(Mistake::new(KeyPath::root().then("answer").then(key), message));
        };
        let default = LimitAnswerSpec::default();
        let spec = spec.unwrap_or(&default);
        let status = spec.status.map_or(StatusCode::TOO_MANY_REQUESTS, crate::config::value::StatusCode::get);
        if status.as_u16() < 400 {
            wrong("status", format!("{} is not an error; write one from 400 to 599", status.as_u16()));
        }
        if spec.media_type.is_some() && spec.body.is_none() {
            wrong("type", "there is no `body` of that type; add one".to_owned());
        }
        let media_type = spec.media_type.as_deref().unwrap_or("text/plain; charset=utf-8");
        let document = match HeaderValue::from_str(media_type).ok().filter(|_| media_type.contains('/')) {
            None => {
                wrong("type", format!("{media_type:?} is not a media type; write one such as `application/json`"));
                None
            }
            Some(media_type) => spec.body.as_ref().map(|body| Document { body: body.clone().into(), media_type }),
        };
        if mistakes.is_empty() { Ok(Self { status, document }) } else { Err(mistakes) }
    }
}

/// The headers of a limit.
#[derive(Debug)]
pub(super) struct Telling {
    headers: LimitHeaders,
    limit: HeaderValue,
    window: HeaderValue,
}

impl Telling {
    /// What is told of a limit of so many in a time.
    pub(super) fn new(headers: LimitHeaders, limit: u32, window: Duration) -> Self {
        Self { headers, limit: limit.into(), window: seconds(window).into() }
    }

    /// Adds what is told of a verdict.
    pub(super) fn tell(&self, verdict: &Verdict, told: &mut Told) {
        let last = match self.headers {
            LimitHeaders::None => return,
            LimitHeaders::Reset => (RESET.clone(), seconds(verdict.wait).into()),
            LimitHeaders::Window => (WINDOW.clone(), self.window.clone()),
        };
        told.push((LIMIT.clone(), self.limit.clone()));
        told.push((REMAINING.clone(), verdict.remaining.into()));
        told.push(last);
    }
}

/// When to come again: a second at least.
pub(super) fn retry_after(wait: Duration) -> (HeaderName, HeaderValue) {
    (RETRY_AFTER, seconds(wait).max(1).into())
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
