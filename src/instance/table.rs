//! The table of instances: read without a lock, copied in small parts when it changes.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use super::Instance;
use crate::config::value::Span;

/// Into how many parts a table is split: a change copies one of them.
const SHARDS: usize = 64;

/// An instance, and what its store knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The instance.
    pub instance: Arc<Instance>,
    /// How long it is kept from one heartbeat to the next; none where it stays.
    pub ttl: Option<Span>,
}

impl Entry {
    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.instance.expires.is_some_and(|expires| expires <= now)
    }
}

type Shard = HashMap<Arc<str>, Entry>;

/// Instances by name. A clone shares its parts.
#[derive(Debug, Clone)]
pub(super) struct Table {
    shards: [Arc<Shard>; SHARDS],
    count: usize,
}

impl Default for Table {
    fn default() -> Self {
        let empty = Arc::<Shard>::default();
        Self { shards: std::array::from_fn(|_| Arc::clone(&empty)), count: 0 }
    }
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.shards[shard(name)].get(name)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let name: Arc<str> = entry.instance.name.as_str().into();
        let before = Arc::make_mut(&mut self.shards[shard(&name)]).insert(name, entry);
        self.count += usize::from(before.is_none());
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Entry> {
        let index = shard(name);
        if !self.shards[index].contains_key(name) {
            return None;
        }
        self.count -= 1;
        Arc::make_mut(&mut self.shards[index]).remove(name)
    }

    /// Removes those whose time is over; how many there were.
    pub(super) fn expire(&mut self, now: SystemTime) -> usize {
        let over: Vec<String> =
            self.iter().filter(|entry| entry.is_expired(now)).map(|entry| entry.instance.name.clone()).collect();
        over.iter().filter(|name| self.remove(name).is_some()).count()
    }

    /// When the first of them expires.
    pub(super) fn next_expiry(&self) -> Option<SystemTime> {
        self.iter().filter_map(|entry| entry.instance.expires).min()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }
}

impl FromIterator<Entry> for Table {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut table = Self::default();
        entries.into_iter().for_each(|entry| table.insert(entry));
        table
    }
}

fn shard(name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(name: &str, expires: Option<SystemTime>) -> Entry {
        let url = "http://10.0.0.1:80".parse().unwrap();
        let instance = Instance { name: name.to_owned(), url, owner: None, groups: Vec::new(), expires };
        Entry { instance: Arc::new(instance), ttl: None }
    }

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut table: Table = (0..500).map(|n| entry(&format!("i{n}"), None)).collect();
        let copy = table.clone();
        assert!(table.remove("i7").is_some() && table.remove("i7").is_none());
        table.insert(entry("new", None));
        table.insert(entry("new", None));
        assert_eq!((copy.len(), table.len(), table.iter().count()), (500, 500, 500));
        assert!(copy.get("i7").is_some() && copy.get("new").is_none());
        assert!(table.get("i7").is_none() && table.get("new").is_some());
    }

    #[test]
    fn those_whose_time_is_over_go() {
        let now = SystemTime::now();
        let at = |seconds| Some(now + Duration::from_secs(seconds));
        let mut table: Table =
            [entry("a", at(0)), entry("b", at(5)), entry("c", None), entry("d", at(3))].into_iter().collect();
        assert_eq!(table.next_expiry(), at(0));
        assert_eq!((table.expire(now), table.len()), (1, 3));
        assert_eq!(table.next_expiry(), at(3));
        assert_eq!((table.expire(now + Duration::from_secs(9)), table.next_expiry()), (2, None));
    }
}
