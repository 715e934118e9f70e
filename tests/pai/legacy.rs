//! The legacy `WebHDFS` port: old clients speak to the name node as if Pylon were not there.

use crate::support::{Cluster, Door, Pylon, Reply, Seen, Upstream, reply};

fn name_node() -> Upstream {
    Upstream::named("webhdfs").at_with("/webhdfs/v1/here", |seen: &Seen| -> Reply {
        let status = seen.header("x-status").and_then(|status| status.parse().ok()).unwrap_or(307);
        reply(status).header("Location", seen.header("x-location").unwrap_or_default())
    })
}

async fn cluster() -> (Cluster, Pylon) {
    let cluster = Cluster::with([name_node()]).await;
    let pylon = cluster.pylon().env("PYLON_DYNAMIC_ALLOW", "127.0.0.0/8").legacy().start().await;
    (cluster, pylon)
}

#[tokio::test]
async fn the_target_arrives_byte_for_byte() {
    let (cluster, pylon) = cluster().await;
    let targets = [
        "/webhdfs/v1/user?op=LISTSTATUS",
        "/webhdfs/v1/a%2Fb%20c?op=OPEN&&x=%2F",
        "/webhdfs/v1//double///slashes",
        "/webhdfs/v1/a%0Db?",
        "/",
        "/?",
        "/x%5Cy%7e~",
        "/webhdfs/v1/a/../b/./c",
        "/webhdfs/v1/%2e%2e/%2E/c",
    ];
    for target in targets {
        pylon.legacy().get(target).await.expect(200, "webhdfs");
        assert_eq!(cluster.took(), [format!("webhdfs: GET {target}")]);
    }
}

#[tokio::test]
async fn none_of_the_routes_are_there() {
    let (cluster, pylon) = cluster().await;
    let targets = [
        "/healthz",
        "/grafana",
        "/grafana/x",
        "/rest-server/api/v1",
        "/webhdfs",
        "/webhdfs/api/v1/x",
        "/yarn/cluster",
        "/a/127.0.0.1:1/x",
        "/prometheus",
    ];
    for target in targets {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            pylon.legacy().request(method, target).send().await.expect(200, "webhdfs");
            assert_eq!(cluster.took(), [format!("webhdfs: {method} {target}")]);
        }
    }
}

#[tokio::test]
async fn the_host_stays_the_clients() {
    let (cluster, pylon) = cluster().await;
    for host in ["pylon.example:50070", "pylon.example"] {
        pylon.legacy().request("GET", "/x").host(host).send().await.expect_status(200);
        let seen = cluster["webhdfs"].take_only();
        assert_eq!(seen.headers.all("host"), [host]);
        assert_eq!(seen.version, "HTTP/1.1");
    }
}

#[tokio::test]
async fn the_name_node_learns_who_the_client_is() {
    let (cluster, pylon) = cluster().await;
    let client: Door = pylon.legacy().from("127.0.0.5");
    client.request("GET", "/x").header("X-Forwarded-For", "203.0.113.7").send().await.expect_status(200);
    assert_eq!(cluster["webhdfs"].only().headers.all("x-forwarded-for"), ["127.0.0.5"]);
}

#[tokio::test]
async fn bodies_are_not_rewritten() {
    let text = r#"href="/x" /webhdfs/v1 '/conf' /jmx?qry=x"#;
    let cluster = Cluster::with([Upstream::named("webhdfs").otherwise(reply(200).html(text))]).await;
    let pylon = cluster.pylon().legacy().start().await;
    pylon.legacy().get("/index.html").await.expect(200, text);
}

#[tokio::test]
async fn uploads_pass() {
    let (cluster, pylon) = cluster().await;
    let body = vec![b'x'; 300_000];
    pylon.legacy().request("PUT", "/f").chunked(&body, 5000).send().await.expect(200, "webhdfs");
    assert_eq!(cluster["webhdfs"].take_only().body_length, 300_000);
    pylon.legacy().request("PUT", "/f").body(&body).send().await.expect(200, "webhdfs");
    assert_eq!(cluster["webhdfs"].take_only().header("content-length"), Some("300000"));
}

/// Follows a Location as a client would that reaches nothing but Pylon.
async fn follow(pylon: &Pylon, location: &str) -> Option<crate::support::Response> {
    let doors = [&**pylon, pylon.legacy()];
    let (door, target) = doors.iter().find_map(|door| Some((door, location.strip_prefix(&door.origin())?)))?;
    Some(door.request("PUT", target).body("the file").send().await)
}

#[tokio::test]
async fn a_redirect_to_a_data_node_can_be_followed_through_pylon() {
    let (_cluster, pylon) = cluster().await;
    let data = Upstream::named("data node").on("127.0.0.4").start().await;
    for status in ["307", "302", "308"] {
        let request = pylon.legacy().request("PUT", "/webhdfs/v1/here?op=CREATE").header("X-Status", status);
        let location = format!("{}/webhdfs/v1/a%2Fb?op=CREATE&&x", data.uri());
        let response = request.header("X-Location", location).send().await;
        assert_eq!(response.status.to_string(), status);
        let followed = follow(&pylon, response.location()).await;
        assert_eq!(followed.map(|response| response.text()).as_deref(), Some("data node"), "{}", response.location());
        let seen = data.take_only();
        assert_eq!((seen.line().as_str(), &seen.body[..]), ("PUT /webhdfs/v1/a%2Fb?op=CREATE&&x", &b"the file"[..]));
    }
}

#[tokio::test]
async fn a_redirect_to_the_name_node_itself_stays_on_the_port() {
    let (cluster, pylon) = cluster().await;
    let legacy = pylon.legacy();
    let own = format!("{}/dfshealth.html?x", cluster["webhdfs"].uri());
    for location in [own.as_str(), "/dfshealth.html?x"] {
        let request = legacy.request("GET", "/webhdfs/v1/here").header("X-Status", "302");
        let response = request.header("X-Location", location).send().await;
        let got = response.location().strip_prefix(&legacy.origin()).unwrap_or(response.location());
        assert_eq!(got, "/dfshealth.html?x", "{location}");
    }
}

#[tokio::test]
async fn the_other_port_keeps_its_routes() {
    let (_cluster, pylon) = cluster().await;
    pylon.get("/grafana/x").await.expect(200, "grafana");
    pylon.get("/webhdfs/api/v1/x").await.expect(200, "webhdfs");
}
