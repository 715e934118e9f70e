//! `limit`: how many requests may pass, in a time or at once.
//!
//! ```yaml
//!   limit: { rate: 100/s, burst: 200 }              # for each client address
//!   limit:
//!     - { by: user, requests: 10000, window: 15m, redis: { url: "redis://10.0.0.7", fail: local } }
//!     - { by: client_ip, concurrent: 10 }
//! ```
//!
//! All limits of a route must agree. They are asked in this order: requests under way, what this process counts, what is
//! counted in Redis. A request that one refuses gives back what the ones before it counted in this process; what was
//! counted in Redis stays, so of several limits in Redis the one that is reached first is best written first.
//!
//! A rolling window lets exactly so many pass in any span of its length: in Redis by the time of each request; in this
//! process too, but for windows of more than 128 requests a request may count for 1/128 of the window longer. In Redis the
//! clock is that of the server, whatever those of the instances say.
//!
//! Keys that are not proven (a header of which no `auth` knows) could be forged to use up somebody else's budget. With
//! `count: accepted` a request is only asked after on its way in, and counted when the upstream answered with none of the
//! `refused` statuses. Requests that are under way when the limit is reached then pass all the same. An upstream that counts
//! in the same Redis says so by the header `counted_by`: Pylon counts nothing then, and what the upstream tells stands. A header
//! that is there more than once is refused: the upstream may take another of them than Pylon. What is left of such a key is
//! told with answers alone by which the upstream has accepted it.
//!
//! Guessing is slowed down by `count: refused`: such a limit is asked before `auth`, counts what is wrong by the client's
//! address, and is asked again after: of guesses at the same time no more get an answer than of those in turn. What the
//! upstream refuses is counted when it answers; what is under way then passes.

mod answer;
mod compile;
mod counts;
mod key;
mod local;
mod pass;
mod store;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, StatusCode};
use once_cell::sync::Lazy;

use self::answer::{Refusal, Telling, retry_after};
use self::counts::{Local, Place, Places};
use self::key::{By, Key};
use self::local::{Bucket, BucketRule, Mode, Verdict, Window, WindowRule};
use self::pass::{Counts, Pending, Taken};
use self::store::Store;
use self::table::Hashed;
use super::Mistake;
use super::auth::{Asking, AuthScope};
use super::identity::Identity;
use crate::config::{Counted, Fail, KeyPath, LimitSpec};
use crate::observe::LimitMetrics;
use crate::remote::RedisError;

pub use answer::{Document, Told};
pub use pass::{Exceeded, Guarded, Pass};

/// The kinds of limits, with what this process counts.
#[derive(Debug)]
enum Kind {
    Bucket(BucketRule, Arc<Local<Bucket>>),
    Window(WindowRule, Arc<Local<Window>>),
    Concurrent(u32, Arc<Places>),
}

/// One limit.
#[derive(Debug)]
struct Limit {
    label: String,
    by: By,
    /// How many, for the comparison with others.
    number: u32,
    telling: Telling,
    refusal: Refusal,
    counted: Counted,
    /// Statuses by which the upstream says that a key is not good.
    refused: Vec<u16>,
    /// The header by which the upstream says that it has counted a request itself.
    counted_by: Option<HeaderName>,
    kind: Kind,
    store: Option<Store>,
    metrics: LimitMetrics,
}

/// The limits of a route.
#[derive(Debug)]
pub struct Limits {
    /// Those that count refused requests: asked before it is known who asks.
    guards: Box<[Arc<Limit>]>,
    /// The others.
    limits: Box<[Arc<Limit>]>,
}

