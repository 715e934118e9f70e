//! Grafana: a single-page application that believes itself at the root, a sign-in by cookie and a live WebSocket.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::{
    Addresses, Service,
    site::{self, page},
};

/// There is one user, whom everybody is after signing in. The value is no secret.
const COOKIE: &str = "grafana_session=stand-in";

/// As the real page has them: a base, then links relative to it.
const HEAD: &str = r#"<base href="/" />
<link rel="stylesheet" href="public/build/app.css"><script src="public/build/app.js" defer></script>"#;

const SCRIPT: &str = r#"<script>
var appSubUrl = "";
function show(id, text) { document.getElementById(id).textContent = text; }
fetch(appSubUrl+"/"+"api/user")
  .then(function (answer) { return answer.text(); })
  .then(function (text) { show("user", text); });
document.getElementById("dashboards").href = boot.navTree[0].url;
var live = new WebSocket(new URL("api/live/ws", document.baseURI).href.replace(/^http/, "ws"));
live.onopen = function () { live.send("Echoed through a WebSocket."); };
live.onmessage = function (message) { show("live", message.data); };
live.onerror = function () { show("live", "It did not connect."); };
</script>"#;

/// The site.
pub(super) fn router(all: Addresses) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/d/x", get(dashboard))
        .route("/login", get(login).post(sign_in))
        .route("/logout", get(sign_out))
        .route("/api/health", get(async || Json(json!({ "database": "ok", "version": "stand-in" }))))
        .route("/api/user", get(user))
        .route("/api/live/ws", any(site::echo))
        .route("/public/build/app.css", get(site::style))
        .route("/public/build/app.js", get(site::script))
        .fallback(site::not_found)
        .with_state(Arc::new(all))
}

fn is_signed_in(headers: &HeaderMap) -> bool {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).any(|cookie| cookie.trim() == COOKIE)
}

async fn home(State(all): State<Arc<Addresses>>, headers: HeaderMap) -> Response {
    if !is_signed_in(&headers) {
        return site::redirect(StatusCode::FOUND, "/login");
    }
    let own = all.uri(Service::Grafana);
    let boot = json!({ "appUrl": format!("{own}/"), "navTree": [{ "text": "Dashboards", "url": "/d/x" }] });
    let body = format!(
        "<nav><a id=\"dashboards\">Dashboards</a><a href=\"{own}/d/x\">By its absolute address</a><a href=\"logout\">Sign out</a></nav>\n\
         <table><tr><th>You are</th><td id=\"user\"></td></tr><tr><th>Live</th><td id=\"live\"></td></tr></table>\n\
         <script>var boot = {boot};</script>\n{SCRIPT}",
    );
    page("Grafana", HEAD, &body)
}

async fn dashboard(headers: HeaderMap) -> Response {
    if !is_signed_in(&headers) {
        return site::redirect(StatusCode::FOUND, "/login");
    }
    page("A dashboard", HEAD, "<nav><a href=\"./\">Home</a></nav><p>Nothing is measured here.</p>")
}

async fn login() -> Response {
    let form = "<form method=\"post\" action=\"login\"><button>Sign in; no password is asked for</button></form>";
    page("Grafana: sign in", HEAD, form)
}

async fn sign_in() -> Response {
    let cookie = format!("{COOKIE}; Path=/; HttpOnly; SameSite=Lax");
    (StatusCode::FOUND, [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_owned())]).into_response()
}

async fn sign_out() -> Response {
    let cookie = format!("{COOKIE}; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    (StatusCode::FOUND, [(header::SET_COOKIE, cookie), (header::LOCATION, "/login".to_owned())]).into_response()
}

async fn user(headers: HeaderMap) -> Response {
    if is_signed_in(&headers) {
        return Json(json!({ "id": 1, "login": "visitor" })).into_response();
    }
    (StatusCode::UNAUTHORIZED, Json(json!({ "message": "Unauthorized" }))).into_response()
}

#[cfg(test)]
mod tests {
    use crate::demo::pai::{Service, start};
    use crate::demo::testing::{ask, connect, frame, get, upgrade};

    #[tokio::test]
    async fn sign_in_sets_the_cookie_that_opens_the_page() {
        let all = start().await.unwrap();
        let server = all.addresses.of(Service::Grafana);
        assert_eq!(get(server, "/").await.header("location"), Some("/login"));
        let signed = ask(server, "POST /login", "", b"").await;
        let cookie = signed.header("set-cookie").unwrap();
        assert!(cookie.contains("; Path=/;"), "{cookie}");
        let value = cookie.split(';').next().unwrap();
        let page = ask(server, "GET /", &format!("cookie: a=b; {value}\r\n"), b"").await.text();
        let own = format!("\"http://{server}/");
        for part in ["<base href=\"/\" />", "\"url\":\"/d/x\"", "appSubUrl+\"/\"", &own] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[tokio::test]
    async fn live_echoes() {
        let all = start().await.unwrap();
        let mut socket = connect(all.addresses.of(Service::Grafana), &upgrade("/api/live/ws", "")).await;
        socket.until("101 ").await;
        socket.send(&frame(b"hello")).await;
        socket.until("hello").await;
    }
}
