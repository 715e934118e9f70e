//! All that is counted, from wherever it is counted, for scrapers and for the console.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::instance::Registry;
use crate::lifecycle::Lifecycle;
use crate::listen::Listeners;
use crate::observe::{Family, Logs, Metrics, PoolFamilies, Recorder, RouteTotals, TraceExporter, Usage};
use crate::reload::Reloader;
use crate::upstream::Sockets;

/// Where things are counted.
#[derive(Clone)]
pub struct Sources {
    /// The configuration in use.
    pub reloader: Arc<Reloader>,
    /// Most of what is counted.
    pub metrics: Metrics,
    /// The instances that are registered.
    pub instances: Arc<Registry>,
    /// The listeners, with their certificates.
    pub listeners: Arc<Listeners>,
    /// Whether the process is stopping.
    pub lifecycle: Arc<Lifecycle>,
    /// The log channels.
    pub logs: Arc<Logs>,
    /// The last requests.
    pub recorder: Arc<Recorder>,
    /// Where traces go.
    pub exporter: Option<Arc<TraceExporter>>,
    /// Threads of the data path.
    pub workers: usize,
    /// How many connections of clients the process takes.
    pub connections_limit: usize,
}

impl Sources {
    /// All metrics.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
    pub fn families(&self) -> Vec<Family> {
        let mut families = self.metrics.families(Sockets::of_process().bytes());
        let snapshot = self.reloader.snapshot();
        let mut pools = PoolFamilies::default();
        snapshot.upstreams().iter().for_each(|upstream| upstream.sample(&mut |pool| pools.push(pool)));
        families.extend(pools.into_vec());
        families.extend(self.logs.families());
        families.extend(self.instances.families());
        families.extend(self.exporter.iter().flat_map(|exporter| exporter.families()));
        let mut certificates = Family::gauge(
            "pylon_tls_cert_not_after_timestamp_seconds",
            "When a certificate ends to be valid, in Unix time.",
        );
        for certificate in self.listeners.certificates() {
            let labels = [("listener", certificate.listener.as_str()), ("name", certificate.name.as_str())];
            certificates.push(&labels, certificate.not_after as f64);
        }
        families.push(certificates);
        let gauge = |name: &str, help: &str, value: f64| Family::gauge(name, help).of(value);
        families.extend([
            gauge("pylon_workers", "Threads of the data path.", self.workers as f64),
            gauge(
                "pylon_connections_limit",
                "How many connections of clients the process takes.",
                self.connections_limit as f64,
            ),
            gauge(
                "pylon_draining",
                "1 while this instance is being taken out of service.",
                f64::from(u8::from(self.lifecycle.is_leaving())),
            ),
        ]);
        families
    }

    /// What happens now, for people.
    #[must_use]
    pub fn status(&self) -> Value {
        let snapshot = self.reloader.snapshot();
        let (successful, at) = self.metrics.last_reload();
        let usage = Usage::now();
        let edge = self.metrics.edge();
        let connections: serde_json::Map<String, Value> = edge
            .connections()
            .into_iter()
            .map(|(protocol, open)| (protocol.as_str().to_owned(), open.into()))
            .collect();
        let rejected: serde_json::Map<String, Value> = self
            .metrics
            .rejections()
            .counts()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.as_str().to_owned(), count.into()))
            .collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "now": now.as_secs_f64(),
            "uptime_seconds": self.metrics.uptime().as_secs_f64(),
            "state": self.lifecycle.state(),
            "workers": self.workers,
            "config": {
                "source": self.reloader.source().to_string(),
                "generation": snapshot.generation,
                "hash": snapshot.hash,
                "last_reload_successful": successful,
                "last_reload_at": at,
            },
            "process": usage,
            "connections": connections,
            "connections_limit": self.connections_limit,
            "requests_in_flight": self.lifecycle.under_way(),
            "network": { "client": edge.bytes(), "upstream": Sockets::of_process().bytes() },
            "rejected": rejected,
            "log": self.logs.channels(),
            "routes": self.metrics.routes().iter().map(|(name, totals)| route(name, totals)).collect::<Vec<_>>(),
            "certificates": self.listeners.certificates(),
        })
    }
}

fn route(name: &str, totals: &RouteTotals) -> Value {
    let outcomes: serde_json::Map<String, Value> =
        totals.outcomes().map(|(outcome, count)| (outcome.as_str().to_owned(), count.into())).collect();
    let buckets: Vec<Value> =
        totals.durations.cumulative().map(|(bound, count)| json!({ "le": bound, "count": count })).collect();
    json!({
        "name": name,
        "requests": totals.requests(),
        "codes": totals.codes(),
        "outcomes": outcomes,
        "failed": totals.failed,
        "in_flight": totals.in_flight,
        "request_bytes": totals.received,
        "response_bytes": totals.sent,
        "duration": {
            "count": totals.durations.count(),
            "sum_seconds": totals.durations.seconds(),
            "buckets": buckets,
        },
    })
}
