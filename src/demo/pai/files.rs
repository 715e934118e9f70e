//! The file system in memory behind the stand-ins of HDFS. All that it keeps, names included, counts against one limit.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use super::blocks::{Budget, Content, Room, Writer};

/// Why something cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound,
    Exists,
    NotADirectory,
    NotAFile,
    NotEmpty,
    Full,
    Interrupted,
}

/// The tree. Paths have no slash at their end; the root is the empty string.
pub(super) struct Files {
    tree: Mutex<Tree>,
    budget: Budget,
    next_id: AtomicU64,
}

type Tree = BTreeMap<String, Entry>;

/// A directory, or a file with its content.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) content: Option<Content>,
    pub(super) owner: Arc<str>,
    /// In milliseconds since 1970.
    pub(super) modified: u64,
    pub(super) id: u64,
    _room: Arc<Room>,
}

/// What a tree holds.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) directories: u64,
    pub(super) files: u64,
    pub(super) length: u64,
}

impl Files {
    /// A tree with something to look at.
    pub(super) fn with_samples() -> Self {
        let files = Self {
            tree: Mutex::default(),
            budget: Budget::default(),
            // As HDFS counts them.
            next_id: AtomicU64::new(16385),
        };
        for path in ["", "/tmp", "/user/dr.who"] {
            // There is room for these.
            let _ = files.make_directories(path, "hdfs");
        }
        if let Ok(mut writer) = files.budget.writer() {
            let _ =
                writer.push(b"Read through Pylon: the name node sent you to a data node that only Pylon can reach.\n");
            let _ = files.create("/user/dr.who/hello.txt", writer, "dr.who", false);
        }
        files
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, path: &str, content: Option<Content>, owner: &str) -> Result<Entry, Refusal> {
        let room = Arc::new(self.budget.room((path.len() + owner.len()) as u64)?);
        Ok(Entry {
            content,
            owner: owner.into(),
            modified: now(),
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            _room: room,
        })
    }

    /// What counts against the limit.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The entry and how many it holds.
    pub(super) fn find(&self, path: &str) -> Option<(Entry, usize)> {
        let tree = self.tree();
        let entry = tree.get(path)?.clone();
        Some((entry, children(&tree, path).count()))
    }

    /// What is in a directory, by name; a file is alone, under the empty name.
    pub(super) fn list(&self, path: &str) -> Result<Vec<(String, Entry, usize)>, Refusal> {
        let tree = self.tree();
        let entry = tree.get(path).ok_or(Refusal::NotFound)?;
        if entry.content.is_some() {
            return Ok(vec![(String::new(), entry.clone(), 0)]);
        }
        let shown = |(key, entry): (&String, &Entry)| {
            (key[path.len() + 1..].to_owned(), entry.clone(), children(&tree, key).count())
        };
        Ok(children(&tree, path).map(shown).collect())
    }

    /// Makes the directory and those above it.
    pub(super) fn make_directories(&self, path: &str, owner: &str) -> Result<(), Refusal> {
        let mut tree = self.tree();
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for ancestor in ends.map(|end| &path[..end]) {
            match tree.get(ancestor) {
                Some(entry) if entry.content.is_some() => return Err(Refusal::NotADirectory),
                Some(_) => {}
                None => {
                    tree.insert(ancestor.to_owned(), self.entry(ancestor, None, owner)?);
                }
            }
        }
        Ok(())
    }

    /// Whether a file can be created here.
    pub(super) fn may_create(&self, path: &str, overwrite: bool) -> Result<(), Refusal> {
        match self.tree().get(path) {
            Some(Entry { content: None, .. }) => Err(Refusal::Exists),
            Some(_) if !overwrite => Err(Refusal::Exists),
            _ => Ok(()),
        }
    }

    pub(super) fn create(&self, path: &str, writer: Writer, owner: &str, overwrite: bool) -> Result<(), Refusal> {
        self.make_directories(path.rsplit_once('/').map_or("", |(parent, _)| parent), owner)?;
        self.may_create(path, overwrite)?;
        let entry = self.entry(path, Some(Content(vec![writer.finish()])), owner)?;
        self.tree().insert(path.to_owned(), entry);
        Ok(())
    }

