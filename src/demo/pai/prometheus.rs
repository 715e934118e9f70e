//! Prometheus and Alertmanager, each below a path of its own as behind a proxy.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{
    Addresses, Service,
    site::{self, page},
};

const GRAPH: &str = r#"<p><input id="query" value="up" size="40"> <button id="ask">Ask</button></p><pre id="answer"></pre>
<script>
function ask() {
  fetch("/prometheus/api/v1/query?query=" + encodeURIComponent(document.getElementById("query").value))
    .then(function (answer) { return answer.json(); })
    .then(function (found) { document.getElementById("answer").textContent = JSON.stringify(found, null, 2); });
}
document.getElementById("ask").onclick = ask;
ask();
</script>"#;

/// Prometheus, which says that all the stand-ins are up.
pub(super) fn router(all: Addresses) -> Router {
    let head = r#"<link rel="stylesheet" href="/prometheus/static/main.css"><script src="/prometheus/static/main.js" defer></script>"#;
    let home = || get(async || site::redirect(StatusCode::FOUND, "/prometheus/graph"));
    Router::new()
        .route("/", home())
        .route("/prometheus", home())
        .route("/prometheus/", home())
        .route("/prometheus/graph", get(async move || page("Prometheus", head, GRAPH)))
        .route("/prometheus/static/main.css", get(site::style))
        .route("/prometheus/static/main.js", get(site::script))
        .route("/prometheus/-/healthy", get(async || "Prometheus Server is Healthy.\n"))
        .route("/prometheus/-/ready", get(async || "Prometheus Server is Ready.\n"))
        .route("/prometheus/api/v1/query", get(query))
        .route("/prometheus/metrics", get(metrics))
        .fallback(site::not_found)
        .with_state(Arc::new(all))
}

async fn query(
    State(all): State<Arc<Addresses>>,
    Query(query): Query<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let Some(expression) = query.get("query").filter(|expression| !expression.is_empty()) else {
        let problem = json!({ "status": "error", "errorType": "bad_data", "error": "invalid parameter \"query\": no expression found" });
        return (StatusCode::BAD_REQUEST, Json(problem));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let up = |service: &Service| {
        let labels =
            json!({ "__name__": "up", "instance": all.of(*service).to_string(), "job": format!("{service:?}") });
        json!({ "metric": labels, "value": [now, "1"] })
    };
    // It evaluates nothing: this is the one series that it has.
    let found: Vec<_> = if expression == "up" { Service::ALL.iter().map(up).collect() } else { Vec::new() };
    (StatusCode::OK, Json(json!({ "status": "success", "data": { "resultType": "vector", "result": found } })))
}

async fn metrics() -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], "# TYPE up gauge\nup 1\n")
}

/// Alertmanager, without an alert.
pub(super) fn alertmanager() -> Router {
    let home = async || -> Response {
        page("Alertmanager", "", "<p>No alerts. <a href=\"/alert-manager/api/v2/status\">Its status</a></p>")
    };
    Router::new()
        .route("/", get(async || site::redirect(StatusCode::FOUND, "/alert-manager/")))
        .route("/alert-manager", get(async || site::redirect(StatusCode::FOUND, "/alert-manager/")))
        .route("/alert-manager/", get(home))
        .route("/alert-manager/-/healthy", get(async || "OK"))
        .route("/alert-manager/api/v2/alerts", get(async || Json(json!([]))))
        .route("/alert-manager/api/v2/status", get(status))
        .fallback(site::not_found)
}

async fn status() -> Json<Value> {
    Json(json!({
        "cluster": { "status": "ready", "peers": [] },
        "versionInfo": { "version": "0.0.0-stand-in" },
        "config": { "original": "route:\n  receiver: nobody\n" },
        "uptime": "2024-01-01T00:00:00.000Z",
    }))
}

#[cfg(test)]
mod tests {
    use crate::demo::pai::{Service, start};
    use crate::demo::testing::get;

    #[tokio::test]
    async fn both_answer_below_their_paths() {
        let all = start().await.unwrap();
        let server = all.addresses.of(Service::Prometheus);
        assert_eq!(get(server, "/prometheus/-/healthy").await.status, 200);
        let up = get(server, "/prometheus/api/v1/query?query=up").await.json();
        assert_eq!(up["data"]["result"].as_array().map(Vec::len), Some(Service::ALL.len()));
        assert_eq!(get(server, "/prometheus/api/v1/query").await.status, 400);
        let alerts = all.addresses.of(Service::AlertManager);
        assert_eq!(get(alerts, "/alert-manager/api/v2/status").await.json()["cluster"]["status"], "ready");
    }
}
