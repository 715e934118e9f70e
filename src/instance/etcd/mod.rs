//! Instances in etcd, for a fleet: each is a key, and those that are kept for a time have a lease.
//!
//! While etcd is away, the last known table is served on. Nothing expires then: heartbeats cannot be stored either, and
//! servers that run should not be lost to an outage of etcd.

mod cache;
mod client;
mod follow;
mod known;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, watch};

use super::options::EtcdOptions;
use super::order::Wanted;
use super::table::Table;
use super::{Answer, Change, Done, MOST, NotDone, Shared};
use crate::route::allow::AllowList;

use cache::Cache;
use client::{Client, Failure};
use known::Known;
use wire::{EXHAUSTED, Event, KeyValue, Lease, Nothing, Range, Streamed, Text, Txn, end_of, swap};

/// How often a change is tried that others came before.
const ROUNDS: usize = 16;

/// The keys of instances in an etcd cluster.
#[derive(Debug)]
pub(super) struct Etcd {
    client: Client,
    prefix: String,
    /// The first key behind those of the prefix.
    end: Vec<u8>,
    known: Mutex<Known>,
    shared: Arc<Shared>,
    /// Somebody cannot wait for the next look at etcd.
    hurry: Notify,
    /// Something changed that the cache does not have.
    changed: Notify,
    /// Whether it is known how etcd is.
    settled: watch::Sender<bool>,
}

impl Etcd {
    /// Starts to follow etcd, and waits for its first answer, for a moment.
    ///
    /// # Errors
    /// When the cache is not one.
    pub(super) async fn start(
        options: EtcdOptions,
        allow: AllowList,
        shared: Arc<Shared>,
    ) -> Result<Arc<Self>, String> {
        let EtcdOptions { http, endpoints, prefix, credentials, deadline, cache } = options;
        let (cache, table) = match cache {
            None => (None, Table::default()),
            Some((path, max_age)) => {
                let (cache, table) = Cache::open(path, max_age, allow.clone())?;
                (Some(cache), table)
            }
        };
        shared.table.store(Arc::new(table.clone()));
        let etcd = Arc::new(Self {
            client: Client::new(http, endpoints, credentials, deadline),
            end: end_of(prefix.as_bytes()),
            known: Mutex::new(Known::new(&prefix, allow, table)),
            prefix,
            shared,
            hurry: Notify::new(),
            changed: Notify::new(),
            settled: watch::Sender::new(false),
        });
        tokio::spawn(follow::follow(Arc::clone(&etcd)));
        if let Some(cache) = cache {
            tokio::spawn(cache.keep(Arc::clone(&etcd)));
        }
        let mut settled = etcd.settled.subscribe();
        let waited = tokio::time::timeout(deadline + Duration::from_millis(500), settled.wait_for(|settled| *settled));
        if waited.await.is_err() {
            etcd.is_away("etcd has not answered yet");
        }
        Ok(etcd)
    }

    /// Makes a change.
    pub(super) async fn change(self: &Arc<Self>, change: Change) -> Answer {
        if let Some(why) = self.shared.health.trouble() {
            self.hurry.notify_one();
            return Err(NotDone::Unavailable(format!("{why}; nothing was changed")));
        }
        let key = format!("{}{}", self.prefix, change.name).into_bytes();
        for _ in 0..ROUNDS {
            let before = self.read(&key).await?;
            let entry = before.as_ref().and_then(|kv| self.known.lock().entry(kv).ok().flatten());
            let unreadable = before.is_some() && entry.is_none();
            if !change.condition.is_met(entry.as_ref()) || (unreadable && change.condition == super::Condition::Absent)
            {
                return Err(NotDone::Unmet(entry.as_ref().map(super::Entry::tag)));
            }
            let made = match (&change.wanted, before) {
                (None, None) => return Err(NotDone::Missing),
                (None, Some(before)) => self.remove(&before).await?,
                (Some(wanted), Some(before)) if entry.as_ref().is_some_and(|entry| wanted.is(entry)) => {
                    match self.renew(wanted, &before).await? {
                        Some(kv) => Some((kv, Done::Renewed)),
                        None => self.put(wanted, &key, Some(&before)).await?,
                    }
                }
                (Some(wanted), before) => self.put(wanted, &key, before.as_ref()).await?,
            };
            if let Some((kv, done)) = made {
                // One that is held back is removed like any other.
                let held_back = || Wanted::read(&kv.value).ok().map(|held| held.entry(&change.name, None));
                let shown = match change.wanted {
                    Some(wanted) => Some(wanted.entry(&change.name, None)),
                    None => entry.or_else(held_back),
                };
                let event = if done == Done::Removed { Event::delete(kv.key, kv.mod_revision) } else { Event::put(kv) };
                self.did(&event);
                // An unreadable one was removed.
                return shown.map(|entry| (entry, done)).ok_or(NotDone::Missing);
            }
        }
        Err(NotDone::Unavailable("others change this instance all the time; try again".to_owned()))
    }

    async fn read(&self, key: &[u8]) -> Result<Option<KeyValue>, NotDone> {
        let range: Result<Range, _> = self.client.ask_any("kv/range", &json!({ "key": Text(key) })).await;
        let range = range.map_err(|failure| self.not_done(&failure, "nothing was changed"))?;
        Ok(range.kvs.into_iter().next())
    }

