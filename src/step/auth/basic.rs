//! `auth: { basic: … }`: user names and passwords (RFC 7617), checked against a file.
//!
//! ```yaml
//!   auth:
//!     basic:
//!       file: users.htpasswd                 # htpasswd -B users.htpasswd ann
//!       groups: users.groups                 # staff: ann bob
//!       realm: the lab
//! ```
//!
//! Both files are taken over when they change. A check costs a good part of a second on purpose, so only few run at once, and
//! those that were good are remembered for 5 minutes, or until a file changes.

mod checks;
mod file;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;

use self::file::{Groups, Users};
use super::live::{self, Live};
use super::remembered::{Answer, Remembered};
use super::user_password::{self, UserPassword};
use super::{Asking, AuthScope, Finding, Mistake, Proof};
use crate::config::{BasicSpec, KeyPath};
use crate::step::identity::Identity;
use crate::step::shared::Keep;

/// How long a good answer is remembered, and a bad one, for clients that send several requests at once.
const REMEMBERED: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(2));

/// The step, compiled.
pub(super) struct Basic {
    known: Arc<KnownUsers>,
    challenge: HeaderValue,
    forward: bool,
}

/// What all steps with the same files share.
struct KnownUsers {
    users: Live<Users>,
    groups: Option<Live<Groups>>,
    remembered: Remembered,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Files(PathBuf, Option<PathBuf>);

impl Keep for KnownUsers {
    fn start(self: Arc<Self>) {
        live::watch(&self, |known| {
            known.users.refresh();
            known.groups.as_ref().inspect(|groups| groups.refresh());
        });
    }
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic").finish_non_exhaustive()
    }
}

impl Basic {
    /// Checks the step.
    pub(super) fn compile(spec: &BasicSpec, scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let challenge = user_password::challenge(spec.realm.as_deref()).map_err(|mistake| mistakes.push(mistake));
        if spec.file.is_empty() {
            let message = "it is missing; write the path of a file that `htpasswd -B` makes";
            mistakes.push(Mistake::at("file", message));
            return Err(mistakes);
        }
        let files = Files((scope.file)(&spec.file), spec.groups.as_ref().map(|path| (scope.file)(path)));
        // They are read even where they are known already: a reload tells what is wrong with them.
        let users = Live::open(files.0.clone(), Users::parse).map_err(|why| mistakes.push(Mistake::at("file", why)));
        let groups = files.1.clone().map(|path| Live::open(path, Groups::parse)).transpose();
        let groups = groups.map_err(|why| mistakes.push(Mistake::at("groups", why)));
        let remembered = Remembered::new().ok_or_else(|| {
            mistakes.push(Mistake::new(KeyPath::root(), "the system has no random numbers; check /dev/urandom"));
        });
        let (Ok(challenge), Ok(users), Ok(groups), Ok(remembered)) = (challenge, users, groups, remembered) else {
            return Err(mistakes);
        };
        let make = || KnownUsers { users, groups, remembered };
        let known = scope.shared.keep(scope.before, &files, make);
        Ok(Self { known, challenge, forward: spec.forward_credentials.0 })
    }

    /// Finds out who asks.
    pub(super) async fn identify(&self, asking: &Asking<'_>) -> Finding {
        let given = match UserPassword::of(asking) {
            Ok(Some(given)) => given,
            Ok(None) => return Finding::Absent,
            Err(why) => return Finding::Wrong(why.into()),
        };
        let known = &self.known;
        let number = known.groups.as_ref().map_or(0, |groups| groups.get().number);
        let version = (known.users.get().number, number);
        let ask = known.ask(&given, asking.client.address);
        match known.remembered.or_ask(&given, version, REMEMBERED, ask).await {
            Ok(Some(identity)) => {
                let mut proof = Proof::of(identity);
                if !self.forward {
                    proof.hide.push(AUTHORIZATION);
                }
                Finding::Proven(Box::new(proof))
            }
            Ok(None) => Finding::Wrong("the user name or the password is not good".into()),
            Err(why) => Finding::Unavailable(why),
        }
    }

    /// What `WWW-Authenticate` says.
    #[allow(clippy::unnecessary_wraps, reason = "the ways have one form")]
    pub(super) fn challenge(&self, _wrong: bool) -> Option<HeaderValue> {
        Some(self.challenge.clone())
    }
}

impl KnownUsers {
    async fn ask(&self, given: &UserPassword, client: IpAddr) -> Result<Answer, String> {
        let Some((hash, is_known)) = self.users.get().value.find(&given.user) else { return Ok(None) };
        let is_good = checks::check(given.password.clone(), hash, client).await?;
        if !(is_good && is_known) {
            return Ok(None);
        }
        let groups = self.groups.as_ref().map(|groups| groups.get().value.of(&given.user));
        let identity = Identity { groups: groups.unwrap_or_default(), ..Identity::of(given.user.clone(), "basic") };
        Ok(Some(Arc::new(identity)))
    }
}
