//! `/livez`, `/readyz` and `/metrics`: for machines that ask again and again.

use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;

use super::answer::{Answer, Refusal, text, with_status};
use super::{Admin, Asked};
use crate::lifecycle::State;
use crate::observe::Exposition;

/// `GET /livez`.
pub(super) fn live() -> Answer {
    text(StatusCode::OK, "alive\n")
}

/// `GET /readyz`: not ready while it starts, drains or stops. A pool without a usable endpoint does not make it so: all
/// instances would leave at once.
pub(super) fn ready(admin: &Admin) -> Answer {
    let state = admin.sources.lifecycle.state();
    let why = match state {
        State::Ready => None,
        State::Starting => Some("starting: connections are not accepted yet".to_owned()),
        State::Draining => Some(under_way(admin, "draining")),
        State::Stopping => Some(under_way(admin, "stopping")),
    };
    let status = if why.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut lines = why.map_or_else(|| "ready\n".to_owned(), |why| format!("not ready: {why}\n"));
    for upstream in admin.sources.reloader.snapshot().upstreams() {
        if let Some(trouble) = upstream.trouble() {
            let _ = writeln!(lines, "degraded: upstream {}: {trouble}", upstream.name);
        }
    }
    if let Some(trouble) = admin.sources.instances.trouble() {
        let _ = writeln!(lines, "degraded: instances: {trouble}");
    }
    text(status, lines)
}

fn under_way(admin: &Admin, state: &str) -> String {
    let lifecycle = &admin.sources.lifecycle;
    format!("{state}, {} requests in flight, {} connections", lifecycle.under_way(), lifecycle.connections())
}

/// `GET /metrics`, in the format that the client wants.
pub(super) async fn metrics(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    let (sources, format) = (admin.sources.clone(), Exposition::wanted(&asked.accept));
    let write = move || Ok(with_status(StatusCode::OK, format.media_type(), format.encode(&sources.families())));
    admin.bench.work(write).await
}
