//! Stand-alone mode: what the environment switches on, what is left out, and the health check.

use crate::support::{Cluster, Pylon, Upstream, eventually};

#[tokio::test]
async fn healthz_is_answered() {
    let cluster = Cluster::start().await;
    let pylon = cluster.pylon().start().await;
    for target in ["/healthz", "/healthz?", "/healthz?x=1"] {
        let response = pylon.get(target).await;
        response.expect(200, "Pylon ready.");
        assert_eq!(response.header("content-type").map(|kind| kind.starts_with("text/plain")), Some(true));
    }
    assert!(cluster.took().is_empty());
}

#[tokio::test]
async fn healthz_answers_every_method() {
    let pylon = Pylon::standalone().start().await;
    for method in ["POST", "PUT", "OPTIONS"] {
        pylon.request(method, "/healthz").send().await.expect(200, "Pylon ready.");
    }
    let head = pylon.request("HEAD", "/healthz").send().await;
    head.expect(200, "");
    assert_eq!(head.header("content-length").unwrap_or("12"), "12");
}

#[tokio::test]
async fn healthz_answers_old_clients() {
    let pylon = Pylon::standalone().start().await;
    let response = pylon.raw("GET /healthz HTTP/1.0\r\n\r\n").await;
    response.expect(200, "Pylon ready.");
}

#[tokio::test]
async fn with_no_variable_it_starts_and_knows_no_path() {
    let pylon = Pylon::standalone().start().await;
    for target in ["/", "/grafana/", "/rest-server/api/v1", "/index.html"] {
        let response = pylon.get(target).await;
        response.expect_status(404);
        assert_ne!(response.header("server"), Some("Pingora"));
    }
}

#[tokio::test]
async fn an_unset_variable_leaves_its_routes_to_the_portal() {
    let cluster = Cluster::start().await;
    let left_out = [
        ("rest", "/rest-server/api/v1"),
        ("kubernetes", "/kubernetes/api/v1"),
        ("webhdfs", "/webhdfs/api/v1/x"),
        ("webhdfs", "/webhdfs"),
        ("prometheus", "/prometheus/graph"),
        ("alert-manager", "/alert-manager/x"),
        ("dashboard", "/kubernetes-dashboard/x"),
        ("yarn", "/yarn/cluster"),
        ("grafana", "/grafana/x"),
        ("grafana", "/grafana"),
        ("dshuttle", "/dshuttle/x"),
        ("marketplace-api", "/marketplace/api/x"),
        ("registry-cache", "/registry/cache/x"),
    ];
    let services: Vec<_> = left_out.iter().map(|(service, _)| *service).chain(["marketplace"]).collect();
    let pylon = cluster.pylon_without(&services).start().await;
    for (_, public) in left_out {
        pylon.get(public).await.expect_status(200);
        assert_eq!(cluster.took(), [format!("portal: GET {public}")]);
    }
}

#[tokio::test]
async fn an_unset_variable_is_named_at_the_start() {
    let cluster = Cluster::start().await;
    let pylon = cluster.pylon_without(&["grafana", "webhdfs"]).start().await;
    eventually("the log to name what is left out", || {
        let log = pylon.log();
        log.contains("GRAFANA_URI") && log.contains("WEBHDFS_URI")
    })
    .await;
    assert!(!pylon.log().contains("PROMETHEUS_URI is not set"), "{}", pylon.log());
}

#[tokio::test]
async fn an_empty_variable_is_as_good_as_none() {
    let portal = Upstream::named("portal").start().await;
    let launch = Pylon::standalone().env("PAI_WEB_PORTAL_URI", portal.uri()).env("GRAFANA_URI", "");
    let pylon = launch.start().await;
    pylon.get("/grafana/x").await.expect(200, "portal");
}

#[tokio::test]
async fn without_a_portal_the_other_routes_serve() {
    let cluster = Cluster::start().await;
    let pylon = cluster.pylon_without(&["portal"]).start().await;
    pylon.get("/grafana/x").await.expect(200, "grafana");
    pylon.get("/index.html").await.expect_status(404);
    pylon.get("/grafanafoo").await.expect_status(404);
}

#[tokio::test]
async fn the_api_of_the_marketplace_may_be_there_without_its_pages() {
    let cluster = Cluster::start().await;
    let pylon = cluster.pylon_without(&["marketplace"]).start().await;
    pylon.get("/marketplace/api/x").await.expect(200, "marketplace-api");
    pylon.get("/marketplace/x").await.expect(200, "portal");
}

#[tokio::test]
async fn the_alert_manager_may_be_spelt_either_way() {
    for variable in ["ALERT_MANGER_URI", "ALERT_MANAGER_URI"] {
        let alerts = Upstream::named("alerts").start().await;
        let pylon = Pylon::standalone().env(variable, alerts.uri()).start().await;
        pylon.get("/alert-manager/x").await.expect(200, "alerts");
    }
}

