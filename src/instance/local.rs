//! Instances that this process keeps by itself, in memory or in a file: one task makes all changes, those that have come
//! in meanwhile together.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::file::{FileError, InstanceFile};
use super::table::Table;
use super::{Answer, Change, Condition, Done, MOST, NotDone, Shared};

/// How many changes are made together.
const TOGETHER: usize = 1024;
/// How often a file is looked at for changes of another process.
const LOOK: Duration = Duration::from_secs(1);
/// How soon what has expired is removed at the earliest: it is not found any more as it is.
const SOON: Duration = Duration::from_millis(200);
const LATE: Duration = Duration::from_secs(3600);

/// A change, and who waits for what becomes of it.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) change: Change,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// Makes changes until nobody can ask for any.
pub(super) async fn keep(shared: Arc<Shared>, file: Option<InstanceFile>, mut commands: mpsc::Receiver<Command>) {
    let file = file.map(|file| Arc::new(Mutex::new(file)));
    loop {
        let mut batch = Vec::new();
        let wait = until_next(&shared, file.is_some());
        tokio::select! {
            received = commands.recv_many(&mut batch, TOGETHER) => {
                if received == 0 {
                    return;
                }
            }
            () = tokio::time::sleep(wait) => {
                if !is_due(&shared, file.as_deref()) {
                    continue;
                }
            }
        }
        let (changes, replies): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|command| (command.change, command.reply)).unzip();
        for (reply, answer) in replies.into_iter().zip(work(&shared, file.as_ref(), changes).await) {
            let _ = reply.send(answer);
        }
    }
}

fn until_next(shared: &Shared, has_file: bool) -> Duration {
    if shared.health.trouble().is_some() {
        return LOOK;
    }
    let expiry = shared.table.load().next_expiry();
    let left = expiry.map_or(LATE, |at| at.duration_since(SystemTime::now()).unwrap_or_default());
    left.clamp(SOON, if has_file { LOOK } else { LATE })
}

/// Whether there is something to do though nobody asks.
fn is_due(shared: &Shared, file: Option<&Mutex<InstanceFile>>) -> bool {
    let now = SystemTime::now();
    shared.table.load().next_expiry().is_some_and(|at| at <= now)
        || file.is_some_and(|file| file.lock().is_changed() || shared.health.trouble().is_some())
}

/// Makes changes, all of them on the disk before one is seen; what became of each.
async fn work(shared: &Arc<Shared>, file: Option<&Arc<Mutex<InstanceFile>>>, changes: Vec<Change>) -> Vec<Answer> {
    let asked = changes.len();
    let Some(file) = file else {
        let mut draft = Draft::new(shared);
        draft.make(changes, &mut Table::default());
        shared.table.store(Arc::new(draft.table));
        return draft.answers;
    };
    let (file, in_file) = (Arc::clone(file), Arc::clone(shared));
    let made = tokio::task::spawn_blocking(move || {
        let mut draft = Draft::new(&in_file);
        file.lock().update(|fresh, held| {
            if let Some(table) = fresh {
                draft.table = table;
            }
            draft.make(changes, held);
            // After a failure only a file that is written shows that it is over.
            let is_probe = in_file.health.trouble().is_some();
            (draft.table.clone(), draft.changed || is_probe)
        })?;
        Ok(draft)
    });
    let made = made.await.unwrap_or_else(|error| Err(FileError::Failed(format!("the change broke off: {error}"))));
    match made {
        Ok(draft) => {
            shared.table.store(Arc::new(draft.table));
            if shared.health.works() {
                tracing::info!("instances can be kept again");
            }
            draft.answers
        }
        Err(error) => {
            if shared.health.failed(&error.to_string()) {
                tracing::error!("instances cannot be kept, changes are refused: {error}");
            }
            vec![Err(error.into()); asked]
        }
    }
}

/// A table that changes are made to before it is taken over.
struct Draft {
    table: Table,
    answers: Vec<Answer>,
    /// Whether there is something to keep.
    changed: bool,
}

impl Draft {
    fn new(shared: &Shared) -> Self {
        Self { table: (**shared.table.load()).clone(), answers: Vec::new(), changed: false }
    }

    /// Makes changes; `held` are those that are held back, until they are put anew or removed.
    fn make(&mut self, changes: Vec<Change>, held: &mut Table) {
        let now = SystemTime::now();
        self.changed = self.table.expire(now) + held.expire(now) > 0;
        for change in changes {
            let answer = self.make_one(change, held, now);
            self.answers.push(answer);
        }
    }

