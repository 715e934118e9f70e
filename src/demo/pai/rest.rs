//! The job API: resources with an `ETag`, an absolute `Location`, links to node pages in JSON, an echo of the request's
//! headers and server-sent events.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Addresses, Service, site};

/// No more jobs than these are kept.
const MAX_JOBS: usize = 1000;
/// Nor a longer body, in bytes.
const MAX_BODY: usize = 64 * 1024;

type Jobs = BTreeMap<String, Value>;

struct Api {
    own: SocketAddr,
    node_manager: SocketAddr,
    jobs: Mutex<Jobs>,
}

impl Api {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job as the API shows it: what was sent, and where it runs. The ports are those that YARN always has.
    fn shown(&self, name: &str, config: &Value) -> Value {
        let host = self.own.ip();
        json!({
            "name": name,
            "state": "RUNNING",
            "appTrackingUrl": format!("http://{host}:8088/proxy/application_1700000000000_0001/"),
            "containerLog": format!("http://{host}:8042/node/containerlogs/container_1700000000000_0001_01_000001/root/"),
            "privateKeyDirectDownloadLink": format!("http://{host}:5070/webhdfs/v1/Container/root/ssh/{name}"),
            "nodeManager": format!("http://{}/node", self.node_manager),
            "config": config,
        })
    }
}

/// The REST server.
pub(super) fn router(all: Addresses) -> Router {
    let sample = ("mnist".to_owned(), json!({ "image": "python:3.13", "gpu": 1 }));
    let api = Arc::new(Api {
        own: all.of(Service::Rest),
        node_manager: all.of(Service::NodeManager),
        jobs: Mutex::new(Jobs::from([sample])),
    });
    Router::new()
        .route("/api/v1", get(about))
        .route("/api/v1/headers", any(echo_headers))
        .route("/api/v1/events", get(site::events))
        .route("/api/v2/jobs", get(list).post(create))
        .route("/api/v2/jobs/{name}", get(read).put(replace).delete(remove))
        .fallback(site::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(api)
}

async fn about() -> Json<Value> {
    Json(json!({ "version": "v1", "message": "This is the stand-in of the REST server." }))
}

/// The request as it arrived, which is as Pylon sent it on.
async fn echo_headers(method: Method, uri: Uri, headers: HeaderMap) -> Json<Value> {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        shown.insert(name.to_string(), values.join(", ").into());
    }
    Json(json!({ "method": method.as_str(), "target": uri.to_string(), "headers": shown }))
}

async fn list(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let jobs: Vec<_> = api.jobs().iter().map(|(name, config)| api.shown(name, config)).collect();
    tagged(&Value::from(jobs), &headers)
}

async fn read(State(api): State<Arc<Api>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let job = api.jobs().get(&name).map(|config| api.shown(&name, config));
    job.map_or_else(no_job, |job| tagged(&job, &headers))
}

async fn create(State(api): State<Arc<Api>>, Json(config): Json<Value>) -> Response {
    let Some(name) = config["name"].as_str().map(str::to_owned) else {
        return problem(StatusCode::BAD_REQUEST, "Write the job's name, as {\"name\":\"x\"}.");
    };
    put(&api, name, config, false)
}

async fn replace(State(api): State<Arc<Api>>, Path(name): Path<String>, Json(config): Json<Value>) -> Response {
    put(&api, name, config, true)
}

fn put(api: &Api, name: String, config: Value, may_replace: bool) -> Response {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_plain) {
        return problem(StatusCode::BAD_REQUEST, "A name has 1 to 255 of A-Z a-z 0-9 - _ . ~");
    }
    let mut jobs = api.jobs();
    let exists = jobs.contains_key(&name);
    if exists && !may_replace {
        return problem(StatusCode::CONFLICT, "There is a job of this name.");
    }
    if !exists && jobs.len() >= MAX_JOBS {
        return problem(StatusCode::INSUFFICIENT_STORAGE, "The stand-in keeps no more jobs; delete some.");
    }
    let shown = Json(api.shown(&name, &config));
    let location = format!("http://{}/api/v2/jobs/{name}", api.own);
    jobs.insert(name, config);
    if exists {
        shown.into_response()
    } else {
        (StatusCode::CREATED, [(header::LOCATION, location)], shown).into_response()
    }
}

async fn remove(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Response {
    match api.jobs().remove(&name) {
        Some(_) => StatusCode::NO_CONTENT.into_response(),
        None => no_job(),
    }
}

fn no_job() -> Response {
    problem(StatusCode::NOT_FOUND, "There is no job of this name.")
}

fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "code": status.canonical_reason(), "message": message }))).into_response()
}

/// `body` with its `ETag`, or 304 when the request has it already.
fn tagged(body: &Value, request: &HeaderMap) -> Response {
    let text = body.to_string();
    let digest = Sha256::digest(&text);
    let tag = format!("\"{}\"", site::hex(&digest[..8]));
    let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).any(|v| matches(v, &tag));
    if known {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    ([(header::ETAG, tag.as_str()), (header::CONTENT_TYPE, "application/json; charset=utf-8")], text).into_response()
}

/// Whether an `If-None-Match` names `tag`: compared weakly, RFC 9110 section 13.1.2.
fn matches(condition: &str, tag: &str) -> bool {
    let mut tags = condition.split(',').map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use crate::demo::pai::{Service, start};
    use crate::demo::testing::{ask, connect, get};

    #[tokio::test]
    async fn a_job_lives_and_dies() {
        let all = start().await.unwrap();
        let rest = all.addresses.of(Service::Rest);
        let json = "content-type: application/json\r\n";
        let made = ask(rest, "POST /api/v2/jobs", json, br#"{"name":"x"}"#).await;
        assert_eq!(made.status, 201);
        let location = format!("http://{rest}/api/v2/jobs/x");
        assert_eq!(made.header("location"), Some(location.as_str()));

        let job = get(rest, "/api/v2/jobs/x").await;
        assert!(job.text().contains("\"containerLog\":\"http://127.0.0.1:8042/"), "{}", job.text());
        assert!(job.text().contains("\"appTrackingUrl\":\"http://127.0.0.1:8088/"), "{}", job.text());
        let condition = format!("if-none-match: \"other\", W/{}\r\n", job.header("etag").unwrap());
        let again = ask(rest, "GET /api/v2/jobs/x", &condition, b"").await;
        assert_eq!((again.status, again.body.len()), (304, 0));

        assert_eq!(ask(rest, "PUT /api/v2/jobs/x", json, b"{}").await.status, 200);
        assert_eq!(ask(rest, "DELETE /api/v2/jobs/x", "", b"").await.status, 204);
        assert_eq!(get(rest, "/api/v2/jobs/x").await.status, 404);
    }

    #[tokio::test]
    async fn headers_and_events() {
        let all = start().await.unwrap();
        let rest = all.addresses.of(Service::Rest);
        let seen = ask(rest, "GET /api/v1/headers?q=%2F", "x-forwarded-for: 1.2.3.4\r\n", b"").await.json();
        assert_eq!(seen["headers"]["x-forwarded-for"], "1.2.3.4");
        assert_eq!(seen["target"], "/api/v1/headers?q=%2F");
        let mut events = connect(rest, "GET /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
        events.until("data: {\"tick\":1}\n\n").await;
    }
}
