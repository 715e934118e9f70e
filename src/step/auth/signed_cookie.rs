//! `auth: { signed_cookie: … }`.

use http::HeaderValue;

use super::{Asking, AuthScope, Finding, Mistake};
use crate::config::{KeyPath, SignedCookieSpec};

/// The step, compiled.
#[derive(Debug)]
pub(super) struct SignedCookie;

impl SignedCookie {
    /// Checks the step.
    pub(super) fn compile(_spec: &SignedCookieSpec, _scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
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
