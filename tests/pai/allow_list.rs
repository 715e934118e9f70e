//! Who may be named as a dynamic target: what `PYLON_DYNAMIC_ALLOW` says, checked on the address that is connected to.

use crate::support::{Cluster, Endpoint, Launch, Pylon, Upstream, eventually};

const PREFIXES: [&str; 3] = ["/a", "/yarn", "/log-manager"];

async fn target(address: &str) -> Endpoint {
    Upstream::named("target").on(address).start().await
}

/// A stand-alone Pylon with all three dynamic routes.
fn launch() -> Launch {
    Pylon::standalone().env("CLUSTER_TYPE", "yarn").env("YARN_WEB_PORTAL_URI", "http://rm.example:8088")
}

async fn allowing(list: &str) -> Pylon {
    launch().env("PYLON_DYNAMIC_ALLOW", list).start().await
}

async fn expect_refused(pylon: &Pylon, path: &str) {
    for prefix in PREFIXES {
        let response = pylon.get(&format!("{prefix}/{path}")).await;
        assert_eq!(response.status, 403, "{prefix}/{path}: {response:?}");
    }
}

#[tokio::test]
async fn by_default_the_hosts_of_the_services_are_allowed() {
    let cluster = Cluster::start().await;
    let pylon = cluster.pylon().start().await;
    for service in ["rest", "webhdfs", "yarn", "grafana", "portal"] {
        pylon.get(&format!("/a/{}/x", cluster[service].authority())).await.expect(200, service);
    }
    let elsewhere = target("127.0.0.2").await;
    expect_refused(&pylon, &format!("{}/x", elsewhere.authority())).await;
    expect_refused(&pylon, "192.0.2.1:80/x").await;
    let unknown = pylon.get("/a/example.invalid:80/x").await;
    assert!([403, 502, 503].contains(&unknown.status), "{unknown:?}");
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn without_services_nothing_is_allowed() {
    let elsewhere = target("127.0.0.2").await;
    let pylon = launch().start().await;
    expect_refused(&pylon, &format!("{}/x", elsewhere.authority())).await;
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn networks_and_ports_are_told_apart() {
    let [inside, outside] = [target("127.0.0.2").await, target("127.0.0.9").await];
    let other_port = target("127.0.0.2").await;
    let list = format!("10.0.0.0/8:1-65535, 127.0.0.0/29:{0}-{0},[2001:db8::]/32:80", inside.port());
    for list in [list, format!("127.0.0.2/32:{}", inside.port()), format!("127.0.0.2:{}", inside.port())] {
        let pylon = allowing(&list).await;
        pylon.get(&format!("/a/{}/x", inside.authority())).await.expect(200, "target");
        expect_refused(&pylon, &format!("{}/x", outside.authority())).await;
        expect_refused(&pylon, &format!("{}/x", other_port.authority())).await;
    }
    assert!(outside.seen().is_empty() && other_port.seen().is_empty());
}

#[tokio::test]
async fn names_are_told_apart() {
    let here = target("127.0.0.1").await;
    let pylon = allowing(&format!("*.cluster.local:8042,*.local:{0},host:{0}", here.port())).await;
    for name in ["localhost", "host.evil.test", "127.0.0.1", "local", "xlocal"] {
        expect_refused(&pylon, &format!("{name}:{}/x", here.port())).await;
    }
    expect_refused(&pylon, "node.cluster.local:8043/x").await;
    expect_refused(&pylon, "cluster.local.evil.test:8042/x").await;
    assert!(here.seen().is_empty());
}

#[tokio::test]
async fn link_local_addresses_need_an_entry_of_their_own() {
    let pylon = allowing("0.0.0.0/0,::/0").await;
    // On the discard port: should one of these ever pass, it must not talk to a real metadata service.
    for host in ["169.254.169.254", "169.254.1.1", "[fe80::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"] {
        expect_refused(&pylon, &format!("{host}:9/x")).await;
    }
}

#[tokio::test]
async fn loopback_needs_an_entry_of_its_own() {
    let here = target("127.0.0.2").await;
    let pylon = allowing("0.0.0.0/0,::/0").await;
    expect_refused(&pylon, &format!("{}/x", here.authority())).await;
    assert!(here.seen().is_empty());
}

#[tokio::test]
async fn an_address_in_disguise_is_still_that_address() {
    let here = target("127.0.0.1").await;
    let pylon = allowing("10.0.0.0/8").await;
    let disguises =
        ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "[::ffff:127.0.0.1]", "%31%32%37.0.0.1", "0"];
    for host in disguises {
        let response = pylon.get(&format!("/a/{host}:{}/x", here.port())).await;
        assert!((400..600).contains(&response.status), "{host}: {response:?}");
    }
    assert!(here.seen().is_empty());
}

#[tokio::test]
async fn what_is_no_host_and_port_reaches_nobody() {
    let here = target("127.0.0.1").await;
    let portal = Upstream::named("portal").start().await;
    let launch = launch().env("PAI_WEB_PORTAL_URI", portal.uri()).env("PYLON_DYNAMIC_ALLOW", "127.0.0.0/8");
    let pylon = launch.start().await;
    let port = here.port();
    let forms = [
        format!("user@127.0.0.1:{port}/x"),
        format!("evil.test%23@127.0.0.1:{port}/x"),
        format!("127.0.0.1:{port}@evil.test:80/x"),
        format!("evil.test%2F@127.0.0.1:{port}/x"),
        "127.0.0.1:99999/x".to_owned(),
        "127.0.0.1:-1/x".to_owned(),
        ":80/x".to_owned(),
    ];
    for form in forms {
        pylon.get(&format!("/a/{form}")).await;
    }
    assert!(here.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_says_in_the_log_what_would_allow_it() {
    let pylon = allowing("10.0.0.0/8").await;
    let response = pylon.get("/a/127.0.0.2:4711/x").await;
    assert_eq!(response.status, 403);
    assert!(!String::from_utf8_lossy(&response.body).contains("10.0.0.0/8"), "the list is nobody's business");
    let entry = |line: &str| line.contains("127.0.0.2:4711") && line.contains("would allow");
    eventually("the log to name the entry", || pylon.log().lines().any(entry)).await;
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_refused() {
    for list in ["10.0.0.0/99", "10.0.0.0/8:0-99999", "10.0.0.0/8:9-1", "10.0.0.0/8:x"] {
        let ended = launch().env("PYLON_DYNAMIC_ALLOW", list).fails().await;
        assert_eq!(ended.code, Some(78), "{list}: {}", ended.log);
        assert!(ended.log.contains("PYLON_DYNAMIC_ALLOW") || ended.log.contains(list), "{}", ended.log);
    }
}
