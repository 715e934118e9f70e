//! Who is let in, and what browsers are told.

use std::time::Instant;

use super::running::Running;
use super::support::eventually;
use super::talk::{TOKEN, get, post, send, with_token};

const ROUTE: &str = "routes: [{ name: hi, path: /hi, answer: { body: hi } }]\n";

#[tokio::test]
async fn every_answer_tells_browsers_to_do_nothing_with_it() {
    let pylon = with_token(ROUTE).await;
    let token = format!("Authorization: Bearer {TOKEN}");
    for (method, path, header, status) in [
        ("GET", "/", "", 200),
        ("GET", "/livez", "", 200),
        ("HEAD", "/readyz", "", 200),
        ("GET", "/api/routes", "", 401),
        ("GET", "/api/routes", token.as_str(), 200),
        ("GET", "/nothing", token.as_str(), 404),
        ("PUT", "/api/routes", token.as_str(), 405),
        ("GET", "/api/explain", token.as_str(), 400),
        ("GET", "/livez", "Origin: http://evil.example", 403),
    ] {
        let lines: Vec<&str> = [header].into_iter().filter(|line| !line.is_empty()).collect();
        let said = send(pylon.admin, method, path, &lines, "").await.is(status);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(said.header(name), Some(value), "{method} {path}: {}", said.head);
        }
        let policy = said.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && policy.ends_with("frame-ancestors 'none'"), "{policy}");
        assert_eq!(policy.contains("script-src 'sha256-"), path == "/", "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(said.header("access-control-allow-origin"), None);
    }
}

/// A name that another site has bound to 127.0.0.1 shows in `Host`.
#[tokio::test]
async fn without_a_token_only_this_machine_is_let_in() {
    let pylon = Running::start(ROUTE).await;
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1", 200),
        ("127.1.2.3:9180", 200),
        ("[::1]:9180", 200),
        ("evil.example", 403),
        ("localhost.evil.example:9180", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.1", 403),
        ("[::2]", 403),
        ("", 403),
    ] {
        for path in ["/api/routes", "/", "/livez"] {
            let said = send(pylon.admin, "GET", path, &[&format!("Host: {host}")], "").await;
            assert_eq!(said.status, status, "{host} {path}: {}", said.body);
        }
    }
    send(pylon.admin, "GET", "/livez", &["Host: localhost", "Host: localhost"], "").await.is(400);
    let said = send(pylon.admin, "GET", "http://127.0.0.1/livez", &[], "").await.is(400);
    assert!(said.json()["error"].as_str().unwrap().contains("whole URL"), "{}", said.body);
}

