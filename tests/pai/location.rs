//! Where a redirect of an upstream leads the client: every form of Location, under the public prefix again.

use crate::support::{Cluster, Pylon, Reply, Response, Seen, Upstream, reply};

/// Answers with the status and the Location that the request asks for.
fn as_asked(seen: &Seen) -> Reply {
    let status = seen.header("x-status").and_then(|status| status.parse().ok()).unwrap_or(302);
    reply(status).header("Location", seen.header("x-location").unwrap_or_default()).text("see there")
}

const SERVICES: [&str; 12] = [
    "rest",
    "kubernetes",
    "webhdfs",
    "prometheus",
    "alert-manager",
    "dashboard",
    "grafana",
    "dshuttle",
    "marketplace-api",
    "marketplace",
    "registry-cache",
    "portal",
];

async fn cluster() -> (Cluster, Pylon) {
    Cluster::behind_pylon(SERVICES.map(|name| Upstream::named(name).otherwise_with(as_asked))).await
}

async fn ask(pylon: &Pylon, public: &str, status: u16, location: &str) -> Response {
    let request = pylon.request("GET", public).host("pylon.example:8080");
    request.header("X-Status", status.to_string()).header("X-Location", location).send().await
}

/// What a browser that asked for `http://pylon.example:8080{asked}` makes of this Location.
fn resolved(asked: &str, location: &str) -> String {
    let origin = "http://pylon.example:8080";
    if location.contains("://") {
        return location.to_owned();
    }
    if location.starts_with("//") {
        return format!("http:{location}");
    }
    let (path, rest) = location.split_at(location.find(['?', '#']).unwrap_or(location.len()));
    let directory = asked.rsplit_once('/').map_or("", |(directory, _)| directory);
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
    let mut segments: Vec<&str> = Vec::new();
    for segment in whole.split('/').skip(1) {
        match segment {
            ".." => drop(segments.pop()),
            "." => {}
            _ => segments.push(segment),
        }
    }
    format!("{origin}/{}{rest}", segments.join("/"))
}

const REST: &str = "/rest-server/api/v1/here";

#[tokio::test]
async fn an_absolute_location_under_the_api_becomes_public() {
    let (cluster, pylon) = cluster().await;
    let rest = cluster["rest"].uri();
    for path in ["", "/", "/v1/jobs", "/v1/jobs?a=%2F&&b", "/v2/x#y", "/v1/a%2Fb%20c", "?x=1"] {
        let response = ask(&pylon, REST, 302, &format!("{rest}/api{path}")).await;
        response.expect_redirect(302, &format!("http://pylon.example:8080/rest-server/api{path}"));
    }
}

#[tokio::test]
async fn every_status_with_a_location_is_mapped() {
    let (cluster, pylon) = cluster().await;
    let rest = cluster["rest"].uri();
    for status in [201, 202, 301, 302, 303, 307, 308] {
        let response = ask(&pylon, REST, status, &format!("{rest}/api/v1/there")).await;
        response.expect_redirect(status, "http://pylon.example:8080/rest-server/api/v1/there");
        assert_eq!(response.text(), "see there");
    }
}

#[tokio::test]
async fn other_forms_lead_to_the_same_place() {
    let (cluster, pylon) = cluster().await;
    let authority = cluster["rest"].authority();
    let forms = [
        ("/api/v1/there?x", "/rest-server/api/v1/there?x"),
        ("there", "/rest-server/api/v1/there"),
        ("./there?x=/y", "/rest-server/api/v1/there?x=/y"),
        ("../v2/there", "/rest-server/api/v2/there"),
        ("?page=2", "/rest-server/api/v1/?page=2"),
    ];
    for (location, public) in forms {
        let response = ask(&pylon, REST, 303, location).await;
        if location.starts_with('?') {
            assert!([location, "/rest-server/api/v1/here?page=2"].iter().any(|end| response.location().ends_with(end)));
        } else {
            assert_eq!(resolved(REST, response.location()), format!("http://pylon.example:8080{public}"), "{location}");
        }
    }
    for location in [format!("https://{authority}/api/v1/there"), format!("//{authority}/api/v1/there")] {
        let response = ask(&pylon, REST, 302, &location).await;
        let public = "http://pylon.example:8080/rest-server/api/v1/there";
        assert_eq!(resolved(REST, response.location()), public, "{location}");
    }
}

