//! Live reload: watch → read → compile → swap; what does not compile changes nothing.

mod source;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Mutex, mpsc};

use crate::config::{Loaded, PROCESS_KEYS, Report, value::Secret};
use crate::instance::RegistryOptions;
use crate::listen::Listeners;
use crate::observe::{Metrics, ReloadResult};
use crate::snapshot::{Snapshot, compile};
use crate::upstream::{Resolver, Upstream};

pub use source::Source;

/// How long changes may keep coming in before they are read together.
const SETTLE: Duration = Duration::from_millis(200);
/// How often files are looked at without being told, for file systems that do not tell.
const POLL: Duration = Duration::from_secs(10);

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reloaded {
    /// The generation that is in use now.
    pub generation: u64,
    /// The hash of the configuration in use.
    pub hash: String,
    /// Whether anything changed.
    pub changed: bool,
    /// The listeners whose certificates, or other TLS files, were taken over.
    pub certificates: Vec<String>,
    /// Keys that changed but are read at start only.
    pub needs_restart: Vec<&'static str>,
}

/// Swaps configurations.
pub struct Reloader {
    source: Source,
    started: Loaded,
    in_use: ArcSwap<Loaded>,
    admin_token: ArcSwapOption<Secret>,
    /// The globs of the files besides the first, of the configuration that was last read without a problem.
    others: std::sync::Mutex<Vec<PathBuf>>,
    /// What the files held when they were last read.
    seen: AtomicU64,
    snapshot: Arc<ArcSwap<Snapshot>>,
    listeners: Arc<Listeners>,
    resolver: Resolver,
    metrics: Metrics,
    one_at_a_time: Mutex<()>,
}

impl Reloader {
    /// A reloader for a process that was started with `started`.
    #[must_use]
    pub fn new(
        source: Source,
        started: Loaded,
        seen: u64,
        snapshot: Arc<ArcSwap<Snapshot>>,
        listeners: Arc<Listeners>,
        resolver: Resolver,
        metrics: Metrics,
    ) -> Self {
        let others = std::sync::Mutex::new(source.others(&started));
        let in_use = ArcSwap::from_pointee(started.clone());
        let admin_token = ArcSwapOption::new(token_of(&started));
        let one_at_a_time = Mutex::new(());
        let seen = AtomicU64::new(seen);
        Self {
            source,
            started,
            in_use,
            admin_token,
            others,
            seen,
            snapshot,
            listeners,
            resolver,
            metrics,
            one_at_a_time,
        }
    }

    /// Where the configuration comes from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What was written of the configuration in use.
    #[must_use]
    pub fn in_use(&self) -> Arc<Loaded> {
        self.in_use.load_full()
    }

    /// The addresses that are served.
    #[must_use]
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// The token of the admin port: the last that a configuration in use had.
    ///
    /// A reload that takes it away opens nothing: the address may be one that is safe with a token only, and stays until
    /// the restart.
    #[must_use]
    pub fn admin_token(&self) -> Option<Arc<Secret>> {
        self.admin_token.load_full()
    }

    /// The effective configuration that runs now: the process part of the start, and the rest of the last reload.
    ///
    /// # Errors
    /// When it cannot be written: a fault of this program.
    pub fn effective(&self) -> Result<serde_yaml::Value, serde_yaml::Error> {
        let mut value = self.in_use.load().effective_value()?;
        let started = self.started.effective_value()?;
        if let Some(value) = value.as_mapping_mut() {
            for key in PROCESS_KEYS {
                match started.get(key) {
                    Some(part) => drop(value.insert(key.into(), part.clone())),
                    None => drop(value.remove(key)),
                }
            }
        }
        Ok(value)
    }

    /// The configuration in use.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Reads the configuration again and takes it over.
    ///
    /// # Errors
    /// All problems; the configuration in use stays in use.
    pub async fn reload(&self) -> Result<Reloaded, Report> {
        let _turn = self.one_at_a_time.lock().await;
        let others = self.others();
        let before = self.source.fingerprint(&others);
        let result = self.try_reload().await;
        // What changed while it was read is seen by the next look.
        let unchanged = self.source.fingerprint(&others) == before;
        let seen = if unchanged { self.source.fingerprint(&self.others()) } else { before };
        self.seen.store(seen, Ordering::Relaxed);
        if let Ok(done) = &result {
            self.metrics.reloaded(if done.changed { ReloadResult::Changed } else { ReloadResult::Unchanged });
        }
        match &result {
            Ok(done) if done.changed => tracing::info!(
                generation = done.generation, hash = %done.hash, certificates = ?done.certificates,
                needs_restart = ?done.needs_restart, "configuration taken over"
            ),
            Ok(done) => tracing::info!(
                hash = %done.hash, needs_restart = ?done.needs_restart, "configuration read, routes unchanged"
            ),
            Err(report) => {
                self.metrics.reloaded(ReloadResult::Refused);
                tracing::error!("configuration refused, the one before stays in use:\n{report}");
            }
        }
        result
    }

