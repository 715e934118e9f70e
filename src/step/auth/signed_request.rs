//! `auth: { signed_request: … }`.

use http::HeaderValue;

use super::{Asking, AuthScope, Finding, Mistake};
use crate::config::{KeyPath, SignedRequestSpec};

/// The step, compiled.
#[derive(Debug)]
pub(super) struct SignedRequest;

impl SignedRequest {
    /// Checks the step.
    pub(super) fn compile(_spec: &SignedRequestSpec, _scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        Err(vec![Mistake::new(KeyPath::root(), "not there yet")])
    }

    /// Finds out who asks.
    pub(super) async fn identify(&self, _asking: &Asking<'_>) -> Finding {
        Finding::Absent
    }

    /// What `WWW-Authenticate` says; `wrong` where credentials of this kind came and were not good.
    pub(super) fn challenge(&self, _wrong: bool) -> Option<HeaderValue> {
        None
    }
}