#[tokio::test]
async fn pages_of_other_sites_are_turned_away() {
    let pylon = Running::start(ROUTE).await;
    let own = format!("Origin: http://{}", pylon.admin);
    for (headers, status) in [
        (vec![own.as_str()], 200),
        (vec![own.as_str(), "Sec-Fetch-Site: same-origin"], 200),
        (vec!["Sec-Fetch-Site: none"], 200),
        (vec!["Origin: null"], 403),
        (vec!["Origin: http://evil.example"], 403),
        (vec!["Origin: http://127.0.0.1"], 403),
        (vec!["Origin: http://localhost:1"], 403),
        (vec![&*own.replace("http:", "https:")], 403),
        (vec!["Sec-Fetch-Site: cross-site"], 403),
        (vec!["Sec-Fetch-Site: same-site"], 403),
        (vec!["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], 403),
        (vec![own.as_str(), "Sec-Fetch-Site: cross-site"], 403),
    ] {
        let said = send(pylon.admin, "GET", "/api/routes", &headers, "").await;
        assert_eq!(said.status, status, "{headers:?}: {}", said.body);
        let drain: Vec<&str> = headers.iter().copied().chain(["Content-Type: application/json"]).collect();
        let said = send(pylon.admin, "POST", "/api/drain", &drain, "{\"drain\":false}").await;
        assert_eq!(said.status, status, "POST {headers:?}: {}", said.body);
    }
    pylon.until_log("foreign origin").await;
    // Other sites may link to the console, which says nothing by itself.
    let link = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"];
    send(pylon.admin, "GET", "/", &link, "").await.is(200);
    send(pylon.admin, "GET", "/", &link[..1], "").await.is(403);
}

#[tokio::test]
async fn the_token_opens_all_and_nothing_else_does() {
    let pylon = with_token(ROUTE).await;
    for path in ["/metrics", "/api/routes", "/api/openapi.json", "/api/config", "/nothing"] {
        let said = get(pylon.admin, path).await.is(401);
        assert_eq!(said.header("www-authenticate"), Some("Bearer"));
        assert!(said.json()["cure"].as_str().unwrap().contains("Authorization: Bearer"), "{}", said.body);
    }
    for path in ["/", "/livez", "/readyz"] {
        send(pylon.admin, "GET", path, &["Host: pylon.example"], "").await.is(200);
    }
    post(pylon.admin, "/api/reload", "").await.is(401);
    post(pylon.admin, "/api/drain", "{\"drain\":true}").await.is(401);
    get(pylon.admin, "/readyz").await.is(200);
    for (value, status) in [
        (format!("Bearer {TOKEN}"), 200),
        (format!("bearer {TOKEN}"), 200),
        (format!("Bearer {TOKEN}x"), 401),
        (format!("Bearer {}", &TOKEN[1..]), 401),
        (format!("Bearer {}", TOKEN.to_uppercase()), 401),
        (format!("Basic {TOKEN}"), 401),
        (TOKEN.to_owned(), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer \u{e4}\u{f6}".to_owned(), 400),
    ] {
        let said = send(pylon.admin, "GET", "/api/routes", &[&format!("Authorization: {value}")], "").await;
        assert_eq!(said.status, status, "{value}: {}", said.body);
    }
    let good = format!("Authorization: Bearer {TOKEN}");
    send(pylon.admin, "GET", "/api/routes", &[&good, &good], "").await.is(400);
    send(pylon.admin, "GET", &format!("/api/routes?token={TOKEN}"), &[], "").await.is(401);
    // The token is why this may go beyond loopback, so names do not matter; origins do.
    send(pylon.admin, "GET", "/api/routes", &[&good, "Host: pylon.example"], "").await.is(200);
    send(pylon.admin, "GET", "/api/routes", &[&good, "Origin: http://evil.example"], "").await.is(403);
    let config = send(pylon.admin, "GET", "/api/config", &[&good], "").await.is(200);
    assert_eq!(config.json()["effective"]["admin"]["token"], "***");
    let log = pylon.log();
    assert!(!log.contains(TOKEN) && !log.contains(&TOKEN[1..]), "{log}");
}

#[tokio::test]
async fn who_guesses_tokens_is_on_record_and_fills_no_disk() {
    let pylon = with_token(ROUTE).await;
    let began = Instant::now();
    for _ in 0..200 {
        send(pylon.admin, "GET", "/api/config", &["Authorization: Bearer guess"], "").await.is(401);
    }
    // Ten lines a second; without that, there were 200.
    let most = 10 * (usize::try_from(began.elapsed().as_secs()).unwrap() + 1);
    pylon.until_log("sign-in: the token is wrong").await;
    let lines = || pylon.log().lines().filter(|line| line.contains("sign-in")).count();
    assert!(lines() <= most, "{} lines, not {most}", lines());
    let line = pylon.log().lines().find(|line| line.contains("sign-in")).unwrap().to_owned();
    assert!(line.contains("127.0.0.1:"), "no client in {line}");
}

#[tokio::test]
async fn a_reload_takes_a_new_token_over_and_none_away() {
    let pylon = with_token(ROUTE).await;
    let asks = async |token: &str| {
        send(pylon.admin, "GET", "/api/routes", &[&format!("Authorization: Bearer {token}")], "").await.status
    };
    let other = "another-token-of-some-length";
    std::fs::write(pylon.path("token"), other).unwrap();
    assert_eq!((asks(TOKEN).await, asks(other).await), (200, 401));
    let good = format!("Authorization: Bearer {TOKEN}");
    send(pylon.admin, "POST", "/api/reload", &[&good], "").await.is(200);
    assert_eq!((asks(TOKEN).await, asks(other).await), (401, 200));
    // The address may be open to all; who takes the token away opens nothing before the restart.
    pylon.write(&format!("{ROUTE}workers: 2\n"));
    let good = format!("Authorization: Bearer {other}");
    let said = send(pylon.admin, "POST", "/api/reload", &[&good], "").await.is(200);
    assert!(said.body.contains("\"admin\""), "{}", said.body);
    get(pylon.admin, "/api/routes").await.is(401);
    assert_eq!((asks(TOKEN).await, asks(other).await), (401, 200));
}

#[tokio::test]
async fn bodies_are_marked_as_json() {
    let pylon = Running::start(ROUTE).await;
    let own = format!("Origin: http://{}", pylon.admin);
    for (headers, body, status) in [
        (vec![], "{\"drain\":false}", 415),
        (vec!["Content-Type: text/plain"], "{\"drain\":false}", 415),
        (vec!["Content-Type: application/x-www-form-urlencoded"], "{\"drain\":false}", 415),
        (vec!["Content-Type: application/jsonp"], "{\"drain\":false}", 415),
        (vec!["Content-Type: application/json; charset=utf-8"], "{\"drain\":false}", 200),
        (vec!["Content-Type: APPLICATION/JSON"], "{\"drain\":false}", 200),
    ] {
        let said = send(pylon.admin, "POST", "/api/drain", &headers, body).await;
        assert_eq!(said.status, status, "{headers:?}: {}", said.body);
    }
    send(pylon.admin, "POST", "/api/reload", &[], "").await.is(200);
    send(pylon.admin, "POST", "/api/reload", &[&own], "").await.is(415);
    send(pylon.admin, "POST", "/api/reload", &["Sec-Fetch-Site: none"], "").await.is(415);
    send(pylon.admin, "POST", "/api/reload", &[&own, "Content-Type: application/json"], "").await.is(200);
    eventually("both reloads on record", || pylon.log().matches("reload: unchanged").count() == 2).await;
}
