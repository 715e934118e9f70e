//! A request that passed its limits, or does not; and what its answer has to do with them.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;

use super::answer::{Document, Told};
use super::key::StoreKey;
use super::local::Mode;
use super::table::Hashed;
use super::{Limit, Place, clock};

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
    InStore(StoreKey),
    /// By the upstream.
    There,
}

/// A request that passed its limits; what it holds of them is given back when this is dropped.
#[derive(Debug, Default)]
pub struct Pass {
    /// Headers that the client gets.
    pub response: Told,
    pub(super) places: SmallVec<[Place; 1]>,
    pub(super) pending: SmallVec<[Pending; 1]>,
}

impl Pass {
    /// The upstream answered: what is counted only now is counted, by whether it accepted the request.
    pub fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        for pending in self.pending.drain(..) {
            let Pending { limit, counts } = pending;
            if limit.counted_by.as_ref().is_some_and(|name| headers.contains_key(name)) {
                self.response.clear();
                continue;
            }
            if limit.refused.contains(&status.as_u16()) {
                // It is not proven that it is theirs to know.
                self.response.clear();
                continue;
            }
            match counts {
                Counts::There => {}
                Counts::Here(key) => {
                    limit.decide_here(key, clock(), Mode::Count);
                }
                Counts::InStore(key) => {
                    // Nobody waits for it.
                    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                        runtime.spawn(async move {
                            if let Some(store) = &limit.store {
                                store.count(&key).await;
                            }
                        });
                    }
                }
            }
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
