//! The command line: what each verb prints, and the status with which it ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that cannot go on fails its test")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const SITE: &str = r#"
listeners: [{ address: "127.0.0.1:8080", name: main }, { address: "127.0.0.1:8081", name: old, dedicated: true }]
upstreams:
  web: { endpoints: "http://10.0.0.1:9186/base" }
routes:
  - name: node
    path: "/node/{host}:{port:digits}/**"
    dynamic: { host: "{host}", port: "{port}", allow: ["10.0.0.0/8:8042"] }
    rewrite: "/{**}"
  - { name: users, path: "/users/{id}", methods: [GET], upstream: web, rewrite: "/u/{id}", host_header: client }
  - { name: below, path: "/users/**", upstream: web, headers: { request: { set: { x-below: "{scheme}{**}" } } } }
  - { name: beta, path: "/users/me", match_headers: { x-beta: "*" }, answer: {} }
  - { name: moved, path: "/moved/**", redirect: { to: "https://{public_host}/users/{**}", status: 308 } }
  - { name: blue, host: blue.example.org, path: "/users/**", upstream: web }
  - { name: legacy, listeners: [old], path: "/users/**", upstream: web }
"#;

/// A folder with `site.yaml`, `good.yaml` and `bad.yaml` to run in, with no variable set.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = "listeners: [{ address: \"127.0.0.1:8080\" }]\n";
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("site.yaml", SITE);
        write("good.yaml", &format!("{listener}upstreams: {{ web: {{ optional: true, endpoints: \"${{WEB}}\" }} }}\n"));
        write("bad.yaml", &format!("{listener}roots: []\nworkers: many\n"));
        Self(dir)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let binary = std::env::var_os("PYLON_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_pylon").into());
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(&self.0).env_clear().stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::new(self.command(arguments).output().unwrap())
    }

    /// `explain -c site.yaml …` as text.
    fn explain(&self, arguments: &[&str]) -> String {
        self.run(&[&["explain", "-c", "site.yaml"], arguments].concat()).expect(0).out
    }

    /// `explain -c site.yaml --json …`.
    fn explain_json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.explain(&[&["--json"], arguments].concat())).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self
    }
}

#[test]
fn the_status_tells_what_went_wrong() {
    let desk = Desk::new();
    for (code, line) in [
        (0, "version"),
        (0, "schema"),
        (0, "check good.yaml"),
        (0, "print-config --system pai"),
        (1, "reload --admin 127.0.0.1:1"),
        (1, "healthcheck --url http://127.0.0.1:1/healthz"),
        (2, ""),
        (2, "serve"),
        (2, "run --port 80"),
        (2, "run --config"),
        (2, "run --config good.yaml --system pai"),
        (2, "check --config good.yaml good.yaml"),
        (2, "explain GET"),
        (2, "explain -c good.yaml GET web.example.org/a"),
        (2, "explain -c good.yaml GET ftp://web.example.org/a"),
        (2, "explain -c good.yaml G(T http://web.example.org/"),
        (2, "explain -c good.yaml GET http://web.example.org/ --client me"),
        (2, "explain -c good.yaml GET http://web.example.org/ --header nothing"),
        (2, "explain -c good.yaml GET http://web.example.org/ --listener none"),
        (78, "check bad.yaml"),
        (78, "check nothing.yaml"),
        (78, "check ."),
        (78, "print-config -c bad.yaml"),
        (78, "explain -c bad.yaml GET http://web.example.org/"),
        (78, "run -c bad.yaml"),
        (78, "run --system nothing"),
    ] {
        let ran = desk.run(&line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>());
        assert_eq!(ran.code, Some(code), "pylon {line}\n{}{}", ran.out, ran.err);
        assert_eq!(ran.err.is_empty(), code == 0, "pylon {line}: what is wrong goes to stderr\n{}", ran.err);
    }
}

