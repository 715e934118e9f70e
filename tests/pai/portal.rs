//! The portal: addresses of services in its pages become their public paths.

use crate::support::{Cluster, Pylon, Upstream, reply};

/// What the portal says about each service (by its name in braces), and what becomes of it.
const PORTAL: &[(&str, &str)] = &[
    ("{rest}/api/v1/jobs", "/rest-server/api/v1/jobs"),
    ("{rest}", "/rest-server"),
    ("{kubernetes}/api/v1/nodes", "/kubernetes/api/v1/nodes"),
    ("{kubernetes}", "/kubernetes"),
    ("{prometheus}/prometheus/api/v1", "/prometheus/api/v1"),
    ("{prometheus}/prometheus", "/prometheus"),
    ("{yarn}/cluster", "/yarn/cluster"),
    ("{yarn}", "/yarn"),
    ("{dashboard}", "/kubernetes-dashboard/"),
    ("{dashboard}/", "/kubernetes-dashboard/"),
    ("{dashboard}/#!/pod", "/kubernetes-dashboard/#!/pod"),
    ("{grafana}/d/abc", "/grafana/d/abc"),
    ("{grafana}", "/grafana"),
    ("{alert-manager}/alert-manager/api/v1/alerts", "/alert-manager/api/v1/alerts"),
    ("{alert-manager}/alert-manager", "/alert-manager"),
    ("{dshuttle}/browse", "/dshuttle/browse"),
    ("{dshuttle}", "/dshuttle"),
    ("{marketplace-api}/items", "/marketplace/api/items"),
    ("{marketplace-api}", "/marketplace/api"),
    ("{marketplace}/plugin.js", "/marketplace/plugin.js"),
    ("{registry-cache}/v2/", "/registry/cache/v2/"),
    ("http://elsewhere.example/rest", "http://elsewhere.example/rest"),
];

/// A page that names every service, and what becomes of it.
fn page(cluster: &Cluster) -> (String, String) {
    let address = |from: &str| match from.strip_prefix('{').and_then(|from| from.split_once('}')) {
        Some((service, rest)) => format!("{}{rest}", cluster[service].uri()),
        None => from.to_owned(),
    };
    let line = |url: &str| format!("url: '{url}', \"{url}\" x={url}");
    let sent: Vec<_> = PORTAL.iter().map(|(from, _)| line(&address(from))).collect();
    let expected: Vec<_> = PORTAL.iter().map(|(_, to)| line(to)).collect();
    (sent.join("\n"), expected.join("\n"))
}

#[tokio::test]
async fn the_portal_names_public_paths_only() {
    let cluster = Cluster::start().await;
    let (sent, expected) = page(&cluster);
    let portal = Upstream::named("portal")
        .at("/x.js", reply(200).body("application/javascript", &sent))
        .at("/x.html", reply(200).html(&sent))
        .at("/x.css", reply(200).body("text/css", &sent))
        .at("/x.json", reply(200).json(&sent))
        .at("/x.xml", reply(404).body("application/xml", &sent))
        .at("/x.txt", reply(500).body("text/plain;charset=UTF-8", &sent))
        .start()
        .await;
    let pylon = cluster.pylon_without(&["portal"]).env("PAI_WEB_PORTAL_URI", portal.uri()).start().await;
    for (path, status) in
        [("x.js", 200), ("x.html", 200), ("x.css", 200), ("x.json", 200), ("x.xml", 404), ("x.txt", 500)]
    {
        pylon.get(&format!("/{path}")).await.expect(status, &expected);
    }
}

#[tokio::test]
async fn what_is_not_configured_stays_in_the_portal() {
    let cluster = Cluster::start().await;
    let sent = format!("{} {} {}", cluster["grafana"].uri(), cluster["prometheus"].uri(), cluster["webhdfs"].uri());
    let portal = Upstream::named("portal").otherwise(reply(200).html(&sent)).start().await;
    let launch = cluster.pylon_without(&["portal", "grafana"]).env("PAI_WEB_PORTAL_URI", portal.uri());
    let pylon = launch.start().await;
    pylon.get("/x").await.expect(200, &sent);
}

#[tokio::test]
async fn the_longer_of_two_uris_wins() {
    let portal =
        Upstream::named("portal").otherwise(reply(200).html("http://10.9.8.7:8080/x http://10.9.8.7:80/y")).start();
    let portal = portal.await;
    let launch = Pylon::standalone().env("REST_SERVER_URI", "http://10.9.8.7:8080");
    let launch = launch.env("K8S_API_SERVER_URI", "http://10.9.8.7:80").env("PAI_WEB_PORTAL_URI", portal.uri());
    launch.start().await.get("/").await.expect(200, "/rest-server/x /kubernetes/y");
}

#[tokio::test]
async fn a_slash_at_the_end_of_an_uri_is_no_part_of_what_is_sought() {
    let portal =
        Upstream::named("portal").otherwise(reply(200).html("http://10.9.8.7:80/d http://10.9.8.7:80!")).start();
    let portal = portal.await;
    let launch = Pylon::standalone().env("GRAFANA_URI", "http://10.9.8.7:80/");
    let pylon = launch.env("PAI_WEB_PORTAL_URI", format!("{}/", portal.uri())).start().await;
    pylon.get("/").await.expect(200, "/grafana/d /grafana!");
}

#[tokio::test]
async fn replaced_text_is_not_scanned_again() {
    let rest = Upstream::named("rest").start().await;
    let nested = format!("{0}/{0} http://{0}", rest.uri());
    let portal = Upstream::named("portal").otherwise(reply(200).html(&nested)).start().await;
    let launch = Pylon::standalone().env("REST_SERVER_URI", rest.uri()).env("PAI_WEB_PORTAL_URI", portal.uri());
    launch.start().await.get("/").await.expect(200, "/rest-server//rest-server http:///rest-server");
}
