//! Targets that the client names: `/a/host:port/`, `/yarn/host:port/` and `/log-manager/host:port/`.

use crate::support::{Endpoint, Pylon, Reply, Seen, Upstream, reply};

async fn target(address: &str) -> Endpoint {
    Upstream::named("target").on(address).start().await
}

/// A stand-alone Pylon with all three dynamic routes.
async fn allowing(list: &str) -> Pylon {
    let launch = Pylon::standalone().env("CLUSTER_TYPE", "yarn");
    let launch = launch.env("YARN_WEB_PORTAL_URI", "http://rm.example:8088");
    launch.env("PYLON_DYNAMIC_ALLOW", list).start().await
}

const PREFIXES: [&str; 3] = ["/a", "/yarn", "/log-manager"];

#[tokio::test]
async fn the_target_gets_the_rest_of_the_path() {
    let target = target("127.0.0.2").await;
    let pylon = allowing("127.0.0.0/8").await;
    let tails = ["/x", "/", "/x/y/?a=%2F&&b", "/a%2Fb%20c?", "/logs/..x?x=http://h:1/y"];
    for prefix in PREFIXES {
        for tail in tails {
            for method in ["GET", "PUT", "POST", "DELETE"] {
                pylon
                    .request(method, &format!("{prefix}/{}{tail}", target.authority()))
                    .send()
                    .await
                    .expect(200, "target");
                let seen = target.take_only();
                assert_eq!(seen.line(), format!("{method} {tail}"), "{prefix}");
                assert_eq!(seen.headers.all("host"), [target.authority()]);
            }
        }
    }
}

#[tokio::test]
async fn a_target_without_a_path_is_asked_for_its_root() {
    let target = target("127.0.0.2").await;
    let pylon = allowing("127.0.0.0/8").await;
    for (tail, arrives) in [("", "GET /"), ("?x=%2F", "GET /?x=%2F"), ("?", "GET /?")] {
        pylon.get(&format!("/a/{}{tail}", target.authority())).await.expect(200, "target");
        assert_eq!(target.take_only().line(), arrives);
    }
}

#[tokio::test]
async fn port_0_is_no_port() {
    // Nobody else's port will do: the request has to arrive on the default one.
    let Ok(target) = Upstream::named("target").on("127.0.0.77").on_port(80).try_start().await else {
        eprintln!("skipped: port 80 may not be bound here");
        return;
    };
    let pylon = allowing("127.0.0.0/8").await;
    pylon.get("/a/127.0.0.77:0/x?y").await.expect(200, "target");
    let seen = target.only();
    assert_eq!(seen.line(), "GET /x?y");
    assert_eq!(seen.headers.all("host"), ["127.0.0.77"]);
}

#[tokio::test]
async fn an_ipv6_address_is_a_target() {
    let Ok(target) = Upstream::named("target").on("::1").try_start().await else {
        eprintln!("skipped: this machine has no IPv6");
        return;
    };
    let pylon = allowing("::1/128").await;
    for prefix in PREFIXES {
        pylon.get(&format!("{prefix}/[::1]:{}/x?y", target.port())).await.expect(200, "target");
        let seen = target.take_only();
        assert_eq!(seen.line(), "GET /x?y");
        assert_eq!(seen.headers.all("host"), [target.authority()]);
    }
}

#[tokio::test]
async fn a_name_is_a_target() {
    let target = target("127.0.0.1").await;
    let pylon = allowing(&format!("localhost:{}", target.port())).await;
    pylon.get(&format!("/a/localhost:{}/x", target.port())).await.expect(200, "target");
    assert_eq!(target.only().headers.all("host"), [format!("localhost:{}", target.port())]);
}

#[tokio::test]
async fn a_dead_target_is_a_502() {
    let address = crate::support::free_port();
    let pylon = allowing("127.0.0.0/8").await;
    for prefix in PREFIXES {
        pylon.get(&format!("{prefix}/{address}/x")).await.expect_status(502);
    }
}

#[tokio::test]
async fn redirects_of_a_target_stay_with_it() {
    let as_asked =
        |seen: &Seen| -> Reply { reply(302).header("Location", seen.header("x-location").unwrap_or_default()) };
    let target = Upstream::named("target").on("127.0.0.2").at_with("/v1/here", as_asked).start().await;
    let pylon = allowing("127.0.0.0/8").await;
    let authority = target.authority();
    for prefix in ["/a", "/log-manager"] {
        let absolute = format!("http://{authority}/v1/there?x=%2F");
        for (location, relative) in [(absolute.as_str(), false), ("/v1/there?x=%2F", true)] {
            let request = pylon.request("GET", &format!("{prefix}/{authority}/v1/here")).header("X-Location", location);
            let response = request.send().await;
            response.expect_status(302);
            let path = format!("{prefix}/{authority}/v1/there?x=%2F");
            let got = response.location();
            assert!(got == format!("{}{path}", pylon.origin()) || relative && got == path, "{location} became {got}");
        }
        let elsewhere = "https://login.example/x";
        let request = pylon.request("GET", &format!("{prefix}/{authority}/v1/here")).header("X-Location", elsewhere);
        request.send().await.expect_redirect(302, elsewhere);
    }
}

#[tokio::test]
async fn bodies_of_a_target_stay() {
    let text = r#"<html><a href="/x" src="/static/x"> http://rm.example:8088 http://h:8042/x /api"#;
    let target = Upstream::named("target").on("127.0.0.2").otherwise(reply(200).html(text)).start().await;
    let pylon = allowing("127.0.0.0/8").await;
    for prefix in ["/a", "/log-manager"] {
        pylon.get(&format!("{prefix}/{}/x", target.authority())).await.expect(200, text);
    }
}
