//! The route table of PAI: who gets a request, and with which target.

use crate::support::Cluster;

/// The public target, who gets it, and the target that arrives there.
type Row = (&'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    ("/rest-server/api", "rest", "/api"),
    ("/rest-server/api/", "rest", "/api/"),
    ("/rest-server/api/v1/jobs", "rest", "/api/v1/jobs"),
    ("/rest-server/api/v2/jobs/", "rest", "/api/v2/jobs/"),
    ("/kubernetes/api", "kubernetes", "/api"),
    ("/kubernetes/api/", "kubernetes", "/api/"),
    ("/kubernetes/api/v1/nodes", "kubernetes", "/api/v1/nodes"),
    ("/kubernetes/apis", "kubernetes", "/apis"),
    ("/kubernetes/apis/", "kubernetes", "/apis/"),
    ("/kubernetes/apis/apps/v1/deployments", "kubernetes", "/apis/apps/v1/deployments"),
    ("/webhdfs/api", "webhdfs", "/webhdfs"),
    ("/webhdfs/api/", "webhdfs", "/webhdfs/"),
    ("/webhdfs/api/v1/user/x?op=LISTSTATUS", "webhdfs", "/webhdfs/v1/user/x?op=LISTSTATUS"),
    ("/webhdfs/webhdfs", "webhdfs", "/webhdfs"),
    ("/webhdfs/webhdfs/", "webhdfs", "/webhdfs/"),
    ("/webhdfs/webhdfs/v1/user/x?op=LISTSTATUS", "webhdfs", "/webhdfs/v1/user/x?op=LISTSTATUS"),
    ("/webhdfs/", "webhdfs", "/"),
    ("/webhdfs/explorer.html", "webhdfs", "/explorer.html"),
    ("/webhdfs/static/bootstrap.css", "webhdfs", "/static/bootstrap.css"),
    ("/prometheus", "prometheus", "/prometheus"),
    ("/prometheus/", "prometheus", "/prometheus/"),
    ("/prometheus/api/v1/query?query=up", "prometheus", "/prometheus/api/v1/query?query=up"),
    ("/alert-manager", "alert-manager", "/alert-manager"),
    ("/alert-manager/", "alert-manager", "/alert-manager/"),
    ("/alert-manager/api/v1/alerts", "alert-manager", "/alert-manager/api/v1/alerts"),
    ("/kubernetes-dashboard/", "dashboard", "/"),
    ("/kubernetes-dashboard/static/app.js", "dashboard", "/static/app.js"),
    ("/grafana/", "grafana", "/"),
    ("/grafana/d/abc/board", "grafana", "/d/abc/board"),
    ("/dshuttle/", "dshuttle", "/"),
    ("/dshuttle/browse", "dshuttle", "/browse"),
    ("/marketplace/api/", "marketplace-api", "/"),
    ("/marketplace/api/items/1", "marketplace-api", "/items/1"),
    ("/marketplace/", "marketplace", "/"),
    ("/marketplace/plugin.js", "marketplace", "/plugin.js"),
    ("/registry/cache/", "registry-cache", "/"),
    ("/registry/cache/v2/library/tags", "registry-cache", "/v2/library/tags"),
    ("/", "portal", "/"),
    ("/index.html", "portal", "/index.html"),
    ("/job-list.html/", "portal", "/job-list.html/"),
];

/// What only begins like a route, or stands elsewhere in the path, or differs in case.
const BOUNDARIES: &[Row] = &[
    ("/rest-server", "portal", "/rest-server"),
    ("/rest-server/", "portal", "/rest-server/"),
    ("/rest-server/apifoo", "portal", "/rest-server/apifoo"),
    ("/rest-server/apis", "portal", "/rest-server/apis"),
    ("/rest-server/v1/api", "portal", "/rest-server/v1/api"),
    ("/kubernetes", "portal", "/kubernetes"),
    ("/kubernetes/version", "portal", "/kubernetes/version"),
    ("/kubernetes/apifoo", "portal", "/kubernetes/apifoo"),
    ("/kubernetes/apisfoo", "portal", "/kubernetes/apisfoo"),
    ("/webhdfs/apifoo", "webhdfs", "/apifoo"),
    ("/webhdfs/webhdfsfoo", "webhdfs", "/webhdfsfoo"),
    ("/webhdfsfoo", "portal", "/webhdfsfoo"),
    ("/prometheusfoo", "portal", "/prometheusfoo"),
    ("/prometheus.evil.test/", "portal", "/prometheus.evil.test/"),
    ("/alert-managerfoo", "portal", "/alert-managerfoo"),
    ("/kubernetes-dashboardfoo", "portal", "/kubernetes-dashboardfoo"),
    ("/kubernetes-dashboard.evil.test/", "portal", "/kubernetes-dashboard.evil.test/"),
    ("/grafana.evil.test/", "portal", "/grafana.evil.test/"),
    ("/grafana@evil.test/", "portal", "/grafana@evil.test/"),
    ("/grafana:80/", "portal", "/grafana:80/"),
    ("/Grafana/", "portal", "/Grafana/"),
    ("/x/grafana/", "portal", "/x/grafana/"),
    ("/dshuttlefoo", "portal", "/dshuttlefoo"),
    ("/marketplacefoo", "portal", "/marketplacefoo"),
    ("/marketplace/apifoo", "marketplace", "/apifoo"),
    ("/registry", "portal", "/registry"),
    ("/registry/cachefoo", "portal", "/registry/cachefoo"),
    ("/yarnfoo", "portal", "/yarnfoo"),
    ("/log-manager", "portal", "/log-manager"),
    ("/log-manager/foo", "portal", "/log-manager/foo"),
    ("/a", "portal", "/a"),
    ("/a/foo", "portal", "/a/foo"),
    ("/healthz/", "portal", "/healthz/"),
    ("/healthz/x", "portal", "/healthz/x"),
    ("/healthzfoo", "portal", "/healthzfoo"),
];