    pub(super) fn append(&self, path: &str, writer: Writer) -> Result<(), Refusal> {
        let mut tree = self.tree();
        let entry = tree.get_mut(path).ok_or(Refusal::NotFound)?;
        entry.content.as_mut().ok_or(Refusal::NotAFile)?.0.push(writer.finish());
        entry.modified = now();
        Ok(())
    }

    pub(super) fn content(&self, path: &str) -> Result<Content, Refusal> {
        self.tree().get(path).ok_or(Refusal::NotFound)?.content.clone().ok_or(Refusal::NotAFile)
    }

    /// Whether there was something to delete. The root stays.
    pub(super) fn delete(&self, path: &str, recursive: bool) -> Result<bool, Refusal> {
        let mut tree = self.tree();
        if path.is_empty() || !tree.contains_key(path) {
            return Ok(false);
        }
        if !recursive && children(&tree, path).next().is_some() {
            return Err(Refusal::NotEmpty);
        }
        tree.retain(|key, _| !is_within(key, path));
        Ok(true)
    }

    /// Whether it could be renamed. An existing directory as target takes it in.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<bool, Refusal> {
        let mut tree = self.tree();
        let (parent, name) = from.rsplit_once('/').ok_or(Refusal::NotFound)?;
        let to = match tree.get(to) {
            Some(Entry { content: None, .. }) if to != from && to != parent => {
                format!("{to}/{name}")
            }
            _ => to.to_owned(),
        };
        let has_parent =
            to.rsplit_once('/').and_then(|(parent, _)| tree.get(parent)).is_some_and(|p| p.content.is_none());
        if !tree.contains_key(from) || tree.contains_key(&to) || is_within(&to, from) || !has_parent {
            return Ok(false);
        }
        let mut moved = Vec::new();
        for (key, old) in tree.iter().filter(|(key, _)| is_within(key, from)) {
            let key = format!("{to}{}", &key[from.len()..]);
            let room = Arc::new(self.budget.room((key.len() + old.owner.len()) as u64)?);
            moved.push((key, Entry { _room: room, ..old.clone() }));
        }
        tree.retain(|key, _| !is_within(key, from));
        tree.extend(moved);
        Ok(true)
    }

    pub(super) fn summary(&self, path: &str) -> Result<Summary, Refusal> {
        let tree = self.tree();
        tree.get(path).ok_or(Refusal::NotFound)?;
        let mut sum = Summary::default();
        for (_, entry) in tree.iter().filter(|(key, _)| is_within(key, path)) {
            match &entry.content {
                Some(content) => {
                    sum.files += 1;
                    sum.length += content.len();
                }
                None => sum.directories += 1,
            }
        }
        Ok(sum)
    }
}

/// Whether `key` is `path` or below it.
fn is_within(key: &str, path: &str) -> bool {
    key.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn children<'a>(tree: &'a Tree, path: &'a str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
    tree.range(format!("{path}/")..)
        .take_while(move |(key, _)| is_within(key, path))
        .filter(move |(key, _)| !key[path.len() + 1..].contains('/'))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_move_what_is_below_and_nothing_else() {
        let files = Files::with_samples();
        files.make_directories("/a/b/c", "x").unwrap();
        files.make_directories("/a/bc", "x").unwrap();
        assert_eq!(files.rename("/a/b", "/tmp"), Ok(true));
        assert!(files.find("/tmp/b/c").is_some() && files.find("/a/b/c").is_none() && files.find("/a/bc").is_some());
        assert_eq!(files.rename("/tmp", "/tmp/b/d"), Ok(false));
        assert_eq!(files.delete("/tmp/b", false), Err(Refusal::NotEmpty));
        assert_eq!(files.delete("/tmp/b", true), Ok(true));
        let names: Vec<_> = files.list("").unwrap().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["a", "tmp", "user"]);
    }

    #[test]
    fn a_deleted_file_frees_its_room() {
        let files = Files::with_samples();
        let before = files.budget().used();
        let mut writer = files.budget().writer().unwrap();
        writer.push(&[0; 5000]).unwrap();
        files.create("/tmp/x", writer, "x", false).unwrap();
        let reading = files.content("/tmp/x").unwrap().read(0, 10);
        files.delete("/tmp/x", false).unwrap();
        assert!(files.budget().used() > before, "is still being read");
        drop(reading);
        assert_eq!(files.budget().used(), before);
    }
}
