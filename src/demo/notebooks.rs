//! JuliaBox: a session manager with its sign-in, what runs in a session, and functions.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, StatusCode, header};
use ring::hmac;
use serde_json::json;
use tokio::net::TcpSocket;

use super::provider::read_form;
use super::site::{self, echo, escape, events, hex, not_found, page};
use super::{Public, StandIns, TempFolder, in_background};

/// How long what is slow to start takes.
const SLOW: Duration = Duration::from_secs(8);

/// What the session manager knows.
struct Manager {
    key: hmac::Key,
    /// The port of what runs in each session, by the name that its cookie is called after.
    ports: HashMap<&'static str, u16>,
    /// Where what is slow to start will listen.
    slow: Mutex<Option<TcpSocket>>,
    /// Where nobody ever does.
    _gone: TcpSocket,
}

/// Starts the session manager, what it starts, and the functions.
pub(super) async fn start(public: &Public) -> io::Result<StandIns> {
    let mut secret = [0; 24];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut secret)
        .map_err(|_| io::Error::other("there are no random numbers"))?;
    let secret = hex(&secret);
    let folder = TempFolder::new("www")?;
    for (name, text) in [
        ("assets/style.css", include_str!("style.css")),
        (
            "assets/script.js",
            "document.getElementById(\"script\").textContent = \"Its style sheet and script are files.\";\n",
        ),
        ("favicon.ico", ""),
        (
            "timedout.html",
            "<!DOCTYPE html>\n<title>It does not answer</title>\n<h1>It does not answer</h1>\n<p>{request_id}</p>\n",
        ),
    ] {
        folder.write(name, text)?;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let (mut variables, background) = in_background(open(key)).await?;
    variables.extend([("SESSKEY", secret), ("WWW_ROOT", folder.path()), ("SSL_ENABLE", "false".to_owned())]);
    let url = format!("http://{}", public.listen);
    Ok(StandIns { variables, tour: tour(&url), _kept: Box::new((background, folder)) })
}

async fn open(key: hmac::Key) -> io::Result<Vec<(&'static str, String)>> {
    let mut ports = HashMap::new();
    for name in ["nb", "files"] {
        let listener = site::bind(0).await?;
        ports.insert(name, listener.local_addr()?.port());
        site::serve(listener, session(name));
    }
    let (slow, gone) = (closed()?, closed()?);
    ports.insert("slow", slow.local_addr()?.port());
    ports.insert("gone", gone.local_addr()?.port());
    let manager = site::bind(0).await?;
    let functions = site::bind(0).await?;
    let variables = vec![
        ("SESSMGR_PORT", manager.local_addr()?.port().to_string()),
        ("APIMGR_PORT", functions.local_addr()?.port().to_string()),
    ];
    site::serve(manager, router(Manager { key, ports, slow: Mutex::new(Some(slow)), _gone: gone }));
    site::serve(functions, api());
    Ok(variables)
}

/// A port that nobody else can take, and that is closed as long as its socket does not listen.
fn closed() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    Ok(socket)
}

fn tour(public: &str) -> String {
    format!(
        "\
Open in a browser
  {public}/                        sign in; the notebook, its files, and one that takes 8s to start
  {public}/jci_slow/               without a sign-in nothing of this is open

Ask from a shell
  # What needs a session, and what does not
  curl -i {public}/jboxuser/home
  curl -i {public}/jboxauth/ping
  # Cookies that nobody signed
  curl -i -b 'jb_sess=eyJjIjoiYW5uIiwiaSI6IiIsInQiOiIwIiwieCI6IngifQ==' {public}/tree
  # Files
  curl -i {public}/assets/style.css
  curl -i {public}/assets/..%2f..%2fetc/passwd
  # A function, by host
  curl -H 'Host: api.localhost' {public}/demo/double/?x=21
"
    )
}

fn router(manager: Manager) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/jboxauth/ping", get(async || "pong\n"))
        .route("/jboxauth/signin", post(sign_in))
        .route("/jboxauth/signout", get(sign_out))
        .route("/jboxuser/home", get(async || "You have a session.\n"))
        .route("/jboxuser/slow", get(start_slow))
        .fallback(not_found)
        .with_state(Arc::new(manager))
}

async fn home() -> Response {
    let body = "<form method=\"post\" action=\"/jboxauth/signin\">\n\
                <p><label>Who are you? <input name=\"user\" value=\"ann\"></label> <button>Sign in</button></p>\n</form>\n\
                <h2>With a session</h2>\n<ul>\n\
                <li><a href=\"/tree\">The notebook</a></li>\n\
                <li><a href=\"/jci_files/\">Its files, on a port of their own</a></li>\n\
                <li><a href=\"/jboxuser/slow\">One that takes 8s to start: the page waits</a></li>\n\
                <li><a href=\"/jboxuser/home\">A page of the session manager</a></li>\n\
                <li><a href=\"/jboxauth/signout\">Sign out</a></li>\n</ul>";
    page("JuliaBox", HEAD, body)
}

const HEAD: &str =
    "<link rel=\"stylesheet\" href=\"/assets/style.css\"><script defer src=\"/assets/script.js\"></script>";

