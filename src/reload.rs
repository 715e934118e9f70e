//! Live reload: watch → read → compile → swap; what does not compile changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Mutex, mpsc};

use crate::config::{Env, Loaded, Report, load, load_system};
use crate::listen::{Listeners, tls_files};
use crate::observe::{Metrics, ReloadResult};
use crate::snapshot::{Snapshot, compile};
use crate::upstream::{Resolver, Upstream};

/// How long changes may keep coming in before they are read together.
const SETTLE: Duration = Duration::from_millis(200);
/// How often files are looked at without being told, for file systems that do not tell.
const POLL: Duration = Duration::from_secs(10);

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A built-in system, from variables: those given, or else the environment.
    System {
        /// Its name.
        name: String,
        /// What stands for the environment.
        variables: Option<BTreeMap<String, String>>,
    },
}

impl Source {
    /// A built-in system, from the environment.
    #[must_use]
    pub fn system(name: &str) -> Self {
        Self::System { name: name.to_owned(), variables: None }
    }

    /// Reads it.
    ///
    /// # Errors
    /// All problems, each with its place.
    pub fn load(&self) -> Result<Loaded, Report> {
        match self {
            Self::File(path) => load(path, &Env),
            Self::System { name, variables: Some(variables) } => load_system(name, variables),
            Self::System { name, variables: None } => load_system(name, &Env),
        }
    }
}

impl Source {
    /// A hash of what its files hold now, and of which files there are. `others` are globs of files besides the first.
    #[must_use]
    pub fn fingerprint(&self, others: &[PathBuf]) -> u64 {
        let mut hasher = crate::step::StableHasher::default();
        let found = others.iter().filter_map(|pattern| glob::glob(&pattern.to_string_lossy()).ok());
        for path in self.main().map(Path::to_path_buf).into_iter().chain(found.flatten().filter_map(Result::ok)) {
            (&path, std::fs::read(&path).ok()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The globs of the files that a configuration has besides the first: what it includes, and what its listeners need
    /// for TLS.
    #[must_use]
    pub fn others(&self, loaded: &Loaded) -> Vec<PathBuf> {
        let folder = self.main().and_then(Path::parent).unwrap_or(Path::new(""));
        let included = self.main().map(|_| loaded.process.include.iter().map(|pattern| folder.join(pattern)));
        let literal = |path: PathBuf| PathBuf::from(glob::Pattern::escape(&path.to_string_lossy()));
        included.into_iter().flatten().chain(tls_files(loaded).into_iter().map(literal)).collect()
    }

    /// The folders in which its files stand, or would stand.
    fn folders(&self, others: &[PathBuf]) -> BTreeSet<PathBuf> {
        self.main().into_iter().chain(others.iter().map(PathBuf::as_path)).map(folder_of).collect()
    }

    fn main(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::System { .. } => None,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::System { name, .. } => write!(f, "the built-in system `{name}`"),
        }
    }
}

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
    /// The globs of the files besides the first, of the configuration that was last read without a problem.
    others: std::sync::Mutex<Vec<PathBuf>>,
    /// What the files held when the configuration in use was read.
    seen: u64,
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
        Self { source, started, others, seen, snapshot, listeners, resolver, metrics, one_at_a_time: Mutex::new(()) }
    }

    /// Where the configuration comes from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
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
        let result = self.try_reload().await;
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

