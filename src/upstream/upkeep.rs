//! What a pool does by itself: look names up, probe, readmit, compare, and build its roster anew.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use pingora_load_balancing::discovery::ServiceDiscovery;
use tokio::sync::watch;

use super::balance::Ring;
use super::discovery::{Lookup, Resolver};
use super::endpoint::Endpoint;
use super::health::Probed;
use super::health::probe::Prober;
use super::roster::Roster;
use super::{Rebuild, Upstream, clock};
use crate::config::BalanceSpec;

/// How often a pool looks after what changes with time, while something does.
const TICK: Duration = Duration::from_millis(200);

impl Upstream {
    /// Looks all addresses up for the first time.
    pub async fn resolve(&self, resolver: &Resolver) {
        self.lookup.get_or_init(|| {
            let names = Arc::clone(&self.state.names);
            Lookup::new(self.name.clone(), resolver.clone(), self.compiled.endpoints.clone(), names)
        });
        self.look_up().await;
    }

    /// Starts what the pool does by itself, until it is stopped or dropped.
    pub fn start(self: &Arc<Self>) {
        tokio::spawn(keep_looking_up(Arc::downgrade(self), self.stop.subscribe()));
        tokio::spawn(keep_up(Arc::downgrade(self), self.stop.subscribe()));
    }

    /// Ends what the pool does by itself, as another one has taken its place.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    async fn look_up(&self) {
        let Some(lookup) = self.lookup.get() else { return };
        let Ok((found, _)) = lookup.discover().await else { return };
        let mut rebuild = self.rebuild.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.roster.load_full();
        let mut all: Vec<(usize, Arc<Endpoint>)> = Vec::new();
        {
            let mut states = self.state.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
            let mut seen = HashSet::new();
            for backend in &found {
                let (Some(address), Some(index)) = (backend.addr.as_inet(), backend.ext.get::<usize>()) else {
                    continue;
                };
                let Some(configured) = self.compiled.endpoints.get(*index).filter(|_| seen.insert(*address)) else {
                    continue;
                };
                let state = states.get(address).and_then(Weak::upgrade).unwrap_or_default();
                states.insert(*address, Arc::downgrade(&state));
                let same = before.all.iter().find(|old| old.address == *address && old.configured == *configured);
                let endpoint = same.cloned().unwrap_or_else(|| {
                    state.health.probe(self.compiled.prober.is_some());
                    let sticky = self.compiled.sticky.as_ref();
                    Arc::new(Endpoint {
                        token: sticky.map(|sticky| sticky.token(&self.name, *address)).unwrap_or_default(),
                        peer: self.peer(configured, *address, &state),
                        configured: Arc::clone(configured),
                        address: *address,
                        state,
                    })
                });
                all.push((*index, endpoint));
            }
            // An address that has left is forgotten once its last request is over.
            states.retain(|_, state| state.strong_count() > 0);
        }
        all.sort_by_key(|(index, endpoint)| (*index, endpoint.address));
        let all: Vec<Arc<Endpoint>> = all.into_iter().map(|(_, endpoint)| endpoint).collect();
        let same = all.len() == before.all.len() && all.iter().zip(&before.all).all(|(a, b)| Arc::ptr_eq(a, b));
        if same && !all.is_empty() {
            return;
        }
        if !before.all.is_empty() {
            let addresses: Vec<String> = all.iter().map(|endpoint| endpoint.address.to_string()).collect();
            tracing::info!(upstream = %self.name, ?addresses, "endpoints changed");
        }
        let weights = || all.iter().map(|endpoint| (endpoint.address, endpoint.configured.weight)).collect::<Vec<_>>();
        rebuild.ring = matches!(self.spec.balance, BalanceSpec::Hash(_)).then(|| Arc::new(Ring::new(&weights())));
        self.build_from(&mut rebuild, all);
    }

    /// Builds the roster anew, of the endpoints that it has.
    pub(super) fn build(&self, rebuild: &mut Rebuild) {
        let all = self.roster.load().all.clone();
        self.build_from(rebuild, all);
    }

    fn build_from(&self, rebuild: &mut Rebuild, all: Vec<Arc<Endpoint>>) {
        let roster = Roster::new(all, &self.spec.balance, rebuild.ring.as_ref(), self.compiled.slow_start);
        match (self.state.panic.swap(roster.panic, Ordering::Relaxed), roster.panic) {
            (false, true) => {
                tracing::error!(upstream = %self.name, "no endpoint is usable: all are tried until one is");
            }
            (true, false) => tracing::info!(upstream = %self.name, "endpoints are usable again"),
            _ => {}
        }
        self.roster.store(Arc::new(roster));
    }

    /// Readmits endpoints whose time out is over; whether some still wait for that.
    fn readmit(&self) -> bool {
        let now = clock::now();
        let roster = self.roster.load();
        let mut changed = false;
        for endpoint in &roster.all {
            if endpoint.state.health.readmit(now, &self.compiled.ejection) {
                tracing::info!(upstream = %self.name, endpoint = %endpoint.address, "endpoint readmitted, on probation");
                changed = true;
            }
        }
        if changed {
            self.state.change();
        }
        roster.all.iter().any(|endpoint| endpoint.state.health.is_ejected(now))
    }

    /// Compares the endpoints' shares of failures, and ejects those that are far above the others.
    fn compare(&self) {
        let roster = self.roster.load();
        let counts: Vec<(u32, u32)> = roster.all.iter().map(|endpoint| endpoint.state.health.take_counts()).collect();
        let worst = self.compiled.ejection.outliers(&counts);
        let worst: Vec<(&Endpoint, String)> = worst
            .into_iter()
            .filter_map(|(index, share)| {
                let reason = format!("{:.0}% of its requests failed, far more than those of the others", share * 100.0);
                Some((&**roster.all.get(index)?, reason))
            })
            .collect();
        if !worst.is_empty() {
            self.eject(&worst);
        }
    }
}

