//! Live reload: watch → read → compile → swap; what does not compile changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher};
use tokio::sync::{Mutex, mpsc};

use crate::config::{Env, Loaded, Report, load, load_system};
use crate::listen::Listeners;
use crate::observe::Metrics;
use crate::snapshot::{Snapshot, compile};

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
    /// Keys that changed but are read at start only.
    pub needs_restart: Vec<&'static str>,
}

/// Swaps configurations.
pub struct Reloader {
    source: Source,
    started: Loaded,
    snapshot: Arc<ArcSwap<Snapshot>>,
    metrics: Metrics,
    one_at_a_time: Mutex<()>,
}

impl Reloader {
    /// A reloader for a process that was started with `started`.
    #[must_use]
    pub fn new(source: Source, started: Loaded, snapshot: Arc<ArcSwap<Snapshot>>, metrics: Metrics) -> Self {
        Self { source, started, snapshot, metrics, one_at_a_time: Mutex::new(()) }
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
        match &result {
            Ok(done) if done.changed => tracing::info!(
                generation = done.generation, hash = %done.hash, needs_restart = ?done.needs_restart,
                "configuration taken over"
            ),
            Ok(done) => tracing::info!(
                hash = %done.hash, needs_restart = ?done.needs_restart, "configuration read, routes unchanged"
            ),
            Err(report) => {
                self.metrics.reload_ok.set(0);
                tracing::error!("configuration refused, the one before stays in use:\n{report}");
            }
        }
        result
    }

    async fn try_reload(&self) -> Result<Reloaded, Report> {
        let loaded = self.source.load()?;
        let current = self.snapshot.load_full();
        let (listeners, compiled) = (Listeners::compile(&loaded), compile(&loaded, Some(&current), &self.metrics));
        let snapshot = match (listeners, compiled) {
            (Ok(_), Ok(snapshot)) => snapshot,
            (Err(mut report), Err(other)) => {
                report.extend(other);
                return Err(report);
            }
            (Err(report), _) | (_, Err(report)) => return Err(report),
        };
        let needs_restart = changed_process_keys(&self.started, &loaded);
        if snapshot.hash == current.hash {
            self.metrics.config_in_use(&current.hash);
            let hash = current.hash.clone();
            return Ok(Reloaded { generation: current.generation, hash, changed: false, needs_restart });
        }
        start_upstreams(&snapshot, Some(&current)).await;
        let (generation, hash) = (snapshot.generation, snapshot.hash.clone());
        self.snapshot.store(Arc::new(snapshot));
        self.metrics.config_in_use(&hash);
        Ok(Reloaded { generation, hash, changed: true, needs_restart })
    }

    /// Reloads whenever the files change, for ever.
    pub async fn watch(self: Arc<Self>) {
        let Source::File(main) = &self.source else { return };
        let (changed, mut changes) = mpsc::channel::<()>(1);
        let watcher = notify::recommended_watcher(move |_| {
            let _ = changed.try_send(());
        });
        let mut watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "files are polled, as changes cannot be watched");
                None
            }
        };
        let mut watched = BTreeSet::new();
        let mut seen = fingerprint(&folders(main, &self.started.files));
        loop {
            let folders = folders(main, &self.started.files);
            for folder in folders.difference(&watched) {
                if let Some(Err(error)) = watcher.as_mut().map(|w| w.watch(folder, RecursiveMode::NonRecursive)) {
                    tracing::warn!(%error, folder = %folder.display(), "the folder cannot be watched, it is polled");
                }
            }
            watched.extend(folders.iter().cloned());
            tokio::select! {
                _ = changes.recv() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(POLL) => {}
            }
            while changes.try_recv().is_ok() {}
            let now = fingerprint(&folders);
            if now != seen {
                seen = now;
                let _ = self.reload().await;
            }
        }
    }
}

/// Looks up the addresses of the pools that are new, and keeps them fresh.
pub async fn start_upstreams(snapshot: &Snapshot, previous: Option<&Snapshot>) {
    for upstream in snapshot.upstreams() {
        let known = previous.is_some_and(|p| p.upstreams().iter().any(|known| Arc::ptr_eq(known, upstream)));
        if !known {
            upstream.resolve().await;
            upstream.keep_fresh();
        }
    }
}

/// The process keys in which two configurations differ.
fn changed_process_keys(started: &Loaded, now: &Loaded) -> Vec<&'static str> {
    let text = |loaded: &Loaded, key: &str| {
        let process = serde_yaml::to_value(&loaded.process).unwrap_or_default();
        process.get(key).map(|value| serde_yaml::to_string(value).unwrap_or_default())
    };
    let keys = ["listeners", "admin", "workers", "grace_period", "log"];
    keys.into_iter().filter(|key| text(started, key) != text(now, key)).collect()
}

/// The folders in which the files of a configuration stand.
fn folders(main: &Path, files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    std::iter::once(main).chain(files.iter().map(PathBuf::as_path)).map(parent).collect()
}

/// A hash of all YAML files in some folders. Links are followed, so that the swap of a mounted `ConfigMap` is seen.
fn fingerprint(folders: &BTreeSet<PathBuf>) -> u64 {
    let mut hasher = crate::step::StableHasher::default();
    for folder in folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let yaml = path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml");
            if let Some(content) = yaml.then(|| std::fs::read(&path).ok()).flatten() {
                (&path, content).hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}
