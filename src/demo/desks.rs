//! MLiy: the application with its users' instances, and what runs on an instance.
//!
//! To start an instance is to register it at Pylon's admin port, to stop it is to take it out: nothing else knows it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::site::{self, echo, escape, events, not_found, page, redirect, script, style};
use super::{Public, StandIns, TempFolder, in_background, provider};

/// As what Pylon is known to the provider.
const CLIENT: &str = "pylon-demo";

/// What runs on an instance, with the variable that names its port, and whether it knows the prefix that it is published
/// under.
const PORTALS: [(&str, &str, bool); 6] = [
    ("rstudio", "MLIY_RSTUDIO_PORT", false),
    ("shiny", "MLIY_SHINY_PORT", false),
    ("ipython", "MLIY_IPYTHON_PORT", true),
    ("flow", "MLIY_FLOW_PORT", false),
    ("tensorboard", "MLIY_TENSORBOARD_PORT", false),
    ("dash", "MLIY_DASH_PORT", true),
];

/// Whose instances there are, running or not.
struct Desks {
    public: Public,
    /// Where instances are: all on this machine, on the same ports.
    address: String,
    running: Mutex<BTreeMap<String, bool>>,
}

/// Starts the provider, the application and the portals.
pub(super) async fn start(public: &Public) -> io::Result<StandIns> {
    let mut key = [0; 32];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut key).map_err(|_| io::Error::other("there are no random numbers"))?;
    let folder = TempFolder::new("sessions")?;
    let keys = folder.write("keys", &format!("{}\n", data_encoding::BASE64.encode(&key)))?;
    let open = open(public.clone());
    let ((mut variables, port), background) = in_background(open).await?;
    variables.push(("MLIY_OIDC_SESSION_KEYS", keys));
    Ok(StandIns { variables, tour: tour(public, port), _kept: Box::new((background, folder)) })
}

async fn open(public: Public) -> io::Result<(Vec<(&'static str, String)>, u16)> {
    let mut variables = Vec::new();
    let mut first = None;
    for (name, variable, knows_prefix) in PORTALS {
        let listener = site::bind(0).await?;
        let address = listener.local_addr()?;
        first.get_or_insert(address);
        variables.push((variable, address.port().to_string()));
        site::serve(listener, portal(name, knows_prefix));
    }
    let provider = site::bind(0).await?;
    let issuer = provider.local_addr()?;
    site::serve(provider, provider::router(issuer, CLIENT)?);
    let application = site::bind(0).await?;
    let address = application.local_addr()?;
    let desks = Desks {
        public: public.clone(),
        address: format!("http://{}", first.unwrap_or(address)),
        running: Mutex::new(ids().map(|id| (id, false)).collect()),
    };
    site::serve(application, router(desks));
    let port = port_of(&public.listen);
    variables.extend([
        ("MLIY_URI", format!("http://{address}")),
        ("MLIY_DOMAIN", "localhost".to_owned()),
        ("MLIY_SIGN_IN", "oidc".to_owned()),
        ("MLIY_OIDC_ISSUER", format!("http://{issuer}")),
        ("MLIY_OIDC_CLIENT_ID", CLIENT.to_owned()),
        ("MLIY_OIDC_CLIENT_SECRET", "of-the-demo".to_owned()),
        ("PYLON_INSTANCES_ALLOW", "127.0.0.1".to_owned()),
        ("SSL_ENABLE", "false".to_owned()),
    ]);
    Ok((variables, port))
}

/// The port of an address, 80 where it has none.
fn port_of(listen: &str) -> u16 {
    listen.parse::<SocketAddr>().map_or(80, |address| address.port())
}

/// Two instances for everybody.
fn ids() -> impl Iterator<Item = String> {
    provider::PEOPLE.iter().flat_map(|(user, ..)| [format!("i-{user}1"), format!("i-{user}2")])
}

/// Whose an instance is.
fn owner(id: &str) -> &str {
    id.trim_start_matches("i-").trim_end_matches(|c: char| c.is_ascii_digit())
}

fn tour(public: &Public, port: u16) -> String {
    let url = format!("http://localhost:{port}");
    let admin = &public.admin;
    format!(
        "\
Open in a browser
  {url}/                           sign in as somebody, start an instance, and enter it
  Then sign in as somebody else (a private window): another's instance is closed to them.

Ask from a shell
  # Without a sign-in: health, static files and progress alone
  curl -i {url}/health
  curl -i {url}/ajax/progress/i-ann1/almost/90
  curl -i -H 'REMOTE_USER: ann' {url}/ajax/instance/i-ann1/start
  # What is registered, and how a provisioner would do it
  curl {admin_url}/api/instances
  curl -X PUT {admin_url}/api/instances/i-own -d '{{\"address\": \"http://127.0.0.1:1\", \"owner\": \"ann\"}}'
",
        admin_url = format_args!("http://{admin}"),
    )
}

fn router(desks: Desks) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/health", get(async || "OK\n"))
        .route("/static/style.css", get(style))
        .route("/static/script.js", get(script))
        .route("/ajax/progress/{*rest}", get(async |Path(rest): Path<String>| format!("{rest}\n")))
        .route("/ajax/instance/{id}/{action}", any(act))
        .fallback(not_found)
        .with_state(Arc::new(desks))
}

