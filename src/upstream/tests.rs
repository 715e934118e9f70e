//! Pools without sockets: choosing, ejecting, carrying over.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Resolver, Upstream, Wish};

fn compile(yaml: &str, before: Option<&Arc<Upstream>>) -> Arc<Upstream> {
    // As JSON, in which an enum with a value is a mapping, as the configuration's reader has it, too.
    let spec = serde_json::from_value(serde_yaml::from_str(yaml).unwrap()).unwrap();
    Upstream::compile("test", &spec, before, &|path| PathBuf::from(path)).unwrap()
}

async fn pool(yaml: &str) -> Arc<Upstream> {
    let pool = compile(yaml, None);
    pool.resolve(&Resolver::new(&crate::config::ResolverSpec::default()).unwrap()).await;
    pool
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], 80))
}

fn chosen(pool: &Upstream, wish: &Wish<'_>) -> SocketAddr {
    pool.choose(wish).unwrap().address
}

/// How often each address is chosen.
fn shares(pool: &Upstream, times: usize) -> HashMap<SocketAddr, usize> {
    let mut shares = HashMap::new();
    for _ in 0..times {
        *shares.entry(chosen(pool, &Wish::default())).or_default() += 1;
    }
    shares
}

fn fail(pool: &Upstream, host: u8, times: usize) {
    let endpoint = pool.endpoint(address(host)).unwrap();
    (0..times).for_each(|_| pool.failed(&endpoint, Duration::ZERO, false, "it refuses connections"));
}

const THREE: &str = "endpoints: ['http://127.0.0.1', 'http://127.0.0.2', 'http://127.0.0.3']";

#[tokio::test]
async fn endpoints_take_turns_and_what_was_tried_comes_last() {
    let unresolved = compile(THREE, None);
    assert!(unresolved.choose(&Wish::default()).is_none());
    let pool = pool(THREE).await;
    assert!(shares(&pool, 30).values().all(|count| *count == 10));
    let tried = [address(1), address(3)];
    assert_eq!(chosen(&pool, &Wish { tried: &tried, ..Wish::default() }), address(2));
    assert!(pool.has_untried(&tried));
    let all = [address(1), address(2), address(3)];
    assert!(!pool.has_untried(&all));
    assert!(pool.choose(&Wish { tried: &all, ..Wish::default() }).is_some());
}

#[tokio::test]
async fn weights_are_shares_and_0_gets_none() {
    for balance in ["round_robin", "least_requests", "peak_ewma", "{hash: client_ip}"] {
        let yaml = format!(
            "{{balance: {balance}, endpoints: [{{url: 'http://127.0.0.1', weight: 3}}, 'http://127.0.0.2', \
             {{url: 'http://127.0.0.3', weight: 0}}]}}"
        );
        let pool = pool(&yaml).await;
        let shares = shares(&pool, 4000);
        assert_eq!(shares.get(&address(3)), None, "{balance}");
        let first = shares[&address(1)];
        assert!((2600..=3400).contains(&first), "{balance}: {first}");
    }
}

#[tokio::test]
async fn least_requests_avoids_who_is_busy() {
    let pool = pool(&format!("{{balance: least_requests, {THREE}}}")).await;
    let busy = pool.endpoint(address(2)).unwrap();
    let held: Vec<_> = (0..5).map(|_| busy.state.begin()).collect();
    assert_eq!(shares(&pool, 300).get(&address(2)), None);
    drop(held);
    assert!(shares(&pool, 300)[&address(2)] > 50);
}

#[tokio::test]
async fn peak_ewma_avoids_who_is_slow() {
    let pool = pool(&format!("{{balance: peak_ewma, {THREE}}}")).await;
    for host in 1..=3 {
        let slow = if host == 2 { 500 } else { 5 };
        pool.succeeded(&pool.endpoint(address(host)).unwrap(), Duration::from_millis(slow), false);
    }
    assert_eq!(shares(&pool, 300).get(&address(2)), None);
}

#[tokio::test]
async fn the_same_key_leads_to_the_same_endpoint_while_it_is_there() {
    let pool = pool(&format!("{{balance: {{hash: header.X-Key}}, {THREE}}}")).await;
    let keys: Vec<String> = (0..300).map(|key| format!("key{key}")).collect();
    let lead = |key: &String| chosen(&pool, &Wish { key: Some(key.as_bytes()), ..Wish::default() });
    let before: Vec<SocketAddr> = keys.iter().map(lead).collect();
    assert_eq!(before, keys.iter().map(lead).collect::<Vec<_>>());
    fail(&pool, 2, 5);
    for (key, before) in keys.iter().zip(before) {
        let after = lead(key);
        assert!(after != address(2) && (before == address(2) || after == before), "{key}: {before} → {after}");
    }
}