    fn others(&self) -> Vec<PathBuf> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn try_reload(&self) -> Result<Reloaded, Report> {
        // Files may be slow, and a thousand routes take their time: probes and the admin port go on meanwhile.
        let loaded = tokio::task::block_in_place(|| self.source.load())?;
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = self.source.others(&loaded);
        let current = self.snapshot.load_full();
        let compile = || compile_all(&loaded, Some(&current), &self.metrics);
        let (fresh, snapshot) = tokio::task::block_in_place(compile)?;
        let renewals = self.listeners.renew(&fresh, &loaded)?;
        renewals.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        let certificates: Vec<String> = renewals.listeners().map(str::to_owned).collect();
        let needs_restart = changed_process_keys(&self.started, &loaded);
        // The hash does not see secrets and what files hold; a pool does, and what steps keep.
        let same_pools = snapshot.upstreams().iter().all(|pool| is_in(pool, &current));
        if snapshot.hash == current.hash && same_pools && !snapshot.shared().has_new() {
            renewals.apply();
            self.now_in_use(loaded);
            self.metrics.config_in_use(current.generation, &current.hash);
            let (hash, changed) = (current.hash.clone(), !certificates.is_empty());
            return Ok(Reloaded { generation: current.generation, hash, changed, certificates, needs_restart });
        }
        start_upstreams(&snapshot, Some(&current), &self.resolver).await;
        let (generation, hash) = (snapshot.generation, snapshot.hash.clone());
        let snapshot = Arc::new(snapshot);
        renewals.apply();
        self.snapshot.store(Arc::clone(&snapshot));
        self.now_in_use(loaded);
        current.upstreams().iter().filter(|pool| !is_in(pool, &snapshot)).for_each(|pool| pool.stop());
        self.metrics.config_in_use(generation, &hash);
        Ok(Reloaded { generation, hash, changed: true, certificates, needs_restart })
    }

    fn now_in_use(&self, loaded: Loaded) {
        if let Some(token) = token_of(&loaded) {
            self.admin_token.store(Some(token));
        }
        self.in_use.store(Arc::new(loaded));
    }

    /// Reloads whenever the files change, for ever.
    pub async fn watch(self: Arc<Self>) {
        if self.source.main().is_none() && self.others().is_empty() {
            return;
        }
        let (changed, mut changes) = mpsc::channel::<()>(1);
        let watcher = notify::recommended_watcher(move |_| {
            let _ = changed.try_send(());
        });
        let mut watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "files are polled, as changes cannot be watched")).ok();
        let mut watched = BTreeSet::new();
        loop {
            let others = self.others();
            for folder in self.source.folders(&others) {
                let watching = watcher.as_mut().map(|w| w.watch(&folder, RecursiveMode::NonRecursive));
                if matches!(watching, Some(Ok(()))) && watched.insert(folder.clone()) {
                    tracing::debug!(folder = %folder.display(), "watched for changes");
                }
            }
            let now = self.source.fingerprint(&others);
            if now != self.seen.load(Ordering::Relaxed) {
                let _ = self.reload().await;
                continue;
            }
            tokio::select! {
                _ = changes.recv() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(POLL) => {}
            }
            while changes.try_recv().is_ok() {}
        }
    }
}

/// Compiles listeners and routes, and reports the problems of both.
///
/// # Errors
/// All problems, each with its place.
pub fn compile_all(
    loaded: &Loaded,
    previous: Option<&Snapshot>,
    metrics: &Metrics,
) -> Result<(Listeners, Snapshot), Report> {
    let mut report = Report::new();
    let listeners = Listeners::compile(loaded).map_err(|wrong| report.extend(wrong));
    let instances = RegistryOptions::compile(loaded).map_err(|wrong| report.extend(wrong));
    let snapshot = compile(loaded, previous, metrics).map_err(|wrong| report.extend(wrong));
    match (listeners, instances, snapshot) {
        (Ok(listeners), Ok(_), Ok(snapshot)) => Ok((listeners, snapshot)),
        _ => Err(report),
    }
}

/// Looks up the addresses of the pools that are new, all at once, and starts them.
pub async fn start_upstreams(snapshot: &Snapshot, previous: Option<&Snapshot>, resolver: &Resolver) {
    let new = || snapshot.upstreams().iter().filter(|pool| !previous.is_some_and(|p| is_in(pool, p)));
    futures_util::future::join_all(new().map(|pool| pool.resolve(resolver))).await;
    new().for_each(Upstream::start);
    snapshot.shared().start();
}

/// Whether a snapshot has this very pool.
fn is_in(pool: &Arc<Upstream>, snapshot: &Snapshot) -> bool {
    snapshot.upstreams().iter().any(|known| Arc::ptr_eq(known, pool))
}

fn token_of(loaded: &Loaded) -> Option<Arc<Secret>> {
    loaded.process.admin.as_ref().and_then(|admin| admin.token.clone()).map(Arc::new)
}

/// The process keys in which two configurations differ.
fn changed_process_keys(started: &Loaded, now: &Loaded) -> Vec<&'static str> {
    let text = |loaded: &Loaded, key: &str| {
        let process = serde_yaml::to_value(&loaded.process).unwrap_or_default();
        process.get(key).map(|value| serde_yaml::to_string(value).unwrap_or_default())
    };
    PROCESS_KEYS.into_iter().filter(|key| text(started, key) != text(now, key)).collect()
}
