//! The routes of PAI as a part of one's own file.

use crate::support::{Cluster, Pylon, Upstream};

const OWN: &str = r#"
systems: [pai]
upstreams:
  mine: { endpoints: ["${MINE_URI}"] }
routes:
  - { name: mine, path: "/grafana/mine/**", upstream: mine }
"#;

#[tokio::test]
async fn the_routes_are_taken_over() {
    let cluster = Cluster::start().await;
    let launch = Pylon::with_config("systems: [pai]\n").env("GRAFANA_URI", cluster["grafana"].uri());
    let pylon = launch.env("PAI_WEB_PORTAL_URI", cluster["portal"].uri()).start().await;
    pylon.get("/grafana/x?y").await.expect(200, "grafana");
    pylon.get("/grafana").await.expect_redirect(301, &format!("{}/grafana/", pylon.origin()));
    pylon.get("/rest-server/api/v1").await.expect(200, "portal");
    let arrived = ["grafana: GET /x?y", "portal: GET /rest-server/api/v1"];
    assert_eq!(cluster.took(), arrived);
}

#[tokio::test]
async fn a_more_specific_route_of_ones_own_wins() {
    let cluster = Cluster::start().await;
    let mine = Upstream::named("mine").start().await;
    let launch = Pylon::with_config(OWN).env("MINE_URI", mine.uri());
    let pylon = launch.env("GRAFANA_URI", cluster["grafana"].uri()).start().await;
    pylon.get("/grafana/mine/x").await.expect(200, "mine");
    assert_eq!(mine.only().target, "/grafana/mine/x");
    pylon.get("/grafana/minefield").await.expect(200, "grafana");
}

#[tokio::test]
async fn a_wrong_key_is_refused_with_a_suggestion() {
    let ended = Pylon::with_config("systems: [pai]\nroute: []\n").fails().await;
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains("route") && ended.log.contains("routes"), "{}", ended.log);
    assert!(ended.log.contains("pylon.yaml:"), "{}", ended.log);
}