/// Looks names up whenever their time has passed.
async fn keep_looking_up(pool: Weak<Upstream>, mut stop: watch::Receiver<bool>) {
    loop {
        let Some(due) = pool.upgrade().and_then(|pool| pool.lookup.get().map(Lookup::due)) else { return };
        let Some(due) = due else { return };
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        match pool.upgrade() {
            Some(pool) => pool.look_up().await,
            None => return,
        }
    }
}

/// Looks after health and roster for as long as the pool is there.
async fn keep_up(pool: Weak<Upstream>, mut stop: watch::Receiver<bool>) {
    let mut compared = Instant::now();
    let mut probes = Probes::default();
    let mut seen = None;
    loop {
        let Some(pool) = pool.upgrade() else { return };
        let some_are_out = pool.readmit();
        let interval = pool.compiled.ejection.interval;
        if compared.elapsed() >= interval {
            compared = Instant::now();
            pool.compare();
        }
        let changes = pool.state.changes.load(Ordering::Acquire);
        if seen != Some(changes) || pool.roster.load().is_warming() {
            seen = Some(changes);
            pool.build(&mut pool.rebuild.lock().unwrap_or_else(PoisonError::into_inner));
        }
        probes.follow(&pool);
        let busy = some_are_out || pool.roster.load().is_warming();
        let pause = if busy { TICK } else { interval.saturating_sub(compared.elapsed()).clamp(TICK / 2, TICK * 5) };
        let state = Arc::clone(&pool.state);
        drop(pool);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = state.changed.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// The probing of a pool's endpoints: one task each, for as long as the endpoint is in the roster.
#[derive(Default)]
struct Probes(Vec<(Weak<Endpoint>, tokio::task::JoinHandle<()>)>);

impl Probes {
    fn follow(&mut self, pool: &Arc<Upstream>) {
        let Some(prober) = &pool.compiled.prober else { return };
        let roster = pool.roster.load();
        self.0.retain(|(endpoint, task)| {
            let stays = roster.all.iter().any(|other| std::ptr::eq(endpoint.as_ptr(), Arc::as_ptr(other)));
            if !stays {
                task.abort();
            }
            stays
        });
        for endpoint in &roster.all {
            if !self.0.iter().any(|(other, _)| std::ptr::eq(other.as_ptr(), Arc::as_ptr(endpoint))) {
                let task = keep_probing(Arc::downgrade(pool), Arc::downgrade(endpoint), Arc::clone(prober));
                self.0.push((Arc::downgrade(endpoint), tokio::spawn(task)));
            }
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, task)| task.abort());
    }
}

async fn keep_probing(pool: Weak<Upstream>, endpoint: Weak<Endpoint>, prober: Arc<Prober>) {
    let (rise, fall) = prober.thresholds();
    // One that was probed before a reload is not probed again before its time.
    let since = endpoint.upgrade().and_then(|endpoint| endpoint.state.health.since_probe());
    tokio::time::sleep(since.map_or_else(|| prober.first_pause(), |since| prober.pause().saturating_sub(since))).await;
    loop {
        let Some(target) = endpoint.upgrade() else { return };
        let answer = prober.ask(&target).await;
        let Some(pool) = pool.upgrade() else { return };
        let (what, took_ms) = (answer.what.clone(), answer.took_ms);
        let changed = target.state.health.probed(answer, rise, fall);
        let (name, address) = (&pool.name, target.address);
        match changed {
            None => {}
            Some(Probed::Unhealthy) => {
                tracing::warn!(upstream = %name, endpoint = %address, reason = %what, "endpoint unhealthy");
            }
            Some(_) => tracing::info!(upstream = %name, endpoint = %address, took_ms, "endpoint healthy"),
        }
        if changed.is_some() {
            pool.build(&mut pool.rebuild.lock().unwrap_or_else(PoisonError::into_inner));
            pool.state.change();
        }
        drop((pool, target));
        tokio::time::sleep(prober.pause()).await;
    }
}
