//! The operator's port: probes, metrics, state, reload, drain, and the console.
//!
//! It runs on the threads of control, beside the data path: `serve` has its connections, `guard` decides who is let in,
//! and each other file has one thing that can be asked for. `ENDPOINTS` is the table of contents.

mod answer;
mod audit;
mod configuration;
mod drain;
mod explain;
mod gather;
mod guard;
mod instances;
mod log_level;
mod page;
mod probes;
mod query;
mod requests;
mod routing;
mod seats;
mod serve;
mod status;
mod work;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::sync::Semaphore;

use answer::{Answer, Refusal, harden};
use guard::Guard;
use query::Query;
use seats::Seat;
use work::Bench;

pub use gather::Sources;

use crate::config::value::Secret;

/// How long working an answer out may take.
const TIME: Duration = Duration::from_secs(30);
/// One that is under way, and those that wait for it.
const RELOADS: usize = 4;

/// The operator's port.
pub struct Admin {
    sources: Sources,
    guard: Guard,
    bench: Bench,
    /// Reloads that are under way or wait for that: who asks again and again does not pile them up.
    reloads: Arc<Semaphore>,
}

/// A request that was let in.
struct Asked {
    peer: SocketAddr,
    query: Query,
    /// What the client would like to get.
    accept: String,
    body: Bytes,
    headers: HeaderMap,
    /// What stands in the place of `{id}`, or another name, in the path.
    id: String,
}

type Called = Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send>>;

/// One thing that can be asked for.
struct Endpoint {
    method: Method,
    path: &'static str,
    /// Whether it needs no token.
    open: bool,
    call: fn(Arc<Admin>, Asked) -> Called,
}

impl Endpoint {
    const fn open(path: &'static str, call: fn(Arc<Admin>, Asked) -> Called) -> Self {
        Self { method: Method::GET, path, open: true, call }
    }

    const fn get(path: &'static str, call: fn(Arc<Admin>, Asked) -> Called) -> Self {
        Self { method: Method::GET, path, open: false, call }
    }

    const fn post(path: &'static str, call: fn(Arc<Admin>, Asked) -> Called) -> Self {
        Self { method: Method::POST, path, open: false, call }
    }

    const fn put(path: &'static str, call: fn(Arc<Admin>, Asked) -> Called) -> Self {
        Self { method: Method::PUT, path, open: false, call }
    }

    const fn delete(path: &'static str, call: fn(Arc<Admin>, Asked) -> Called) -> Self {
        Self { method: Method::DELETE, path, open: false, call }
    }

    /// The part of the path that stands for `{id}`, or another name, where the path fits.
    fn matches<'p>(&self, path: &'p str) -> Option<&'p str> {
        match self.path.split_once('{') {
            Some((before, _)) => path.strip_prefix(before).filter(|id| !id.is_empty() && !id.contains('/')),
            None => (self.path == path).then_some(""),
        }
    }
}

/// An answer for which nothing has to be waited for.
fn now(answer: Result<Answer, Refusal>) -> Called {
    Box::pin(std::future::ready(answer))
}

/// All that can be asked for; `openapi.json` describes it.
const ENDPOINTS: &[Endpoint] = &[
    Endpoint::open("/", |_, _| now(Ok(page::page()))),
    Endpoint::open("/livez", |_, _| now(Ok(probes::live()))),
    Endpoint::open("/readyz", |admin, _| now(Ok(probes::ready(&admin)))),
    Endpoint::get("/metrics", |admin, asked| Box::pin(probes::metrics(admin, asked))),
    Endpoint::get("/api/status", |admin, asked| Box::pin(status::status(admin, asked))),
    Endpoint::get("/api/requests", |admin, asked| Box::pin(requests::requests(admin, asked))),
    Endpoint::get("/api/why/{id}", |admin, asked| Box::pin(requests::why(admin, asked))),
    Endpoint::get("/api/routes", |admin, asked| Box::pin(routing::routes(admin, asked))),
    Endpoint::get("/api/upstreams", |admin, asked| Box::pin(routing::upstreams(admin, asked))),
    Endpoint::get("/api/explain", |admin, asked| Box::pin(explain::explain(admin, asked))),
    Endpoint::get("/api/config", |admin, asked| Box::pin(configuration::show(admin, asked))),
    Endpoint::post("/api/reload", |admin, asked| Box::pin(configuration::reload(admin, asked))),
    Endpoint::get("/api/instances", |admin, asked| Box::pin(instances::list(admin, asked))),
    Endpoint::get("/api/instances/{name}", |admin, asked| now(instances::show(&admin, &asked))),
    Endpoint::put("/api/instances/{name}", |admin, asked| Box::pin(instances::put(admin, asked))),
    Endpoint::delete("/api/instances/{name}", |admin, asked| Box::pin(instances::remove(admin, asked))),
    Endpoint::get("/api/log-level", |admin, asked| now(log_level::show(&admin, &asked))),
    Endpoint::post("/api/log-level", |admin, asked| now(log_level::set(&admin, &asked))),
    Endpoint::get("/api/drain", |admin, asked| now(drain::show(&admin, &asked))),
    Endpoint::post("/api/drain", |admin, asked| now(drain::set(&admin, &asked))),
    Endpoint::get("/api/openapi.json", |_, _| now(Ok(page::openapi()))),
];

