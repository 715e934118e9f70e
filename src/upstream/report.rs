//! What becomes of attempts, and what a pool makes of it: it ejects endpoints, and opens its circuit breaker.

use std::sync::PoisonError;
use std::time::Duration;

use super::breaker::Change;
use super::endpoint::Endpoint;
use super::{Upstream, clock};

impl Upstream {
    /// An attempt succeeded: its answer began after this time.
    pub fn succeeded(&self, endpoint: &Endpoint, after: Duration, probe: bool) {
        endpoint.state.health.succeeded();
        endpoint.state.latency.observe(after);
        self.record(true, probe);
    }

    /// An attempt failed, by the endpoint's fault.
    pub fn failed(&self, endpoint: &Endpoint, after: Duration, probe: bool, reason: &str) {
        // A refusal is fast; it is not to look attractive for that.
        endpoint.state.latency.observe(after.max(Duration::from_secs(1)));
        if endpoint.state.health.failed(&self.compiled.ejection) {
            self.eject(&[(endpoint, reason.to_owned())]);
        }
        self.record(false, probe);
    }

    /// An idle connection was closed just when an attempt used it.
    pub fn doubted(&self, endpoint: &Endpoint) {
        endpoint.state.health.doubted();
    }

    fn record(&self, success: bool, probe: bool) {
        let Some(rule) = self.compiled.breaker else { return };
        match self.state.breaker.record(rule, success, probe) {
            Change::None => {}
            Change::Opened => tracing::warn!(upstream = %self.name, "circuit breaker open: most attempts fail"),
            Change::Closed => tracing::info!(upstream = %self.name, "circuit breaker closed: attempts succeed again"),
        }
    }

    /// Leaves endpoints out for a while, as far as the pool can spare them.
    pub(super) fn eject(&self, worst_first: &[(&Endpoint, String)]) {
        let mut rebuild = self.rebuild.lock().unwrap_or_else(PoisonError::into_inner);
        let rule = &self.compiled.ejection;
        let roster = self.roster.load();
        let now = clock::now();
        let of_pool = || roster.all.iter().filter(|endpoint| endpoint.configured.weight > 0);
        let most = rule.most(of_pool().count());
        let mut out = of_pool().filter(|endpoint| endpoint.state.health.is_ejected(now)).count();
        let mut changed = false;
        for (endpoint, reason) in worst_first {
            if out >= most || endpoint.state.health.is_ejected(now) {
                continue;
            }
            let time = endpoint.state.health.eject(rule, reason);
            endpoint.state.metrics.ejected();
            tracing::warn!(upstream = %self.name, endpoint = %endpoint.address, %reason, ?time, "endpoint ejected");
            out += 1;
            changed = true;
        }
        if changed {
            self.build(&mut rebuild);
            self.state.change();
        }
    }
}
