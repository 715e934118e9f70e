//! New tokens for a session, shortly before the old ones expire: once at a time for each session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::Desk;
use super::provider::Failed;
use super::session::{Opened, Session, claims_of};

/// After a failure, the provider is let alone for so many seconds.
const PAUSE: u64 = 5;

/// What this process did with a session. The browser may not know it yet: it sends several requests at once.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    turn: tokio::sync::Mutex<()>,
    newest: ArcSwapOption<Opened>,
    /// Up to which of its tokens, by when they were due, the provider refused. Another instance may get newer ones.
    refused: AtomicU64,
    /// The user has ended it.
    over: AtomicBool,
    /// Before that, the provider is not asked again; in seconds since 1970.
    again: AtomicU64,
}

/// How a renewal ended.
pub(super) enum Renewed {
    New(Arc<Opened>),
    /// The provider has ended the session.
    Refused,
    Unavailable(String),
}

impl Renewal {
    /// Whether the user has ended the session.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The user ends the session.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// The session with newer tokens than a browser has.
    pub(super) fn newer_than(&self, session: &Session) -> Option<Arc<Opened>> {
        self.newest.load_full().filter(|newest| newest.session.renew > session.renew)
    }
}

impl Desk {
    /// What this process did with a session.
    pub(super) fn renewal(&self, id: &str) -> Arc<Renewal> {
        let made = self.renewals.get_or_insert_with(id, || Ok::<_, ()>(Arc::default()));
        made.unwrap_or_default()
    }

    /// The session with the newest tokens that this process knows.
    pub(super) fn newest(&self, found: Arc<Opened>) -> Arc<Opened> {
        let renewal = self.renewals.get(&found.session.id);
        renewal.and_then(|renewal| renewal.newer_than(&found.session)).unwrap_or(found)
    }

    /// Gets new tokens for a session.
    pub(super) async fn renew(self: &Arc<Self>, found: Arc<Opened>, now: u64) -> Renewed {
        let renewal = self.renewal(&found.session.id);
        let this = Arc::clone(self);
        // A task of its own: a provider may give each refresh token once, and a client can go away at any time.
        let task = tokio::spawn(async move {
            let _turn = renewal.turn.lock().await;
            this.renew_in_turn(&renewal, found, now).await
        });
        task.await.unwrap_or_else(|_| Renewed::Unavailable("the renewal broke off".to_owned()))
    }

    async fn renew_in_turn(&self, renewal: &Renewal, found: Arc<Opened>, now: u64) -> Renewed {
        let found = match renewal.newer_than(&found.session) {
            Some(newest) if now < newest.session.expires => return Renewed::New(newest),
            Some(newest) => newest,
            None => found,
        };
        if found.session.renew <= renewal.refused.load(Ordering::Relaxed) || renewal.is_over() {
            return Renewed::Refused;
        }
        if now < renewal.again.load(Ordering::Relaxed) {
            return Renewed::Unavailable("the provider failed a moment ago".to_owned());
        }
        match self.ask_for_tokens(&found, now).await {
            Ok((fresh, lack)) => {
                let fresh = Arc::new(fresh);
                renewal.newest.store(Some(Arc::clone(&fresh)));
                let Some(why) = lack else { return Renewed::New(fresh) };
                renewal.again.store(now + PAUSE, Ordering::Relaxed);
                // The browser has to know what to ask with; who it is of is as old as before.
                if now < fresh.session.expires { Renewed::New(fresh) } else { Renewed::Unavailable(why) }
            }
            Err(Failed::Refused(why)) => {
                tracing::debug!(%why, "a session is not renewed");
                renewal.refused.fetch_max(found.session.renew, Ordering::Relaxed);
                Renewed::Refused
            }
            Err(Failed::Unavailable(why)) => {
                renewal.again.store(now + PAUSE, Ordering::Relaxed);
                Renewed::Unavailable(why)
            }
        }
    }

    /// The session with new tokens. Where the provider gave them and does not tell of the user now: the session as it was,
    /// with what to ask with the next time, and why.
    async fn ask_for_tokens(&self, found: &Opened, now: u64) -> Result<(Opened, Option<String>), Failed> {
        let session = &found.session;
        let ended = || Failed::Refused("the session cannot be renewed".to_owned());
        let refresh = session.refresh.as_deref().ok_or_else(ended)?;
        let subject = claims_of(&session.id_token).ok_or_else(ended)?;
        let tokens = self.provider.refresh(refresh, &subject).await?;
        if let Err(why) = tokens.told {
            let session = session.kept(tokens.refresh, now + PAUSE);
            return Ok((Opened { session, identity: Arc::clone(&found.identity) }, Some(why)));
        }
        let session = session.renewed(tokens, now);
        let identity = session.identity(&self.mapping).map_err(|why| Failed::Refused(why.into_owned()))?;
        Ok((Opened { session, identity: Arc::new(identity) }, None))
    }
}
