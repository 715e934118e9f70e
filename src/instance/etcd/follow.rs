//! Keeps the table the same as the keys in etcd: all of them are read, and then watched; whenever that breaks off, all are
//! read anew. So it does not matter what was missed, and whether it was compacted away.
//!
//! A watch that says nothing may be one that is dead, or of a member that its cluster has lost. So what it should have told
//! of is asked for in between, in a way that a majority of the cluster answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Etcd;
use super::client::{Failure, Messages};
use super::wire::{Range, Streamed, Text, Watched, page, read};

/// From one look at what the watch should have told of to the next.
const LOOK: Duration = Duration::from_secs(2);
/// Keys that are read at a time.
const PAGE: i64 = 1000;
/// How long is waited before the next try, at first and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// The shortest pause, however often someone is in a hurry.
const HURRY: Duration = Duration::from_millis(50);
/// What ends sooner is no success.
const SHORT: Duration = Duration::from_secs(1);

/// Why what was followed broke off.
struct Ended {
    why: String,
    /// Whether all keys had been read, and the watch had begun.
    was_followed: bool,
}

/// Follows for ever.
pub(super) async fn follow(etcd: Arc<Etcd>) {
    let (mut failures, mut pause) = (0, PAUSE[0]);
    loop {
        let (member, began) = (etcd.client.current(), Instant::now());
        let ended = follow_once(&etcd, member).await;
        etcd.client.leave(member);
        if ended.was_followed {
            etcd.shared.health.count();
            tracing::debug!("instances are read from etcd anew: {}", ended.why);
            failures = 0;
            if began.elapsed() > SHORT {
                pause = PAUSE[0];
                continue;
            }
        } else {
            failures += 1;
            // The other members are asked before anything is said.
            if failures < etcd.client.members() {
                continue;
            }
            etcd.is_away(&ended.why);
        }
        tokio::time::sleep(HURRY).await;
        tokio::select! {
            () = tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)) => {}
            () = etcd.hurry.notified() => {}
        }
        pause = (pause * 2).min(PAUSE[1]);
    }
}

async fn follow_once(etcd: &Etcd, member: usize) -> Ended {
    let messages = match begin(etcd, member).await {
        Ok(messages) => messages,
        Err(failure) => return Ended { why: failure.to_string(), was_followed: false },
    };
    etcd.is_there();
    let why = tokio::select! {
        why = watch(etcd, messages) => etcd.client.strange(member, &why),
        failure = look(etcd, member) => failure,
    };
    Ended { why: why.to_string(), was_followed: true }
}

/// Reads all keys, and begins to watch what happens from there on.
async fn begin(etcd: &Etcd, member: usize) -> Result<Messages, Failure> {
    let revision = read_all(etcd, member).await?;
    let create = json!({ "create_request": {
        "key": Text(etcd.prefix.as_bytes()), "range_end": Text(&etcd.end), "start_revision": (revision + 1).to_string(),
    }});
    let mut messages = etcd.client.stream(member, "watch", &create).await?;
    // The first says that it is created, or why not.
    match tokio::time::timeout(LOOK, next(etcd, &mut messages)).await {
        Ok(Ok(())) => Ok(messages),
        Ok(Err(why)) => Err(etcd.client.strange(member, &why)),
        Err(_) => Err(etcd.client.strange(member, "the watch does not begin")),
    }
}

/// Reads all keys, as of one revision, and takes them over.
async fn read_all(etcd: &Etcd, member: usize) -> Result<i64, Failure> {
    let (mut from, mut revision, mut kvs) = (etcd.prefix.as_bytes().to_vec(), 0, Vec::new());
    loop {
        let range: Range = etcd.client.ask(member, "kv/range", &page(&from, &etcd.end, revision, PAGE)).await?;
        // A later page says in its header what is now, not what was asked for.
        if revision == 0 {
            revision = range.header.revision;
        }
        let last = range.kvs.last().map(|kv| kv.key.clone());
        kvs.extend(range.kvs);
        let Some(last) = last.filter(|_| range.more) else { break };
        from = last;
        from.push(0);
    }
    etcd.replace(revision, kvs);
    Ok(revision)
}

/// Takes over what the watch tells, until it ends.
async fn watch(etcd: &Etcd, mut messages: Messages) -> String {
    loop {
        if let Err(why) = next(etcd, &mut messages).await {
            return why;
        }
    }
}

/// Takes the next message over; else why there is none.
async fn next(etcd: &Etcd, messages: &mut Messages) -> Result<(), String> {
    let message = messages.next().await.map_err(|why| format!("the watch broke off: {why}"))?;
    let message = message.ok_or("the watch ended")?;
    let watched = match read::<Streamed<Watched>>(&message)? {
        Streamed { result: Some(watched), error: None } => watched,
        Streamed { error, .. } => return Err(format!("the watch failed: {}", error.unwrap_or_default())),
    };
    if watched.canceled {
        return Err(match watched.compact_revision {
            0 => format!("the watch was cancelled: {}", watched.cancel_reason),
            revision => format!("what is before revision {revision} was compacted"),
        });
    }
    if !watched.events.is_empty() {
        etcd.watched(watched.events);
    }
    Ok(())
}

/// Looks, again and again, whether the watch tells of all; what ends this is that it does not, or no answer.
async fn look(etcd: &Etcd, member: usize) -> Failure {
    let mut missed = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = etcd.hurry.notified() => {}
        }
        let (complete, _) = etcd.position();
        let newer = json!({
            "key": Text(etcd.prefix.as_bytes()), "range_end": Text(&etcd.end), "keys_only": true, "limit": "1",
            "min_mod_revision": (complete + 1).to_string(),
        });
        let range: Range = match etcd.client.ask(member, "kv/range", &newer).await {
            Ok(range) => range,
            Err(failure) => return failure,
        };
        let (now_complete, live) = etcd.position();
        if now_complete != complete || (range.kvs.is_empty() && usize::try_from(range.count) == Ok(live)) {
            missed = None;
        } else if missed == Some(complete) {
            return etcd.client.strange(member, "its watch does not tell what changes");
        } else {
            missed = Some(complete);
        }
    }
}
