//! What files hold now in place of what they held: refused where it would make things worse.

use std::path::Path;
use std::sync::Arc;

use x509_parser::prelude::ASN1Time;

use super::certificate::{Certificate, date};
use super::names::{Name, Names};
use super::policy::{Live, Policy};
use super::{Finding, Findings};
use crate::config::KeyPath;
use crate::route::host::HostPattern;

/// What is to be used from now on, found good, and waiting for the rest of a reload.
#[derive(Debug)]
pub struct Renewal {
    policy: Arc<Policy>,
    live: Arc<Live>,
}

impl Renewal {
    /// Puts it in use, for the handshakes that follow; connections that are there stay as they are.
    pub fn apply(self) {
        self.policy.live.store(self.live);
    }
}

impl Policy {
    /// Compares this policy with one that was compiled from the same spec just now. `routed` are the hosts that routes
    /// of this listener are for, `at` is the path of the spec. None where nothing is to be swapped: the files hold the
    /// same, or there is a problem.
    pub fn renew(
        self: &Arc<Self>,
        fresh: &Self,
        routed: &[HostPattern],
        at: &KeyPath,
        findings: &mut Findings,
    ) -> Option<Renewal> {
        let (old, new) = (self.live.load_full(), fresh.live.load_full());
        if old.digest == new.digest {
            return None;
        }
        let before = findings.problems.len();
        let names = names_of(&new);
        let pairs = old.chooser.certificates.iter().zip(&new.chooser.certificates);
        for (index, (old, new)) in pairs.enumerate().filter(|(_, (old, new))| old.digest != new.digest) {
            let at = at.then("certificates").then(index).then("cert");
            let file = self.files.get(2 * index).map_or(Path::new(""), |file| file.as_path());
            findings.problems.extend(too_bad(old, new, file, &at));
            missing(old, &names, routed, file, &at, findings);
        }
        if findings.problems.len() > before {
            return None;
        }
        let mut config = (*new.config).clone();
        if self.spec.session_tickets.is_none() && old.trust == new.trust {
            // Sessions can be resumed across the change.
            config.ticketer = Arc::clone(&old.config.ticketer);
        }
        let live =
            Live { digest: new.digest, trust: new.trust, chooser: Arc::clone(&new.chooser), config: Arc::new(config) };
        Some(Renewal { policy: Arc::clone(self), live: Arc::new(live) })
    }
}

/// Why a certificate is worse than the one in use, by its dates.
fn too_bad(old: &Certificate, new: &Certificate, file: &Path, at: &KeyPath) -> Option<Finding> {
    let (now, shown, ends) = (ASN1Time::now(), file.display(), date(new.ends));
    let message = if new.ends < now {
        format!("`{shown}` has expired on {ends}; the certificate in use stays: put one in place that is good")
    } else if new.begins > now {
        let begins = date(new.begins);
        format!("`{shown}` is good from {begins} only; the certificate in use stays: reload then, or look at the clock")
    } else if new.ends < old.ends {
        let before = date(old.ends);
        format!(
            "`{shown}` expires on {ends}, the certificate in use on {before}, and that stays: put a newer one in place, \
             or restart to use this one"
        )
    } else {
        return None;
    };
    Some(Finding { path: at.clone(), message })
}

/// Says which names of a certificate no certificate has any more: a problem where routes are for them.
fn missing(old: &Certificate, now: &Names, routed: &[HostPattern], file: &Path, at: &KeyPath, findings: &mut Findings) {
    let lost: Vec<&Name> = old.names.0.iter().filter(|name| !now.hold(name)).collect();
    let is_routed =
        |name: &&&Name| routed.iter().any(|host| *host != HostPattern::Any && host.matches(&name.to_string()));
    let mut needed: Vec<String> = lost.iter().filter(is_routed).map(ToString::to_string).collect();
    for host in routed {
        if let HostPattern::Exact(host) = host
            && old.names.cover(host)
            && !now.cover(host)
            && !needed.contains(host)
        {
            needed.push(host.clone());
        }
    }
    let shown = file.display();
    if !needed.is_empty() {
        let message = format!(
            "`{shown}` no longer has {}, which routes are for; the certificate in use stays: put one with all names in \
             place, or take the hosts off the routes",
            quoted(&needed)
        );
        findings.problem(at.clone(), message);
    } else if !lost.is_empty() {
        let names: Vec<String> = lost.iter().map(ToString::to_string).collect();
        let message = format!(
            "`{shown}` no longer has {}; no route names them, so it is used: clients that still ask for them will refuse it",
            quoted(&names)
        );
        findings.warning(at.clone(), message);
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn names_of(live: &Live) -> Names {
    Names(live.chooser.certificates.iter().flat_map(|certificate| certificate.names.0.iter().cloned()).collect())
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}
