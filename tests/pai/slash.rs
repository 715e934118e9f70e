//! Redirects that Pylon itself answers: to the form with a slash, and from `/yarn` to the resource manager.

use crate::support::{Cluster, Pylon};

const WITH_SLASH: &[&str] = &[
    "/grafana",
    "/yarn",
    "/webhdfs",
    "/kubernetes-dashboard",
    "/dshuttle",
    "/marketplace",
    "/marketplace/api",
    "/registry/cache",
];

#[tokio::test]
async fn the_form_without_a_slash_redirects() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for path in WITH_SLASH {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
            let response = pylon.request(method, path).send().await;
            response.expect_redirect(301, &format!("{}{path}/", pylon.origin()));
        }
    }
    assert!(cluster.took().is_empty());
}

#[tokio::test]
async fn the_slash_goes_before_the_query() {
    let (_cluster, pylon) = Cluster::behind_pylon([]).await;
    for path in WITH_SLASH {
        for query in ["?x=1", "?a=%2F&&b", "?", "?next=/x"] {
            let response = pylon.get(&format!("{path}{query}")).await;
            response.expect_redirect(301, &format!("{}{path}/{query}", pylon.origin()));
        }
    }
}

#[tokio::test]
async fn the_redirect_names_the_host_as_the_client_does() {
    let (_cluster, pylon) = Cluster::behind_pylon([]).await;
    for host in ["pylon.example", "pylon.example:8080", "PAI.example", "10.1.2.3", "[::1]", "[fd00::1]:8080"] {
        for path in WITH_SLASH {
            let response = pylon.request("GET", path).host(host).send().await;
            response.expect_redirect(301, &format!("http://{host}{path}/"));
        }
    }
}

#[tokio::test]
async fn yarn_leads_to_the_resource_manager() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let manager = cluster["yarn"].authority();
    for rest in ["/", "/cluster", "/cluster/apps/RUNNING", "/cluster/", "/ws/v1/cluster?x=1", "/?", "/x?a=%2F&&b"] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
            let response = pylon.request(method, &format!("/yarn{rest}")).send().await;
            response.expect_redirect(301, &format!("{}/yarn/{manager}{rest}", pylon.origin()));
        }
    }
    assert!(cluster.took().is_empty());
}

#[tokio::test]
async fn yarn_keeps_the_percent_encoding() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let manager = cluster["yarn"].authority();
    for rest in ["/a%20b", "/a%2Fb", "/%0D%0ASet-Cookie:x", "/%7Ex"] {
        let response = pylon.get(&format!("/yarn{rest}")).await;
        response.expect_redirect(301, &format!("{}/yarn/{manager}{rest}", pylon.origin()));
    }
}

#[tokio::test]
async fn yarn_names_the_host_as_the_client_does() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let manager = cluster["yarn"].authority();
    for host in ["pylon.example", "pylon.example:8080"] {
        let response = pylon.request("GET", "/yarn/cluster").host(host).send().await;
        response.expect_redirect(301, &format!("http://{host}/yarn/{manager}/cluster"));
    }
}

#[tokio::test]
async fn the_uri_of_yarn_may_end_in_a_slash() {
    let pylon = Pylon::standalone().env("YARN_WEB_PORTAL_URI", "http://rm.example:8088/").start().await;
    let response = pylon.get("/yarn/cluster").await;
    response.expect_redirect(301, &format!("{}/yarn/rm.example:8088/cluster", pylon.origin()));
}

#[tokio::test]
async fn a_body_with_a_redirected_request_does_no_harm() {
    let (_cluster, pylon) = Cluster::behind_pylon([]).await;
    let body = vec![b'x'; 200_000];
    let response = pylon.request("POST", "/yarn/ws/v1/cluster/apps").body(&body).send().await;
    response.expect_status(301);
    let response = pylon.request("POST", "/grafana").chunked(&body, 1000).send().await;
    response.expect_status(301);
}

#[tokio::test]
async fn a_client_goes_on_after_a_redirect() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let mut connection = pylon.connect().await;
    for _ in 0..3 {
        let redirected = connection.ask(pylon.request("POST", "/grafana").body("ignored")).await;
        redirected.expect_status(301);
        let served = connection.ask(pylon.request("GET", "/grafana/x")).await;
        served.expect(200, "grafana");
        assert_eq!(cluster.took(), ["grafana: GET /x"]);
    }
}

#[tokio::test]
async fn a_redirect_for_a_client_that_names_no_host_still_leads_somewhere() {
    let (_cluster, pylon) = Cluster::behind_pylon([]).await;
    let response = pylon.raw("GET /grafana?x HTTP/1.0\r\n\r\n").await;
    response.expect_status(301);
    let forms = ["/grafana/?x".to_owned(), format!("{}/grafana/?x", pylon.origin())];
    assert!(forms.contains(&response.location().to_owned()), "{}", response.location());
}
