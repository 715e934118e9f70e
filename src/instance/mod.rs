//! Instances: servers that come and go, registered by name at the admin port.
//!
//! ```yaml
//! instances: { file: /var/lib/pylon/instances.json }          # over restarts; without `instances` they are in memory
//! # or, for a fleet:
//! instances:
//!   etcd: { endpoints: [http://10.0.0.1:2379, http://10.0.0.2:2379], cache: /var/lib/pylon/instances-cache.json }
//! ```
//!
//! Whatever keeps them, requests look them up in a table of this process, without a lock and without asking anybody. A
//! change is answered when it is durable and in that table.

mod etcd;
mod file;
mod health;
mod local;
mod options;
mod order;
mod table;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::config::value::HttpUrl;
use crate::observe::Family;
use crate::route::allow::AllowList;

use etcd::Etcd;
use file::InstanceFile;
use health::Health;
use local::Command;
use options::Keep;
use table::Table;

pub use options::RegistryOptions;
pub use order::{Condition, Wanted, check_name};
pub use table::Entry;

/// How many instances there may be.
const MOST: usize = 100_000;
/// How many changes may wait for a file.
const WAITING: usize = 1024;

/// A server that was registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// Where it is, `http://10.0.0.5:8787`.
    pub url: HttpUrl,
    /// Whose it is.
    pub owner: Option<String>,
    /// Groups whose members may enter as well.
    pub groups: Vec<String>,
    /// When it is forgotten unless it is put again; none where that is never, or is etcd's to say.
    pub expires: Option<SystemTime>,
}

/// A change that is asked for.
#[derive(Debug)]
pub struct Change {
    /// Of which name, one that [`check_name`] takes.
    pub name: String,
    /// What to put there; none to remove it.
    pub wanted: Option<Wanted>,
    /// What must be the case.
    pub condition: Condition,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// There was none of the name.
    Created,
    /// It took the place of another.
    Replaced,
    /// It was there as wanted, and its time begins anew.
    Renewed,
    /// It is gone.
    Removed,
}

impl Done {
    /// In a word, for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Renewed => "renewed",
            Self::Removed => "removed",
        }
    }
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// There is no such instance.
    #[error("there is no instance of this name")]
    Missing,
    /// A condition is not met; holds the tag of what is there.
    #[error("the condition is not met")]
    Unmet(Option<String>),
    /// There is no room.
    #[error("{0}")]
    Full(String),
    /// The store cannot be used.
    #[error("{0}")]
    Unavailable(String),
}

type Answer = Result<(Entry, Done), NotDone>;

/// What the store and those who look share.
#[derive(Debug, Default)]
struct Shared {
    table: ArcSwap<Table>,
    health: Health,
}

/// Who keeps instances.
#[derive(Debug)]
enum Store {
    /// A task of this process; with a file or without.
    Local {
        commands: mpsc::Sender<Command>,
        durable: bool,
    },
    Etcd(Arc<Etcd>),
}

/// All instances that are known, the same on every Pylon of a fleet.
#[derive(Debug, Default)]
pub struct Registry {
    shared: Arc<Shared>,
    /// None in a registry that was not started: it stays as it is.
    store: Option<Store>,
    allow: AllowList,
}

impl Registry {
    /// Starts keeping instances, within the runtime of control. With etcd, it waits a moment for what is there; without an
    /// answer it starts all the same.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is not Pylon's.
    pub async fn start(options: RegistryOptions) -> Result<Self, String> {
        let RegistryOptions { keep, allow } = options;
        let shared = Arc::<Shared>::default();
        let file = match keep {
            Keep::Memory => None,
            Keep::File(path) => {
                let (file, table) =
                    InstanceFile::open(path, allow.clone()).map_err(|error| format!("instances: {error}"))?;
                shared.table.store(Arc::new(table));
                Some(file)
            }
            Keep::Etcd(options) => {
                let etcd = Etcd::start(*options, allow.clone(), Arc::clone(&shared)).await;
                let store = Some(Store::Etcd(etcd.map_err(|error| format!("instances: {error}"))?));
                return Ok(Self { shared, store, allow });
            }
        };
        let (commands, received) = mpsc::channel(WAITING);
        let store = Some(Store::Local { commands, durable: file.is_some() });
        tokio::spawn(local::keep(Arc::clone(&shared), file, received));
        Ok(Self { shared, store, allow })
    }

