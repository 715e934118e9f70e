//! What it costs to count and record a request: `cargo bench --bench recording`.
//!
//! To be under 1 µs a request in all at 1,000 routes, and not more with several threads.

use std::sync::Arc;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use http::{Method, StatusCode};
use pylon::observe::{EndpointMetrics, Metrics, Outcome, Queue, RouteMetrics, TraceContext, new_request_id};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// The routes of a configuration, each with an endpoint.
fn routes(metrics: &Metrics) -> Vec<(RouteMetrics, EndpointMetrics)> {
    (0..1000).map(|i| (metrics.route(&format!("route-{i}")), EndpointMetrics::default())).collect()
}

/// All that is counted of a request that is forwarded, on routes that come in turn.
fn count((route, endpoint): &(RouteMetrics, EndpointMetrics), metrics: &Metrics) {
    metrics.edge().receive(400);
    route.begin();
    endpoint.attempt(Some(StatusCode::OK), None);
    route.send(1200);
    metrics.edge().send(1500);
    route.end(&Method::GET, StatusCode::OK, Outcome::Forwarded, Some(Duration::from_micros(700)));
    route.leave();
}

#[divan::bench(threads = [1, 2], sample_count = 100, sample_size = 10_000)]
fn metrics_at_1000_routes(bencher: Bencher<'_, '_>) {
    let metrics = Metrics::default();
    let routes = routes(&metrics);
    // Counters are made when they first count.
    for route in &routes {
        count(route, &metrics);
    }
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        count(black_box(&routes[fastrand::usize(..1000)]), &metrics);
    });
}

#[divan::bench(threads = [1, 2], sample_count = 100, sample_size = 10_000)]
fn metrics_of_one_route(bencher: Bencher<'_, '_>) {
    let metrics = Metrics::default();
    let routes = routes(&metrics);
    bencher.counter(ItemsCount::new(1_usize)).bench(|| count(black_box(&routes[0]), &metrics));
}

/// What a request does to be recorded: a box into a queue, which somebody else empties.
#[divan::bench(threads = [1, 2], sample_count = 100, sample_size = 1000)]
fn hand_over(bencher: Bencher<'_, '_>) {
    let queue = Arc::<Queue<Box<[u64; 60]>, 4096>>::default();
    let reader = Arc::clone(&queue);
    std::thread::spawn(move || reader.read(|item| drop(black_box(item)), || ()));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| queue.push(Box::new(black_box([7; 60]))));
}

#[divan::bench(threads = [1, 2], sample_count = 100, sample_size = 10_000)]
fn names(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let id = new_request_id();
        let trace = TraceContext::begin(id.as_bytes(), false);
        (black_box(trace.header(1)), id)
    });
}
