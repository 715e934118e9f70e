//! Which certificate a client gets: by the name it asks for, and by the kinds of keys it knows.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::names::Name;
use crate::route::host::normalise;

/// The certificates of a listener, by name.
#[derive(Debug)]
pub(super) struct Chooser {
    /// As configured.
    pub(super) certificates: Vec<Certificate>,
    exact: HashMap<String, Vec<usize>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    strict: bool,
}

impl Chooser {
    /// Sorts certificates; `strict` gives none to a client that asks for no name of theirs.
    pub(super) fn new(certificates: Vec<Certificate>, strict: bool) -> Self {
        let (mut exact, mut wildcard) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for (index, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names.0 {
                match name {
                    Name::Exact(name) => exact.entry(name.clone()).or_default().push(index),
                    Name::Wildcard(rest) => wildcard.entry(rest.clone()).or_default().push(index),
                    Name::Address(_) => {}
                }
            }
        }
        Self { certificates, exact, wildcard, strict }
    }

    /// The first name of each certificate, and when it ends to be valid, in Unix time; of several with that name, the first
    /// to end.
    pub(super) fn expiries(&self) -> Vec<(String, i64)> {
        let mut ends = std::collections::BTreeMap::new();
        for certificate in &self.certificates {
            let name = certificate.name.clone();
            let end = certificate.ends.timestamp();
            ends.entry(name).and_modify(|first: &mut i64| *first = end.min(*first)).or_insert(end);
        }
        ends.into_iter().collect()
    }

    /// The certificates for a name, in the order of the configuration.
    fn named(&self, sni: &str) -> Option<&[usize]> {
        let name = normalise(sni);
        let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(&*name).or_else(by_wildcard).map(Vec::as_slice)
    }

    /// Whether a client that asks for this name is served.
    pub(super) fn admits(&self, sni: Option<&str>) -> bool {
        !self.strict || sni.is_some_and(|sni| self.named(sni).is_some())
    }

    /// Whether a connection for `sni` may ask for `host`: where this is strict, only for what its certificate is for.
    /// Of several that it may have got, all must be.
    pub(super) fn may_serve(&self, sni: Option<&str>, host: &str) -> bool {
        if !self.strict {
            return true;
        }
        let host = normalise(host);
        let named = sni.and_then(|sni| self.named(sni));
        named.is_some_and(|named| {
            named.iter().filter_map(|at| self.certificates.get(*at)).all(|cert| cert.names.cover(&host))
        })
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|sni| self.named(sni));
        if self.strict && named.is_none() {
            return None;
        }
        let candidates: Vec<&Certificate> = match named {
            Some(named) => named.iter().filter_map(|at| self.certificates.get(*at)).collect(),
            None => self.certificates.iter().collect(),
        };
        // The schemes are those of both the client's list and the cipher suites that are left.
        let fits = |cert: &&&Certificate| cert.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let chosen = candidates.iter().find(fits).or_else(|| candidates.first())?;
        Some(Arc::clone(&chosen.key))
    }
}