impl Limits {
    /// Compiles the limits of a route.
    ///
    /// # Errors
    /// All mistakes, below `limit`.
    pub fn compile(specs: &[&LimitSpec], route: &str, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        let (mut limits, mut mistakes, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (index, spec) in specs.iter().enumerate() {
            match compile::compile(spec, route, scope, &mut others) {
                Ok(limit) => limits.push(Arc::new(limit)),
                Err(found) => mistakes.extend(found.into_iter().map(|mistake| {
                    let at = if specs.len() > 1 { KeyPath::root().then(index) } else { KeyPath::root() };
                    Mistake::new(at.join(&mistake.path), mistake.message)
                })),
            }
            if let Some(first) = specs[..index].iter().position(|other| other == spec) {
                let message = format!("this is the same as item {first}; remove one of the two");
                mistakes.push(Mistake::new(KeyPath::root().then(index), message));
            }
        }
        // What can be given back comes first.
        limits.sort_by_key(|limit| match (&limit.kind, &limit.store) {
            (Kind::Concurrent(..), _) => 0,
            (_, None) => 1,
            (_, Some(_)) => 2,
        });
        let (guards, limits): (Vec<_>, Vec<_>) =
            limits.into_iter().partition(|limit| limit.counted == Counted::Refused);
        if mistakes.is_empty() { Ok(Self { guards: guards.into(), limits: limits.into() }) } else { Err(mistakes) }
    }

    /// Whether it has limits of refused requests.
    #[must_use]
    pub fn asks_before_auth(&self) -> bool {
        !self.guards.is_empty()
    }

    /// Whether it has others.
    #[must_use]
    pub fn asks_after_auth(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Asks the limits of refused requests, before it is found out who asks; `None` where there is none.
    ///
    /// # Errors
    /// What was exceeded.
    pub async fn guard(&self, asking: &Asking<'_>) -> Result<Option<Guarded>, Box<Exceeded>> {
        if !self.asks_before_auth() {
            return Ok(None);
        }
        Ok(Some(Guarded(ask(&self.guards, asking, None).await?)))
    }

    /// Lets a request pass, or not; the limits of refused requests have let it pass.
    ///
    /// # Errors
    /// What was exceeded.
    pub async fn admit(
        &self,
        asking: &Asking<'_>,
        identity: Option<&Identity>,
        guarded: Option<Guarded>,
    ) -> Result<Box<Pass>, Box<Exceeded>> {
        let mut pass = ask(&self.limits, asking, identity).await?;
        let of_upstream = |pending: &Pending| !pending.limit.refused.is_empty();
        pass.pending.extend(guarded.into_iter().flat_map(|guarded| guarded.0.pending).filter(of_upstream));
        Ok(pass)
    }
}

/// Asks limits in turn.
async fn ask(
    limits: &[Arc<Limit>],
    asking: &Asking<'_>,
    identity: Option<&Identity>,
) -> Result<Box<Pass>, Box<Exceeded>> {
    let now = clock();
    let mut taken = Taken::default();
    for limit in limits {
        let Some(key) = limit.by.key(asking, identity) else { continue };
        let admitted = match limit.by.ambiguous(asking).filter(|_| limit.counted != Counted::All) {
            Some(name) => Err(limit.ambiguous(name)),
            None => limit.admit(&key, now, &mut taken).await,
        };
        if let Err(exceeded) = admitted {
            for (limit, key) in taken.here {
                limit.give_back(key);
            }
            limit.metrics.reject();
            return Err(exceeded);
        }
    }
    Ok(taken.pass())
}

impl Limit {
    async fn admit<'l>(
        self: &'l Arc<Self>,
        key: &Key<'_>,
        now: u64,
        taken: &mut Taken<'l>,
    ) -> Result<(), Box<Exceeded>> {
        let mode = if self.counted == Counted::All { Mode::Take } else { Mode::Look };
        let Some(store) = &self.store else { return self.admit_here(key, now, mode, taken) };
        let stored = key.stored(&store.prefix, store.form, &store.counter);
        match (store.decide(&stored, mode).await, store.fail) {
            (Ok(verdict), _) => {
                self.heed(verdict, taken)?;
                self.await_answer(|| Counts::InStore { stored, here: self.hash(key) }, taken);
                Ok(())
            }
            (Err(_), Fail::Open) => Ok(()),
            // It may have waited since.
            (Err(_), Fail::Local) => self.admit_here(key, clock(), mode, taken),
            (Err(error), Fail::Closed) => Err(self.unchecked(&error)),
        }
    }

    fn unchecked(&self, error: &RedisError) -> Box<Exceeded> {
        Box::new(Exceeded {
            status: StatusCode::SERVICE_UNAVAILABLE,
            response: Told::from_iter([retry_after(Duration::ZERO)]),
            document: None,
            detail: "it cannot be found out at the moment whether these are too many requests",
            reason: format!("the limit `{}` cannot be checked: {error}", self.label),
        })
    }

    /// Lets a request pass by what this process has counted.
    fn admit_here<'l>(
        self: &'l Arc<Self>,
        key: &Key<'_>,
        now: u64,
        mode: Mode,
        taken: &mut Taken<'l>,
    ) -> Result<(), Box<Exceeded>> {
        if let Kind::Concurrent(most, places) = &self.kind {
            let key = key.hashed(&places.hashing);
            if places.under_way.enter(key, *most).is_none() {
                return Err(self.exceeded(&Verdict { passes: false, remaining: 0, wait: Duration::ZERO }));
            }
            taken.pass.places.push(Place { places: Arc::clone(places), key });
            return Ok(());
        }
        let key = self.hash(key);
        self.heed(self.decide_here(key, now, mode), taken)?;
        if mode == Mode::Take {
            taken.here.push((self, key));
        } else {
            self.await_answer(|| Counts::Here(key), taken);
        }
        Ok(())
    }

