//! Paths that could be read in two ways: refused where the ways lead to different routes, else kept byte for byte.

use crate::support::Cluster;

async fn expect_refused(targets: &[&str]) {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for target in targets {
        for method in ["GET", "POST"] {
            let response = pylon.request(method, target).send().await;
            assert_eq!(response.status, 400, "{target}: {response:?}");
            assert_eq!(cluster.took(), [""; 0], "{target}");
        }
    }
    pylon.get("/grafana/x").await.expect(200, "grafana");
}

async fn expect_kept(rows: &[(&str, &str)]) {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for (public, arrives) in rows {
        pylon.get(public).await.expect_status(200);
        assert_eq!(cluster.took(), [*arrives], "{public}");
    }
}

#[tokio::test]
async fn an_encoded_slash_must_not_cross_a_route() {
    expect_refused(&[
        "/rest-server%2Fapi/v1",
        "/rest-server%2fapi",
        "/kubernetes%2Fapi%2Fv1",
        "/grafana%2Fx",
        "/grafana%2F",
        "/prometheus%2Fgraph",
        "/marketplace/api%2Fx",
        "/webhdfs/api%2Fv1",
        "/x/..%2Fgrafana/y",
    ])
    .await;
}

#[tokio::test]
async fn an_encoded_dot_segment_must_not_cross_a_route() {
    expect_refused(&[
        "/grafana/%2e%2e/kubernetes/api/v1/secrets",
        "/grafana/%2E./kubernetes/api",
        "/grafana/.%2e/kubernetes/api",
        "/grafana/..%2Fkubernetes/api",
        "/grafana/%2e%2e%2fkubernetes/api",
        "/webhdfs/api/%2e%2e/x",
        "/rest-server/api/..%2f..%2fgrafana",
        "/a/127.0.0.1:80/%2e%2e/%2e%2e/kubernetes/api",
        "/x/%2e%2e/kubernetes/api",
    ])
    .await;
}

#[tokio::test]
async fn a_backslash_must_not_cross_a_route() {
    expect_refused(&[
        "/grafana/..%5Ckubernetes%5Capi",
        "/grafana/..%5ckubernetes/api",
        "/rest-server%5Capi/v1",
        "/grafana%5Cx",
        "/grafana\\..\\kubernetes\\api",
        "/grafana/..\\kubernetes/api",
    ])
    .await;
}

#[tokio::test]
async fn a_nul_must_not_cross_a_route() {
    expect_refused(&["/grafana%00", "/rest-server/api%00", "/kubernetes/api%00/x", "/prometheus%00/x", "/healthz%00"])
        .await;
}

#[tokio::test]
async fn inside_a_route_they_are_kept() {
    expect_kept(&[
        ("/webhdfs/api/v1/a%2Fb", "webhdfs: GET /webhdfs/v1/a%2Fb"),
        ("/webhdfs/api/v1/a%2fb", "webhdfs: GET /webhdfs/v1/a%2fb"),
        ("/webhdfs/api/v1/%2F%2Fa", "webhdfs: GET /webhdfs/v1/%2F%2Fa"),
        ("/rest-server/api/v1/jobs/user~job%2Fname", "rest: GET /api/v1/jobs/user~job%2Fname"),
        ("/kubernetes/api/v1/proxy/a%5Cb", "kubernetes: GET /api/v1/proxy/a%5Cb"),
        ("/prometheus/a/%2e%2e/b", "prometheus: GET /prometheus/a/%2e%2e/b"),
        ("/prometheus/a%2F..%2Fb", "prometheus: GET /prometheus/a%2F..%2Fb"),
        ("/grafana/a/b/%2e%2e%2Fc", "grafana: GET /a/b/%2e%2e%2Fc"),
        ("/x%2Fy", "portal: GET /x%2Fy"),
        ("/x/%2e/y", "portal: GET /x/%2e/y"),
        ("/x%5Cy", "portal: GET /x%5Cy"),
    ])
    .await;
}

#[tokio::test]
async fn encoded_control_characters_stay_encoded() {
    expect_kept(&[
        ("/webhdfs/api/v1/a%0Db", "webhdfs: GET /webhdfs/v1/a%0Db"),
        ("/webhdfs/api/v1/a%0D%0AX-Evil:%201", "webhdfs: GET /webhdfs/v1/a%0D%0AX-Evil:%201"),
        ("/rest-server/api/v1/%09%1b%7f", "rest: GET /api/v1/%09%1b%7f"),
        ("/grafana/a%0ab", "grafana: GET /a%0ab"),
    ])
    .await;
}

