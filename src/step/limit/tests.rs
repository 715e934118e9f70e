use std::collections::HashSet;
use std::path::PathBuf;
use std::time::SystemTime;

use http::{HeaderMap, Method};

use super::*;
use crate::observe::Metrics;
use crate::step::forwarded::Client;
use crate::step::shared::Shared;

mod counting;

const MILLI: u64 = 1_000_000;

fn compile_with(
    text: &str,
    shared: &Shared,
    before: Option<&Shared>,
    metrics: &Metrics,
) -> Result<Limits, Vec<Mistake>> {
    let specs: crate::config::OneOrMany<LimitSpec> = serde_yaml::from_str(text).unwrap();
    let specs: Vec<&LimitSpec> = specs.iter().collect();
    let file = |path: &str| PathBuf::from(path);
    Limits::compile(&specs, "route", &AuthScope { file: &file, shared, before, metrics, captures: &[] })
}

fn compile(text: &str) -> Result<Limits, Vec<Mistake>> {
    compile_with(text, &Shared::default(), None, &Metrics::default())
}

async fn ask(limits: &Limits, address: &str, headers: &HeaderMap) -> Result<Box<Pass>, Box<Exceeded>> {
    let guarded = guard(limits, address, headers).await?;
    let client = client(address);
    limits.admit(&asking(&client, headers), None, guarded).await
}

async fn guard(limits: &Limits, address: &str, headers: &HeaderMap) -> Result<Option<Guarded>, Box<Exceeded>> {
    let client = client(address);
    limits.guard(&asking(&client, headers)).await
}

fn client(address: &str) -> Client {
    let address = address.parse().unwrap();
    Client { peer: address, trusted: false, address, scheme: "https" }
}

fn asking<'a>(client: &'a Client, headers: &'a HeaderMap) -> Asking<'a> {
    Asking {
        method: &Method::GET,
        target: "/",
        path: "/",
        host: "h",
        headers,
        client,
        has_body: false,
        captures: &(),
        now: SystemTime::now(),
    }
}