impl Manager {
    fn sign(&self, parts: &[&str]) -> String {
        BASE64.encode(hmac::sign(&self.key, parts.concat().as_bytes()).as_ref())
    }

    /// The cookies of a session: who it is, the session, and one for each port.
    fn cookies(&self, user: &str) -> Vec<(String, String)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).to_string();
        let (container, instance) = (format!("/{user}"), "127.0.0.1");
        let (of_user, of_session) = (self.sign(&[user, &now]), self.sign(&[&container, instance, &now]));
        let mut cookies = vec![
            ("jb_auth".to_owned(), json!({ "u": user, "t": now, "x": of_user })),
            ("jb_sess".to_owned(), json!({ "c": container, "i": instance, "t": now, "x": of_session })),
        ];
        for (name, port) in &self.ports {
            let port = port.to_string();
            let signed = self.sign(&[&of_user, &of_session, name, &port]);
            cookies.push((format!("jp_{name}"), json!({ "p": port, "x": signed })));
        }
        let written = |(name, value): (String, serde_json::Value)| (name, BASE64.encode(value.to_string().as_bytes()));
        cookies.into_iter().map(written).collect()
    }
}

fn sent_on(cookies: Vec<String>, to: &str) -> Response {
    let mut answer = (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_owned())]).into_response();
    for cookie in cookies {
        if let Ok(cookie) = cookie.parse() {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    answer
}

async fn sign_in(State(manager): State<Arc<Manager>>, body: Bytes) -> Response {
    let form = read_form(&body);
    let user = form.get("user").map_or("", String::as_str);
    if user.is_empty() || user.len() > 50 || !user.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return (StatusCode::BAD_REQUEST, "Write a name of letters and digits.\n").into_response();
    }
    let cookie = |(name, value): (String, String)| format!("{name}=\"{value}\"; Path=/; HttpOnly; SameSite=Lax");
    sent_on(manager.cookies(user).into_iter().map(cookie).collect(), "/tree")
}

async fn sign_out(State(manager): State<Arc<Manager>>) -> Response {
    let gone = |(name, _): (String, String)| format!("{name}=; Path=/; Max-Age=0");
    sent_on(manager.cookies("nobody").into_iter().map(gone).collect(), "/")
}

/// Starts what takes its time, unless it is there, and sends the browser to it at once.
async fn start_slow(State(manager): State<Arc<Manager>>) -> Response {
    if let Some(socket) = manager.slow.lock().unwrap_or_else(PoisonError::into_inner).take() {
        tokio::spawn(async move {
            tokio::time::sleep(SLOW).await;
            if let Ok(listener) = socket.listen(128) {
                site::serve(listener, session("slow"));
            }
        });
    }
    site::redirect(StatusCode::FOUND, "/jci_slow/")
}

/// What runs in a session.
fn session(name: &'static str) -> Router {
    Router::new()
        .route("/ws", any(echo))
        .route("/events", get(events))
        .fallback(get(async move |uri: http::Uri, headers: HeaderMap| show(name, &uri, &headers)))
}

fn show(name: &str, uri: &http::Uri, headers: &HeaderMap) -> Response {
    let row = |(name, value): (&HeaderName, &http::HeaderValue)| {
        let text = String::from_utf8_lossy(value.as_bytes());
        format!("<tr><td>{name}</td><td>{}</td></tr>\n", escape(&text))
    };
    let rows: String = headers.iter().filter(|(name, _)| *name != header::COOKIE).map(row).collect();
    let body = format!(
        "<p>It was asked for <code>{}</code>. <a href=\"/\">Back</a></p>\n<pre id=\"echo\"></pre>\n<table>{rows}</table>\n\
         <script>\nconst at = location.pathname.startsWith('/jci_') ? location.pathname.split('/').slice(0, 2).join('/') : '';\n\
         const socket = new WebSocket(location.origin.replace('http', 'ws') + at + '/ws');\n\
         socket.onopen = () => socket.send('a WebSocket is open');\n\
         socket.onmessage = event => document.getElementById('echo').append(event.data + '\\n');\n</script>",
        escape(&uri.to_string())
    );
    page(&format!("Session: {name}"), HEAD, &body)
}

/// Functions, and which machines have them.
fn api() -> Router {
    let machines = get(async |Query(asked): Query<HashMap<String, String>>| {
        // The signature is for the real one to check; it tells no secrets here.
        let known = asked.contains_key("key") && asked.contains_key("sign");
        Json(if known { json!({ "demo": ["127.0.0.1"], " preferred ": ["127.0.0.1"] }) } else { json!({}) })
    });
    let call = get(
        async |Path((collection, function)): Path<(String, String)>, Query(asked): Query<HashMap<String, String>>| {
            let x: i64 = asked.get("x").and_then(|x| x.parse().ok()).unwrap_or_default();
            Json(json!({ "collection": collection, "function": function, "result": x.wrapping_mul(2) }))
        },
    );
    Router::new().route("/", machines).route("/{collection}/{function}/", call).fallback(not_found)
}
