//! The Redis servers that steps ask: those that name the same server in the same way share its connections, and a reload
//! keeps them.

use std::sync::Arc;

use super::auth::AuthScope;
use super::shared::Keep;
use crate::config::RedisSpec;
use crate::remote::Redis;

/// A server.
#[derive(Debug)]
pub(super) struct Server(pub(super) Arc<Redis>);

impl Keep for Server {
    fn start(self: Arc<Self>) {
        Arc::clone(&self.0).start();
    }
}

/// The server that a spec names.
///
/// # Errors
/// The key that is wrong, and what to write.
pub(super) fn server(spec: &RedisSpec, scope: &AuthScope<'_>) -> Result<Arc<Server>, (&'static str, String)> {
    // It is checked each time, even where one is there already.
    let metrics = scope.metrics.store(&Redis::address_of(spec));
    let made = Redis::new(spec, scope.file, metrics)?;
    Ok(scope.shared.keep(scope.before, spec, || Server(Arc::new(made))))
}
