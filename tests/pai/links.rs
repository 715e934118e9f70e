//! Links in the bodies of the REST server, Grafana and dshuttle: the exact text that comes out.

use crate::support::{Cluster, Upstream, reply, sides};

/// What the REST server says, and what becomes of it; `BASE` is `<scheme>://<Host>`.
const REST: &[(&str, &str)] = &[
    (
        r#""containerLog":"http://10.0.0.5:8042/node/containerlogs/c_1/root""#,
        r#""containerLog":"BASE/yarn/10.0.0.5:8042/node/containerlogs/c_1/root""#,
    ),
    (r#""containerLog":"http://nm-1:8042/""#, r#""containerLog":"BASE/yarn/nm-1:8042/""#),
    (
        r#""appTrackingUrl":"http://rm.cluster:8088/proxy/application_1/?a=%2F&b""#,
        r#""appTrackingUrl":"BASE/yarn/rm.cluster:8088/proxy/application_1/?a=%2F&b""#,
    ),
    (
        r#""privateKeyDirectDownloadLink":"http://10.0.0.6:5070/webhdfs/v1/key?op=OPEN""#,
        r#""privateKeyDirectDownloadLink":"BASE/a/10.0.0.6:5070/webhdfs/v1/key?op=OPEN""#,
    ),
    (r#""containerLog":"http://10.0.0.5:9999/x""#, r#""containerLog":"http://10.0.0.5:9999/x""#),
    (r#""containerLog":"https://10.0.0.5:8042/x""#, r#""containerLog":"https://10.0.0.5:8042/x""#),
    (r#""appTrackingUrl":"http://10.0.0.5:8042/x""#, r#""appTrackingUrl":"http://10.0.0.5:8042/x""#),
    (r#""otherLog":"http://10.0.0.5:8042/x""#, r#""otherLog":"http://10.0.0.5:8042/x""#),
    (r#""containerLog":null"#, r#""containerLog":null"#),
];

#[tokio::test]
async fn rest_answers_lead_to_yarn_through_pylon() {
    let (sent, expected) = sides(REST);
    let (_cluster, pylon) =
        Cluster::behind_pylon([Upstream::named("rest").at("/api/v1/jobs", reply(200).json(&sent))]).await;
    for host in ["pylon.example", "10.0.0.1:8080"] {
        let response = pylon.request("GET", "/rest-server/api/v1/jobs").host(host).send().await;
        response.expect(200, &expected.replace("BASE", &format!("http://{host}")));
    }
}

#[tokio::test]
async fn rest_errors_are_rewritten_too() {
    let (sent, expected) = sides(REST);
    let (_cluster, pylon) = Cluster::behind_pylon([Upstream::named("rest").otherwise(reply(500).json(&sent))]).await;
    let response = pylon.request("POST", "/rest-server/api/v1/jobs").host("h").body("{}").send().await;
    response.expect(500, &expected.replace("BASE", "http://h"));
}

#[tokio::test]
async fn without_yarn_rest_bodies_stay() {
    let (sent, _) = sides(REST);
    let cluster = Cluster::with([Upstream::named("rest").otherwise(reply(200).json(&sent))]).await;
    let pylon = cluster.pylon_without(&["yarn", "webhdfs"]).start().await;
    pylon.get("/rest-server/api/v1/jobs").await.expect(200, &sent);
}

const GRAFANA: &[(&str, &str)] = &[
    (r#"<base href="/" />"#, r#"<base href="/grafana/" />"#),
    ("fetch('{U}/api/health')", "fetch('/grafana/api/health')"),
    ("'{U}'", "'/grafana'"),
    (r#"{"url":"/d/abc","text":"x"}"#, r#"{"url":"./d/abc","text":"x"}"#),
    (r#"f=appSubUrl+"/";"#, r#"f=appSubUrl+"/grafana/";"#),
    (r#"<base href="/x" />"url" : "/x""#, r#"<base href="/x" />"url" : "/x""#),
];

#[tokio::test]
async fn grafana_stays_under_its_prefix() {
    let cluster = Cluster::start().await;
    // A Grafana whose pages name itself: it has to run before its own address is known to the script.
    let address = crate::support::free_port();
    let uri = format!("http://{address}");
    let (sent, expected) = sides(GRAFANA);
    let sent = sent.replace("{U}", &uri);
    let _grafana = Upstream::named("grafana")
        .on_port(address.port())
        .at("/login", reply(200).html(&sent))
        .at("/public/app.js", reply(200).body("application/x-javascript", &sent))
        .at("/api/search", reply(200).json(&sent))
        .start()
        .await;
    let pylon = cluster.pylon_without(&["grafana"]).env("GRAFANA_URI", uri).start().await;
    for path in ["login", "public/app.js", "api/search"] {
        pylon.get(&format!("/grafana/{path}")).await.expect(200, &expected);
    }
}

const DSHUTTLE: &[(&str, &str)] = &[
    (r#"<link href="/favicon.ico">"#, r#"<link href="/dshuttle/favicon.ico">"#),
    (r#"<script src="/main.js">"#, r#"<script src="/dshuttle/main.js">"#),
    ("axios.get('/api/v1/master')", "axios.get('/dshuttle/api/v1/master')"),
    ("x='/browse?path='+p", "x='/dshuttle/browse?path='+p"),
    (r#"i.p+"static/media/logo.svg""#, r#"i.p+"dshuttle/static/media/logo.svg""#),
    (
        r#"{root:"/",overview:"/overview",browse:"/browse",config:"/config",data:"/data",logs:"/logs",metrics:"/metrics",workers:"/workers"}"#,
        r#"{root:"/dshuttle",overview:"/dshuttle/overview",browse:"/dshuttle/browse",config:"/dshuttle/config",data:"/dshuttle/data",logs:"/dshuttle/logs",metrics:"/dshuttle/metrics",workers:"/dshuttle/workers"}"#,
    ),
    (r#"<img src="/x"> /overview 'static/js/'"#, r#"<img src="/x"> /overview 'static/js/'"#),
];

#[tokio::test]
async fn dshuttle_stays_under_its_prefix() {
    let (sent, expected) = sides(DSHUTTLE);
    let upstream = Upstream::named("dshuttle")
        .at("/index.html", reply(200).html(&sent))
        .at("/main.js", reply(200).body("application/javascript", &sent));
    let (_cluster, pylon) = Cluster::behind_pylon([upstream]).await;
    for path in ["index.html", "main.js"] {
        pylon.get(&format!("/dshuttle/{path}")).await.expect(200, &expected);
    }
}

#[tokio::test]
async fn services_without_rules_keep_their_bodies() {
    let text =
        r#"href="/x" src="/static/x" "url":"/x" /webhdfs/v1 /api <base href="/" /> "containerLog":"http://h:8042/x""#;
    let names = ["kubernetes", "prometheus", "alert-manager", "marketplace-api", "registry-cache"];
    let cluster = Cluster::with(names.map(|name| Upstream::named(name).otherwise(reply(200).json(text)))).await;
    let pylon = cluster.pylon().start().await;
    let paths = [
        "/kubernetes/api/x",
        "/kubernetes/apis/x",
        "/prometheus/x",
        "/alert-manager/x",
        "/marketplace/api/x",
        "/registry/cache/x",
    ];
    for path in paths {
        pylon.get(path).await.expect(200, text);
    }
}
