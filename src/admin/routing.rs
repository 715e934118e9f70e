//! `/api/routes` and `/api/upstreams`: where requests go, and how those fare to whom they go.

use std::sync::Arc;

use serde_json::json;

use super::answer::{Answer, Refusal, as_json};
use super::{Admin, Asked};
use crate::snapshot::{Action, Route};

/// `GET /api/routes`.
pub(super) async fn routes(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    let snapshot = admin.sources.reloader.snapshot();
    let show = move || {
        let routes: Vec<_> = snapshot.routes().iter().map(|route| show(route)).collect();
        as_json(&json!({ "routes": routes, "left_out": snapshot.left_out }))
    };
    admin.bench.work(show).await
}

/// `GET /api/upstreams`.
pub(super) async fn upstreams(admin: Arc<Admin>, asked: Asked) -> Result<Answer, Refusal> {
    asked.query.only(&[])?;
    let snapshot = admin.sources.reloader.snapshot();
    let show = move || {
        let upstreams: Vec<_> = snapshot.upstreams().iter().map(|upstream| upstream.status()).collect();
        as_json(&json!({ "upstreams": upstreams }))
    };
    admin.bench.work(show).await
}

fn show(route: &Route) -> serde_json::Value {
    let action = match &route.action {
        Action::Answer(_) => "answer",
        Action::Redirect(_) => "redirect",
        Action::Files(_) => "static",
        Action::Forward(_) => "forward",
    };
    json!({
        "name": route.name,
        "hosts": texts(&route.matcher.hosts),
        "paths": texts(&route.matcher.paths),
        "methods": texts(&route.matcher.methods),
        "listeners": route.listeners,
        "action": action,
        "upstream": route.info.upstream,
        "steps": route.info.steps,
    })
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}
