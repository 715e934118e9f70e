//! Instances in a file, which is never half-written: a new one is written beside it, brought to the disk, and renamed.
//!
//! Several processes may have the same file, as while one takes over from another: each change is made under a lock, on
//! what the file holds then.
//!
//! An instance whose address is not allowed (any more) is held back: nobody is led there, and it stays in the file until it
//! is put anew or removed, so that a mistake in `instances.allow` loses nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NotDone;
use super::order::{Fields, Wanted, Written, check_name};
use super::table::{Entry, Table};
use crate::route::allow::AllowList;

/// How long another process may hold the lock.
const LOCKED: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);
/// What marks a file as one of these, with the version of its form.
const VERSION: u32 = 1;

/// What a file holds.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Whole<T> {
    pylon_instances: u32,
    instances: BTreeMap<String, T>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Read {
    address: Option<Value>,
    owner: Option<Value>,
    groups: Option<Value>,
    ttl: Option<Value>,
    expires_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Kept<'a> {
    #[serde(flatten)]
    written: Written<'a>,
    /// In milliseconds of Unix time: it holds over restarts.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u128>,
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    modified: (i64, i64),
    size: u64,
}

/// A file of instances.
#[derive(Debug)]
pub(super) struct InstanceFile {
    path: PathBuf,
    allow: AllowList,
    /// The version that was last read or written.
    seen: Option<Stamp>,
    /// Those of the file that are not allowed.
    held: Table,
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileError {
    #[error("{0}")]
    Full(String),
    #[error("{0}")]
    Failed(String),
}

impl From<FileError> for NotDone {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Full(why) => Self::Full(why),
            FileError::Failed(why) => Self::Unavailable(why),
        }
    }
}

impl InstanceFile {
    /// Reads a file; one that is not there is made, which shows that it can be.
    pub(super) fn open(path: PathBuf, allow: AllowList) -> Result<(Self, Table), FileError> {
        let mut file = Self { path, allow, seen: None, held: Table::default() };
        let lock = file.lock()?;
        let table = match file.changed()? {
            Some(table) => table,
            None => {
                file.write(&Table::default())?;
                Table::default()
            }
        };
        drop(lock);
        Ok((file, table))
    }

    /// Makes a change under the lock: `change` gets what the file holds where that is not what was last seen, and those that
    /// are held back, of which it takes out what is over; it gives what to write, and whether it has to be.
    pub(super) fn update(
        &mut self,
        change: impl FnOnce(Option<Table>, &mut Table) -> (Table, bool),
    ) -> Result<(), FileError> {
        let _lock = self.lock()?;
        let fresh = self.changed()?;
        let mut held = self.held.clone();
        let (table, changed) = change(fresh, &mut held);
        if !changed {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.held, held);
        let written = self.write(&table);
        if written.is_err() {
            self.held = before;
        }
        written
    }

    /// Writes a table in place of all that the file holds.
    pub(super) fn replace(&mut self, table: &Table) -> Result<(), FileError> {
        let _lock = self.lock()?;
        self.changed()?;
        self.held = Table::default();
        self.write(table)
    }

