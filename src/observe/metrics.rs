//! What is counted, for Prometheus. Handles are resolved once; a request touches atomics only.

use std::sync::Arc;

use super::rejection::Rejections;
use http::{Method, StatusCode};
use once_cell::sync::OnceCell;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

/// All metrics of this process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    /// 1 when the last reload was taken over, 0 when it was refused.
    pub reload_ok: IntGauge,
    /// When a configuration was last taken over, in seconds of Unix time.
    pub reload_time: IntGauge,
    config_info: IntGaugeVec,
    in_flight: IntGaugeVec,
    /// What was turned away.
    pub rejections: Rejections,
}

impl Metrics {
    /// A registry with all metrics at zero.
    ///
    /// # Errors
    /// When a name is registered twice: a fault of this program.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let (rejections, rejected) = Rejections::new()?;
        registry.register(Box::new(rejected))?;
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("pylon_http_requests_total", "Requests that ended, by route, method and status."),
                &["route", "method", "code"],
            )?,
            reload_ok: IntGauge::new(
                "pylon_config_last_reload_successful",
                "1 when the last configuration that was read is the one in use.",
            )?,
            reload_time: IntGauge::new(
                "pylon_config_last_reload_success_timestamp_seconds",
                "When a configuration was last taken over.",
            )?,
            config_info: IntGaugeVec::new(
                Opts::new("pylon_config_info", "Always 1; the label is a hash of the configuration in use."),
                &["hash"],
            )?,
            in_flight: IntGaugeVec::new(
                Opts::new("pylon_http_requests_in_flight", "Requests under way, of routes that limit them."),
                &["route"],
            )?,
            rejections,
            registry,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.reload_ok.clone()))?;
        metrics.registry.register(Box::new(metrics.reload_time.clone()))?;
        metrics.registry.register(Box::new(metrics.config_info.clone()))?;
        metrics.registry.register(Box::new(metrics.in_flight.clone()))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        metrics.registry.register(Box::new(process))?;
        Ok(metrics)
    }

    /// The handles of a route.
    #[must_use]
    pub fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics { route: name.into(), requests: self.requests.clone(), cells: Arc::new(Cells::default()) }
    }

    /// The number of requests under way of a route, which stays the same over reloads.
    #[must_use]
    pub fn in_flight(&self, route: &str) -> IntGauge {
        self.in_flight.with_label_values(&[route])
    }

    /// Notes which configuration is in use.
    pub fn config_in_use(&self, hash: &str) {
        self.config_info.reset();
        self.config_info.with_label_values(&[hash]).set(1);
        self.reload_ok.set(1);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.reload_time.set(now.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX)));
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "metrics cannot be written");
        }
        out
    }
}

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "other"];
/// 100 to 599, each with a counter that is made when it first occurs.
const STATUSES: usize = 500;

/// The metrics of one route.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    route: Arc<str>,
    requests: IntCounterVec,
    cells: Arc<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    requests: [OnceCell<Row>; METHODS.len()],
}

/// The counters of one method, by status.
type Row = Box<[OnceCell<IntCounter>]>;

impl RouteMetrics {
    /// Counts a request that ended. Methods beyond the common ones count as `other`.
    pub fn count(&self, method: &Method, status: StatusCode) {
        let row = METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1);
        let column = usize::from(status.as_u16()).saturating_sub(100).min(STATUSES - 1);
        let counters = self.cells.requests[row].get_or_init(|| (0..STATUSES).map(|_| OnceCell::new()).collect());
        let counter = counters[column]
            .get_or_init(|| self.requests.with_label_values(&[&*self.route, METHODS[row], status.as_str()]));
        counter.inc();
    }
}
