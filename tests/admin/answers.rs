//! What the port says: by its own description, in the methods it has, and of mistakes.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::running::Running;
use super::schema::check;
use super::support::{Endpoint, Upstream, free_port};
use super::talk::{get, post, raw, send, with_token};

/// Routes of every kind to pools of several kinds, with a secret in them.
fn site(uri: &str) -> String {
    format!(
        "upstreams:
  web: {{ endpoints: [\"{uri}\"], health: {{ http: /health }} }}
  limited: {{ endpoints: [\"{uri}\"], limits: {{ requests: 5 }}, breaker: {{ open: 1s }}, balance: {{ hash: client_ip }} }}
  gone: {{ optional: true, endpoints: [\"${{NOWHERE}}\"] }}
routes:
  - {{ name: hi, path: /hi, answer: {{ body: hi }} }}
  - {{ name: away, path: /away, redirect: {{ to: \"https://example.org/\", status: 308 }} }}
  - {{ name: web, path: /web/**, upstream: web, rewrite: \"/{{**}}\", adapt: [location], compress: [gzip],
      headers: {{ request: {{ set: {{ X-Key: \"${{file:${{DIR}}/key}}\" }} }} }} }}
  - {{ name: limited, host: l.example.org, methods: [GET, POST], path: \"/limited/{{id}}\", upstream: limited }}
  - {{ name: node, path: \"/node/{{host}}:{{port:digits}}/**\", dynamic: {{ host: \"{{host}}\", port: \"{{port}}\", allow: [\"10.0.0.0/8:80\"] }} }}
  - {{ name: gone, path: /gone, upstream: gone }}
"
    )
}

const KEY: &str = "key-that-nobody-sees";

async fn start() -> (Endpoint, Running) {
    let web = Upstream::named("web").start().await;
    let pylon = Running::start_in(&site(&web.uri()), |pylon| fs::write(pylon.path("key"), KEY).unwrap()).await;
    (web, pylon)
}

async fn document(pylon: &Running) -> Value {
    get(pylon.admin, "/api/openapi.json").await.is(200).json()
}

/// Checks an answer against what the description says of this operation and status.
#[track_caller]
fn as_described(document: &Value, path: &str, method: &str, status: u16, media: &str, body: &str) {
    let operation = &document["paths"][path][method];
    let mut answer = &operation["responses"][status.to_string()];
    if let Some(reference) = answer["$ref"].as_str() {
        answer = document.pointer(&reference[1..]).unwrap();
    }
    let media = media.split(';').next().unwrap();
    let schema = &answer["content"][media]["schema"];
    assert!(schema.is_object(), "{method} {path} answers {status} as {media}, which is not described");
    let value = if media.ends_with("json") { serde_json::from_str(body).unwrap() } else { Value::from(body) };
    check(document, schema, &value).unwrap_or_else(|why| panic!("{method} {path}, {status}: {why}"));
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let (_web, pylon) = start().await;
    let document = document(&pylon).await;
    get(pylon.door, "/hi").await.is(200);
    get(pylon.door, "/web/a").await.is(200);
    get(pylon.door, "/nothing").await.is(404);
    let mut asked = BTreeSet::new();
    let explain = |what: &str| format!("/api/explain?{what}");
    for (path, target, status) in [
        ("/", "/".to_owned(), 200),
        ("/livez", "/livez".to_owned(), 200),
        ("/readyz", "/readyz".to_owned(), 200),
        ("/metrics", "/metrics".to_owned(), 200),
        ("/api/routes", "/api/routes".to_owned(), 200),
        ("/api/routes", "/api/routes?x=1".to_owned(), 400),
        ("/api/upstreams", "/api/upstreams".to_owned(), 200),
        ("/api/config", "/api/config".to_owned(), 200),
        ("/api/drain", "/api/drain".to_owned(), 200),
        ("/api/status", "/api/status".to_owned(), 200),
        ("/api/log-level", "/api/log-level".to_owned(), 200),
        ("/api/requests", "/api/requests?limit=500&route=web".to_owned(), 200),
        ("/api/requests", "/api/requests?failed=true".to_owned(), 200),
        ("/api/requests", "/api/requests?failed=maybe".to_owned(), 400),
        ("/api/why/{id}", "/api/why/nothing".to_owned(), 404),
        ("/api/openapi.json", "/api/openapi.json".to_owned(), 200),
        ("/api/explain", explain("url=http://x/web/a"), 200),
        ("/api/explain", explain("url=http://x/hi&method=post"), 200),
        ("/api/explain", explain("url=http://x/away"), 200),
        ("/api/explain", explain("url=http://x/none"), 200),
        ("/api/explain", explain("url=http://x/node/10.1.1.1:80/a"), 200),
        ("/api/explain", explain("url=http://x/node/127.0.0.1:80/a"), 200),
        ("/api/explain", explain("url=x"), 400),
    ] {
        let said = get(pylon.admin, &target).await.is(status);
        as_described(&document, path, "get", status, said.header("content-type").unwrap(), &said.body);
        asked.insert(("get", path));
    }
    for (path, body, status) in [
        ("/api/reload", "", 200),
        ("/api/reload", "{}", 200),
        ("/api/reload", "{\"force\":true}", 400),
        ("/api/drain", "{\"drain\":true}", 200),
        ("/api/drain", "{\"drain\":false}", 200),
        ("/api/drain", "{}", 400),
        ("/api/log-level", "{\"channel\":\"access\",\"level\":\"error\"}", 200),
        ("/api/log-level", "{\"channel\":\"access\",\"level\":\"loud\"}", 400),
        ("/api/log-level", "{\"level\":\"info\"}", 400),
    ] {
        let said = post(pylon.admin, path, body).await.is(status);
        as_described(&document, path, "post", status, said.header("content-type").unwrap(), &said.body);
        asked.insert(("post", path));
    }
    let put = "{\"address\":\"http://10.0.0.5:8787\",\"owner\":\"ann\",\"ttl\":\"60s\"}";
    for (method, path, name, body, status) in [
        ("put", "/api/instances/{name}", "a", put, 201),
        ("put", "/api/instances/{name}", "a", put, 200),
        ("put", "/api/instances/{name}", "b", "{}", 400),
        ("get", "/api/instances", "", "", 200),
        ("get", "/api/instances/{name}", "a", "", 200),
        ("get", "/api/instances/{name}", "nobody", "", 404),
        ("delete", "/api/instances/{name}", "a", "", 200),
        ("delete", "/api/instances/{name}", "a", "", 404),
    ] {
        let target = path.replace("{name}", name);
        let said = send(pylon.admin, &method.to_uppercase(), &target, &["Content-Type: application/json"], body).await;
        let said = said.is(status);
        as_described(&document, path, method, status, said.header("content-type").unwrap(), &said.body);
        asked.insert((method, path));
    }
    pylon.write("routes: [{ name: a, path: a, answer: {} }]\n");
    let said = post(pylon.admin, "/api/reload", "").await.is(422);
    as_described(&document, "/api/reload", "post", 422, "application/json", &said.body);
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            assert!(asked.contains(&(method.as_str(), path.as_str())), "{method} {path} is not asked for here");
        }
    }
}

#[tokio::test]
async fn refusals_are_as_described() {
    let pylon = with_token("").await;
    let document = get_with_token(&pylon, "/api/openapi.json").await;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let line = method.to_uppercase();
            let origin = ["Origin: http://evil.example"];
            let said = send(pylon.admin, &line, path, &origin, "").await.is(403);
            as_described(&document, path, method, 403, said.header("content-type").unwrap(), &said.body);
            let open = operation["security"].is_array();
            let said = send(pylon.admin, &line, path, &[], "").await.is(if open { 200 } else { 401 });
            if !open {
                as_described(&document, path, method, 401, said.header("content-type").unwrap(), &said.body);
            }
        }
    }
}

async fn get_with_token(pylon: &Running, path: &str) -> Value {
    let token = format!("Authorization: Bearer {}", super::talk::TOKEN);
    send(pylon.admin, "GET", path, &[&token], "").await.is(200).json()
}

#[tokio::test]
async fn other_methods_and_paths_are_told_what_there_is() {
    let pylon = Running::start("").await;
    for (method, path, status, allow) in [
        ("PUT", "/api/routes", 405, Some("GET, HEAD")),
        ("DELETE", "/api/drain", 405, Some("GET, HEAD, POST")),
        ("OPTIONS", "/api/drain", 405, Some("GET, HEAD, POST")),
        ("GET", "/api/reload", 405, Some("POST")),
        ("HEAD", "/api/reload", 405, Some("POST")),
        ("POST", "/livez", 405, Some("GET, HEAD")),
        ("TRACE", "/", 405, Some("GET, HEAD")),
        ("BREW", "/", 405, Some("GET, HEAD")),
        ("GET", "/api", 404, None),
        ("GET", "/livez/", 404, None),
        ("GET", "/api/../livez", 404, None),
        ("GET", "/%6civez", 404, None),
        ("OPTIONS", "*", 404, None),
    ] {
        let said = send(pylon.admin, method, path, &[], "").await;
        assert_eq!((said.status, said.header("allow")), (status, allow), "{method} {path}");
        if method != "HEAD" {
            assert!(said.json()["error"].as_str().unwrap().len() > 10, "{}", said.body);
        }
    }
    for path in ["/", "/livez", "/readyz", "/metrics", "/api/routes", "/api/config"] {
        let (whole, head) =
            (get(pylon.admin, path).await.is(200), send(pylon.admin, "HEAD", path, &[], "").await.is(200));
        assert_eq!((head.body.as_str(), head.header("content-type")), ("", whole.header("content-type")));
        assert!(head.header("content-length").unwrap().parse::<usize>().unwrap() > 0, "{path}");
    }
}

#[tokio::test]
async fn mistakes_are_named() {
    let pylon = Running::start("").await;
    for (body, words) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "drain"),
        ("true", "invalid type"),
        ("{}", "missing field `drain`"),
        ("{\"drain\":\"yes\"}", "expected a boolean"),
        ("{\"drain\":true,\"now\":true}", "unknown field `now`"),
        ("{\"drain\":true}{}", "trailing"),
        ("\u{fe}", "expected value"),
    ] {
        let said = post(pylon.admin, "/api/drain", body).await.is(400).json();
        let error = said["error"].as_str().unwrap();
        assert!(error.contains(words) || words == "drain", "{body:?}: {error}");
        assert!(said["cure"].as_str().unwrap().contains("{\"drain\": true}"), "{said}");
    }
    assert_eq!(get(pylon.admin, "/api/drain").await.json()["state"], "ready");
    for (query, words) in [
        ("", "`url` is missing"),
        ("?ulr=http://x/", "did you mean `url`?"),
        ("?url=http://x/&url=http://y/", "twice"),
        ("?url=x", "is not a URL"),
        ("?url=http://x/&method=G(T", "is not a method"),
        ("?url=http://x/&client=me", "is not an address"),
        ("?url=http://x/&header=none", "is not a header"),
        ("?url=http://x/&listener=none", "is not the name of a listener"),
    ] {
        let said = get(pylon.admin, &format!("/api/explain{query}")).await.is(400).json();
        assert!(said["error"].as_str().unwrap().contains(words), "{query}: {said}");
    }
    let many = "&header=A:%20b".repeat(101);
    get(pylon.admin, &format!("/api/explain?url=http://x/{many}")).await.is(400);
}

#[tokio::test]
async fn routes_have_their_upstreams_and_steps() {
    let (_web, pylon) = start().await;
    let said = get(pylon.admin, "/api/routes").await.is(200).json();
    let find = |name: &str| said["routes"].as_array().unwrap().iter().find(|r| r["name"] == name).cloned().unwrap();
    let web = find("web");
    let steps = json!(["forwarded headers", "rewrite", "request headers", "adapt location", "compress"]);
    assert_eq!((&web["upstream"], &web["action"], &web["steps"]), (&json!("web"), &json!("forward"), &steps));
    let limited = find("limited");
    assert_eq!((&limited["hosts"], &limited["methods"]), (&json!(["l.example.org"]), &json!(["GET", "POST"])));
    assert_eq!((&find("node")["upstream"], &find("hi")["steps"]), (&Value::Null, &json!(["answer"])));
    assert_eq!(find("away")["action"], "redirect");
    let left: Vec<_> = said["left_out"].as_array().unwrap().iter().map(|out| out["kind"].clone()).collect();
    assert_eq!(left, ["upstream", "route"]);
}

/// What runs is shown, not what stands in the file; secrets are not.
#[tokio::test]
async fn the_configuration_is_the_one_that_runs() {
    let (_web, pylon) = start().await;
    let before = get(pylon.admin, "/api/config").await.is(200);
    assert!(!before.body.contains(KEY), "{}", before.body);
    let shown = before.json();
    assert_eq!((&shown["source"], &shown["generation"]), (&json!("pylon.yaml"), &json!(1)));
    assert_eq!(shown["effective"]["routes"][2]["headers"]["request"]["set"]["x-key"], "***");
    // It reads as what `pylon print-config` prints.
    let printed = pylon.pylon(&["print-config", "-c", "pylon.yaml"]).env("DIR", pylon.path("")).output().unwrap();
    let printed: Value = serde_yaml::from_slice(&printed.stdout).unwrap();
    assert_eq!(shown["effective"], printed);
    // A new process part waits for the restart, the rest does not.
    let other = free_port().to_string();
    let text = pylon.file("workers: 3\nroutes: [{ name: new, path: /new, answer: {} }]\n");
    fs::write(pylon.path("pylon.yaml"), text.replace(&pylon.door.to_string(), &other)).unwrap();
    post(pylon.admin, "/api/reload", "").await.is(200);
    let after = get(pylon.admin, "/api/config").await.is(200).json();
    assert_eq!((&after["generation"], &after["effective"]["routes"][0]["name"]), (&json!(2), &json!("new")));
    assert_eq!(after["effective"]["listeners"], shown["effective"]["listeners"]);
    assert_eq!(after["effective"]["workers"], shown["effective"]["workers"]);
    assert_ne!(after["hash"], shown["hash"]);
    // What is refused is not shown.
    pylon.write("routes: [{ name: bad, path: bad, answer: {} }]\n");
    post(pylon.admin, "/api/reload", "").await.is(422);
    assert_eq!(get(pylon.admin, "/api/config").await.is(200).json(), after);
}

#[tokio::test]
async fn explain_is_that_of_the_command_for_what_runs() {
    let (_web, pylon) = start().await;
    for (method, url, rest, more) in [
        ("GET", "http://x/web/a?b=%2F", "", vec![]),
        ("POST", "http://l.example.org/limited/7", "&client=192.0.2.1", vec!["--client", "192.0.2.1"]),
        ("GET", "http://x/hi", "&header=X-A:%20b&header=X-C:d", vec!["-H", "X-A: b", "-H", "X-C: d"]),
        ("GET", "http://x/node/10.1.1.1:81/a", "", vec![]),
        ("GET", "http://x/web/..%2fhi", "", vec![]),
    ] {
        let arguments = [vec!["explain", "-c", "pylon.yaml", "--json", method, url], more].concat();
        let told = pylon.pylon(&arguments).env("DIR", pylon.path("")).output().unwrap();
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        let escaped = url.replace('%', "%25").replace('?', "%3F");
        let said = get(pylon.admin, &format!("/api/explain?method={method}&url={escaped}{rest}")).await.is(200);
        assert_eq!(said.json(), told, "{url}");
        assert!(!said.body.contains(KEY), "{}", said.body);
    }
}

#[tokio::test]
async fn pools_without_a_usable_endpoint_are_degraded() {
    let dead = free_port();
    let pylon = Running::start(&format!(
        "upstreams: {{ dead: {{ endpoints: [\"http://{dead}\"], health: {{ tcp: true, interval: 50ms, fall: 1 }} }} }}\n\
         routes: [{{ name: dead, path: /dead, upstream: dead }}]\n"
    ))
    .await;
    let line = "degraded: upstream dead: no endpoint is usable\n";
    super::support::within("a degraded pool", async {
        while get(pylon.admin, "/readyz").await.is(200).body != format!("ready\n{line}") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let said = get(pylon.admin, "/api/upstreams").await.json();
    assert_eq!(
        (&said["upstreams"][0]["panic"], &said["upstreams"][0]["endpoints"][0]["state"]),
        (&json!(true), &json!("unhealthy"))
    );
}

/// HTTP/1.0 has no hosts; the port wants one all the same.
#[tokio::test]
async fn old_clients_are_served_by_the_same_rules() {
    let pylon = Running::start("").await;
    raw(pylon.admin, b"GET /livez HTTP/1.0\r\n\r\n").await.is(403);
    raw(pylon.admin, b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n").await.is(200);
}
