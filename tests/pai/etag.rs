//! The `ETag` of a rewritten answer carries a tag of the rules, so that no cache revalidates across a change of them.

use crate::support::{Cluster, Launch, Pylon, Reply, Seen, Upstream, reply};

/// The routes that tag: a public path, the service, the path there.
const ROUTES: &[(&str, &str, &str)] = &[("/rest-server/api/x", "rest", "/api/x"), ("/x", "portal", "/x")];

/// Answers with the `ETag` that the request asks for, and 304 when it asks for that.
fn as_asked(seen: &Seen) -> Reply {
    let status = seen.header("x-status").and_then(|status| status.parse().ok()).unwrap_or(200);
    let answer = reply(status).text("hi");
    match seen.header("x-etag") {
        Some(etag) => answer.header("ETag", etag),
        None => answer,
    }
}

async fn cluster() -> Cluster {
    Cluster::with(ROUTES.iter().map(|(_, service, path)| Upstream::named(service).at_with(path, as_asked))).await
}

async fn tagging(launch: Launch) -> Pylon {
    launch.env("PYLON_CONF_ETAG", "r-7").start().await
}

#[tokio::test]
async fn the_tag_is_added() {
    let cluster = cluster().await;
    let pylon = tagging(cluster.pylon()).await;
    let cases = [
        (r#""v""#, r#""v|r-7""#),
        (r#"W/"v""#, r#"W/"v|r-7""#),
        (r#""a,b c|d""#, r#""a,b c|d|r-7""#),
        (r#""5c-3f:2b/=""#, r#""5c-3f:2b/=|r-7""#),
        (r#""v|r-7""#, r#""v|r-7|r-7""#),
    ];
    for (public, ..) in ROUTES {
        for (sent, got) in cases {
            let response = pylon.request("GET", public).header("X-ETag", sent).send().await;
            response.expect(200, "hi");
            assert_eq!(response.headers.all("etag"), [got], "{public}");
            let response = pylon.request("HEAD", public).header("X-ETag", sent).send().await;
            assert_eq!(response.headers.all("etag"), [got], "HEAD {public}");
        }
    }
}

#[tokio::test]
async fn without_an_etag_none_is_made() {
    let cluster = cluster().await;
    let pylon = tagging(cluster.pylon()).await;
    for (public, ..) in ROUTES {
        let response = pylon.get(public).await;
        response.expect(200, "hi");
        assert_eq!(response.header("etag"), None, "{public}");
    }
}

#[tokio::test]
async fn the_tag_is_taken_off_what_the_client_has() {
    let cluster = cluster().await;
    let pylon = tagging(cluster.pylon()).await;
    let cases = [
        (r#""v|r-7""#, Some(r#""v""#)),
        (r#"W/"v|r-7""#, Some(r#"W/"v""#)),
        (r#""a|r-7", W/"b|r-7","c|r-7""#, Some(r#""a",W/"b","c""#)),
        (r#""a,b|r-7", "c|r-7""#, Some(r#""a,b","c""#)),
        (r#""v|r-7|r-7""#, Some(r#""v|r-7""#)),
        (r#""v""#, None),
        (r#""v|r-8""#, None),
        (r#"W/"v|other""#, None),
        (r#""v|r-77""#, None),
        (r#""vr-7""#, None),
        (r#""a|r-7", "b|r-8", "c""#, Some(r#""a""#)),
        (r#""b|r-8", W/"a|r-7""#, Some(r#"W/"a""#)),
        (r#""a|r-8", "b""#, None),
        ("*", Some("*")),
    ];
    for (public, service, _) in ROUTES {
        for (said, arrives) in cases {
            pylon.request("GET", public).header("If-None-Match", said).send().await.expect_status(200);
            let seen = cluster[service].take_only();
            let got = seen.header("if-none-match").map(|value| value.replace(", ", ","));
            assert_eq!(got.as_deref(), arrives, "{public} {said}");
        }
    }
}

#[tokio::test]
async fn a_304_carries_the_tag() {
    let cluster = cluster().await;
    let pylon = tagging(cluster.pylon()).await;
    for (public, service, _) in ROUTES {
        let request = pylon.request("GET", public).header("X-Status", "304").header("X-ETag", "\"v\"");
        let response = request.header("If-None-Match", "\"v|r-7\"").send().await;
        response.expect(304, "");
        assert_eq!(response.headers.all("etag"), ["\"v|r-7\""], "{public}");
        assert_eq!(cluster[service].take_only().header("if-none-match"), Some("\"v\""));
    }
}

#[tokio::test]
async fn a_conditional_change_names_the_upstreams_etag() {
    let cluster = cluster().await;
    let pylon = tagging(cluster.pylon()).await;
    let request = pylon.request("PUT", "/rest-server/api/x").header("If-Match", "\"v|r-7\"");
    request.body("{}").send().await.expect_status(200);
    assert_eq!(cluster["rest"].only().header("if-match"), Some("\"v\""));
}

/// The tag that this Pylon adds on the portal's route.
async fn tag_of(pylon: &Pylon) -> String {
    let response = pylon.request("GET", "/x").header("X-ETag", "\"v\"").send().await;
    let etag = response.header("etag").unwrap_or_default();
    etag.strip_prefix("\"v|").and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_tag_is_else_a_hash_of_the_rules() {
    let cluster = cluster().await;
    let one = cluster.pylon().start().await;
    let same = cluster.pylon().start().await;
    let other = cluster.pylon_without(&["grafana"]).start().await;
    let [tag, same, other] = [tag_of(&one).await, tag_of(&same).await, tag_of(&other).await];
    assert!(!tag.is_empty());
    assert_eq!(tag, same, "the same rules have the same tag, in every process");
    assert_ne!(tag, other, "other rules have another tag");
    cluster.took();
    one.request("GET", "/x").header("If-None-Match", format!("\"v|{tag}\"")).send().await.expect_status(200);
    one.request("GET", "/x").header("If-None-Match", format!("\"v|{other}\"")).send().await.expect_status(200);
    let got: Vec<_> =
        cluster["portal"].seen().iter().map(|seen| seen.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(got, [Some("\"v\"".to_owned()), None]);
}

#[tokio::test]
async fn other_routes_leave_etags_alone() {
    let services = [
        ("kubernetes", "/kubernetes/api/x", "/api/x"),
        ("prometheus", "/prometheus/x", "/prometheus/x"),
        ("marketplace-api", "/marketplace/api/x", "/x"),
        ("registry-cache", "/registry/cache/x", "/x"),
    ];
    let cluster =
        Cluster::with(services.iter().map(|(name, _, path)| Upstream::named(name).at_with(path, as_asked))).await;
    let pylon = tagging(cluster.pylon()).await;
    for (service, public, _) in services {
        let request = pylon.request("GET", public).header("X-ETag", "\"v\"").header("If-None-Match", "\"w\", \"x|y\"");
        assert_eq!(request.send().await.headers.all("etag"), ["\"v\""], "{public}");
        assert_eq!(cluster[service].take_only().header("if-none-match"), Some("\"w\", \"x|y\""));
    }
}