    /// Whether another process wrote it since it was last seen.
    pub(super) fn is_changed(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| Some(stamp(&found)) != self.seen)
    }

    /// How long ago it was written, or marked as fresh.
    pub(super) fn age(&self) -> Option<Duration> {
        let modified = fs::metadata(&self.path).and_then(|found| found.modified()).ok()?;
        SystemTime::now().duration_since(modified).ok()
    }

    /// Marks it as fresh.
    pub(super) fn touch(&mut self) -> Result<(), FileError> {
        let touched = OpenOptions::new().write(true).open(&self.path).and_then(|file| {
            file.set_modified(SystemTime::now())?;
            file.metadata()
        });
        self.seen =
            Some(stamp(&touched.map_err(|error| self.failed(&self.path, "cannot be marked as fresh", &error))?));
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> Result<File, FileError> {
        let path = beside(&self.path, ".lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| self.failed(&path, "cannot be opened", &error))?;
        let deadline = Instant::now() + LOCKED;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOOK),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let why = format!("`{}` is locked by another process", path.display());
                    return Err(FileError::Failed(why));
                }
                Err(error) => return Err(self.failed(&path, "cannot be locked", &error.into())),
            }
        }
    }

    /// What it holds, where that is not what was last seen. A file that is gone is written anew with the next change.
    fn changed(&mut self) -> Result<Option<Table>, FileError> {
        let read = File::open(&self.path).and_then(|mut file| {
            let stamp = stamp(&file.metadata()?);
            if Some(stamp) == self.seen {
                return Ok(None);
            }
            let mut text = Vec::new();
            io::Read::read_to_end(&mut file, &mut text)?;
            Ok(Some((stamp, text)))
        });
        let (stamp, text) = match read {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(&self.path, "cannot be read", &error)),
        };
        let whole = parse(&text)
            .map_err(|why| FileError::Failed(format!("`{}` is left as it is: {why}", self.path.display())))?;
        let (mut table, mut held) = (Table::default(), Table::default());
        for (entry, why) in whole.into_iter().map(|(wanted, entry)| (entry, wanted.allowed(&self.allow).err())) {
            if let Some(why) = why {
                let name = entry.instance.name.as_str();
                if self.held.get(name).is_none() {
                    tracing::warn!(instance = name, "an instance in `{}` is passed over: {why}", self.path.display());
                }
                held.insert(entry);
            } else {
                table.insert(entry);
            }
        }
        (self.seen, self.held) = (Some(stamp), held);
        Ok(Some(table))
    }

    fn write(&mut self, table: &Table) -> Result<(), FileError> {
        let fresh = beside(&self.path, ".new");
        let written = self.try_write(&fresh, table);
        self.seen = Some(written.inspect_err(|_| drop(fs::remove_file(&fresh)))?);
        Ok(())
    }

    fn try_write(&self, fresh: &Path, table: &Table) -> Result<Stamp, FileError> {
        let failed = |what: &'static str| move |error: io::Error| self.failed(fresh, what, &error);
        let whole = self.held.iter().chain(table.iter());
        let instances = whole.map(|entry| (entry.instance.name.clone(), kept(entry))).collect();
        let whole = Whole { pylon_instances: VERSION, instances };
        let mut text = serde_json::to_vec_pretty(&whole).map_err(|error| failed("cannot be written")(error.into()))?;
        text.push(b'\n');
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(fresh);
        let mut file = file.map_err(failed("cannot be made"))?;
        file.write_all(&text).map_err(failed("cannot be written"))?;
        file.sync_all().map_err(failed("cannot be brought to the disk"))?;
        let stamp = stamp(&file.metadata().map_err(failed("cannot be looked at"))?);
        fs::rename(fresh, &self.path).map_err(failed("cannot be renamed"))?;
        // Without this, a crash of the machine may bring the old file back.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("is not sure to stay"))?;
        Ok(stamp)
    }

    #[allow(clippy::unused_self, reason = "it reads as the errors of this file")]
    fn failed(&self, path: &Path, what: &str, error: &io::Error) -> FileError {
        let why = format!("`{}` {what}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileError::Full(why),
            _ => FileError::Failed(why),
        }
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn stamp(found: &fs::Metadata) -> Stamp {
    Stamp { file: (found.dev(), found.ino()), modified: (found.mtime(), found.mtime_nsec()), size: found.size() }
}

fn kept(entry: &Entry) -> Kept<'_> {
    let since = |moment: SystemTime| moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Kept { written: entry.written(), expires_ms: entry.instance.expires.map(since) }
}

