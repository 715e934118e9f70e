//! All that is counted in this process. Handles are resolved when a configuration is compiled; a request touches only
//! counters of its own thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::auth_metrics::{AuthMetrics, AuthSteps};
use super::edge_metrics::{self, BytesTotals, EdgeMetrics};
use super::families::Family;
use super::limit_metrics::{LimitCounts, LimitMetrics, StoreMetrics};
use super::rejection::Rejections;
use super::route_metrics::{self, NO_ROUTE, RouteMetrics, RouteTotals, Routes};
use super::{OpenConnection, Usage};

/// All metrics of this process.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    started: Instant,
    routes: Routes,
    no_route: RouteMetrics,
    rejections: Rejections,
    auth: AuthSteps,
    edge: EdgeMetrics,
    limits: LimitCounts,
    config: Config,
}

#[derive(Debug, Default)]
struct Config {
    refused_last: AtomicBool,
    /// In seconds of Unix time.
    taken_over: AtomicU64,
    generation: AtomicU64,
    hash: Mutex<String>,
    results: [AtomicU64; 3],
}

/// What became of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadResult {
    /// It changed something.
    Changed,
    /// It changed nothing.
    Unchanged,
    /// It was refused; what was in use before stays in use.
    Refused,
}

impl ReloadResult {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Changed, "changed"), (Self::Unchanged, "unchanged"), (Self::Refused, "refused")];
}

impl Default for Metrics {
    fn default() -> Self {
        let routes = Routes::default();
        Self(Arc::new(Counts {
            started: Instant::now(),
            no_route: routes.get(NO_ROUTE),
            routes,
            rejections: Rejections::default(),
            auth: AuthSteps::default(),
            edge: EdgeMetrics::default(),
            limits: LimitCounts::default(),
            config: Config::default(),
        }))
    }
}

impl Metrics {
    /// The metrics of a route, which stay the same over reloads.
    #[must_use]
    pub fn route(&self, name: &str) -> RouteMetrics {
        self.0.routes.get(name)
    }

    /// The metrics of requests that no route won.
    #[must_use]
    pub fn no_route(&self) -> &RouteMetrics {
        &self.0.no_route
    }

    /// What was counted of each route.
    #[must_use]
    pub fn routes(&self) -> Vec<(String, RouteTotals)> {
        self.0.routes.totals()
    }

    /// The metrics of a limit on a route.
    #[must_use]
    pub fn limit(&self, route: &str, limit: &str) -> LimitMetrics {
        self.0.limits.limit(route, limit)
    }

    /// The metrics of a store of limits, by its address.
    #[must_use]
    pub fn store(&self, address: &str) -> StoreMetrics {
        self.0.limits.store(address)
    }

    /// What is turned away.
    #[must_use]
    pub fn rejections(&self) -> &Rejections {
        &self.0.rejections
    }

    /// The metrics of a way to find out who asks, by its key.
    #[must_use]
    pub fn auth(&self, step: &'static str) -> AuthMetrics {
        self.0.auth.get(step)
    }

    /// Clients' connections.
    #[must_use]
    pub fn edge(&self) -> &EdgeMetrics {
        &self.0.edge
    }

    /// Counts a connection of a client.
    #[must_use]
    pub fn connection(&self) -> OpenConnection {
        self.0.edge.open()
    }

    /// For how long this process counts.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Notes which configuration is in use.
    pub fn config_in_use(&self, generation: u64, hash: &str) {
        let config = &self.0.config;
        hash.clone_into(&mut config.hash.lock().unwrap_or_else(PoisonError::into_inner));
        config.generation.store(generation, Ordering::Relaxed);
        config.refused_last.store(false, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        config.taken_over.store(now.as_secs(), Ordering::Relaxed);
    }

    /// Counts a reload.
    pub fn reloaded(&self, result: ReloadResult) {
        self.0.config.results[result as usize].fetch_add(1, Ordering::Relaxed);
        if result == ReloadResult::Refused {
            self.0.config.refused_last.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the last configuration that was read is the one in use, and when one was last taken over, in Unix time.
    #[must_use]
    pub fn last_reload(&self) -> (bool, u64) {
        let config = &self.0.config;
        (!config.refused_last.load(Ordering::Relaxed), config.taken_over.load(Ordering::Relaxed))
    }

    /// The families of what is counted here. `upstream` are the bytes from and to upstreams.
    #[must_use]
    pub fn families(&self, upstream: BytesTotals) -> Vec<Family> {
        let mut families = route_metrics::families(&self.routes());
        families.push(self.0.rejections.family());
        families.push(self.0.auth.family());
        families.extend(self.0.limits.families());
        families.extend(self.0.edge.families());
        families.extend(edge_metrics::network(self.0.edge.bytes(), upstream));
        families.extend(self.config_families());
        families.extend(Usage::now().families(self.uptime()));
        families
    }

    #[allow(clippy::cast_precision_loss, reason = "seconds of Unix time")]
    fn config_families(&self) -> Vec<Family> {
        let config = &self.0.config;
        let (successful, at) = self.last_reload();
        let mut reloads = Family::counter("pylon_config_reloads_total", "Times that the configuration was read again.");
        for (result, word) in ReloadResult::ALL {
            reloads.push_count(&[("result", word)], config.results[result as usize].load(Ordering::Relaxed));
        }
        let mut info = Family::gauge("pylon_config_info", "Always 1; the hash is that of the configuration in use.");
        info.push(&[("hash", &config.hash.lock().unwrap_or_else(PoisonError::into_inner))], 1.0);
        let mut build = Family::gauge("pylon_build_info", "Always 1; the version of this program.");
        build.push(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        vec![
            Family::gauge(
                "pylon_config_last_reload_successful",
                "1 when the last configuration that was read is the one in use.",
            )
            .of(f64::from(u8::from(successful))),
            Family::gauge(
                "pylon_config_last_reload_success_timestamp_seconds",
                "When a configuration was last taken over, in Unix time.",
            )
            .of(at as f64),
            Family::gauge("pylon_config_generation", "Counts the configurations of this process, from 1.")
                .of(config.generation.load(Ordering::Relaxed) as f64),
            reloads,
            info,
            build,
        ]
    }
}
