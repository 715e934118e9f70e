//! The API of `WebHDFS`: its two steps work with only Pylon reachable.

use crate::support::{Cluster, Endpoint, Pylon, Reply, Seen, Upstream, reply};

/// A name node that sends every API request on, to the Location that the request asks for.
fn name_node() -> Upstream {
    Upstream::named("webhdfs").at_with("/webhdfs/v1/here", |seen: &Seen| {
        let status = seen.header("x-status").and_then(|status| status.parse().ok()).unwrap_or(307);
        reply(status).header("Location", seen.header("x-location").unwrap_or_default()).text("the name node's words")
    })
}

#[tokio::test]
async fn a_redirect_to_a_data_node_leads_through_pylon() {
    let (_cluster, pylon) = Cluster::behind_pylon([name_node()]).await;
    let paths = ["/webhdfs/v1/f?op=CREATE&overwrite=true&user.name=x", "/x", "/", "/a%2Fb%20c?x=%2F&&y"];
    for public in ["/webhdfs/api/v1/here", "/webhdfs/webhdfs/v1/here", "/webhdfs/api/v1/here?op=CREATE"] {
        for method in ["GET", "PUT", "POST"] {
            for path in paths {
                let request = pylon.request(method, public).host("pylon.example:8080");
                let response = request.header("X-Location", format!("http://dn-1.hdfs:50075{path}")).send().await;
                response.expect_redirect(307, &format!("http://pylon.example:8080/a/dn-1.hdfs:50075{path}"));
                assert_eq!(response.text(), "");
            }
        }
    }
}

#[tokio::test]
async fn a_data_node_is_mapped_whether_or_not_it_may_be_reached() {
    let (_cluster, pylon) = Cluster::behind_pylon([name_node()]).await;
    for node in ["10.0.0.7:50075", "192.0.2.1:50075", "127.0.0.9:1", "[2001:db8::7]:50075"] {
        let request = pylon.request("PUT", "/webhdfs/api/v1/here").host("pylon.example");
        let location = format!("http://{node}/webhdfs/v1/f");
        let response = request.header("X-Location", location).send().await;
        response.expect_redirect(307, &format!("http://pylon.example/a/{node}/webhdfs/v1/f"));
    }
}

#[tokio::test]
async fn an_answer_without_a_body_says_so() {
    let (_cluster, pylon) = Cluster::behind_pylon([name_node()]).await;
    let mut connection = pylon.connect().await;
    let request = pylon.request("PUT", "/webhdfs/api/v1/here").header("X-Location", "http://dn:50075/x");
    connection.send(request.body("").bytes()).await;
    let response = connection.response("PUT").await;
    response.expect(307, "");
    assert_eq!(response.header("content-length"), Some("0"));
    connection.send(pylon.request("GET", "/grafana/x").bytes()).await;
    connection.response("GET").await.expect(200, "grafana");
}

#[tokio::test]
async fn a_data_node_without_a_port_is_mapped_too() {
    let (_cluster, pylon) = Cluster::behind_pylon([name_node()]).await;
    let request = pylon.request("PUT", "/webhdfs/api/v1/here").host("pylon.example");
    let response = request.header("X-Location", "http://dn-1/webhdfs/v1/f?op=CREATE").send().await;
    response.expect_status(307);
    let forms = [0, 80].map(|port| format!("http://pylon.example/a/dn-1:{port}/webhdfs/v1/f?op=CREATE"));
    assert!(forms.contains(&response.location().to_owned()), "{}", response.location());
}

#[tokio::test]
async fn redirects_of_every_status_are_mapped() {
    let (_cluster, pylon) = Cluster::behind_pylon([name_node()]).await;
    for status in ["301", "302", "303", "308"] {
        let request = pylon.request("GET", "/webhdfs/api/v1/here").host("pylon.example").header("X-Status", status);
        let response = request.header("X-Location", "http://dn-1:50075/webhdfs/v1/f").send().await;
        assert_eq!(response.location(), "http://pylon.example/a/dn-1:50075/webhdfs/v1/f", "{status}");
    }
}

/// A data node that takes uploads and appends, and has a file.
fn data_node() -> Upstream {
    let stored = |seen: &Seen| match seen.method.as_str() {
        "GET" => reply(200).body("application/octet-stream", "what is in the file"),
        "PUT" => reply(201).header("Location", "hdfs://nn:8020/user/f"),
        _ => reply(200),
    };
    Upstream::named("data node").on("127.0.0.2").at_with("/webhdfs/v1/user/f", stored)
}

/// A name node that leads to this data node.
fn name_node_before(data_node: &Endpoint) -> Upstream {
    let node = data_node.uri();
    let redirect = move |seen: &Seen| -> Reply {
        reply(307).header("Location", format!("{node}{}&namenoderpcaddress=nn:8020", seen.target))
    };
    Upstream::named("webhdfs").at_with("/webhdfs/v1/user/f", redirect)
}

async fn hdfs() -> (Endpoint, Cluster, Pylon) {
    let data = data_node().start().await;
    let cluster = Cluster::with([name_node_before(&data)]).await;
    let pylon = cluster.pylon().env("PYLON_DYNAMIC_ALLOW", "127.0.0.0/8").start().await;
    (data, cluster, pylon)
}

#[tokio::test]
async fn create_works_in_two_steps() {
    let (data, cluster, pylon) = hdfs().await;
    let first = pylon.request("PUT", "/webhdfs/api/v1/user/f?op=CREATE&x=%2F").body("").send().await;
    first.expect_status(307);
    assert_eq!(cluster.took(), ["webhdfs: PUT /webhdfs/v1/user/f?op=CREATE&x=%2F"]);
    let step = first.location().strip_prefix(&pylon.origin()).unwrap_or_default().to_owned();
    let second = pylon.request("PUT", &step).chunked(vec![b'x'; 100_000], 4096).send().await;
    second.expect_redirect(201, "hdfs://nn:8020/user/f");
    let seen = data.only();
    assert_eq!(seen.line(), "PUT /webhdfs/v1/user/f?op=CREATE&x=%2F&namenoderpcaddress=nn:8020");
    assert_eq!(seen.headers.all("host"), [data.authority()]);
    assert_eq!(seen.body, vec![b'x'; 100_000]);
}

#[tokio::test]
async fn append_and_open_work_in_two_steps() {
    let (data, _cluster, pylon) = hdfs().await;
    let first = pylon.request("POST", "/webhdfs/api/v1/user/f?op=APPEND").body("").send().await;
    let step = first.location().strip_prefix(&pylon.origin()).unwrap_or_default().to_owned();
    pylon.request("POST", &step).body("more").send().await.expect(200, "");
    assert_eq!(data.take_only().body, b"more");
    let first = pylon.get("/webhdfs/api/v1/user/f?op=OPEN").await;
    let step = first.location().strip_prefix(&pylon.origin()).unwrap_or_default().to_owned();
    pylon.get(&step).await.expect(200, "what is in the file");
}

#[tokio::test]
async fn file_names_arrive_as_they_were_written() {
    let (cluster, pylon) = Cluster::behind_pylon([name_node()]).await;
    for name in ["a%2Fb", "a%20b", "%25", "a%0Db", "a%0D%0AHost:%20x", "%E4%BD%A0", "a+b", "a;b=c", "a%3Fb", "%2f%2F"] {
        pylon.get(&format!("/webhdfs/api/v1/user/{name}?op=OPEN")).await.expect_status(200);
        assert_eq!(cluster.took(), [format!("webhdfs: GET /webhdfs/v1/user/{name}?op=OPEN")]);
    }
}
