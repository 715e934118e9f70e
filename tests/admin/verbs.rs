//! The verbs that ask a running Pylon.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::running::Running;
use super::support::{Upstream, free_port, within};
use super::talk::{TOKEN, get, recorded, until_connections, with_token};

const ROUTE: &str = "routes: [{ name: hi, path: /hi, answer: { body: hi } }]\n";

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// `pylon …` for the admin port of this Pylon, which it finds in the environment.
fn run(pylon: &Running, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = pylon.pylon(arguments);
    command.env("PYLON_ADMIN_LISTEN", pylon.admin.to_string()).envs(variables.iter().copied());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

#[tokio::test]
async fn drain_and_reload_say_what_they_did() {
    let pylon = Running::start(ROUTE).await;
    until_connections(&pylon, 0).await;
    let ran = run(&pylon, &["drain"], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(ran.out, "draining: 0 requests in flight, 0 connections\n");
    get(pylon.admin, "/readyz").await.is(503);
    let ran = run(&pylon, &["drain", "--undo", "--json"], &[]);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &said["state"]), (Some(0), &json!("ready")));
    let ran = run(&pylon, &["reload"], &[]);
    assert!(ran.code == Some(0) && ran.out.starts_with("configuration unchanged: generation 1, hash "), "{}", ran.out);
    pylon.write("routes: [{ name: a, path: a, answer: {} }]\n");
    let ran = run(&pylon, &["reload"], &[]);
    assert!(ran.code == Some(78) && ran.err.contains("pylon.yaml:4:27  routes[0].path: "), "{}", ran.err);
    let ran = run(&pylon, &["reload", "--json"], &[]);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &said["problems"][0]["path"], ran.err.as_str()), (Some(78), &json!("routes[0].path"), ""));
}

#[tokio::test]
async fn status_shows_routes_and_pools_on_a_screen() {
    let web = Upstream::named("web").start().await;
    let pylon = Running::start(&format!(
        "upstreams: {{ web: {{ endpoints: [\"{}\"] }} }}\nroutes: [{{ name: web, path: /web, upstream: web }}]\n",
        web.uri()
    ))
    .await;
    for _ in 0..3 {
        get(pylon.door, "/web").await.is(200);
    }
    let ran = run(&pylon, &["status"], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let line = |start: &str| ran.out.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(line("pylon ").contains(", ready, up "), "{}", ran.out);
    assert!(line("configuration ").contains("pylon.yaml, generation 1, hash "), "{}", ran.out);
    for word in ["REQUESTS", "FAILED", "P50", "P95", "P99"] {
        assert!(line("ROUTE ").contains(word), "{}", ran.out);
    }
    let route: Vec<String> = line("web  ").split_whitespace().map(str::to_owned).collect();
    assert_eq!((route[1].as_str(), route[2].as_str()), ("3", "0%"), "{}", ran.out);
    let address = web.authority();
    assert!(ran.out.contains(&format!("web       {address}  unprobed ")), "{}", ran.out);
    let ran = run(&pylon, &["status", "--json"], &[]);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&said["state"], &said["upstreams"][0]["name"]), (&json!("ready"), &json!("web")));
}

