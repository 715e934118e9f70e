//! The name node's dashboard: pages whose links and scripts take the server's root for their own.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

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
    blocks::CAPACITY,
    files::Files,
    site::{self, page},
};

const HEAD: &str = r#"<link rel="stylesheet" type="text/css" href="/static/hadoop.css" />
<script type="text/javascript" src="/static/hadoop.js" defer></script>"#;

const NAVIGATION: &str = r#"<nav><a href="/dfshealth.html">Overview</a><a href="/explorer.html">Browse the file system</a>
<a href="/conf">Configuration</a><a href="/jmx">Metrics</a></nav>"#;

/// What the overview asks, each in the form in which the real one writes it.
const OVERVIEW: &str = r"<h2>What this page asked its server</h2>
<table><tbody id='asked'></tbody></table>
<script>
function show(what, text) {
  var row = document.getElementById('asked').insertRow();
  row.insertCell().textContent = what;
  row.insertCell().textContent = text;
}
function get(url) {
  return fetch(url).then(function (answer) { return answer.text().then(function (text) { show(url, answer.status + ' ' + text.slice(0, 120)); }); });
}
get('/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo');
get('/startupProgress');
var settings = {'url': '/conf'};
get(settings.url);
get('/webhdfs/v1' + '/?op=LISTSTATUS');
</script>";

const EXPLORER: &str = r"<h2 id='path'></h2>
<table><thead><tr><th>Name</th><th>Owner</th><th>Size</th><th>Modified</th></tr></thead><tbody id='rows'></tbody></table>
<p><input type='file' id='file'> <button id='upload'>Upload here</button> <span id='said'></span></p>
<script>
var root = '/webhdfs/v1';
function at(path, op) { return root + path.split('/').map(encodeURIComponent).join('/') + '?op=' + op; }
function here() { return decodeURIComponent(location.hash.slice(1)) || '/'; }
function join(name) { return here().replace(/\/$/, '') + '/' + name; }
function list() {
  document.getElementById('path').textContent = here();
  fetch(at(here(), 'LISTSTATUS')).then(function (answer) { return answer.json(); }).then(function (found) {
    var rows = document.getElementById('rows');
    rows.replaceChildren();
    var up = { pathSuffix: '..', type: 'DIRECTORY', owner: '', length: '' };
    (here() === '/' ? [] : [up]).concat(found.FileStatuses.FileStatus).forEach(function (one) {
      var row = rows.insertRow(), link = document.createElement('a');
      var path = one === up ? here().replace(/\/[^\/]*$/, '') || '/' : join(one.pathSuffix);
      link.textContent = one.pathSuffix;
      link.href = one.type === 'DIRECTORY' ? location.pathname + '#' + encodeURIComponent(path) : at(path, 'OPEN');
      row.insertCell().append(link);
      row.insertCell().textContent = one.owner;
      row.insertCell().textContent = one.length;
      row.insertCell().textContent = one.modificationTime ? new Date(one.modificationTime).toLocaleString() : '';
    });
  });
}
document.getElementById('upload').onclick = function () {
  var file = document.getElementById('file').files[0];
  if (!file) { return; }
  fetch(at(join(file.name), 'CREATE') + '&overwrite=true', { method: 'PUT', body: file }).then(function (answer) {
    document.getElementById('said').textContent = 'Answered ' + answer.status;
    list();
  }).catch(function (error) { document.getElementById('said').textContent = error; });
};
window.onhashchange = list;
list();
</script>";

struct Pages {
    own: SocketAddr,
    datanode: SocketAddr,
    files: Arc<Files>,
}

/// The pages and what they load.
pub(super) fn router(all: Addresses, files: Arc<Files>) -> Router {
    let state = Pages { own: all.of(Service::NameNode), datanode: all.of(Service::DataNode), files };
    Router::new()
        .route("/", get(home))
        .route("/dfshealth.html", get(overview))
        .route("/explorer.html", get(async || page("Browse the file system", HEAD, &format!("{NAVIGATION}{EXPLORER}"))))
        .route("/static/hadoop.css", get(site::style))
        .route("/static/hadoop.js", get(site::script))
        .route("/jmx", get(jmx))
        .route("/conf", get(conf))
        .route("/startupProgress", get(startup))
        .with_state(Arc::new(state))
}

/// Absolute, as the real one's web server writes it.
async fn home(State(pages): State<Arc<Pages>>) -> Response {
    site::redirect(StatusCode::FOUND, &format!("http://{}/dfshealth.html", pages.own))
}

async fn overview(State(pages): State<Arc<Pages>>) -> Response {
    let used = pages.files.budget().used() / 1024;
    let body = format!("{NAVIGATION}<p>It keeps {used} of {} KiB.</p>{OVERVIEW}", CAPACITY / 1024);
    page("Name node", HEAD, &body)
}

async fn jmx(State(pages): State<Arc<Pages>>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let name = query.get("qry").map_or("Hadoop:service=NameNode,name=NameNodeInfo", String::as_str);
    let live =
        json!({ (pages.datanode.to_string()): { "usedSpace": pages.files.budget().used(), "capacity": CAPACITY } });
    Json(json!({ "beans": [{
        "name": name, "Version": "stand-in", "Used": pages.files.budget().used(), "Total": CAPACITY,
        "Safemode": "", "LiveNodes": live.to_string(),
    }]}))
}

async fn conf() -> impl axum::response::IntoResponse {
    let text = "<?xml version=\"1.0\"?>\n<configuration><property><name>dfs.webhdfs.enabled</name><value>true</value></property></configuration>\n";
    ([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], text)
}

async fn startup() -> Json<Value> {
    Json(json!({ "elapsedTime": 1000, "percentComplete": 1.0, "phases": [] }))
}

#[cfg(test)]
mod tests {
    use crate::demo::pai::{Service, start};
    use crate::demo::testing::get;

    #[tokio::test]
    async fn pages_link_to_the_root_and_these_links_work() {
        let all = start().await.unwrap();
        let node = all.addresses.of(Service::NameNode);
        let home = format!("http://{node}/dfshealth.html");
        assert_eq!(get(node, "/").await.header("location"), Some(home.as_str()));
        let page = get(node, "/dfshealth.html").await.text();
        for link in [
            "href=\"/static/",
            "src=\"/static/",
            "'url': '/conf'",
            "'/jmx?qry=",
            "'/webhdfs/v1'",
            "get('/startupProgress'",
        ] {
            assert!(page.contains(link), "{link}");
        }
        for target in
            ["/static/hadoop.css", "/static/hadoop.js", "/conf", "/jmx?qry=x", "/startupProgress", "/explorer.html"]
        {
            assert_eq!(get(node, target).await.status, 200, "{target}");
        }
    }
}
