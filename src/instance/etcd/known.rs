//! What is known of the keys in etcd: each by the revision that changed it last, so that news that come twice or late, by
//! the watch and by what this process did itself, change nothing.

use std::collections::HashMap;

use super::super::order::{Wanted, check_name};
use super::super::table::{Entry, Table};
use super::wire::{Event, KeyValue};
use crate::route::allow::AllowList;

/// The keys, and the table that results.
#[derive(Debug)]
pub(super) struct Known {
    prefix: Vec<u8>,
    allow: AllowList,
    keys: HashMap<Vec<u8>, Key>,
    live: usize,
    /// All that happened up to this revision is in it.
    complete: i64,
    pub(super) table: Table,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    revision: i64,
    /// Not so, where this process has removed it and the watch has not said so yet.
    is_live: bool,
    /// This process did it, and nobody else has told of it yet.
    is_own: bool,
}

impl Known {
    pub(super) fn new(prefix: &str, allow: AllowList, table: Table) -> Self {
        Self { prefix: prefix.as_bytes().to_vec(), allow, keys: HashMap::new(), live: 0, complete: 0, table }
    }

    /// Up to which revision all is known.
    pub(super) fn complete(&self) -> i64 {
        self.complete
    }

    /// How many keys there are, unreadable ones among them.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Takes over all keys as they were at a revision; what this process did after it stays. All else goes, even what is
    /// newer: etcd may have been set back to an older state.
    pub(super) fn replace(&mut self, revision: i64, kvs: Vec<KeyValue>) {
        let before = std::mem::take(&mut self.keys);
        let table = std::mem::take(&mut self.table);
        (self.live, self.complete) = (0, revision);
        for kv in kvs {
            self.set(&Event::put(kv), false);
        }
        for (name, key) in before.into_iter().filter(|(_, key)| key.is_own && key.revision > revision) {
            if let Some(name) = self.name_of(&name).map(str::to_owned) {
                match table.get(&name).filter(|_| key.is_live) {
                    Some(entry) => self.table.insert(entry.clone()),
                    None => drop(self.table.remove(&name)),
                }
            }
            self.note(name, Key { is_own: false, ..key });
        }
    }

    /// Takes over what the watch tells, in its order.
    pub(super) fn watched(&mut self, events: Vec<Event>) {
        for event in events {
            let revision = event.kv.mod_revision;
            self.complete = self.complete.max(revision);
            let gone = event.is_delete().then(|| event.kv.key.clone());
            self.set(&event, false);
            // From here on nothing older is told of it.
            let is_over = |known: &Key| !known.is_live && known.revision <= revision;
            if let Some(key) = gone.filter(|key| self.keys.get(key).is_some_and(is_over)) {
                self.keys.remove(&key);
            }
        }
    }

    /// Takes over what this process did, unless the watch has told of it already.
    pub(super) fn did(&mut self, event: &Event) {
        if event.kv.mod_revision > self.complete {
            self.set(event, true);
        }
    }

    fn set(&mut self, event: &Event, is_own: bool) {
        let (revision, is_live) = (event.kv.mod_revision, !event.is_delete());
        if let Some(known) = self.keys.get_mut(&event.kv.key).filter(|known| known.revision >= revision) {
            known.is_own &= is_own || known.revision > revision;
            return;
        }
        self.note(event.kv.key.clone(), Key { revision, is_live, is_own });
        let Some(name) = self.name_of(&event.kv.key).map(str::to_owned) else { return };
        let entry = if is_live { self.entry(&event.kv) } else { Ok(None) };
        match entry {
            Ok(Some(entry)) => self.table.insert(entry),
            Ok(None) => drop(self.table.remove(&name)),
            Err(why) => {
                tracing::warn!(instance = name, "an instance in etcd is passed over: {why}");
                self.table.remove(&name);
            }
        }
    }

    fn note(&mut self, name: Vec<u8>, key: Key) {
        let was_live = self.keys.insert(name, key).is_some_and(|before| before.is_live);
        self.live = self.live + usize::from(key.is_live) - usize::from(was_live);
    }