#[tokio::test]
async fn sticky_clients_come_back_until_the_endpoint_is_gone() {
    let pool = pool(&format!("{{sticky: {{cookie: c, secret: 0123456789abcdef}}, {THREE}}}")).await;
    let bound = pool.endpoint(address(2)).unwrap();
    let token = Some(bound.token.as_str());
    for _ in 0..5 {
        assert_eq!(chosen(&pool, &Wish { token, ..Wish::default() }), address(2));
    }
    assert_eq!(pool.bind(&bound, token, false), None);
    assert!(pool.bind(&bound, Some("made up"), false).is_some());
    fail(&pool, 2, 5);
    assert_ne!(chosen(&pool, &Wish { token, ..Wish::default() }), address(2));
    assert!(pool.choose(&Wish { token: Some("made up"), ..Wish::default() }).is_some());
}

#[tokio::test]
async fn failures_in_a_row_eject_but_never_more_than_the_share() {
    let pool = pool(THREE).await;
    fail(&pool, 1, 4);
    pool.succeeded(&pool.endpoint(address(1)).unwrap(), Duration::ZERO, false);
    fail(&pool, 1, 4);
    assert_eq!(shares(&pool, 30).len(), 3);
    fail(&pool, 1, 1);
    assert_eq!(shares(&pool, 30).get(&address(1)), None);
    fail(&pool, 2, 50);
    assert_eq!(shares(&pool, 30).len(), 2, "half of three is one");
    let status = pool.status();
    let states: Vec<&str> = status.endpoints.iter().map(|endpoint| endpoint.health.state).collect();
    assert_eq!(states, ["ejected", "unprobed", "unprobed"]);
    assert_eq!(status.endpoints[0].health.reason, "it refuses connections");
}

#[tokio::test]
async fn what_is_known_is_carried_over_whatever_else_changes() {
    let before = pool(THREE).await;
    fail(&before, 1, 5);
    let held = before.endpoint(address(2)).unwrap().state.begin();
    assert!(Arc::ptr_eq(&before, &compile(THREE, Some(&before))), "the same spec is the same pool");

    let four = "{balance: least_requests, timeouts: {idle: 5s}, endpoints: ['http://127.0.0.1', 'http://127.0.0.2', \
                'http://127.0.0.3', 'http://127.0.0.4']}";
    let after = compile(four, Some(&before));
    after.resolve(&Resolver::new(&crate::config::ResolverSpec::default()).unwrap()).await;
    let shares = shares(&after, 300);
    assert_eq!(shares.get(&address(1)), None, "still ejected");
    assert!(shares.contains_key(&address(4)));
    assert_eq!(after.endpoint(address(2)).unwrap().state.in_flight(), 1);
    drop(held);
    assert_eq!(after.endpoint(address(2)).unwrap().state.in_flight(), 0);
    let peer = |pool: &Upstream| pool.endpoint(address(2)).unwrap().peer.group_key;
    assert_eq!(peer(&before), peer(&after), "connections stay");
}

#[tokio::test]
async fn policies_that_differ_share_no_connections() {
    let of = async |yaml: &str| pool(yaml).await.endpoint(address(1)).unwrap().peer.group_key;
    let plain = of("endpoints: ['http://127.0.0.1:80']").await;
    let others = [
        of("{endpoints: ['https://127.0.0.1:80']}").await,
        of("{endpoints: ['https://127.0.0.1:80'], tls: {verify: false}}").await,
        of("{endpoints: ['https://127.0.0.1:80'], tls: {server_name: x}}").await,
        of("{endpoints: ['http://127.0.0.1:80'], protocol: h2}").await,
    ];
    let different: std::collections::HashSet<u64> = others.into_iter().chain([plain]).collect();
    assert_eq!(different.len(), 5);
}

#[tokio::test]
async fn at_the_limit_of_connections_only_open_ones_are_used() {
    let pool = pool(&format!("{{limits: {{connections: 2}}, {THREE}}}")).await;
    let open: Vec<_> = (0..2).map(|_| pool.endpoint(address(2)).unwrap().state.connected()).collect();
    for _ in 0..6 {
        assert_eq!(chosen(&pool, &Wish::default()), address(2));
    }
    let busy: Vec<_> = (0..2).map(|_| pool.endpoint(address(2)).unwrap().state.begin()).collect();
    assert!(pool.choose(&Wish::default()).is_some(), "the last one has closed just now");
    drop((open, busy));
    assert_eq!(shares(&pool, 30).len(), 3);
}