    /// A registry of these, which stays as it is.
    #[must_use]
    pub fn of(instances: impl IntoIterator<Item = Instance>) -> Self {
        let entry = |instance| Entry { instance: Arc::new(instance), ttl: None };
        let registry = Self { allow: options::everywhere(), ..Self::default() };
        registry.shared.table.store(Arc::new(instances.into_iter().map(entry).collect()));
        registry
    }

    /// The instance of a name, unless it has expired.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<Instance>> {
        let table = self.shared.table.load();
        let entry = table.get(name)?;
        let over = entry.instance.expires.is_some_and(|expires| expires <= SystemTime::now());
        (!over).then(|| Arc::clone(&entry.instance))
    }

    /// The same, with what its store knows of it.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<Entry> {
        self.shared.table.load().get(name).filter(|entry| !entry.is_expired(SystemTime::now())).cloned()
    }

    /// All that have not expired, by name.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let (table, now) = (self.shared.table.load(), SystemTime::now());
        let mut entries: Vec<Entry> = table.iter().filter(|entry| !entry.is_expired(now)).cloned().collect();
        entries.sort_unstable_by(|a, b| a.instance.name.cmp(&b.instance.name));
        entries
    }

    /// Makes a change. When it is answered it is durable, as far as [`Registry::is_durable`], and what is looked up next
    /// has it.
    ///
    /// # Errors
    /// Why it is not made.
    pub async fn change(&self, change: Change) -> Answer {
        let stopped = || NotDone::Unavailable("instances are not kept any more: the process stops".to_owned());
        match &self.store {
            None => Err(stopped()),
            Some(Store::Etcd(etcd)) => etcd.change(change).await,
            Some(Store::Local { commands, .. }) => {
                let (reply, answer) = oneshot::channel();
                commands.send(Command { change, reply }).await.map_err(|_| stopped())?;
                answer.await.unwrap_or_else(|_| Err(stopped()))
            }
        }
    }

    /// Where instances may be. The address that a name stands for is checked when it is connected to.
    #[must_use]
    pub fn allow(&self) -> &AllowList {
        &self.allow
    }

    /// What keeps them: `memory`, `file` or `etcd`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.store {
            Some(Store::Etcd(_)) => "etcd",
            Some(Store::Local { durable: true, .. }) => "file",
            Some(Store::Local { .. }) | None => "memory",
        }
    }

    /// Whether they are kept over a restart.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.kind() != "memory"
    }

    /// Why what keeps them cannot be used; none while it can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.shared.health.trouble()
    }

    /// What is counted.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
    pub fn families(&self) -> [Family; 3] {
        let count = self.shared.table.load().len();
        let up = f64::from(u8::from(self.trouble().is_none()));
        let errors = self.shared.health.errors();
        [
            Family::gauge("pylon_instances", "Instances that are registered.").of(count as f64),
            Family::gauge("pylon_instances_store_up", "1 while what keeps instances can be used.").of(up),
            Family::counter("pylon_instances_store_errors_total", "Failures of what keeps instances.")
                .of(errors as f64),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_has_expired_is_not_found() {
        let instance = |name: &str, expires| Instance {
            name: name.to_owned(),
            url: "http://10.0.0.1:80".parse().unwrap(),
            owner: None,
            groups: Vec::new(),
            expires,
        };
        let now = SystemTime::now();
        let registry = Registry::of([
            instance("b", Some(now + Duration::from_secs(60))),
            instance("a", None),
            instance("gone", Some(now)),
        ]);
        assert!(registry.find("a").is_some() && registry.find("b").is_some());
        assert!(registry.find("gone").is_none() && registry.entry("gone").is_none() && registry.find("c").is_none());
        let names: Vec<String> = registry.entries().iter().map(|entry| entry.instance.name.clone()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