#[tokio::test]
async fn yarn_and_webhdfs_need_no_cluster_type() {
    let webhdfs = Upstream::named("webhdfs").start().await;
    let launch = Pylon::standalone().env("WEBHDFS_URI", webhdfs.uri());
    let pylon = launch.env("YARN_WEB_PORTAL_URI", "http://rm.example:8088").start().await;
    pylon.get("/webhdfs/api/v1/x").await.expect(200, "webhdfs");
    let response = pylon.get("/yarn/x").await;
    response.expect_redirect(301, &format!("{}/yarn/rm.example:8088/x", pylon.origin()));
}

#[tokio::test]
async fn a_cluster_without_yarn_serves_the_rest() {
    let cluster = Cluster::start().await;
    let launch = cluster.pylon_without(&["yarn", "webhdfs"]).env("CLUSTER_TYPE", "k8s");
    let pylon = launch.start().await;
    pylon.get("/rest-server/api/v1").await.expect(200, "rest");
    pylon.get("/kubernetes/api/v1").await.expect(200, "kubernetes");
    pylon.get("/yarn/cluster").await.expect(200, "portal");
    pylon.get("/webhdfs/api/v1").await.expect(200, "portal");
}

#[tokio::test]
async fn an_uri_without_a_scheme_is_refused_with_the_cure() {
    let ended = Pylon::standalone().env("REST_SERVER_URI", "10.0.0.1:9186").fails().await;
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    assert!(ended.log.contains("REST_SERVER_URI"), "{}", ended.log);
    assert!(ended.log.contains("http://10.0.0.1:9186"), "{}", ended.log);
}

#[tokio::test]
async fn all_wrong_variables_are_named_at_once() {
    let launch = Pylon::standalone().env("REST_SERVER_URI", "10.0.0.1:9186");
    let ended = launch.env("GRAFANA_URI", "grafana").env("PYLON_TRUSTED_PROXIES", "10.0.0.0/99").fails().await;
    assert_eq!(ended.code, Some(78), "{}", ended.log);
    for name in ["REST_SERVER_URI", "GRAFANA_URI", "PYLON_TRUSTED_PROXIES"] {
        assert!(ended.log.contains(name), "{name} is not in:\n{}", ended.log);
    }
}

#[tokio::test]
async fn the_admin_port_leads_to_no_service() {
    let cluster = Cluster::start().await;
    let pylon = cluster.pylon().start().await;
    let response = pylon.admin().get("/grafana/x").await;
    assert_ne!(response.status, 200);
    assert!(cluster.took().is_empty());
}

#[tokio::test]
async fn an_uri_with_a_path_keeps_it_before_the_rest() {
    let rest = Upstream::named("rest").start().await;
    let grafana = Upstream::named("grafana").start().await;
    let portal = Upstream::named("portal").start().await;
    let pylon = Pylon::standalone()
        .env("REST_SERVER_URI", format!("{}/base", rest.uri()))
        .env("GRAFANA_URI", format!("{}/sub/path/", grafana.uri()))
        .env("PAI_WEB_PORTAL_URI", format!("{}/ui", portal.uri()))
        .start()
        .await;
    pylon.get("/rest-server/api/v1?x").await.expect_status(200);
    pylon.get("/grafana/d/1").await.expect_status(200);
    pylon.get("/index.html").await.expect_status(200);
    assert_eq!(rest.only().target, "/base/api/v1?x");
    assert_eq!(grafana.only().target, "/sub/path/d/1");
    assert_eq!(portal.only().target, "/ui/index.html");
}

#[tokio::test]
async fn an_uri_may_end_in_a_slash() {
    let cluster = Cluster::start().await;
    let variables = [
        ("rest", "REST_SERVER_URI", "/rest-server/api/v1", "/api/v1"),
        ("kubernetes", "K8S_API_SERVER_URI", "/kubernetes/apis/x", "/apis/x"),
        ("webhdfs", "WEBHDFS_URI", "/webhdfs/api/v1/x", "/webhdfs/v1/x"),
        ("prometheus", "PROMETHEUS_URI", "/prometheus/graph", "/prometheus/graph"),
        ("alert-manager", "ALERT_MANGER_URI", "/alert-manager/x", "/alert-manager/x"),
        ("dashboard", "K8S_DASHBOARD_URI", "/kubernetes-dashboard/x", "/x"),
        ("grafana", "GRAFANA_URI", "/grafana/x", "/x"),
        ("dshuttle", "DSHUTTLE_URI", "/dshuttle/x", "/x"),
        ("marketplace-api", "MARKETPLACE_API_URI", "/marketplace/api/x", "/x"),
        ("marketplace", "MARKETPLACE_WEBPORTAL_PLUGIN", "/marketplace/x", "/x"),
        ("registry-cache", "DOCKER_CACHE_PLUGIN", "/registry/cache/x", "/x"),
        ("portal", "PAI_WEB_PORTAL_URI", "/x", "/x"),
    ];
    let launch = variables.iter().fold(Pylon::standalone(), |launch, (service, variable, ..)| {
        launch.env(variable, format!("{}/", cluster[service].uri()))
    });
    let pylon = launch.start().await;
    for (service, _, public, arrives) in variables {
        pylon.get(public).await.expect_status(200);
        assert_eq!(cluster.took(), [format!("{service}: GET {arrives}")], "{public}");
    }
}
