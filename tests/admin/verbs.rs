//! The verbs that ask a running Pylon.

use std::process::Output;

use serde_json::{Value, json};

use super::running::Running;
use super::talk::{TOKEN, get, with_token};

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
async fn the_token_comes_from_a_file_or_the_environment() {
    let pylon = with_token(ROUTE).await;
    let verbs: [&[&str]; 2] = [&["drain", "--undo"], &["reload"]];
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