fn told(told: &Told) -> Vec<(String, String)> {
    told.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn each_client_has_its_own_budget_and_is_told_of_it() {
    let limits = compile("{ requests: 2, window: 900s, headers: window, answer: { body: '{}', type: a/b } }").unwrap();
    let none = HeaderMap::new();
    let first = ask(&limits, "192.0.2.1", &none).await.unwrap();
    let expected = [("x-ratelimit-limit", "2"), ("x-ratelimit-remaining", "1"), ("x-ratelimit-window", "900")];
    assert_eq!(told(&first.response), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(ask(&limits, "192.0.2.1", &none).await.is_ok());
    let exceeded = ask(&limits, "192.0.2.1", &none).await.unwrap_err();
    assert_eq!(exceeded.status, StatusCode::TOO_MANY_REQUESTS);
    let headers = told(&exceeded.response);
    assert!(headers.contains(&("x-ratelimit-remaining".to_owned(), "0".to_owned())));
    let (_, wait) = headers.iter().find(|(name, _)| name == "retry-after").unwrap();
    assert!((895..=900).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    assert_eq!(exceeded.document.unwrap().media_type, "a/b");
    assert!(ask(&limits, "192.0.2.2", &none).await.is_ok());
}

#[tokio::test]
async fn what_one_limit_refuses_is_not_spent_of_another() {
    let both = "[{ rate: 3/h, by: route }, { concurrent: 1 }, { requests: 1, window: 60s }]";
    let limits = compile(both).unwrap();
    let none = HeaderMap::new();
    for n in 0..5 {
        // The window of this client has one, whatever it does.
        let result = ask(&limits, "192.0.2.1", &none).await;
        assert_eq!(result.is_ok(), n == 0, "request {n}");
    }
    // So the three of all are still there for two others.
    assert!(ask(&limits, "192.0.2.2", &none).await.is_ok());
    assert!(ask(&limits, "192.0.2.3", &none).await.is_ok());
    assert!(ask(&limits, "192.0.2.4", &none).await.unwrap_err().reason.contains("`rate`"));
}

#[tokio::test]
async fn places_are_given_back_when_requests_end() {
    let limits = compile("{ concurrent: 2, by: header.X }").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x", "a".parse().unwrap());
    let (first, second) = (ask(&limits, "::1", &headers).await.unwrap(), ask(&limits, "::1", &headers).await.unwrap());
    let exceeded = ask(&limits, "::1", &headers).await.unwrap_err();
    assert_eq!(told(&exceeded.response), [("retry-after".to_owned(), "1".to_owned())]);
    drop(first);
    let third = ask(&limits, "::1", &headers).await.unwrap();
    assert!(ask(&limits, "::1", &headers).await.is_err());
    let Kind::Concurrent(_, places) = &limits.limits[0].kind else { panic!("another kind") };
    assert_eq!(places.under_way.len(), 1);
    drop((second, third));
    assert_eq!(places.under_way.len(), 0);
}

#[test]
fn a_rule_that_is_made_milder_holds_at_once() {
    let (strict, mild) =
        (BucketRule { each: 3600 * 1000 * MILLI, burst: 2 }, BucketRule { each: 10 * MILLI, burst: 100 });
    let (mut bucket, now) = (Bucket::default(), 1 << 50);
    assert!(bucket.decide(&strict, now, Mode::Take).passes && bucket.decide(&strict, now, Mode::Take).passes);
    assert_eq!(bucket.decide(&mild, now, Mode::Take).wait, Duration::from_millis(10));
    assert!(bucket.decide(&mild, now + 10 * MILLI, Mode::Take).passes);
}

#[tokio::test]
async fn what_the_upstream_counts_does_not_count_again() {
    let limits =
        compile("{ requests: 1, window: 60s, by: header.X, count: accepted, counted_by: X-RateLimit-Limit }").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x", "a".parse().unwrap());
    let mut said = HeaderMap::new();
    said.insert("x-ratelimit-limit", "9".parse().unwrap());
    for _ in 0..3 {
        let mut pass = ask(&limits, "::1", &headers).await.unwrap();
        pass.answered(StatusCode::OK, &said);
        assert!(pass.response.is_empty());
    }
    ask(&limits, "::1", &headers).await.unwrap().answered(StatusCode::OK, &HeaderMap::new());
    assert!(ask(&limits, "::1", &headers).await.is_err());
    assert!(compile("{ requests: 1, window: 60s, counted_by: X-A }").is_err());
}

#[tokio::test]
async fn only_what_the_upstream_accepts_counts() {
    let limits = compile("{ requests: 2, window: 60s, by: header.X, count: accepted, refused: [400, 401] }").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x", "victim".parse().unwrap());
    for status in [400, 401, 401, 100, 200, 101] {
        let mut pass = ask(&limits, "::1", &headers).await.unwrap();
        assert!(pass.response.is_empty(), "{status}: it is not known whose key it is");
        pass.answered(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        let remaining = told(&pass.response).get(1).map(|(_, remaining)| remaining.clone());
        let expected = [(200, "1"), (101, "0")].iter().find(|known| known.0 == status).map(|known| known.1);
        assert_eq!(remaining.as_deref(), expected, "{status}");
    }
    assert!(ask(&limits, "::1", &headers).await.is_err());
}

#[tokio::test]
async fn what_is_left_of_a_key_is_told_to_whom_the_upstream_accepts() {
    let both = "[{ requests: 9, window: 60s }, { requests: 2, window: 60s, by: header.X, count: accepted }]";
    let (limits, mut headers) = (compile(both).unwrap(), HeaderMap::new());
    headers.insert("x", "victim".parse().unwrap());
    let limit = |pass: &Pass| told(&pass.response).first().map(|(_, limit)| limit.clone());
    for (address, status, expected) in [("192.0.2.1", 401, "9"), ("192.0.2.2", 200, "2"), ("192.0.2.3", 401, "9")] {
        let mut pass = ask(&limits, address, &headers).await.unwrap();
        assert_eq!(limit(&pass).as_deref(), Some("9"), "answers of Pylon's own tell of the other limit");
        pass.answered(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        assert_eq!(limit(&pass).as_deref(), Some(expected), "{status}");
    }
}

#[tokio::test]
async fn counts_go_on_over_a_reload_that_changes_numbers() {
    let (first, second, metrics) = (Shared::default(), Shared::default(), Metrics::default());
    let none = HeaderMap::new();
    let before = compile_with("{ requests: 2, window: 60s }", &first, None, &metrics).unwrap();
    assert!(ask(&before, "::1", &none).await.is_ok() && ask(&before, "::1", &none).await.is_ok());
    let after = compile_with("{ requests: 3, window: 60s }", &second, Some(&first), &metrics).unwrap();
    assert!(ask(&after, "::1", &none).await.is_ok());
    assert!(ask(&after, "::1", &none).await.is_err());
    assert!(ask(&before, "::1", &none).await.is_err());
    assert_eq!(metrics.limit("route", "window").rejected(), 2);
}

#[test]
fn limits_of_one_name_count_together() {
    let (shared, metrics) = (Shared::default(), Metrics::default());
    let one = compile_with("{ name: a, rate: 1/h }", &shared, None, &metrics).unwrap();
    let other = compile_with("{ name: a, rate: 1/h }", &shared, None, &metrics).unwrap();
    let (Kind::Bucket(_, one), Kind::Bucket(_, other)) = (&one.limits[0].kind, &other.limits[0].kind) else {
        panic!("another kind")
    };
    assert!(Arc::ptr_eq(one, other));
}

#[test]
fn mistakes_name_their_key_and_the_cure() {
    for (text, at, said) in [
        ("{}", "", "limits nothing"),
        ("{ rate: 1/s, concurrent: 1 }", "", "one item for each"),
        ("{ requests: 5 }", "window", "in which time"),
        ("{ requests: 5, window: 999ms }", "window", "from 1s"),
        ("{ requests: 0, window: 1s }", "requests", "lets nothing pass"),
        ("{ rate: 1/s, burst: 0 }", "burst", "lets nothing pass"),
        ("{ concurrent: 0 }", "concurrent", "lets nothing pass"),
        ("{ concurrent: 1, burst: 2 }", "burst", "remove it"),
        ("{ concurrent: 1, redis: 'redis://h' }", "redis", "each instance"),
        ("{ rate: 1/s, rejected: counted }", "rejected", "remove it"),
        ("{ rate: 1/s, count: upstream }", "count", "add `redis`"),
        ("{ rate: 1/s, refused: 401 }", "refused", "`count: accepted`, `upstream` and `refused`"),
        ("{ rate: 1/s, count: refused }", "rate", "`requests` and `window`"),
        ("{ requests: 1, window: 9s, count: refused, by: user }", "by", "`client_ip`"),
        ("{ requests: 1, window: 9s, count: refused, headers: reset }", "headers", "remove it"),
        ("{ rate: 1/s, counted_by: X-A }", "counted_by", "`count: accepted` and `count: upstream`"),
        ("{ rate: 1/s, max_keys: 1 }", "max_keys", "from 64"),
        ("{ rate: 1/s, answer: { status: 200 } }", "answer.status", "not an error"),
        ("{ rate: 1/s, answer: { type: a/b } }", "answer.type", "no `body`"),
        ("{ rate: 1/s, answer: { body: x, type: x } }", "answer.type", "media type"),
        ("{ rate: 1/s, redis: { url: 'redis://h', deadline: 11s } }", "redis.deadline", "1ms to 10s"),
        ("{ rate: 1/s, redis: { url: 'redis://h', connections: 0 } }", "redis.connections", "1 to 64"),
        ("{ rate: 1/s, redis: { url: 'redis://h', ca: x } }", "redis.ca", "rediss://"),
        ("{ rate: 1/s, redis: { url: 'rediss://h', ca: /none.pem } }", "redis.ca", "cannot be read"),
        ("[{ rate: 1/s }, { rate: 1/s }]", "[1]", "the same as item 0"),
    ] {
        let found = compile(text).unwrap_err();
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].path.to_string().trim_start_matches('.'), at, "{text}");
        assert!(found[0].message.contains(said), "{text}: {}", found[0].message);
    }
}

#[test]
fn hashes_differ() {
    let hashing = super::table::Hashing::default();
    let hashes: HashSet<Hashed> = (0..10_000_u32).map(|n| hashing.hash(0, &n.to_be_bytes())).collect();
    assert_eq!(hashes.len(), 10_000);
}

#[tokio::test]
async fn what_is_refused_counts_before_it_is_known_who_asks() {
    let limits = compile("{ requests: 2, window: 900s, count: refused, refused: 403 }").unwrap();
    let none = HeaderMap::new();
    for _ in 0..5 {
        let mut pass = ask(&limits, "192.0.2.1", &none).await.unwrap();
        pass.answered(StatusCode::OK, &none);
        assert!(pass.response.is_empty(), "{:?}", pass.response);
    }
    let mut pass = ask(&limits, "192.0.2.1", &none).await.unwrap();
    pass.answered(StatusCode::FORBIDDEN, &none);
    assert!(ask(&limits, "192.0.2.1", &none).await.is_ok());
    let one = guard(&limits, "192.0.2.1", &none).await.unwrap().unwrap();
    let other = guard(&limits, "192.0.2.1", &none).await.unwrap().unwrap();
    assert!(one.asked(true).await.is_ok());
    // It was asked at the same time, and does not learn anything now, right or wrong.
    assert!(other.asked(true).await.is_err() && other.asked(false).await.is_err());
    assert_eq!(ask(&limits, "192.0.2.1", &none).await.unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
    assert!(ask(&limits, "192.0.2.2", &none).await.is_ok());
    let others = compile("{ requests: 2, window: 900s }").unwrap();
    assert!(guard(&others, "192.0.2.1", &none).await.unwrap().is_none());
}
