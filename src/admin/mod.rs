//! The operator's port: probes, metrics, routes, reload. Loopback only.

mod gather;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

pub use gather::Sources;

use crate::lifecycle::Lifecycle;
use crate::observe::Exposition;
use crate::reload::Reloader;
use crate::snapshot::Action;

/// What the operator's port shows and does.
#[derive(Clone)]
pub struct Admin {
    /// Reloads, and knows the configuration in use.
    pub reloader: Arc<Reloader>,
    /// Where things are counted.
    pub sources: Sources,
    /// Whether the process is stopping.
    pub lifecycle: Arc<Lifecycle>,
}

impl Admin {
    /// Serves on a socket until the process ends.
    pub async fn serve(self, socket: tokio::net::TcpListener) {
        let router = Router::new()
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/api/routes", get(routes))
            .route("/api/upstreams", get(upstreams))
            .route("/api/config", get(config))
            .route("/api/reload", post(reload))
            .layer(middleware::from_fn(only_operators))
            .with_state(self);
        if let Err(error) = axum::serve(socket, router).await {
            tracing::error!(%error, "the admin port is closed");
        }
    }
}

/// Turns browsers away that were sent here by another site: by its `Origin`, or by a name that was bound to loopback.
async fn only_operators(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = crate::route::host::split_port(host).0;
    let local = name.eq_ignore_ascii_case("localhost") || crate::route::allow::parse_address(name).is_some();
    if headers.contains_key(header::ORIGIN) || !local {
        return (StatusCode::FORBIDDEN, "the admin port is for operators on this machine\n").into_response();
    }
    next.run(request).await
}

async fn ready(State(admin): State<Admin>) -> Response {
    if admin.lifecycle.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response()
    } else {
        "ready\n".into_response()
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    {
        let body = Exposition::Text.encode(&admin.sources.families());
        ([(header::CONTENT_TYPE, Exposition::Text.media_type())], body).into_response()
    }
}

async fn routes(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let snapshot = admin.reloader.snapshot();
    let routes: Vec<_> = snapshot
        .routes()
        .iter()
        .map(|route| {
            let action = match &route.action {
                Action::Answer(_) => "answer",
                Action::Redirect(_) => "redirect",
                Action::Forward(_) => "forward",
            };
            json!({
                "name": route.name,
                "hosts": route.matcher.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "paths": route.matcher.paths.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "methods": route.matcher.methods.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "listeners": route.listeners,
                "action": action,
            })
        })
        .collect();
    Json(json!({ "routes": routes, "left_out": snapshot.left_out }))
}

async fn upstreams(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let snapshot = admin.reloader.snapshot();
    let upstreams: Vec<_> = snapshot.upstreams().iter().map(|upstream| upstream.status()).collect();
    Json(json!({ "upstreams": upstreams }))
}

async fn config(State(admin): State<Admin>) -> Json<serde_json::Value> {
    let snapshot = admin.reloader.snapshot();
    Json(json!({ "generation": snapshot.generation, "hash": snapshot.hash, "left_out": snapshot.left_out }))
}

async fn reload(State(admin): State<Admin>) -> Response {
    match admin.reloader.reload().await {
        Ok(done) => Json(json!(done)).into_response(),
        Err(report) => (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "problems": report }))).into_response(),
    }
}
