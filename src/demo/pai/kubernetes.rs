//! The Kubernetes API server: discovery, a few objects, watches that stay open, logs that follow and `exec`.

use std::collections::HashMap;

use axum::{
    Json, Router,
    extract::{Path, Query},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{exec, site};

type Parameters = Query<HashMap<String, String>>;

const CREATED: &str = "2024-01-01T00:00:00Z";
const NAMESPACES: [&str; 2] = ["default", "kube-system"];
const PODS: [(&str, &str); 3] = [("default", "worker-0"), ("default", "worker-1"), ("kube-system", "dns")];
const NODES: [&str; 2] = ["node-a", "node-b"];

/// The API server.
pub(super) fn router() -> Router {
    let pod = "/api/v1/namespaces/{namespace}/pods/{pod}";
    Router::new()
        .route("/version", get(version))
        .route("/api", get(versions))
        .route("/api/", get(versions))
        .route("/apis", get(groups))
        .route("/apis/", get(groups))
        .route("/api/v1", get(resources))
        .route("/api/v1/namespaces", get(namespaces))
        .route("/api/v1/namespaces/{namespace}", get(one_namespace))
        .route("/api/v1/nodes", get(nodes))
        .route("/api/v1/nodes/{node}", get(one_node))
        .route("/api/v1/pods", get(all_pods))
        .route("/api/v1/namespaces/{namespace}/pods", get(pods))
        .route(pod, get(one_pod))
        .route(&format!("{pod}/log"), get(log))
        .route(&format!("{pod}/exec"), get(exec::exec))
        .fallback(async || missing("the requested resource"))
}

async fn version() -> Json<Value> {
    Json(json!({ "major": "1", "minor": "32", "gitVersion": "v1.32.0-stand-in", "platform": "linux/amd64" }))
}

async fn versions() -> Json<Value> {
    Json(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }))
}

async fn groups() -> Json<Value> {
    Json(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [] }))
}

async fn resources() -> Json<Value> {
    let resource = |name: &str, singular: &str, short: &str, namespaced: bool, kind: &str, verbs: &[&str]| {
        let short: Vec<_> = short.split_terminator(',').collect();
        json!({ "name": name, "singularName": singular, "shortNames": short, "namespaced": namespaced, "kind": kind, "verbs": verbs })
    };
    let read = ["get", "list", "watch"];
    Json(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
        resource("namespaces", "namespace", "ns", false, "Namespace", &read),
        resource("nodes", "node", "no", false, "Node", &read),
        resource("pods", "pod", "po", true, "Pod", &read),
        resource("pods/log", "", "", true, "Pod", &["get"]),
        resource("pods/exec", "", "", true, "PodExecOptions", &["create", "get"]),
    ]}))
}

async fn namespaces(Query(query): Parameters) -> Response {
    collection("Namespace", NAMESPACES.map(namespace).to_vec(), &query)
}

async fn nodes(Query(query): Parameters) -> Response {
    collection("Node", NODES.map(node).to_vec(), &query)
}

async fn all_pods(Query(query): Parameters) -> Response {
    collection("Pod", PODS.map(|(namespace, name)| pod(namespace, name)).to_vec(), &query)
}

async fn pods(Path(namespace): Path<String>, Query(query): Parameters) -> Response {
    let here = PODS.iter().filter(|(of, _)| *of == namespace);
    collection("Pod", here.map(|(of, name)| pod(of, name)).collect(), &query)
}

async fn one_namespace(Path(name): Path<String>) -> Response {
    let found = NAMESPACES.iter().find(|known| **known == name);
    found.map_or_else(|| missing(&format!("namespaces \"{name}\"")), |name| Json(namespace(name)).into_response())
}

async fn one_node(Path(name): Path<String>) -> Response {
    let found = NODES.iter().find(|known| **known == name);
    found.map_or_else(|| missing(&format!("nodes \"{name}\"")), |name| Json(node(name)).into_response())
}

async fn one_pod(Path((namespace, name)): Path<(String, String)>) -> Response {
    if !has_pod(&namespace, &name) {
        return missing(&format!("pods \"{name}\""));
    }
    Json(pod(&namespace, &name)).into_response()
}

/// Whether there is such a pod.
pub(super) fn has_pod(namespace: &str, name: &str) -> bool {
    PODS.contains(&(namespace, name))
}

/// A parameter that is on; clients write `true`, `True` or `1`.
pub(super) fn is_on(query: &HashMap<String, String>, name: &str) -> bool {
    query.get(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// The answer 404 in the form that clients read.
pub(super) fn missing(what: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{what} not found"), "reason": "NotFound", "code": 404,
    });
    (StatusCode::NOT_FOUND, Json(status)).into_response()
}