impl Admin {
    /// The port; none where the system gives no random numbers.
    #[must_use]
    pub fn new(sources: Sources) -> Option<Self> {
        let reloads = Arc::new(Semaphore::new(RELOADS));
        Some(Self { sources, guard: Guard::new()?, bench: Bench::default(), reloads })
    }

    /// Serves on a socket until the process ends.
    pub async fn serve(self, socket: tokio::net::TcpListener) {
        serve::serve(Arc::new(self), socket).await;
    }

    /// Answers a request, whatever it is.
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr, seat: &Seat) -> Answer {
        let mut answer = self.try_answer(request, peer, seat).await.unwrap_or_else(Refusal::into_answer);
        harden(answer.headers_mut());
        answer
    }

    async fn try_answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        seat: &Seat,
    ) -> Result<Answer, Refusal> {
        let (head, body) = request.into_parts();
        let (path, token) = (head.uri.path(), self.sources.reloader.admin_token());
        let token = token.as_deref().map(Secret::expose);
        self.guard.site(&head, path == "/", token.is_some(), peer)?;
        let found = find(&head.method, path);
        if !found.as_ref().is_ok_and(|(endpoint, _)| endpoint.open) {
            self.guard.token(&head.headers, token, peer)?;
        }
        let (endpoint, id) = found?;
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let id = percent_decode_str(id).decode_utf8_lossy().into_owned();
        let accept = head.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let accept = accept.unwrap_or_default().to_owned();
        let body = serve::read_body(body).await?;
        guard::content_type(&head, body.is_empty())?;
        // From here on nobody takes the connection's place.
        let _work = seat.work();
        let asked = Asked { peer, query, accept, body, headers: head.headers, id };
        match tokio::time::timeout(TIME, (endpoint.call)(Arc::clone(&self), asked)).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "working the answer out took too long")),
        }
    }
}

/// What a method and a path stand for, and the part of the path that names one of many.
fn find<'p>(method: &Method, path: &'p str) -> Result<(&'static Endpoint, &'p str), Refusal> {
    // What answers GET answers HEAD, and the body is left out on the way.
    let wanted = if *method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for endpoint in ENDPOINTS {
        let Some(id) = endpoint.matches(path) else { continue };
        if endpoint.method == *wanted {
            return Ok((endpoint, id));
        }
        allowed.push(if endpoint.method == Method::GET { "GET, HEAD" } else { endpoint.method.as_str() });
    }
    if allowed.is_empty() {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this path");
        return Err(refusal.cure("GET /api/openapi.json lists what there is"));
    }
    let allowed = allowed.join(", ");
    let refusal =
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("the method is not {}", allowed.replace(", ", " or ")));
    Err(match HeaderValue::from_str(&allowed) {
        Ok(value) => refusal.header(header::ALLOW, value),
        Err(_) => refusal,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_has_all_endpoints_and_no_others() {
        let document: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let open = operation["security"].as_array().is_some_and(Vec::is_empty);
                described.insert((method.to_uppercase(), path.clone(), open));
            }
        }
        let served = ENDPOINTS.iter().map(|e| (e.method.to_string(), e.path.to_owned(), e.open));
        assert_eq!(described, served.collect());
    }

    #[test]
    fn paths_are_found_whole() {
        let found = |method, path| find(&method, path).map(|(endpoint, id)| (endpoint.path, id)).ok();
        assert_eq!(found(Method::GET, "/livez"), Some(("/livez", "")));
        assert_eq!(found(Method::HEAD, "/api/drain"), Some(("/api/drain", "")));
        assert_eq!(found(Method::GET, "/api/why/0a%2f"), Some(("/api/why/{id}", "0a%2f")));
        assert_eq!(found(Method::DELETE, "/api/instances/a"), Some(("/api/instances/{name}", "a")));
        assert_eq!(found(Method::PUT, "/api/instances"), None);
        for path in ["", "/livez/", "//livez", "/api", "/api/", "/LIVEZ", "/api/why/", "/api/why/a/b"] {
            assert_eq!(found(Method::GET, path), None, "{path}");
        }
        assert_eq!(found(Method::POST, "/livez"), None);
    }
}
