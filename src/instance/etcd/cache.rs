//! A copy of what is known on the disk, so that a start while etcd is away serves what was known before.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::file::{FileError, InstanceFile};
use super::super::table::Table;
use super::Etcd;
use crate::route::allow::AllowList;

/// How long changes are collected.
const COLLECT: Duration = Duration::from_millis(500);

/// A copy in a file.
#[derive(Debug)]
pub(super) struct Cache {
    file: InstanceFile,
    max_age: Duration,
    /// Whether what it holds may be served: it is young, or was written by this process.
    is_good: bool,
}

impl Cache {
    /// Opens a copy; a table is there unless it is too old.
    ///
    /// # Errors
    /// When the file is not one of Pylon's, or cannot be written.
    pub(super) fn open(path: PathBuf, max_age: Duration, allow: AllowList) -> Result<(Self, Table), String> {
        let (file, table) = InstanceFile::open(path, allow).map_err(|error| format!("cache: {error}"))?;
        let age = file.age();
        let is_good = age.is_some_and(|age| age <= max_age);
        if !is_good && table.len() > 0 {
            let path = file.path().display();
            tracing::warn!(instances = table.len(), "`{path}` is older than {max_age:?}: it is not used");
        }
        let table = if is_good { table } else { Table::default() };
        Ok((Self { file, max_age, is_good }, table))
    }

    /// Keeps the copy up to date, for ever. While nothing changes, or etcd is away, it is marked as fresh: its age is that
    /// of the last Pylon that served it.
    pub(super) async fn keep(self, etcd: Arc<Etcd>) {
        let (mut cache, mut failed) = (self, false);
        loop {
            let wait = (cache.max_age / 4).clamp(Duration::from_millis(100), Duration::from_secs(60));
            let changed = tokio::select! {
                () = etcd.changed.notified() => true,
                () = tokio::time::sleep(wait) => failed,
            };
            if changed {
                tokio::time::sleep(COLLECT).await;
            } else if !cache.is_good {
                continue;
            }
            let table = changed.then(|| (**etcd.shared.table.load()).clone());
            let written = tokio::task::spawn_blocking(move || {
                let written = match table {
                    Some(table) => cache.file.replace(&table),
                    None => cache.file.touch(),
                };
                (cache, written)
            });
            let Ok((back, written)) = written.await else { return };
            cache = back;
            cache.is_good |= written.is_ok();
            failed = etcd.say(failed, written.as_ref().err());
        }
    }
}

impl Etcd {
    /// Says what became of the copy where that is new; whether it failed.
    fn say(&self, failed: bool, error: Option<&FileError>) -> bool {
        if let Some(error) = error {
            self.shared.health.count();
            if !failed {
                tracing::error!("the copy of the instances cannot be kept: {error}");
            }
        } else if failed {
            tracing::info!("the copy of the instances is kept again");
        }
        error.is_some()
    }
}
