//! What a limit costs a request in this process: `cargo bench --bench limits`.
//!
//! To be under 0.5 µs a request, for every kind, with few keys or many, on one thread or on several at once.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use http::{HeaderMap, Method};
use pylon::config::{LimitSpec, OneOrMany};
use pylon::observe::Metrics;
use pylon::step::auth::{Asking, AuthScope};
use pylon::step::forwarded::Client;
use pylon::step::limit::Limits;
use pylon::step::shared::Shared;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const KINDS: [(&str, &str); 5] = [
    ("rate", "{ rate: 1000000/s }"),
    ("rate, no headers", "{ rate: 1000000/s, headers: none }"),
    ("window", "{ requests: 4000000000, window: 900s }"),
    ("concurrent", "{ concurrent: 1000 }"),
    ("route", "{ by: route, rate: 1000000/s, headers: none }"),
];

fn main() {
    divan::main();
}

fn limits(kind: &str) -> Limits {
    let text = KINDS.iter().find(|(name, _)| *name == kind).map_or("", |(_, text)| *text);
    let Ok(specs) = serde_yaml::from_str::<OneOrMany<LimitSpec>>(text) else { unreachable!("the spec is one") };
    let specs: Vec<&LimitSpec> = specs.iter().collect();
    let file = |path: &str| PathBuf::from(path);
    let (shared, metrics) = (Shared::default(), Metrics::default());
    let scope = AuthScope { file: &file, shared: &shared, before: None, metrics: &metrics, captures: &[] };
    let Ok(limits) = Limits::compile(&specs, "bench", &scope) else { unreachable!("the limit is one") };
    limits
}

/// A request of one of so many clients.
fn ask(limits: &Limits, client: u32, headers: &HeaderMap) -> bool {
    let address = std::net::IpAddr::from(client.to_be_bytes());
    let client = Client { peer: address, trusted: false, address, scheme: "https" };
    let asking = Asking {
        method: &Method::GET,
        target: "/",
        path: "/",
        host: "h",
        headers,
        client: &client,
        has_body: false,
        captures: &(),
        now: SystemTime::UNIX_EPOCH,
    };
    // Nothing in it waits.
    let admitted = pin!(limits.admit(&asking, None, None)).poll(&mut Context::from_waker(Waker::noop()));
    matches!(black_box(admitted), Poll::Ready(Ok(_)))
}

#[divan::bench(args = KINDS.map(|(name, _)| name), consts = [1, 1000, 100_000], sample_count = 100, sample_size = 5000)]
fn one_thread<const CLIENTS: u32>(bencher: Bencher<'_, '_>, kind: &str) {
    let (limits, headers, mut client) = (limits(kind), HeaderMap::new(), 0_u32);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        client = client.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ask(&limits, (client >> 8) % CLIENTS, &headers)
    });
}

#[divan::bench(args = KINDS.map(|(name, _)| name), threads = [2, 4], sample_count = 100, sample_size = 5000)]
fn threads(bencher: Bencher<'_, '_>, kind: &str) {
    let (limits, headers, next) = (limits(kind), HeaderMap::new(), AtomicU32::new(0));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let client = next.fetch_add(1, Ordering::Relaxed);
        ask(&limits, client % 1000, &headers)
    });
}
