//! YARN: a resource manager and, on another port, a node manager. Their pages link to each other by absolute
//! addresses, which only Pylon can reach.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::Response,
    routing::get,
};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{
    Addresses, Service,
    site::{self, escape, page},
};

const APPLICATION: &str = "application_1700000000000_0001";
const CONTAINER: &str = "container_1700000000000_0001_01_000001";

const HEAD: &str = r#"<link rel="stylesheet" href="/static/yarn.css">
<script type="text/javascript" src="/static/yarn.js" defer></script>"#;

type Cluster = State<Arc<Addresses>>;

fn assets() -> Router<Arc<Addresses>> {
    Router::new().route("/static/yarn.css", get(site::style)).route("/static/yarn.js", get(site::script))
}

/// The resource manager.
pub(super) fn resource_manager(all: Addresses) -> Router {
    assets()
        .route("/", get(to_cluster))
        .route("/cluster", get(cluster))
        .route("/cluster/apps", get(cluster))
        .route("/cluster/nodes", get(nodes))
        .route("/cluster/app/{application}", get(application))
        .route("/proxy/{application}/", get(tracked))
        .route("/ws/v1/cluster/info", get(info))
        .with_state(Arc::new(all))
}

async fn to_cluster(State(all): Cluster) -> Response {
    site::redirect(StatusCode::FOUND, &format!("{}/cluster", all.uri(Service::ResourceManager)))
}

/// The tracking address of an application, which moves on to its page.
async fn tracked(State(all): Cluster, Path(name): Path<String>) -> Response {
    if name != APPLICATION {
        return no_such(&name);
    }
    site::redirect(StatusCode::FOUND, &format!("{}/cluster/app/{name}", all.uri(Service::ResourceManager)))
}

fn navigation() -> &'static str {
    r#"<nav><a href="/cluster">Applications</a><a href='/cluster/nodes'>Nodes</a></nav>"#
}

async fn cluster(State(all): Cluster) -> Response {
    let own = all.uri(Service::ResourceManager);
    let body = format!(
        "{}<table><tr><th>Application</th><th>State</th><th>Tracking</th></tr>\n\
         <tr><td><a href=\"/cluster/app/{APPLICATION}\">{APPLICATION}</a></td><td>RUNNING</td>\
         <td><a href=\"{own}/proxy/{APPLICATION}/\">Application master</a></td></tr></table>",
        navigation(),
    );
    page("Resource manager", HEAD, &body)
}

async fn nodes(State(all): Cluster) -> Response {
    let node = all.uri(Service::NodeManager);
    let body = format!(
        "{}<table><tr><th>Node</th><th>State</th></tr><tr><td><a href=\"{node}\">{node}</a></td><td>RUNNING</td></tr></table>",
        navigation(),
    );
    page("Nodes", HEAD, &body)
}

async fn application(State(all): Cluster, Path(name): Path<String>) -> Response {
    if name != APPLICATION {
        return no_such(&name);
    }
    let node = all.uri(Service::NodeManager);
    let body = format!(
        "{}<table><tr><th>Attempt</th><td>1</td></tr><tr><th>Node</th><td><a href='{node}/node'>{node}</a></td></tr>\
         <tr><th>Logs</th><td><a href=\"{node}/node/containerlogs/{CONTAINER}/root\">{CONTAINER}</a></td></tr></table>",
        navigation(),
    );
    page(APPLICATION, HEAD, &body)
}

async fn info() -> Json<Value> {
    Json(json!({ "clusterInfo": { "id": 1, "state": "STARTED", "haState": "ACTIVE", "hadoopVersion": "stand-in" } }))
}

/// The node manager.
pub(super) fn node_manager(all: Addresses) -> Router {
    assets()
        .route("/", get(to_node))
        .route("/node", get(node))
        .route("/node/containerlogs/{container}/{user}", get(logs))
        .route("/node/containerlogs/{container}/{user}/stdout", get(follow))
        .with_state(Arc::new(all))
}

async fn to_node(State(all): Cluster) -> Response {
    site::redirect(StatusCode::FOUND, &format!("{}/node", all.uri(Service::NodeManager)))
}

async fn node(State(all): Cluster) -> Response {
    let body = format!(
        "<nav><a href=\"/node\">Node</a><a href=\"{}/cluster\">Resource manager</a></nav>\n\
         <p><a href=\"/node/containerlogs/{CONTAINER}/root\">Logs of {CONTAINER}</a></p>",
        all.uri(Service::ResourceManager),
    );
    page("Node manager", HEAD, &body)
}

async fn logs(Path((container, user)): Path<(String, String)>) -> Response {
    if container != CONTAINER {
        return no_such(&container);
    }
    let body = format!(
        "<nav><a href=\"/node\">Node</a></nav><pre>stdout of {CONTAINER}, run by {}\nstep 1\nstep 2\n</pre>\n\
         <p><a href=\"/node/containerlogs/{CONTAINER}/root/stdout\">Follow it</a></p>",
        escape(&user),
    );
    page("Logs", HEAD, &body)
}

async fn follow(Path((container, _)): Path<(String, String)>) -> Response {
    if container != CONTAINER {
        return no_such(&container);
    }
    let mut answer = site::every_second("text/plain; charset=utf-8", |n| Some(format!("step {n}\n")));
    // Browsers would otherwise wait for enough of it to guess what it is.
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    answer
}

fn no_such(name: &str) -> Response {
    let mut answer = page("Not found", HEAD, &format!("<p>There is no {}.</p>", escape(name)));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::pai::start;
    use crate::demo::testing::get as ask;

    #[tokio::test]
    async fn pages_link_across_ports() {
        let all = start().await.unwrap();
        let (manager, node) = (all.addresses.of(Service::ResourceManager), all.addresses.of(Service::NodeManager));
        let home = ask(manager, "/").await;
        let cluster = format!("http://{manager}/cluster");
        assert_eq!((home.status, home.header("location")), (302, Some(cluster.as_str())));
        let page = ask(manager, "/cluster").await.text();
        assert!(page.contains("href=\"/cluster\"") && page.contains(" src=\"/static/"), "{page}");
        let page = ask(manager, &format!("/cluster/app/{APPLICATION}")).await.text();
        let logs = format!("/node/containerlogs/{CONTAINER}/root");
        assert!(page.contains(&format!("\"http://{node}{logs}\"")), "{page}");
        assert!(ask(node, &logs).await.text().contains("step 2"));
        assert!(ask(node, "/node/containerlogs/<x>/y").await.status >= 400);
    }
}
