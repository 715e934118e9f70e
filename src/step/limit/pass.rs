//! A request that passed its limits, or does not; and what its answer has to do with them.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;

use super::answer::{Document, Told};
use super::counts::Place;
use super::key::StoreKey;
use super::local::{Mode, Verdict};
use super::table::Hashed;
use super::{Limit, clock};
use crate::config::{Counted, Fail};

/// A request that is counted when the upstream has accepted it.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) limit: Arc<Limit>,
    pub(super) counts: Counts,
}

/// Where a request is counted.
#[derive(Debug)]
pub(super) enum Counts {
    Here(Hashed),
    InStore {
        stored: StoreKey,
        /// The same in this process.
        here: Hashed,
    },
    /// By the upstream.
    There,
}

impl Counts {
    fn count(self, limit: Arc<Limit>) {
        match self {
            Self::There => {}
            Self::Here(key) => {
                limit.decide_here(key, clock(), Mode::Count);
            }
            Self::InStore { stored, here } => {
                // Nobody waits for it.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move {
                        if let Some(store) = &limit.store
                            && !store.count(&stored).await
                            && store.fail == Fail::Local
                        {
                            limit.decide_here(here, clock(), Mode::Count);
                        }
                    });
                }
            }
        }
    }
}

/// A request that the limits of refused requests have let pass, until it is known whether it is one.
#[derive(Debug)]
pub struct Guarded(pub(super) Box<Pass>);

impl Guarded {
    /// `auth` has looked at it: a guess is counted. Others may have used the budget up meanwhile; then it is not told what
    /// has been found.
    ///
    /// # Errors
    /// What was exceeded.
    pub async fn asked(&self, guess: bool) -> Result<(), Box<Exceeded>> {
        let mode = if guess { Mode::Take } else { Mode::Look };
        for Pending { limit, counts } in &self.0.pending {
            let verdict = match counts {
                Counts::There => continue,
                Counts::Here(key) => limit.decide_here(*key, clock(), mode),
                Counts::InStore { stored, here } => {
                    let Some(store) = &limit.store else { continue };
                    match (store.decide(stored, mode).await, store.fail) {
                        (Ok(verdict), _) => verdict,
                        (Err(_), Fail::Open) => continue,
                        (Err(_), Fail::Local) => limit.decide_here(*here, clock(), mode),
                        (Err(error), Fail::Closed) => return Err(limit.unchecked(&error)),
                    }
                }
            };
            if !verdict.passes {
                limit.metrics.reject();
                return Err(limit.exceeded(&verdict));
            }
        }
        Ok(())
    }
}

/// What a request has taken of limits so far.
#[derive(Default)]
pub(super) struct Taken<'l> {
    pub(super) pass: Box<Pass>,
    /// What was counted in this process.
    pub(super) here: SmallVec<[(&'l Limit, Hashed); 2]>,
    /// The limit of which the least is left, of those that count at once.
    tightest: Option<(&'l Limit, Verdict)>,
    /// The same of those that wait for the upstream's answer.
    pending: Option<(&'l Arc<Limit>, Verdict)>,
}

impl<'l> Taken<'l> {
    /// Notes what a limit says that lets it pass.
    pub(super) fn heed(&mut self, limit: &'l Arc<Limit>, verdict: Verdict) {
        if limit.counted == Counted::All {
            if self.tightest.is_none_or(|other| limit.is_tighter(&verdict, other)) {
                self.tightest = Some((limit, verdict));
            }
        } else if self.pending.is_none_or(|(other, known)| limit.is_tighter(&verdict, (other, known))) {
            self.pending = Some((limit, verdict));
        }
    }

    /// All limits let it pass.
    pub(super) fn pass(self) -> Box<Pass> {
        let Self { mut pass, tightest, pending, .. } = self;
        if let Some((limit, verdict)) = tightest {
            limit.telling.tell(&verdict, &mut pass.response);
        }
        if let Some((limit, verdict)) = pending
            && tightest.is_none_or(|other| limit.is_tighter(&verdict, other))
        {
            pass.accepted = Some((Arc::clone(limit), verdict));
        }
        pass
    }
}

/// A request that passed its limits; what it holds of them is given back when this is dropped.
#[derive(Debug, Default)]
pub struct Pass {
    /// Headers that the client gets.
    pub response: Told,
    /// The limit that it is told of in their place when the upstream has accepted it: what is left of a key is for its
    /// owner to know.
    pub(super) accepted: Option<(Arc<Limit>, Verdict)>,
    pub(super) places: SmallVec<[Place; 1]>,
    pub(super) pending: SmallVec<[Pending; 1]>,
}

impl Pass {
    /// The upstream answered: what is counted only now is counted, by whether it accepted the request.
    pub fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let mut accepted = self.accepted.take();
        for pending in self.pending.drain(..) {
            let Pending { limit, counts } = pending;
            if limit.counted_by.as_ref().is_some_and(|name| headers.contains_key(name)) {
                // What the upstream tells stands.
                accepted = None;
                self.response.clear();
                continue;
            }
            let is_refused = limit.refused.contains(&status.as_u16());
            if limit.counted == Counted::Refused {
                if is_refused {
                    counts.count(limit);
                }
            } else if is_refused {
                accepted = None;
            } else {
                counts.count(limit);
            }
        }
        if let Some((limit, verdict)) = accepted {
            self.response.clear();
            limit.telling.tell(&verdict, &mut self.response);
        }
    }
}

/// A request that does not pass.
#[derive(Debug)]
pub struct Exceeded {
    /// 429 or as configured; 503 where a limit cannot be checked and is closed then.
    pub status: StatusCode,
    /// Headers that the client gets, `Retry-After` among them.
    pub response: Told,
    /// The body, where the limit has one of its own.
    pub document: Option<Document>,
    /// What the client is told.
    pub detail: &'static str,
    /// Which limit, for the log.
    pub reason: String,
}
