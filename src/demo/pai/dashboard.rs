//! The Kubernetes dashboard: a page with relative links only, which works under any path that ends in a slash.

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use super::site::{self, page};

const HEAD: &str = r#"<link rel="stylesheet" href="assets/app.css"><script src="assets/app.js" defer></script>"#;

const BODY: &str = r#"<nav><a href="./">Overview</a><a href="api/v1/overview">As JSON</a></nav><pre id="overview"></pre>
<script>
fetch("api/v1/overview")
  .then(function (answer) { return answer.json(); })
  .then(function (found) { document.getElementById("overview").textContent = JSON.stringify(found, null, 2); });
</script>"#;

/// The dashboard.
pub(super) fn router() -> Router {
    Router::new()
        .route("/", get(async || page("Kubernetes dashboard", HEAD, BODY)))
        .route("/assets/app.css", get(site::style))
        .route("/assets/app.js", get(site::script))
        .route("/api/v1/overview", get(overview))
        .fallback(site::not_found)
}

async fn overview() -> Json<Value> {
    Json(json!({ "namespaces": 2, "nodes": 2, "pods": { "running": 3, "failed": 0 } }))
}

#[cfg(test)]
mod tests {
    use crate::demo::pai::{Service, start};
    use crate::demo::testing::get;

    #[tokio::test]
    async fn links_are_relative() {
        let all = start().await.unwrap();
        let server = all.addresses.of(Service::Dashboard);
        let page = get(server, "/").await.text();
        assert!(page.contains("\"assets/app.css\"") && !page.contains("=\"/"), "{page}");
        assert_eq!(get(server, "/assets/app.js").await.status, 200);
        assert_eq!(get(server, "/api/v1/overview").await.json()["nodes"], 2);
    }
}