/// Who asks, as Pylon tells it.
fn told<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn home(State(desks): State<Arc<Desks>>, headers: HeaderMap) -> Response {
    let user = told(&headers, "remote_user");
    let names = ["REMOTE_USER", "AUTHENTICATE_GIVENNAME", "AUTHENTICATE_SN", "AUTHENTICATE_MAIL", "AUTHORIZE_MEMBEROF"];
    let rows = names.map(|name| format!("<tr><td>{name}</td><td>{}</td></tr>\n", escape(told(&headers, name))));
    let running = desks.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let port = port_of(&desks.public.listen);
    let desk = |(id, runs): (&String, &bool)| {
        let host = format!("http://mliy-{id}.localhost:{port}");
        let links = PORTALS.map(|(portal, ..)| format!("<a href=\"{host}/{portal}/\">{portal}</a> "));
        let (enter, does) = if *runs {
            (links.concat(), ["restart", "stop"].as_slice())
        } else {
            (String::new(), ["start"].as_slice())
        };
        let buttons = does.iter().map(|action| {
            format!("<form method=\"post\" action=\"/ajax/instance/{id}/{action}\" style=\"display:inline\"><button>{action}</button></form> ")
        });
        format!(
            "<tr><td>{id}</td><td>{}</td><td>{enter}</td><td>{}</td></tr>\n",
            owner(id),
            buttons.collect::<String>()
        )
    };
    let desks: String = running.iter().map(desk).collect();
    let body = format!(
        "<p>You are <strong>{}</strong>. <a href=\"/oauth2/logout\">Sign out</a></p>\n\
         <h2>What the application is told of you</h2>\n<table>{}</table>\n\
         <h2>Instances</h2>\n<p>Those of others are listed so that you can try them.</p>\n\
         <table><tr><th>Instance</th><th>Whose</th><th>Enter</th><th></th></tr>{desks}</table>",
        escape(user),
        rows.concat()
    );
    let head = "<link rel=\"stylesheet\" href=\"/static/style.css\"><script defer src=\"/static/script.js\"></script>";
    page("MLiy", head, &body)
}

/// Starts or stops an instance of whoever asks.
async fn act(
    State(desks): State<Arc<Desks>>,
    Path((id, action)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let user = told(&headers, "remote_user").to_owned();
    if user.is_empty() || owner(&id) != user || !ids().any(|known| known == id) {
        return (StatusCode::FORBIDDEN, "It is not yours.\n").into_response();
    }
    let runs = match action.as_str() {
        "start" | "restart" => true,
        "stop" | "terminate" => false,
        _ => return not_found().await,
    };
    let (all, name) = (Arc::clone(&desks), id.clone());
    let registered = tokio::task::spawn_blocking(move || register(&all, &name, &user, runs)).await;
    match registered.map_err(io::Error::other).and_then(|done| done) {
        Ok(()) => {
            desks.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, runs);
            redirect(StatusCode::SEE_OTHER, "/")
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("Pylon does not know of it: {error}\n")).into_response(),
    }
}

/// Tells Pylon.
fn register(desks: &Desks, id: &str, owner: &str, runs: bool) -> io::Result<()> {
    let url = format!("http://{}/api/instances/{id}", desks.public.admin);
    let patience = Duration::from_secs(5);
    let agent = ureq::Agent::config_builder().timeout_global(Some(patience)).build().new_agent();
    if runs {
        let body = json!({ "address": desks.address, "owner": owner }).to_string();
        agent.put(&url).header("Content-Type", "application/json").send(body).map_err(io::Error::other)?;
    } else {
        match agent.delete(&url).call() {
            Ok(_) | Err(ureq::Error::StatusCode(404)) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(())
}

/// A portal of an instance. Its links begin at the root, as those of many such programs do.
fn portal(name: &'static str, knows_prefix: bool) -> Router {
    let base = if knows_prefix { format!("/{name}") } else { String::new() };
    let to = format!("{base}/home");
    let own = base.clone();
    let home = get(async move |headers: HeaderMap| show(name, &own, &headers));
    let at = |path: &str| format!("{base}{path}");
    Router::new()
        .route(&at("/"), get(async move || redirect(StatusCode::FOUND, &to)))
        .route(&at("/home"), home)
        .route(&at("/style.css"), get(style))
        .route(&at("/script.js"), get(script))
        .route(&at("/events"), get(events))
        .route(&at("/socket"), any(echo))
        .route(&at("/api/kernels/{id}/channels"), any(echo))
        .route(&at("/terminals/websocket/{id}"), any(echo))
        .fallback(not_found)
}

fn show(name: &str, base: &str, headers: &HeaderMap) -> Response {
    let socket = if name == "ipython" { "/api/kernels/k1/channels" } else { "/socket" };
    let said = headers.iter().map(|(name, value)| {
        format!("<tr><td>{name}</td><td>{}</td></tr>\n", escape(&String::from_utf8_lossy(value.as_bytes())))
    });
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{name}</title>\n\
         <link rel=\"stylesheet\" href=\"{base}/style.css\">\n<script defer src=\"{base}/script.js\"></script>\n</head>\n\
         <body>\n<header><h1>{name}</h1><p>A stand-in. <span id=\"script\">Its script did not load.</span></p></header>\n\
         <p><a href=\"{base}/home\">This page</a> <a href=\"{base}/events\">events</a></p>\n\
         <pre id=\"echo\" data-socket=\"{socket}\"></pre>\n<table>{}</table>\n\
         <script>\nconst at = location.pathname.replace(/\\/home$/, '');\n\
         const socket = new WebSocket(location.origin.replace('http', 'ws') + at + '{socket}');\n\
         socket.onopen = () => socket.send('a WebSocket is open');\n\
         socket.onmessage = event => document.getElementById('echo').append(event.data + '\\n');\n</script>\n\
         </body>\n</html>\n",
        said.collect::<String>()
    );
    ([(header::SET_COOKIE, format!("{name}=1; Path={base}/; HttpOnly"))], Html(html)).into_response()
}