#[tokio::test]
async fn what_is_public_already_stays() {
    let (_cluster, pylon) = cluster().await;
    let stays = ["http://pylon.example:8080/rest-server/api/v1/there", "/rest-server/api/v1/there", "/rest-server/api"];
    for location in stays {
        let response = ask(&pylon, REST, 302, location).await;
        let expected = resolved(REST, location);
        assert_eq!(resolved(REST, response.location()), expected, "{location}");
    }
}

#[tokio::test]
async fn other_hosts_and_other_paths_stay() {
    let (cluster, pylon) = cluster().await;
    let rest = cluster["rest"].uri();
    let stays = [
        "http://login.example/api/v1".to_owned(),
        "https://login.example/oauth?redirect_uri=http://pylon.example/rest-server/api/v1".to_owned(),
        "http://127.0.0.1:1/api/v1".to_owned(),
        format!("{rest}0/api/v1"),
        format!("{rest}.evil.test/api/v1"),
        format!("http://login.example/?next={rest}/api/v1"),
        format!("{rest}/login"),
        format!("{rest}/apifoo"),
        "mailto:admin@pylon.example".to_owned(),
        "hdfs://namenode:8020/api/x".to_owned(),
    ];
    for location in stays {
        ask(&pylon, REST, 302, &location).await.expect_redirect(302, &location);
    }
}

#[tokio::test]
async fn every_service_comes_back_under_its_own_prefix() {
    let (cluster, pylon) = cluster().await;
    // The prefix in public, the service, and the prefix there.
    let prefixes = [
        ("/rest-server/api", "rest", "/api"),
        ("/kubernetes/api", "kubernetes", "/api"),
        ("/kubernetes/apis", "kubernetes", "/apis"),
        ("/webhdfs", "webhdfs", ""),
        ("/prometheus", "prometheus", "/prometheus"),
        ("/alert-manager", "alert-manager", "/alert-manager"),
        ("/kubernetes-dashboard", "dashboard", ""),
        ("/grafana", "grafana", ""),
        ("/dshuttle", "dshuttle", ""),
        ("/marketplace/api", "marketplace-api", ""),
        ("/marketplace", "marketplace", ""),
        ("/registry/cache", "registry-cache", ""),
        ("", "portal", ""),
    ];
    for (public, service, inside) in prefixes {
        let asked = format!("{public}/v1/here");
        let expected = format!("http://pylon.example:8080{public}/v1/there?x=%2F");
        let uri = cluster[service].uri();
        let https = uri.replace("http://", "https://");
        let forms = [
            format!("{uri}{inside}/v1/there?x=%2F"),
            format!("{https}{inside}/v1/there?x=%2F"),
            format!("{inside}/v1/there?x=%2F"),
            "there?x=%2F".to_owned(),
            format!("{public}/v1/there?x=%2F"),
            expected.clone(),
        ];
        for location in forms {
            let response = ask(&pylon, &asked, 302, &location).await;
            response.expect_status(302);
            assert_eq!(resolved(&asked, response.location()), expected, "{service}: {location}");
        }
    }
}

#[tokio::test]
async fn the_host_is_the_one_that_the_client_named() {
    let (cluster, pylon) = cluster().await;
    let location = format!("{}/api/v1/there", cluster["rest"].uri());
    for host in ["pylon.example", "pylon.example:80", "10.1.2.3:8080", "[::1]:8080"] {
        let request = pylon.request("GET", REST).host(host).header("X-Location", location.as_str());
        request.send().await.expect_redirect(302, &format!("http://{host}/rest-server/api/v1/there"));
    }
}

#[tokio::test]
async fn a_cookie_for_a_path_of_the_service_is_for_its_public_path() {
    let answer = reply(200).header("Set-Cookie", "s=1; Path=/api; HttpOnly; SameSite=Lax").text("hi");
    let cluster = Cluster::with([Upstream::named("grafana").otherwise(answer)]).await;
    let pylon = cluster.pylon().start().await;
    let response = pylon.get("/grafana/x").await;
    let cookie = response.header("set-cookie").unwrap_or_default().to_owned();
    assert_eq!(cookie.to_ascii_lowercase(), "s=1; path=/grafana/api; httponly; samesite=lax");
}