/// Under each prefix, what has to arrive as it was sent.
const PREFIXES: &[Row] = &[
    ("/rest-server/api", "rest", "/api"),
    ("/kubernetes/api", "kubernetes", "/api"),
    ("/kubernetes/apis", "kubernetes", "/apis"),
    ("/webhdfs/api", "webhdfs", "/webhdfs"),
    ("/webhdfs/webhdfs", "webhdfs", "/webhdfs"),
    ("/webhdfs", "webhdfs", ""),
    ("/prometheus", "prometheus", "/prometheus"),
    ("/alert-manager", "alert-manager", "/alert-manager"),
    ("/kubernetes-dashboard", "dashboard", ""),
    ("/grafana", "grafana", ""),
    ("/dshuttle", "dshuttle", ""),
    ("/marketplace/api", "marketplace-api", ""),
    ("/marketplace", "marketplace", ""),
    ("/registry/cache", "registry-cache", ""),
    ("/somewhere", "portal", "/somewhere"),
];

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];

async fn check(methods: &[&str], rows: &[Row]) {
    let cluster = Cluster::start().await;
    let pylon = cluster.pylon().start().await;
    for (public, service, arrives) in rows {
        for method in methods {
            pylon.request(method, public).send().await.expect_status(200);
            assert_eq!(cluster.took(), [format!("{service}: {method} {arrives}")], "{method} {public}");
        }
    }
}

/// Sends each of `tails` under every prefix.
async fn check_tails(tails: &[&str]) {
    let cluster = Cluster::start().await;
    let pylon = cluster.pylon().start().await;
    for (prefix, service, arrives) in PREFIXES {
        for tail in tails {
            pylon.get(&format!("{prefix}{tail}")).await.expect_status(200);
            assert_eq!(cluster.took(), [format!("{service}: GET {arrives}{tail}")], "{prefix}{tail}");
        }
    }
}

#[tokio::test]
async fn every_row_leads_to_its_service() {
    check(&["GET"], ROWS).await;
}

#[tokio::test]
async fn every_method_passes_on_every_row() {
    check(METHODS, ROWS).await;
}

#[tokio::test]
async fn a_route_ends_at_a_segment_boundary() {
    check(&["GET", "POST"], BOUNDARIES).await;
}

#[tokio::test]
async fn the_query_is_kept_byte_for_byte() {
    check_tails(&[
        "/x?",
        "/x??",
        "/x?a=%2F&&b",
        "/x?a=1&a=2&=&b",
        "/x?next=/y/../z//%2e%2e/",
        "/x?q=%zz%",
        "/x?a+b=c%20d;e",
        "/x?query=rate(up{job=~'a|b'}[5m])^2",
    ])
    .await;
}

#[tokio::test]
async fn a_query_without_a_further_path_is_kept() {
    let rows = [
        ("/rest-server/api?a=%2F", "rest: GET /api?a=%2F"),
        ("/kubernetes/apis?", "kubernetes: GET /apis?"),
        ("/webhdfs/api?op=X", "webhdfs: GET /webhdfs?op=X"),
        ("/prometheus?a&&b", "prometheus: GET /prometheus?a&&b"),
        ("/marketplace/?a=b", "marketplace: GET /?a=b"),
        ("/registry/cache/?a=b", "registry-cache: GET /?a=b"),
        ("/?a=b", "portal: GET /?a=b"),
    ];
    let cluster = Cluster::start().await;
    let pylon = cluster.pylon().start().await;
    for (public, arrives) in rows {
        pylon.get(public).await.expect_status(200);
        assert_eq!(cluster.took(), [arrives], "{public}");
    }
}

#[tokio::test]
async fn percent_encodings_are_kept() {
    check_tails(&["/a%20b", "/%7Euser/~user", "/%C3%A9%c3%a9", "/100%25", "/a%3Fb%23c", "/%41%62", "/a%3ab%40c"]).await;
}

#[tokio::test]
async fn reserved_and_unusual_characters_are_kept() {
    check_tails(&["/a+b;c=d,e@f:g!$&'()*", "/~x/-_.", "/.hidden/..x/x..", "/a=b&c"]).await;
}