/// It goes on until nobody reads it any more, and tells what happened between two looks.
#[tokio::test]
async fn status_can_be_watched() {
    let pylon = Running::start(ROUTE).await;
    let mut command = pylon.pylon(&["status", "--watch", "1", "--admin", &pylon.admin.to_string()]);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let rates = tokio::task::spawn_blocking(move || lines.find(|line| line.as_ref().unwrap().contains(" a second")));
    let found = within("the second look", rates).await.unwrap().unwrap().unwrap();
    assert!(found.starts_with("requests "), "{found}");
    let ended = tokio::task::spawn_blocking(move || watch.wait().unwrap());
    assert_eq!(within("its end", ended).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn why_tells_what_became_of_a_request() {
    let dead = free_port();
    let pylon = Running::start(&format!(
        "upstreams: {{ dead: {{ endpoints: [\"http://{dead}\"] }} }}\nroutes: [{{ name: dead, path: /**, upstream: dead }}]\n"
    ))
    .await;
    let said = get(pylon.door, "/a/b?c=d").await.is(502);
    let id = said.header("x-request-id").unwrap();
    recorded(&pylon, id).await;
    let ran = run(&pylon, &["why", id], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for words in [
        &format!("GET http://{}/a/b?c=d\nid        {id}, trace ", pylon.door),
        "\nroute     dead, generation 1\n",
        "\noutcome   connect_failed (failed): ",
        &format!("\n          1. {dead} at "),
        "\nstatus    502\n",
    ] {
        assert!(ran.out.contains(words), "no {words:?} in\n{}", ran.out);
    }
    let ran = run(&pylon, &["why", id, "--json"], &[]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["outcome"], "connect_failed");
    let ran = run(&pylon, &["why", "no/such id"], &[]);
    assert!(ran.code == Some(1) && ran.err.contains("no request `no/such id` is remembered; "), "{}", ran.err);
}

#[tokio::test]
async fn log_level_shows_and_changes() {
    let pylon = Running::start(ROUTE).await;
    let ran = run(&pylon, &["log-level"], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let level = |out: &str, channel: &str| {
        let line = out.lines().find(|line| line.starts_with(channel)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(["access", "error", "audit"].map(|channel| level(&ran.out, channel)), ["off", "info", "info"]);
    let ran = run(&pylon, &["log-level", "access=error"], &[]);
    assert_eq!((ran.code, level(&ran.out, "access").as_str()), (Some(0), "error"));
    let ran = run(&pylon, &["log-level", "access=loud"], &[]);
    assert!(ran.code == Some(1) && ran.err.contains("loud"), "{}", ran.err);
}

#[tokio::test]
async fn the_token_comes_from_a_file_or_the_environment() {
    let pylon = with_token(ROUTE).await;
    let verbs: [&[&str]; 4] = [&["drain", "--undo"], &["reload"], &["status"], &["log-level"]];
    for verb in verbs {
        let ran = run(&pylon, verb, &[]);
        assert!(ran.code == Some(1) && ran.err.contains("a token is needed"), "{verb:?}: {}", ran.err);
        assert!(ran.err.contains("PYLON_ADMIN_TOKEN") && ran.err.contains("--token-file"), "{}", ran.err);
        let ran = run(&pylon, verb, &[("PYLON_ADMIN_TOKEN", "something-else-of-length")]);
        assert!(ran.code == Some(1) && ran.err.contains("not the token"), "{verb:?}: {}", ran.err);
        let ran = run(&pylon, verb, &[("PYLON_ADMIN_TOKEN", TOKEN)]);
        assert_eq!(ran.code, Some(0), "{verb:?}: {}", ran.err);
        let ran = run(&pylon, &[verb, &["--token-file", "token"]].concat(), &[]);
        assert_eq!(ran.code, Some(0), "{verb:?}: {}", ran.err);
        let ran = run(&pylon, &[verb, &["--token-file", "nowhere"]].concat(), &[]);
        assert!(ran.code == Some(1) && ran.err.contains("cannot read the token in nowhere"), "{}", ran.err);
        std::fs::write(pylon.path("empty"), "\n").unwrap();
        let ran = run(&pylon, &[verb, &["--token-file", "empty"]].concat(), &[]);
        assert!(ran.code == Some(1) && ran.err.contains("empty holds no token"), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_port_where_nobody_is_gets_a_cure() {
    let pylon = Running::start(ROUTE).await;
    let verbs: [&[&str]; 6] =
        [&["status"], &["status", "--watch", "1"], &["why", "x"], &["log-level"], &["drain"], &["reload"]];
    for verb in verbs {
        let ran = run(&pylon, &[verb, &["--admin", "127.0.0.1:1"]].concat(), &[]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{verb:?}");
        assert!(ran.err.contains("is Pylon running, and is this its admin port?"), "{verb:?}: {}", ran.err);
    }
    // The port of the data path is another mistake.
    let ran = run(&pylon, &["drain", "--admin", &pylon.door.to_string()], &[]);
    assert!(ran.code == Some(1) && ran.err.contains("answers 404"), "{}", ran.err);
}

#[test]
fn the_command_line_is_checked_first() {
    for line in
        ["why", "drain --wait soon", "drain --undo --wait 1", "status --watch 0", "log-level debug", "log-level a b"]
    {
        let binary = std::env::var_os("PYLON_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_pylon").into());
        let ran = std::process::Command::new(binary).args(line.split(' ')).env_clear().output().unwrap();
        assert_eq!(ran.status.code(), Some(2), "pylon {line}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}