    fn make_one(&mut self, change: Change, held: &mut Table, now: SystemTime) -> Answer {
        let Change { name, wanted, condition } = change;
        let before = self.table.get(&name);
        if !condition.is_met(before) {
            return Err(NotDone::Unmet(before.map(super::Entry::tag)));
        }
        let Some(wanted) = wanted else {
            // For a condition, what is held back is not there.
            let held_back = if condition == Condition::None { held.remove(&name) } else { None };
            let entry = self.table.remove(&name).or(held_back).ok_or(NotDone::Missing)?;
            self.changed = true;
            return Ok((entry, Done::Removed));
        };
        let done = match before {
            Some(before) if wanted.is(before) => Done::Renewed,
            Some(_) => Done::Replaced,
            None if self.table.len() >= MOST => {
                return Err(NotDone::Full(format!("there are {MOST} instances already; remove some")));
            }
            None => Done::Created,
        };
        let expires = wanted.expiry(now);
        let entry = wanted.entry(&name, expires);
        self.changed |= done != Done::Renewed || expires.is_some();
        self.table.insert(entry.clone());
        held.remove(&name);
        Ok((entry, done))
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::everywhere;
    use super::super::{Registry, RegistryOptions, Wanted};
    use super::*;

    fn put(name: &str, body: &str, condition: Condition) -> Change {
        let wanted = Wanted::parse(body.as_bytes(), &everywhere()).unwrap();
        Change { name: name.to_owned(), wanted: Some(wanted), condition }
    }

    fn remove(name: &str) -> Change {
        Change { name: name.to_owned(), wanted: None, condition: Condition::None }
    }

    const ONE: &str = r#"{"address":"10.0.0.1:80"}"#;
    const OTHER: &str = r#"{"address":"10.0.0.2:80"}"#;

    #[tokio::test]
    async fn a_change_is_seen_by_who_asked_for_it() {
        let registry = Registry::start(RegistryOptions::default()).await.unwrap();
        let done = async |change| registry.change(change).await.map(|(_, done)| done);
        assert_eq!(done(put("a", ONE, Condition::Absent)).await, Ok(Done::Created));
        assert_eq!(registry.find("a").unwrap().url.authority(), "10.0.0.1:80");
        assert_eq!(done(put("a", ONE, Condition::None)).await, Ok(Done::Renewed));
        assert!(matches!(done(put("a", ONE, Condition::Absent)).await, Err(NotDone::Unmet(Some(_)))));
        let tag = registry.entry("a").unwrap().tag();
        assert_eq!(done(put("a", OTHER, Condition::Tagged(vec![tag.clone()]))).await, Ok(Done::Replaced));
        assert!(matches!(done(put("a", ONE, Condition::Tagged(vec![tag]))).await, Err(NotDone::Unmet(Some(_)))));
        assert_eq!(done(put("b", ONE, Condition::Present)).await, Err(NotDone::Unmet(None)));
        assert_eq!(done(remove("a")).await, Ok(Done::Removed));
        assert_eq!((done(remove("a")).await, registry.find("a")), (Err(NotDone::Missing), None));
        assert_eq!((registry.kind(), registry.is_durable()), ("memory", false));
    }

    #[test]
    fn what_has_expired_counts_as_absent() {
        let shared = Shared::default();
        let (mut draft, mut held) = (Draft::new(&shared), Table::default());
        let change = || put("a", r#"{"address":"10.0.0.1:80","ttl":"5s"}"#, Condition::Absent);
        let now = SystemTime::now();
        let (entry, _) = draft.make_one(change(), &mut held, now).unwrap();
        assert_eq!(entry.instance.expires, Some(now + Duration::from_secs(5)));
        assert!(draft.make_one(change(), &mut held, now).is_err());
        assert_eq!(draft.table.expire(now + Duration::from_secs(5)), 1);
        assert!(draft.make_one(change(), &mut held, now).is_ok());
    }

    #[tokio::test]
    async fn what_is_held_back_stays_until_a_change_of_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.json");
        let entry = |name: &str| Wanted::parse(OTHER.as_bytes(), &everywhere()).unwrap().entry(name, None);
        let (mut file, _) = InstanceFile::open(path.clone(), everywhere()).unwrap();
        file.replace(&["a", "b", "c"].into_iter().map(entry).collect()).unwrap();
        let allow = crate::route::allow::AllowList::new(vec!["10.0.0.1/32".parse().unwrap()]);
        let (file, _) = InstanceFile::open(path.clone(), allow).unwrap();
        let (shared, file) = (Arc::<Shared>::default(), Arc::new(Mutex::new(file)));
        let make = async |change| work(&shared, Some(&file), vec![change]).await.remove(0);
        let kept = || {
            let (_, table) = InstanceFile::open(path.clone(), everywhere()).unwrap();
            ["a", "b", "c"].map(|name| table.get(name).map(|entry| entry.instance.url.authority().to_owned()))
        };
        let (one, other) = (Some("10.0.0.1:80".to_owned()), Some("10.0.0.2:80".to_owned()));

        let present = Change { condition: Condition::Present, ..remove("a") };
        assert_eq!(make(present).await, Err(NotDone::Unmet(None)));
        assert_eq!(kept(), [other.clone(), other.clone(), other.clone()]);
        assert_eq!(make(remove("a")).await, Ok((entry("a"), Done::Removed)));
        assert_eq!(make(remove("a")).await, Err(NotDone::Missing));
        assert_eq!(make(put("b", ONE, Condition::None)).await.map(|made| made.1), Ok(Done::Created));
        assert_eq!(kept(), [None, one.clone(), other.clone()]);

        shared.table.store(Arc::new((0..MOST).map(|n| entry(&format!("n{n}"))).collect()));
        assert!(matches!(make(put("c", ONE, Condition::None)).await, Err(NotDone::Full(_))));
        assert_eq!(kept()[2], other);
    }
}
