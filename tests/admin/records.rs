//! What became of requests, in numbers and one by one, and what is logged.

use serde_json::{Value, json};

use super::running::Running;
use super::support::{Upstream, free_port, reply, within};
use super::talk::{Said, get, post, recorded};

/// Routes to a server that works, and to one that is not there.
async fn site() -> (super::support::Endpoint, Running) {
    let web = Upstream::named("web").at("/broken", reply(503).text("broken")).start().await;
    let routing = format!(
        "upstreams: {{ web: {{ endpoints: [\"{}\"] }}, dead: {{ endpoints: [\"http://{}\"] }} }}\n\
         routes: [{{ name: web, path: /web/**, upstream: web, rewrite: \"/{{**}}\" }}, {{ name: dead, path: /dead, upstream: dead }}]\n",
        web.uri(),
        free_port()
    );
    (web, Running::start(&routing).await)
}

fn id(said: &Said) -> String {
    said.header("x-request-id").unwrap().to_owned()
}

#[tokio::test]
async fn why_tells_of_a_request_by_its_id() {
    let (web, pylon) = site().await;
    let failed = get(pylon.door, "/dead?token=secret&a=b").await.is(502);
    let said = recorded(&pylon, &id(&failed)).await;
    assert!(!said.body.contains("secret"), "{}", said.body);
    let record = said.json();
    for (key, wanted) in [
        ("route", json!("dead")),
        ("upstream", json!("dead")),
        ("status", json!(502)),
        ("failed", json!(true)),
        ("outcome", json!("connect_failed")),
        ("method", json!("GET")),
        ("path", json!("/dead")),
        ("client", json!("127.0.0.1")),
        ("protocol", json!("HTTP/1.1")),
        ("upstream_status", Value::Null),
    ] {
        assert_eq!(record[key], wanted, "{key}: {record}");
    }
    assert!(record["meaning"].as_str().unwrap().len() > 10, "{record}");
    assert!(!record["attempts"].as_array().unwrap().is_empty(), "{record}");
    get(pylon.door, "/web/a").await.is(200);
    let forwarded = web.only();
    let good = forwarded.header("x-request-id").unwrap().to_owned();
    let record = recorded(&pylon, &good).await.json();
    assert_eq!(
        (&record["route"], &record["failed"], &record["upstream_status"]),
        (&json!("web"), &json!(false), &json!(200))
    );
    assert_eq!(record["attempts"][0]["endpoint"], web.authority());
    let none = get(pylon.admin, "/api/why/0123%20\u{7f}").await;
    assert!(matches!(none.status, 400 | 404), "{none:?}");
    let none = get(pylon.admin, "/api/why/01234567").await.is(404).json();
    assert!(none["error"].as_str().unwrap().contains("01234567") && none["cure"].is_string(), "{none}");
}

#[tokio::test]
async fn requests_are_listed_newest_first() {
    let (_web, pylon) = site().await;
    for path in ["/web/1", "/dead", "/web/2", "/web/broken", "/nothing"] {
        get(pylon.door, path).await;
    }
    let paths = async |query: &str| -> Vec<String> {
        let said = get(pylon.admin, &format!("/api/requests{query}")).await.is(200).json();
        let paths =
            said["requests"].as_array().unwrap().iter().map(|record| record["path"].as_str().unwrap().to_owned());
        paths.filter(|path| path != "/healthz").collect()
    };
    let all = async {
        while paths("").await.len() < 5 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("all five on record", all).await;
    assert_eq!(paths("").await, ["/nothing", "/web/broken", "/web/2", "/dead", "/web/1"]);
    assert_eq!(paths("?failed=true").await, ["/web/broken", "/dead"]);
    assert_eq!(paths("?failed=false&route=web&limit=2").await, ["/web/broken", "/web/2"]);
    assert_eq!(paths("?route=none").await, Vec::<String>::new());
    for query in ["?limit=0", "?limit=501", "?limit=-1", "?limit=x", "?failed=1", "?rout=web", "?route=a&route=b"] {
        get(pylon.admin, &format!("/api/requests{query}")).await.is(400);
    }
}

#[tokio::test]
async fn status_counts_what_happened() {
    let (_web, pylon) = site().await;
    for path in ["/web/1", "/web/2", "/dead"] {
        get(pylon.door, path).await;
    }
    let status = get(pylon.admin, "/api/status").await.is(200).json();
    let route = |name: &str| status["routes"].as_array().unwrap().iter().find(|r| r["name"] == name).cloned().unwrap();
    assert_eq!((&route("web")["requests"], &route("web")["codes"]), (&json!(2), &json!({ "200": 2 })));
    assert_eq!((&route("dead")["failed"], &route("dead")["outcomes"]), (&json!(1), &json!({ "connect_failed": 1 })));
    assert_eq!((&status["state"], &status["config"]["generation"]), (&json!("ready"), &json!(1)));
    post(pylon.admin, "/api/drain", "{\"drain\":true}").await.is(200);
    assert_eq!(get(pylon.admin, "/api/status").await.json()["state"], "draining");
    assert_eq!(pylon.metric("pylon_draining").await, "1");
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let (_web, pylon) = site().await;
    let ask = async |accept: &str| super::talk::send(pylon.admin, "GET", "/metrics", &[accept], "").await.is(200);
    let text = ask("Accept: text/plain").await;
    assert!(text.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let open = ask("Accept: application/openmetrics-text; version=1.0.0, text/plain;q=0.5").await;
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with("# EOF\n") && !text.body.contains("# EOF"));
}

#[tokio::test]
async fn log_levels_change_while_it_runs_and_that_is_on_record() {
    let pylon = Running::start("").await;
    let level = |said: &Value, channel: &str| {
        said["channels"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["channel"] == channel)
            .map(|c| c["level"].clone())
            .unwrap()
    };
    assert_eq!(level(&get(pylon.admin, "/api/log-level").await.is(200).json(), "error"), "info");
    let said = post(pylon.admin, "/api/log-level", "{\"channel\":\"error\",\"level\":\"warn\"}").await.is(200).json();
    assert_eq!((level(&said, "error"), level(&said, "audit")), (json!("warn"), json!("info")));
    pylon.until_log("log level: error=warn").await;
    for (order, words) in [
        ("{\"channel\":\"error\",\"level\":\"loud\"}", "loud"),
        ("{\"channel\":\"noise\",\"level\":\"info\"}", "noise"),
    ] {
        let said = post(pylon.admin, "/api/log-level", order).await.is(400).json();
        assert!(said["error"].as_str().unwrap().contains(words), "{said}");
    }
    // What silences the audit log stands in it as the last line.
    post(pylon.admin, "/api/log-level", "{\"channel\":\"audit\",\"level\":\"off\"}").await.is(200);
    pylon.until_log("audit=off").await;
    post(pylon.admin, "/api/drain", "{\"drain\":false}").await.is(200);
    post(pylon.admin, "/api/log-level", "{\"channel\":\"audit\",\"level\":\"info\"}").await.is(200);
    pylon.until_log("audit=info").await;
    assert!(!pylon.log().contains("undo drain"), "{}", pylon.log());
}