/// Reads the text of a file: all of it is sound, or nothing is taken over.
fn parse(text: &[u8]) -> Result<Vec<(Wanted, Entry)>, String> {
    let foreign =
        |error: serde_json::Error| format!("it is no file of instances ({error}); move it away, or name another file");
    let whole: Whole<Read> = serde_json::from_slice(text).map_err(foreign)?;
    if whole.pylon_instances != VERSION {
        let found = whole.pylon_instances;
        return Err(format!(
            "it is of version {found}, and this Pylon knows {VERSION}; move it away, or name another file"
        ));
    }
    let entry = |(name, read): (String, Read)| {
        let wrong = |why: String| format!("instance {name:?}: {why}");
        check_name(&name).map_err(wrong)?;
        let Read { address, owner, groups, ttl, expires_ms } = read;
        let expires = expires_ms.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
        let wanted = Fields::new(address, owner, groups, ttl).check().map_err(wrong)?;
        Ok((wanted.clone(), wanted.entry(&name, expires)))
    };
    whole.instances.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::super::options::everywhere;
    use super::*;

    fn entry(name: &str, expires: Option<SystemTime>) -> Entry {
        let body = br#"{"address":"10.0.0.5:80","owner":"ann","groups":["g"],"ttl":"60s"}"#;
        Wanted::parse(body, &everywhere()).unwrap().entry(name, expires)
    }

    fn open(path: &Path) -> Result<(InstanceFile, Table), FileError> {
        InstanceFile::open(path.to_owned(), everywhere())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.json");
        let (mut file, table) = open(&path).unwrap();
        assert_eq!(table.len(), 0);
        let moment = UNIX_EPOCH + Duration::from_millis(4_000_000_000_123);
        let table: Table = [entry("a", Some(moment)), entry("b", None)].into_iter().collect();
        file.update(|fresh, _| (table.clone(), fresh.is_none())).unwrap();
        assert!(!file.is_changed());
        let (_, again) = open(&path).unwrap();
        assert_eq!((again.get("a"), again.get("b"), again.len()), (table.get("a"), table.get("b"), 2));
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["i.json", "i.json.lock"]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_of_others_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.json");
        for text in [
            "",
            "{}",
            "not json",
            r#"{"pylon_instances": 1}"#,
            r#"{"pylon_instances": 2, "instances": {}}"#,
            r#"{"pylon_instances": 1, "instances": {}, "more": 1}"#,
            r#"{"pylon_instances": 1, "instances": {"a": {}}}"#,
            r#"{"pylon_instances": 1, "instances": {"a.b": {"address": "10.0.0.1"}}}"#,
            r#"{"pylon_instances": 1, "instances": {"a": {"address": "10.0.0.1"}}"#,
        ] {
            fs::write(&path, text).unwrap();
            let error = open(&path).unwrap_err().to_string();
            assert!(error.contains("i.json` is left as it is: "), "{text}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn what_is_not_allowed_is_held_back_until_it_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.json");
        let (mut file, _) = open(&path).unwrap();
        file.replace(&["a", "b", "c"].into_iter().map(|name| entry(name, None)).collect()).unwrap();
        let (mut strict, table) =
            InstanceFile::open(path.clone(), AllowList::new(vec!["10.9.0.0/16".parse().unwrap()])).unwrap();
        assert_eq!((table.len(), strict.held.len()), (0, 3));
        let other = {
            let body = br#"{"address":"10.9.0.1:80"}"#;
            Wanted::parse(body, &everywhere()).unwrap().entry("d", None)
        };
        let with_other = || -> Table { [other.clone()].into_iter().collect() };
        strict.update(|_, held| (with_other(), held.remove("a").is_some())).unwrap();
        let table = open(&path).unwrap().1;
        assert_eq!((table.len(), table.get("d"), table.get("c")), (3, Some(&other), Some(&entry("c", None))));
        // What cannot be written stays as it was.
        fs::create_dir(path.with_extension("json.new")).unwrap();
        strict.update(|_, held| (with_other(), held.remove("b").is_some())).unwrap_err();
        assert_eq!(strict.held.len(), 2);
    }

    #[test]
    fn changes_of_another_process_are_seen_before_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.json");
        let ((mut one, _), (mut other, _)) = (open(&path).unwrap(), open(&path).unwrap());
        one.update(|_, _| ([entry("a", None)].into_iter().collect(), true)).unwrap();
        assert!(other.is_changed());
        other
            .update(|fresh, _| {
                let mut table = fresh.unwrap();
                table.insert(entry("b", None));
                (table, true)
            })
            .unwrap();
        assert_eq!(open(&path).unwrap().1.len(), 2);
        fs::write(&path, "broken by hand").unwrap();
        assert!(one.update(|_, _| (Table::default(), true)).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "broken by hand");
    }

    #[test]
    fn a_lock_that_is_held_is_waited_for_and_then_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.json");
        let (mut file, _) = open(&path).unwrap();
        let held = file.lock().unwrap();
        let error = file.update(|_, _| (Table::default(), false)).unwrap_err();
        assert!(error.to_string().contains("locked by another process"), "{error}");
        drop(held);
        file.update(|_, _| (Table::default(), false)).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = open(Path::new("/nowhere/at/all/i.json")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all/i.json.lock"), "{error}");
    }
}