/// A list, or with `watch` a stream of changes: what there is as `ADDED`, then one of them `MODIFIED` every second.
fn collection(kind: &str, items: Vec<Value>, query: &HashMap<String, String>) -> Response {
    if !is_on(query, "watch") {
        let list = json!({
            "kind": format!("{kind}List"), "apiVersion": "v1", "metadata": { "resourceVersion": "100" }, "items": items,
        });
        return Json(list).into_response();
    }
    // Whoever has the list names its version, and gets only what comes after.
    let from_start = query.get("resourceVersion").is_none_or(|version| version.is_empty() || version == "0");
    let limit = query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok());
    site::every_second("application/json", move |n| {
        if limit.is_some_and(|limit: u64| n >= limit.max(1)) {
            return None;
        }
        if n == 0 {
            let added = if from_start { items.as_slice() } else { &[] };
            return Some(added.iter().map(|item| event("ADDED", item)).collect());
        }
        let mut item = items.first()?.clone();
        item["metadata"]["resourceVersion"] = (100 + n).to_string().into();
        Some(event("MODIFIED", &item))
    })
}

fn event(kind: &str, object: &Value) -> String {
    json!({ "type": kind, "object": object }).to_string() + "\n"
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "uid": format!("uid-of-{name}"), "resourceVersion": "100", "creationTimestamp": CREATED })
}

fn namespace(name: &str) -> Value {
    json!({
        "kind": "Namespace", "apiVersion": "v1", "metadata": metadata(name),
        "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" },
    })
}

fn node(name: &str) -> Value {
    json!({
        "kind": "Node", "apiVersion": "v1", "metadata": metadata(name), "spec": {},
        "status": { "conditions": [{ "type": "Ready", "status": "True" }], "capacity": { "cpu": "8", "memory": "32Gi" } },
    })
}

fn pod(namespace: &str, name: &str) -> Value {
    let mut metadata = metadata(name);
    metadata["namespace"] = namespace.into();
    json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": metadata,
        "spec": { "nodeName": NODES[0], "containers": [{ "name": "main", "image": "stand-in" }] },
        "status": {
            "phase": "Running", "podIP": "127.0.0.1", "hostIP": "127.0.0.1", "startTime": CREATED,
            "containerStatuses": [{
                "name": "main", "image": "stand-in", "imageID": "stand-in", "ready": true, "started": true,
                "restartCount": 0, "state": { "running": { "startedAt": CREATED } },
            }],
        },
    })
}

async fn log(Path((namespace, name)): Path<(String, String)>, Query(query): Parameters) -> Response {
    if !has_pod(&namespace, &name) {
        return missing(&format!("pods \"{name}\""));
    }
    let line = move |n: u64| format!("{name}: line {n} of its log\n");
    if is_on(&query, "follow") {
        return site::every_second("text/plain", move |n| Some(line(n)));
    }
    let text: String = (0..5).map(line).collect();
    ([(header::CONTENT_TYPE, "text/plain")], text).into_response()
}

#[cfg(test)]
mod tests {
    use crate::demo::pai::{Service, start};
    use crate::demo::testing::{connect, get};

    #[tokio::test]
    async fn lists_watches_and_follows() {
        let all = start().await.unwrap();
        let server = all.addresses.of(Service::Kubernetes);
        let list = get(server, "/api/v1/namespaces/default/pods").await.json();
        assert_eq!((list["kind"].as_str(), list["items"].as_array().map(Vec::len)), (Some("PodList"), Some(2)));
        assert_eq!(get(server, "/apis").await.json()["kind"], "APIGroupList");
        assert_eq!(get(server, "/api/v1/nodes/none").await.json()["reason"], "NotFound");

        let watch = "GET /api/v1/namespaces?watch=true HTTP/1.1\r\nhost: x\r\n\r\n";
        let head = connect(server, watch).await.until("MODIFIED").await;
        assert!(head.contains("transfer-encoding: chunked") && head.contains("ADDED"), "{head}");
        let ended = get(server, "/api/v1/nodes?watch=True&timeoutSeconds=1").await;
        assert_eq!(ended.text().lines().count(), 2);

        let follow = "GET /api/v1/namespaces/default/pods/worker-0/log?follow=true HTTP/1.1\r\nhost: x\r\n\r\n";
        connect(server, follow).await.until("worker-0: line 1 ").await;
    }
}