    fn name_of<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        std::str::from_utf8(key.strip_prefix(self.prefix.as_slice())?).ok()
    }

    /// The instance of a key.
    pub(super) fn entry(&self, kv: &KeyValue) -> Result<Option<Entry>, String> {
        let name = self.name_of(&kv.key).ok_or("its key is no text")?;
        check_name(name)?;
        // Its lease is etcd's to end: it has no time here.
        Wanted::parse(&kv.value, &self.allow).map(|wanted| Some(wanted.entry(name, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::options::everywhere;
    use super::*;

    fn kv(name: &str, host: u8, mod_revision: i64) -> KeyValue {
        let value = format!(r#"{{"address":"http://10.0.0.{host}:80"}}"#).into_bytes();
        KeyValue { key: format!("/p/{name}").into_bytes(), value, mod_revision, lease: 0 }
    }

    fn put(name: &str, host: u8, revision: i64) -> Event {
        Event::put(kv(name, host, revision))
    }

    fn delete(name: &str, revision: i64) -> Event {
        Event::delete(format!("/p/{name}").into_bytes(), revision)
    }

    fn shown(known: &Known) -> String {
        let mut all: Vec<String> = known
            .table
            .iter()
            .map(|entry| format!("{}{}", entry.instance.name, &entry.instance.url.host()[7..]))
            .collect();
        all.sort();
        all.join(" ")
    }

    fn known() -> Known {
        let mut known = Known::new("/p/", everywhere(), Table::default());
        known.replace(10, vec![kv("a", 1, 4), kv("b", 2, 7)]);
        known
    }

    #[test]
    fn news_come_in_order_and_once() {
        let mut known = known();
        assert_eq!((shown(&known).as_str(), known.live(), known.complete()), ("a1 b2", 2, 10));
        known.watched(vec![put("c", 3, 11), delete("a", 12)]);
        assert_eq!((shown(&known).as_str(), known.live(), known.complete()), ("b2 c3", 2, 12));
        known.watched(vec![put("c", 9, 11)]);
        assert_eq!(shown(&known), "b2 c3");
    }

    #[test]
    fn what_this_process_did_holds_against_older_news() {
        let mut known = known();
        known.did(&put("a", 5, 15));
        known.did(&delete("b", 16));
        assert_eq!((shown(&known).as_str(), known.live()), ("a5", 1));
        // The watch lags behind.
        known.watched(vec![put("a", 4, 13), delete("b", 13), put("b", 4, 14)]);
        assert_eq!(shown(&known), "a5");
        known.watched(vec![put("a", 5, 15), delete("b", 16), put("b", 6, 17)]);
        assert_eq!((shown(&known).as_str(), known.live()), ("a5 b6", 2));
        // What the watch has told of comes too late.
        known.watched(vec![delete("b", 19)]);
        known.did(&put("b", 7, 18));
        assert_eq!((shown(&known).as_str(), known.live()), ("a5", 1));
    }

    #[test]
    fn all_is_replaced_but_what_this_process_did_after_it() {
        let mut known = known();
        known.did(&put("new", 8, 21));
        known.did(&delete("b", 22));
        known.did(&put("old", 9, 12));
        known.watched(vec![put("late", 1, 23)]);
        known.replace(20, vec![kv("b", 3, 18), kv("c", 4, 19)]);
        assert_eq!((shown(&known).as_str(), known.live(), known.complete()), ("c4 new8", 2, 20));
        known.watched(vec![put("new", 8, 21), delete("b", 22)]);
        assert_eq!((shown(&known).as_str(), known.live()), ("c4 new8", 2));
    }

    #[test]
    fn an_older_state_of_etcd_is_taken_over() {
        let mut known = known();
        known.watched(vec![put("c", 3, 30)]);
        known.did(&put("d", 4, 31));
        known.watched(vec![put("d", 4, 31)]);
        known.replace(5, vec![kv("a", 9, 3)]);
        assert_eq!((shown(&known).as_str(), known.live(), known.complete()), ("a9", 1, 5));
        known.watched(vec![put("c", 5, 6)]);
        assert_eq!(shown(&known), "a9 c5");
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_and_counted() {
        let mut known = known();
        let mut strange = kv("a", 1, 11);
        strange.value = br#"{"address":"169.254.169.254"}"#.to_vec();
        known.watched(vec![Event::put(strange), put("not a name", 1, 12)]);
        known.watched(vec![Event::put(KeyValue { key: b"/p/\xff".to_vec(), mod_revision: 13, ..KeyValue::default() })]);
        assert_eq!((shown(&known).as_str(), known.live()), ("b2", 4));
        known.watched(vec![put("a", 2, 14), delete("not a name", 15)]);
        assert_eq!((shown(&known).as_str(), known.live()), ("a2 b2", 3));
    }
}