    /// Has the upstream's answer decide what is counted and told, where it does.
    fn await_answer(self: &Arc<Self>, counts: impl FnOnce() -> Counts, taken: &mut Taken<'_>) {
        let counts = match self.counted {
            Counted::Accepted | Counted::Refused => counts(),
            Counted::Upstream => Counts::There,
            Counted::All => return,
        };
        taken.pass.pending.push(Pending { limit: Arc::clone(self), counts });
    }

    fn heed<'l>(self: &'l Arc<Self>, verdict: Verdict, taken: &mut Taken<'l>) -> Result<(), Box<Exceeded>> {
        if !verdict.passes {
            return Err(self.exceeded(&verdict));
        }
        // Nobody is told of what is counted of guesses.
        if self.counted != Counted::Refused {
            taken.heed(self, verdict);
        }
        Ok(())
    }

    /// Whether less is left of it than of another.
    fn is_tighter(&self, verdict: &Verdict, (other, known): (&Self, Verdict)) -> bool {
        u64::from(verdict.remaining) * u64::from(other.number) < u64::from(known.remaining) * u64::from(self.number)
    }

    fn exceeded(&self, verdict: &Verdict) -> Box<Exceeded> {
        let mut response = Told::new();
        self.telling.tell(verdict, &mut response);
        response.push(retry_after(verdict.wait));
        let (status, document) = (self.refusal.status, self.refusal.document.clone());
        let reason = format!("the limit `{}` is exceeded", self.label);
        Box::new(Exceeded { status, response, document, detail: "too many requests", reason })
    }

    /// Whoever has a good key could have another's counted, or one of nobody.
    fn ambiguous(&self, name: &HeaderName) -> Box<Exceeded> {
        Box::new(Exceeded {
            status: StatusCode::BAD_REQUEST,
            response: Told::new(),
            document: None,
            detail: "a header that says who asks is there more than once",
            reason: format!("`{name}`, by which the limit `{}` counts, is there more than once", self.label),
        })
    }

    fn hash(&self, key: &Key<'_>) -> Hashed {
        match &self.kind {
            Kind::Bucket(_, local) => key.hashed(&local.hashing),
            Kind::Window(_, local) => key.hashed(&local.hashing),
            Kind::Concurrent(_, places) => key.hashed(&places.hashing),
        }
    }

    fn decide_here(&self, key: Hashed, now: u64, mode: Mode) -> Verdict {
        match &self.kind {
            Kind::Bucket(rule, local) => local.decide(key, rule, now, mode, |bucket| bucket.decide(rule, now, mode)),
            Kind::Window(rule, local) => local.decide(key, rule, now, mode, |window| window.decide(rule, now, mode)),
            Kind::Concurrent(most, _) => Verdict { passes: true, remaining: *most, wait: Duration::ZERO },
        }
    }

    /// Takes back what a request has counted here.
    fn give_back(&self, key: Hashed) {
        match &self.kind {
            Kind::Bucket(rule, local) => local.table.look(key, |bucket| bucket.give_back(rule)),
            Kind::Window(_, local) => local.table.look(key, Window::give_back),
            Kind::Concurrent(..) => None,
        };
    }
}

/// Nanoseconds since this process first asked, beginning late enough for every window.
fn clock() -> u64 {
    static START: Lazy<Instant> = Lazy::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1 << 52)
}
