//! The TLS part of listeners: compiled with the rest of a configuration, and renewed when its files change.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Listener, Listeners};
use crate::config::{Entry, KeyPath, ListenerSpec, Loaded, Problem, Report, TlsSpec};
use crate::route::host::HostPattern;
use crate::tls::{Finding, Findings, Policy, Renewal};

/// What a reload found in the files of all listeners: nothing is in use before [`Renewals::apply`].
#[derive(Debug, Default)]
pub struct Renewals {
    renewed: Vec<(String, Renewal)>,
    warnings: Vec<Problem>,
}

impl Renewals {
    /// The addresses of the listeners that get something new.
    pub fn listeners(&self) -> impl Iterator<Item = &str> {
        self.renewed.iter().map(|(listener, _)| listener.as_str())
    }

    /// What is worth knowing, but no reason to refuse.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Puts all of it in use, for the handshakes that follow.
    pub fn apply(self) {
        self.renewed.into_iter().for_each(|(_, renewal)| renewal.apply());
    }
}

/// The files that the listeners of a configuration read.
#[must_use]
pub fn tls_files(loaded: &Loaded) -> Vec<PathBuf> {
    let of = |(entry, spec): (&Entry<ListenerSpec>, &ListenerSpec)| -> Vec<PathBuf> {
        let document = entry.document;
        let files = spec.tls.as_ref().map(|tls| crate::tls::files(tls, |name| loaded.resolve_path(document, name)));
        files.unwrap_or_default()
    };
    loaded.listeners().flat_map(of).collect()
}

/// Compiles the TLS part of a listener.
pub(super) fn compile(
    loaded: &Loaded,
    entry: &Entry<ListenerSpec>,
    spec: &TlsSpec,
    warnings: &mut Vec<Problem>,
    report: &mut Report,
) -> Option<Arc<Policy>> {
    let document = entry.document;
    let mut findings = Findings::default();
    let file = |name: &str| loaded.resolve_path(document, name);
    let policy = Policy::compile(spec, &tls_of(entry), file, &mut findings);
    report.extend(problems(loaded, document, findings.problems));
    warnings.extend(problems(loaded, document, findings.warnings));
    policy.map(Arc::new)
}

impl Listeners {
    /// Compares what the TLS files of these listeners hold with what they held, by `fresh`, which was compiled of `loaded`
    /// just now. A listener that is no longer configured so needs a restart anyway and keeps what it has.
    ///
    /// # Errors
    /// What must not be used, each with its place: then nothing is.
    pub fn renew(&self, fresh: &Self, loaded: &Loaded) -> Result<Renewals, Report> {
        let mut renewals = Renewals::default();
        let mut report = Report::default();
        let now: Vec<_> = loaded.listeners().zip(&fresh.all).collect();
        for listener in &self.all {
            let same = |other: &Listener| other.address == listener.address && other.tls == listener.tls;
            let found = now.iter().find(|(_, other)| same(other));
            let Some((entry, Some(own), Some(other))) =
                found.map(|((entry, _), other)| (entry, listener.tls.as_ref(), other.tls.as_ref()))
            else {
                continue;
            };
            let mut findings = Findings::default();
            let renewal = own.renew(other, &routed(listener, loaded), &tls_of(entry), &mut findings);
            report.extend(problems(loaded, entry.document, findings.problems));
            renewals.warnings.extend(problems(loaded, entry.document, findings.warnings));
            renewals.renewed.extend(renewal.map(|renewal| (listener.address.to_string(), renewal)));
        }
        if !renewals.renewed.is_empty() {
            renewals.warnings.extend(fresh.warnings.iter().cloned());
        }
        report.into_result(renewals)
    }
}

/// The path of the TLS part of a listener.
fn tls_of(entry: &Entry<ListenerSpec>) -> KeyPath {
    entry.at.then("tls")
}

/// The hosts that routes of a listener are for.
fn routed(listener: &Listener, loaded: &Loaded) -> Vec<HostPattern> {
    let served = loaded.routes.iter().map(|entry| &entry.value).filter(|route| match &listener.name {
        _ if route.listeners.is_empty() => !listener.dedicated,
        Some(name) => route.listeners.contains(name),
        None => false,
    });
    served.flat_map(|route| &route.host.0).filter_map(|host| host.parse().ok()).collect()
}

fn problems(loaded: &Loaded, document: usize, findings: Vec<Finding>) -> impl Iterator<Item = Problem> {
    findings.into_iter().map(move |finding| loaded.problem_at(document, finding.path, finding.message))
}