#[test]
fn help_names_every_verb_and_flag() {
    let desk = Desk::new();
    let verbs = [
        ("run", "--config --system PYLON_CONFIG"),
        ("check", "--config --system --json [FILE]..."),
        ("explain", "--config --system --header --client --listener --json <METHOD> <URL>"),
        ("print-config", "--config --system"),
        ("schema", "--help"),
        ("reload", "--admin PYLON_ADMIN_LISTEN 127.0.0.1:9180 --json"),
        ("demo", "--listen --admin"),
        ("healthcheck", "--url --timeout"),
        ("version", "--help"),
    ];
    let all = desk.run(&["--help"]).expect(0).out;
    for (verb, words) in verbs {
        assert!(all.contains(&format!("\n  {verb} ")), "{verb} is not in\n{all}");
        let help = desk.run(&[verb, "--help"]).expect(0).out;
        for word in words.split(' ') {
            assert!(help.contains(word), "`pylon {verb} --help` does not name {word}:\n{help}");
        }
        assert_eq!(desk.run(&["help", verb]).expect(0).out, help);
    }
}

#[test]
fn version_is_that_of_the_package() {
    let said = Desk::new().run(&["version"]).expect(0).out;
    assert_eq!(said, concat!("pylon ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn check_goes_through_all_files() {
    let desk = Desk::new();
    let ran = desk.run(&["check", "good.yaml", "bad.yaml", "site.yaml"]).expect(78);
    assert!(ran.out.starts_with("good.yaml: good, 1 routes, 0 upstreams, hash "), "{}", ran.out);
    assert!(ran.out.contains("\n  left out: upstream `web`: WEB is not set\n"), "{}", ran.out);
    assert!(ran.out.contains("\nsite.yaml: good, 8 routes, 1 upstreams, hash "), "{}", ran.out);
    let wanted = "bad.yaml:2:1  roots: unknown key `roots`; did you mean `routes`?\n\
                  bad.yaml:3:10  workers: `many` is not a number of threads; write 1 to 1024, or `auto`\n\
                  bad.yaml: 2 problems\n";
    assert_eq!(ran.err, wanted);
    let ran = desk.run(&["check", "--json", "good.yaml", "bad.yaml"]).expect(78);
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(said[0]["left_out"], json!([{ "kind": "upstream", "name": "web", "reason": "WEB is not set" }]));
    let problem = json!({
        "file": "bad.yaml", "line": 2, "column": 1, "path": "roots", "message": "unknown key `roots`; did you mean `routes`?",
    });
    assert_eq!((&said[1]["good"], &said[1]["problems"][0]), (&json!(false), &problem));
    assert_eq!(ran.err, "");
}

#[test]
fn a_wrong_configuration_starts_nothing() {
    let (desk, holder) = (Desk::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = holder.local_addr().unwrap();
    let text = format!("listeners: [{{ address: \"{address}\" }}]\nroutes: [{{ name: a, path: a, answer: {{}} }}]\n");
    desk.write("wrong.yaml", &text);
    let ran = desk.run(&["run", "-c", "wrong.yaml"]).expect(78);
    // It speaks of the file, not of the address that is in use: that it did not even try.
    assert_eq!(ran.err, "wrong.yaml:2:27  routes[0].path: `a` does not start with a slash; write `/a`\n");
    assert_eq!(ran.out, "");
}

#[test]
fn an_address_in_use_is_named_with_a_cure() {
    let (desk, holder) = (Desk::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let taken = holder.local_addr().unwrap().to_string();
    for (listener, admin) in [(taken.as_str(), "127.0.0.1:0"), ("127.0.0.1:0", taken.as_str())] {
        let text = format!("listeners: [{{ address: \"{listener}\" }}]\nadmin: {{ address: \"{admin}\" }}\n");
        desk.write("taken.yaml", &text);
        let ran = desk.run(&["run", "-c", "taken.yaml"]).expect(1);
        assert!(ran.err.contains(&format!("cannot listen on {taken}: Address already in use")), "{}", ran.err);
    }
}

#[test]
fn explain_shows_the_whole_way() {
    let said = Desk::new().explain(&["GET", "http://web.example.org/users//42?a=%2F", "-H", "Accept: text/html"]);
    let wanted = "\
GET http://web.example.org/users//42?a=%2F
listener  main
path      /users/42 (normalised)
route     users (/users/{id})
          id = 42
steps     forwarded headers, rewrite
upstream  GET http://10.0.0.1:9186/base/u/42?a=%2F
          accept: text/html
          host: web.example.org
          x-forwarded-for: 203.0.113.7
          x-real-ip: 203.0.113.7
          x-forwarded-proto: http
          x-forwarded-host: web.example.org
          x-request-id: (new for each request)
          traceparent: (new for each request)
other routes
  below                        matches too, but /users/** is less specific
  node                         does not match: /node/{host}:{port:digits}/**
  beta                         does not match: /users/me
  moved                        does not match: /moved/**
  blue                         is for other hosts
  legacy                       is served on old only
  healthz                      does not match: /healthz
";
    assert_eq!(said, wanted);
}

#[test]
fn explain_knows_why_others_lose() {
    let desk = Desk::new();
    let why = |said: &Value, route: &str| {
        let others = said["others"].as_array().unwrap();
        others.iter().find(|other| other["route"] == route).map(|other| other["why"].clone()).unwrap()
    };
    let said = desk.explain_json(&["POST", "http://web.example.org/users/me"]);
    assert_eq!((&said["route"], &said["listener"]), (&json!("below"), &json!("main")));
    assert_eq!(why(&said, "users"), "is for other methods");
    assert_eq!(why(&said, "beta"), "wants another header x-beta");
    assert_eq!(said["captures"], json!({ "**": "/me" }));
    assert_eq!(said["verdict"]["upstream"]["url"], "http://10.0.0.1:9186/base/users/me");
    let headers = said["verdict"]["upstream"]["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-below", "http/me"])), "{headers:?}");
    let said = desk.explain_json(&["GET", "http://web.example.org/users/me", "-H", "x-beta: 1"]);
    assert_eq!((&said["route"], &said["verdict"]), (&json!("beta"), &json!({ "answer": true })));
    let said = desk.explain_json(&["GET", "http://Blue.example.org:81/users/7"]);
    assert_eq!(said["route"], "blue");
    let said = desk.explain_json(&["GET", "http://blue.example.org/users/7", "--listener", "old"]);
    assert_eq!((&said["route"], &said["listener"]), (&json!("legacy"), &json!("old")));
    let said = desk.explain_json(&["GET", "http://web.example.org/moved/a?b"]);
    let wanted = json!({ "redirect": 308, "location": "https://web.example.org/users/a?b" });
    assert_eq!((&said["route"], &said["verdict"]), (&json!("moved"), &wanted));
    let said = desk.explain(&["GET", "http://web.example.org/"]);
    assert!(said.contains("\nrefused   404 Not Found: no service is published at this address\n"), "{said}");
}

#[test]
fn explain_refuses_a_path_that_can_be_read_in_two_ways() {
    let said = Desk::new().explain(&["GET", "http://web.example.org/users/..%2fmoved/x"]);
    assert!(said.contains("\nrefused   400 Bad Request: the path can be read in two ways"), "{said}");
    assert!(!said.contains("upstream  "), "{said}");
}

/// The entry that a refusal names does allow the target when it is added, and nothing else.
#[test]
fn explain_names_the_entry_that_would_allow_a_target() {
    let desk = Desk::new();
    let refused = desk.explain(&["GET", "http://web.example.org/node/10.9.9.9:8043/x"]);
    assert!(refused.contains("\nrefused   403 Forbidden: "), "{refused}");
    let entry = refused.split("the entry `").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
    desk.write("site.yaml", &SITE.replace("10.0.0.0/8:8042", entry));
    let allowed = desk.explain(&["GET", "http://web.example.org/node/10.9.9.9:8043/x"]);
    assert!(allowed.contains("\nupstream  GET http://10.9.9.9:8043/x\n"), "{allowed}");
    let other = desk.explain(&["GET", "http://web.example.org/node/10.9.9.9:8042/x"]);
    assert!(other.contains("\nrefused   403 "), "{other}");
}

#[test]
fn healthcheck_asks_and_believes_nothing_but_200() {
    let desk = Desk::new();
    // Only silence has to be waited for to its end.
    for (answer, code, timeout) in
        [("200 OK", 0, "60"), ("503 Down", 1, "60"), ("302 Elsewhere", 1, "60"), ("", 1, "3")]
    {
        let stand_in = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/healthz", stand_in.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let mut stream = stand_in.accept().unwrap().0;
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            let reply = format!("HTTP/1.1 {answer}\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            match answer {
                "" => drop(stream.read(&mut [0; 1])),
                _ => stream.write_all(reply.as_bytes()).unwrap(),
            }
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let ran = desk.run(&["healthcheck", "--timeout", timeout, "--url", &url]);
        assert_eq!(ran.code, Some(code), "{answer}: {}{}", ran.out, ran.err);
        assert!(served.join().unwrap().starts_with("GET /healthz HTTP/1.1\r\n"));
    }
}
