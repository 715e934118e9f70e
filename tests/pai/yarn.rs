//! The pages of YARN: resource manager, node managers and history server, each under `/yarn/host:port/`.

use crate::support::{Cluster, Endpoint, Reply, Seen, Upstream, reply};

fn manager() -> Upstream {
    Upstream::named("yarn")
}

#[tokio::test]
async fn the_resource_manager_is_reached() {
    let (cluster, pylon) = Cluster::behind_pylon([manager()]).await;
    let yarn = cluster["yarn"].authority();
    let rows = [
        ("/cluster", "/cluster"),
        ("/", "/"),
        ("/ws/v1/cluster/apps?state=RUNNING&&x=%2F", "/ws/v1/cluster/apps?state=RUNNING&&x=%2F"),
        ("/a%20b%2Fc", "/a%20b%2Fc"),
        ("/?x", "/?x"),
    ];
    for (public, arrives) in rows {
        for method in ["GET", "POST", "PUT"] {
            pylon.request(method, &format!("/yarn/{yarn}{public}")).send().await.expect(200, "yarn");
            let seen = cluster["yarn"].take_only();
            assert_eq!(seen.line(), format!("{method} {arrives}"));
            assert_eq!(seen.headers.all("host"), [yarn.as_str()]);
        }
    }
}

#[tokio::test]
async fn a_node_manager_is_reached() {
    let (_cluster, pylon) = Cluster::behind_pylon([manager()]).await;
    let node: Endpoint = Upstream::named("node").on("127.0.0.3").start().await;
    pylon.get(&format!("/yarn/{}/node/containerlogs/c1/root?start=0", node.authority())).await.expect(200, "node");
    assert_eq!(node.only().line(), "GET /node/containerlogs/c1/root?start=0");
}

/// Redirects as the request asks for.
fn as_asked(seen: &Seen) -> Reply {
    let status = seen.header("x-status").and_then(|status| status.parse().ok()).unwrap_or(302);
    reply(status).header("Location", seen.header("x-location").unwrap_or_default()).text("see there")
}

async fn redirect(status: u16, location: &str) -> (u16, String, String) {
    let (cluster, pylon) = Cluster::behind_pylon([manager().at_with("/cluster/here", as_asked)]).await;
    let yarn = cluster["yarn"].authority();
    let request = pylon.request("GET", &format!("/yarn/{yarn}/cluster/here")).host("pylon.example:8080");
    let location = location.replace("YARN", &yarn);
    let response = request.header("X-Status", status.to_string()).header("X-Location", location).send().await;
    (response.status, response.location().replace(&yarn, "YARN"), yarn)
}

#[tokio::test]
async fn a_redirect_becomes_a_301_under_the_prefix() {
    let cases = [
        ("http://YARN/cluster/apps", "/yarn/YARN/cluster/apps"),
        ("http://YARN/", "/yarn/YARN/"),
        ("http://YARN/cluster/app/a_1?x=%2F&&y", "/yarn/YARN/cluster/app/a_1?x=%2F&&y"),
        ("http://nm-7.cluster:8042/node/containerlogs/c_1/root", "/yarn/nm-7.cluster:8042/node/containerlogs/c_1/root"),
        ("http://10.0.0.9:19888/jobhistory", "/yarn/10.0.0.9:19888/jobhistory"),
    ];
    for (location, public) in cases {
        for status in [301, 302, 307] {
            let (got, mapped, _) = redirect(status, location).await;
            assert_eq!((got, mapped), (301, format!("http://pylon.example:8080{public}")), "{status} {location}");
        }
    }
}

#[tokio::test]
async fn redirects_of_other_statuses_are_mapped_too() {
    for status in [303, 308] {
        let (got, mapped, _) = redirect(status, "http://nm-7:8042/node").await;
        assert!([301, status].contains(&got), "{status} became {got}");
        assert_eq!(mapped, "http://pylon.example:8080/yarn/nm-7:8042/node");
    }
}

#[tokio::test]
async fn other_forms_of_location_are_mapped_too() {
    for location in ["/cluster/apps", "https://YARN/cluster/apps", "//YARN/cluster/apps"] {
        let (got, mapped, _) = redirect(302, location).await;
        let forms = ["http://pylon.example:8080/yarn/YARN/cluster/apps", "/yarn/YARN/cluster/apps"];
        assert!(got == 301 && forms.contains(&mapped.as_str()), "{location}: {got} {mapped}");
    }
    let (_, mapped, _) = redirect(302, "apps").await;
    let forms = ["http://pylon.example:8080/yarn/YARN/cluster/apps", "/yarn/YARN/cluster/apps", "apps"];
    assert!(forms.contains(&mapped.as_str()), "{mapped}");
    let (_, mapped, _) = redirect(302, "http://rm-2/cluster").await;
    let forms = [0, 80].map(|port| format!("http://pylon.example:8080/yarn/rm-2:{port}/cluster"));
    assert!(forms.contains(&mapped), "{mapped}");
}