    /// Puts an instance in place of what was there; none where somebody else came before.
    async fn put(
        self: &Arc<Self>,
        wanted: &Wanted,
        key: &[u8],
        before: Option<&KeyValue>,
    ) -> Result<Option<(KeyValue, Done)>, NotDone> {
        if before.is_none() && self.position().1 >= MOST {
            return Err(NotDone::Full(format!("there are {MOST} instances already; remove some")));
        }
        let value = serde_json::to_vec(&wanted.written()).unwrap_or_default();
        let lease = match wanted.ttl() {
            None => 0,
            Some(ttl) => self.grant(ttl).await?,
        };
        let put = json!({ "request_put": { "key": Text(key), "value": Text(&value), "lease": lease.to_string() } });
        let swapped = self.swap(key, before, &put).await;
        let revision = match swapped {
            Ok(Some(revision)) => revision,
            // Where it is not known whether it was stored, the lease stays: the key may have it.
            other => {
                if matches!(other, Ok(None)) {
                    self.revoke(lease);
                }
                return other.map(|_| None);
            }
        };
        self.revoke(before.map_or(0, |before| before.lease));
        let done = if before.is_some() { Done::Replaced } else { Done::Created };
        Ok(Some((KeyValue { key: key.to_vec(), value, mod_revision: revision, lease }, done)))
    }

    /// Begins the time of an instance anew; none where its lease is gone, or is not what is wanted.
    async fn renew(&self, wanted: &Wanted, before: &KeyValue) -> Result<Option<KeyValue>, NotDone> {
        match (wanted.ttl(), before.lease) {
            (None, 0) => return Ok(Some(before.clone())),
            (None, _) | (Some(_), 0) => return Ok(None),
            (Some(_), _) => {}
        }
        let alive = self.ask::<Streamed<Lease>>("lease/keepalive", &json!({ "ID": before.lease.to_string() })).await?;
        if alive.result.is_none_or(|lease| lease.ttl <= 0) {
            return Ok(None);
        }
        // The lease lives; so does the instance, if it is still the one that has it.
        Ok(self.read(&before.key).await?.filter(|now| now.mod_revision == before.mod_revision))
    }

    async fn remove(self: &Arc<Self>, before: &KeyValue) -> Result<Option<(KeyValue, Done)>, NotDone> {
        let delete = json!({ "request_delete_range": { "key": Text(&before.key) } });
        let Some(revision) = self.swap(&before.key, Some(before), &delete).await? else { return Ok(None) };
        self.revoke(before.lease);
        Ok(Some((KeyValue { mod_revision: revision, ..before.clone() }, Done::Removed)))
    }

    /// Changes a key if nobody else has done so; the revision that did.
    async fn swap(
        &self,
        key: &[u8],
        before: Option<&KeyValue>,
        change: &serde_json::Value,
    ) -> Result<Option<i64>, NotDone> {
        let txn = swap(key, before.map_or(0, |before| before.mod_revision), change);
        let txn: Txn = self.ask("kv/txn", &txn).await?;
        Ok(txn.succeeded.then_some(txn.header.revision))
    }

    async fn grant(&self, ttl: Duration) -> Result<i64, NotDone> {
        let seconds = ttl.as_millis().div_ceil(1000).to_string();
        let lease: Lease = self.ask("lease/grant", &json!({ "TTL": seconds })).await?;
        Ok(lease.id)
    }

    /// Gives a lease back that no key has any more. Where that fails, it ends by itself.
    fn revoke(self: &Arc<Self>, lease: i64) {
        if lease == 0 {
            return;
        }
        let etcd = Arc::clone(self);
        tokio::spawn(async move {
            let member = etcd.client.current();
            let body = json!({ "ID": lease.to_string() });
            if let Err(failure) = etcd.client.ask::<Nothing>(member, "lease/revoke", &body).await {
                tracing::debug!("a lease ends by itself: {failure}");
            }
        });
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, NotDone> {
        let member = self.client.current();
        let answer = self.client.ask(member, path, body).await;
        answer.map_err(|failure| {
            let what = "it is not known whether the change was made: look, or make it again";
            self.not_done(&failure, if matches!(failure, Failure::Away(_)) { what } else { "nothing was changed" })
        })
    }

    fn not_done(&self, failure: &Failure, what: &str) -> NotDone {
        self.shared.health.count();
        let why = format!("{failure}; {what}");
        match failure {
            Failure::Away(_) => {
                self.hurry.notify_one();
                NotDone::Unavailable(why)
            }
            Failure::Refused { code: EXHAUSTED, .. } => NotDone::Full(why),
            Failure::Refused { .. } => NotDone::Unavailable(why),
        }
    }

    /// Up to which revision all is known, and how many keys there are.
    fn position(&self) -> (i64, usize) {
        let known = self.known.lock();
        (known.complete(), known.live())
    }

    fn did(&self, event: &Event) {
        self.publish(|known| known.did(event));
    }

    fn watched(&self, events: Vec<Event>) {
        self.publish(|known| known.watched(events));
    }

    fn replace(&self, revision: i64, kvs: Vec<KeyValue>) {
        self.publish(|known| known.replace(revision, kvs));
    }

    fn is_there(&self) {
        let was_away = self.shared.health.works();
        let is_first = !self.settled.send_replace(true);
        if was_away || is_first {
            let instances = self.shared.table.load().len();
            tracing::info!(instances, "instances are followed in etcd");
        }
    }

    fn publish(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock();
        change(&mut known);
        self.shared.table.store(Arc::new(known.table.clone()));
        drop(known);
        self.changed.notify_one();
    }

    fn is_away(&self, why: &str) {
        if self.shared.health.failed(why) {
            let instances = self.shared.table.load().len();
            tracing::warn!(
                instances,
                "etcd is away: the instances that are known are served on and none expires, changes are refused: {why}"
            );
        }
        self.settled.send_replace(true);
    }
}
