//! What it costs to choose the endpoint of a request: `cargo bench`.
//!
//! To be under 100 ns at 3 endpoints and under 200 ns at 1,000, for every method, without an allocation.

use std::path::PathBuf;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use pylon::upstream::{Resolver, Upstream, Wish};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const METHODS: [&str; 5] = ["round_robin", "weighted", "least_requests", "peak_ewma", "hash"];

fn main() {
    divan::main();
}

/// A pool of so many endpoints whose latencies are known.
fn pool(method: &str, endpoints: usize) -> Arc<Upstream> {
    let balance = match method {
        "hash" => serde_json::json!({ "hash": "client_ip" }),
        "weighted" => "round_robin".into(),
        method => method.into(),
    };
    let endpoints: Vec<_> = (0..endpoints)
        .map(|i| {
            let weight = if method == "weighted" { 1 + i % 7 } else { 1 };
            serde_json::json!({ "url": format!("http://10.{}.{}.1:80", i / 256, i % 256), "weight": weight })
        })
        .collect();
    let spec = serde_json::from_value(serde_json::json!({ "endpoints": endpoints, "balance": balance }));
    let Ok(spec) = spec else { unreachable!("the spec is one") };
    let Ok(pool) = Upstream::compile("bench", &spec, None, &|path| PathBuf::from(path)) else {
        unreachable!("the pool is one")
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        unreachable!("a runtime can be built")
    };
    runtime.block_on(async {
        let Ok(resolver) = Resolver::new(&pylon::config::ResolverSpec::default()) else {
            unreachable!("a resolver can be made")
        };
        pool.resolve(&resolver).await;
    });
    for endpoint in pool.status().endpoints {
        if let Some(endpoint) = endpoint.address.parse().ok().and_then(|address| pool.endpoint(address)) {
            pool.succeeded(&endpoint, std::time::Duration::from_micros(fastrand::u64(500..5000)), false);
        }
    }
    pool
}

#[divan::bench(args = METHODS, consts = [3, 100, 1000], sample_count = 100, sample_size = 2000)]
fn choose<const ENDPOINTS: usize>(bencher: Bencher<'_, '_>, method: &str) {
    let pool = pool(method, ENDPOINTS);
    let mut client = 0_u32;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        client = client.wrapping_add(0x9e37_79b9);
        let key = client.to_be_bytes();
        black_box(pool.choose(&Wish { key: Some(&key), ..Wish::default() }))
    });
}