#[tokio::test]
async fn an_encoded_letter_is_that_letter() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for (public, service) in
        [("/%67rafana/x", "grafana"), ("/rest%2Dserver/api/v1", "rest"), ("/prometheus/%67raph", "prometheus")]
    {
        pylon.get(public).await.expect(200, service);
        cluster.took();
    }
    pylon.get("/health%7A").await.expect(200, "Pylon ready.");
}

#[tokio::test]
async fn plain_dot_segments_are_resolved_before_the_route_is_chosen() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let rows = [
        ("/grafana/../kubernetes/api/v1", "kubernetes: GET /api/v1"),
        ("/grafana/./x", "grafana: GET /x"),
        ("/x/../grafana/y", "grafana: GET /y"),
        ("/kubernetes/api/../apis/x", "kubernetes: GET /apis/x"),
        ("/grafana/x/../y?next=/../z", "grafana: GET /y?next=/../z"),
        ("/rest-server/api/v1/../../../index.html", "portal: GET /index.html"),
    ];
    for (public, arrives) in rows {
        pylon.get(public).await.expect_status(200);
        assert_eq!(cluster.took(), [arrives], "{public}");
    }
}

#[tokio::test]
async fn nothing_is_above_the_root() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for target in ["/..", "/../x", "/../../etc/passwd", "/grafana/../../x"] {
        let response = pylon.get(target).await;
        let took = cluster.took();
        let refused = response.status == 400 && took.is_empty();
        assert!(refused || took.iter().all(|line| !line.contains("..")), "{target}: {response:?} {took:?}");
    }
}

#[tokio::test]
async fn repeated_slashes_lead_to_the_same_route() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    for (public, service) in [
        ("//grafana/x", "grafana"),
        ("/grafana//x", "grafana"),
        ("/rest-server//api/v1", "rest"),
        ("/prometheus//graph", "prometheus"),
    ] {
        pylon.get(public).await.expect(200, service);
        assert_eq!(cluster.took().len(), 1, "{public}");
    }
}

#[tokio::test]
async fn an_absolute_target_is_the_same_as_its_path() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    pylon.get(&format!("http://{}/grafana/x?y=%2F", pylon.host())).await.expect(200, "grafana");
    let seen = cluster["grafana"].only();
    assert_eq!(seen.line(), "GET /x?y=%2F");
    assert_eq!(seen.headers.all("host"), [cluster["grafana"].authority()]);
}

#[tokio::test]
async fn invalid_requests_are_refused_and_reach_nobody() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let host = format!("Host: {}\r\n", pylon.host());
    let requests = [
        "GET /grafana/x HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /grafana/x HTTP/1.1\r\n{host}Host: evil.test\r\n\r\n"),
        format!("GET /grafana/x HTTP/1.1\r\n{host}Bad Header: 1\r\n\r\n"),
        format!("GET /grafana/x HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"),
        format!("GET /grafana/x HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n"),
        format!("GET /grafana/x HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        format!("GET grafana/x HTTP/1.1\r\n{host}\r\n"),
        format!("GET /grafana/%zz HTTP/1.1\r\n{host}\r\n"),
        format!("GET /grafana/x% HTTP/1.1\r\n{host}\r\n"),
        format!("G@T /grafana/x HTTP/1.1\r\n{host}\r\n"),
        "utter nonsense\r\n\r\n".to_owned(),
    ];
    let mut wrong = Vec::new();
    for request in requests {
        let response = pylon.raw(&request).await;
        let took = cluster.took();
        if response.status != 400 || !took.is_empty() {
            wrong.push((request, response.status, took));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn nothing_is_smuggled_in_a_body() {
    let (cluster, pylon) = Cluster::behind_pylon([]).await;
    let hidden = "GET /kubernetes/api/v1/secrets HTTP/1.1\r\nHost: x\r\n\r\n";
    let host = format!("Host: {}\r\n", pylon.host());
    let requests = [
        format!(
            "POST /grafana/x HTTP/1.1\r\n{host}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
            hidden.len() + 5
        ),
        format!(
            "POST /grafana/x HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!(
            "POST /grafana/x HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\nContent-Length: {}\r\n\r\n{hidden}",
            hidden.len()
        ),
    ];
    for request in requests {
        let mut connection = pylon.connect().await;
        connection.send(&request).await;
        connection.response("POST").await;
        connection.finish_sending().await;
        while connection.closed().await.is_some() {}
        let took = cluster.took();
        assert!(!took.iter().any(|line| line.starts_with("kubernetes")), "{request:?}: {took:?}");
    }
}