    async fn try_reload(&self) -> Result<Reloaded, Report> {
        let loaded = self.source.load()?;
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = self.source.others(&loaded);
        let current = self.snapshot.load_full();
        let (fresh, snapshot) = compile_all(&loaded, Some(&current), &self.metrics)?;
        let renewals = self.listeners.renew(&fresh, &loaded)?;
        renewals.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        let certificates: Vec<String> = renewals.listeners().map(str::to_owned).collect();
        let needs_restart = changed_process_keys(&self.started, &loaded);
        // The hash does not see secrets and what files hold; a pool does.
        let same_pools = snapshot.upstreams().iter().all(|pool| is_in(pool, &current));
        if snapshot.hash == current.hash && same_pools {
            renewals.apply();
            self.metrics.config_in_use(current.generation, &current.hash);
            let (hash, changed) = (current.hash.clone(), !certificates.is_empty());
            return Ok(Reloaded { generation: current.generation, hash, changed, certificates, needs_restart });
        }
        start_upstreams(&snapshot, Some(&current), &self.resolver).await;
        let (generation, hash) = (snapshot.generation, snapshot.hash.clone());
        let snapshot = Arc::new(snapshot);
        renewals.apply();
        self.snapshot.store(Arc::clone(&snapshot));
        current.upstreams().iter().filter(|pool| !is_in(pool, &snapshot)).for_each(|pool| pool.stop());
        self.metrics.config_in_use(generation, &hash);
        Ok(Reloaded { generation, hash, changed: true, certificates, needs_restart })
    }

    /// Reloads whenever the files change, for ever.
    pub async fn watch(self: Arc<Self>) {
        let others = || self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.source.main().is_none() && others().is_empty() {
            return;
        }
        let (changed, mut changes) = mpsc::channel::<()>(1);
        let watcher = notify::recommended_watcher(move |_| {
            let _ = changed.try_send(());
        });
        let mut watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "files are polled, as changes cannot be watched")).ok();
        let mut watched = BTreeSet::new();
        let mut seen = self.seen;
        loop {
            let others = others();
            for folder in self.source.folders(&others) {
                let watching = watcher.as_mut().map(|w| w.watch(&folder, RecursiveMode::NonRecursive));
                if matches!(watching, Some(Ok(()))) && watched.insert(folder.clone()) {
                    tracing::debug!(folder = %folder.display(), "watched for changes");
                }
            }
            let now = self.source.fingerprint(&others);
            if now != seen {
                seen = now;
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
    match (Listeners::compile(loaded), compile(loaded, previous, metrics)) {
        (Ok(listeners), Ok(snapshot)) => Ok((listeners, snapshot)),
        (Err(mut report), Err(other)) => {
            report.extend(other);
            Err(report)
        }
        (Err(report), _) | (_, Err(report)) => Err(report),
    }
}

/// Looks up the addresses of the pools that are new, all at once, and starts them.
pub async fn start_upstreams(snapshot: &Snapshot, previous: Option<&Snapshot>, resolver: &Resolver) {
    let new = || snapshot.upstreams().iter().filter(|pool| !previous.is_some_and(|p| is_in(pool, p)));
    futures_util::future::join_all(new().map(|pool| pool.resolve(resolver))).await;
    new().for_each(Upstream::start);
}

/// Whether a snapshot has this very pool.
fn is_in(pool: &Arc<Upstream>, snapshot: &Snapshot) -> bool {
    snapshot.upstreams().iter().any(|known| Arc::ptr_eq(known, pool))
}

/// The process keys in which two configurations differ.
fn changed_process_keys(started: &Loaded, now: &Loaded) -> Vec<&'static str> {
    let text = |loaded: &Loaded, key: &str| {
        let process = serde_yaml::to_value(&loaded.process).unwrap_or_default();
        process.get(key).map(|value| serde_yaml::to_string(value).unwrap_or_default())
    };
    let keys =
        ["listeners", "admin", "workers", "grace_period", "upgrade_socket", "log", "recorder", "tracing", "resolver"];
    keys.into_iter().filter(|key| text(started, key) != text(now, key)).collect()
}

/// The folder of a path, which may be a glob: what stands before its first wildcard.
fn folder_of(path: &Path) -> PathBuf {
    let wild = |part: &std::path::Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let plain: PathBuf = path.components().take_while(|part| !wild(part)).collect();
    let folder = if plain.as_path() == path { plain.parent().map(Path::to_path_buf) } else { Some(plain) };
    folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_end_before_wildcards() {
        for (path, folder) in [
            ("pylon.yaml", "."),
            ("/etc/pylon/pylon.yaml", "/etc/pylon"),
            ("/etc/pylon/conf.d/*.yaml", "/etc/pylon/conf.d"),
            ("conf.d/*/x.yaml", "conf.d"),
            ("*.yaml", "."),
        ] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }
}
