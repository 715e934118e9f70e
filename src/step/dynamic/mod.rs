//! `dynamic`: forward to an address that the request names, within an allow-list.
//!
//! ```yaml
//! - name: any
//!   path: /a/{host}:{port:digits}/**
//!   dynamic: { host: "{host}", port: "{port}", allow: ["10.0.0.0/8:1024-65535", "*.cluster.local"] }
//!   rewrite: "/{**}"
//!
//! - name: notebook                      # on this machine; else at the Pylon of the machine that has it, which finishes the job
//!   path: /n/{id}/**
//!   auth: { jwt: { … } }
//!   dynamic:
//!     host: "{claim:machine}"
//!     port: same
//!     scheme: same
//!     allow: [10.0.0.0/8, "127.0.0.1:1024-65535"]
//!     local: { port: "{claim:port}", rewrite: "/{**}" }
//! ```
//!
//! Where all that names the target is known before it is known who asks, an address that is not allowed is refused at once.

mod compile;
mod doubts;
mod here;
mod target;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;

use super::lookup::Lookup;
use crate::config::TargetScheme;
use crate::route::allow::{AllowList, Permission, parse_address};
use crate::route::template::{Template, Values};
pub use compile::DynamicScope;
use doubts::Doubts;
use here::Here;
pub use target::{Arrived, Cookies, DynamicTarget, TargetRefusal};

/// A dynamic target that has been checked.
#[derive(Debug)]
pub struct Dynamic {
    host: Where,
    port: Port,
    scheme: TargetScheme,
    local: Option<Local>,
    /// What it may reach.
    pub allow: AllowList,
    shown: String,
    doubts: Doubts,
}

/// What tells the host.
#[derive(Debug)]
enum Where {
    /// Of these the first that may be reached, else the last. A name that only its address can tell of is looked up for that.
    Named(Vec<Source>),
    /// A service, asked for this key.
    Asked(Arc<Lookup>, Template),
}

#[derive(Debug)]
enum Source {
    Template(Template),
    /// The cookie of this index among those that are read.
    Cookie(usize, String),
}

#[derive(Debug)]
enum Port {
    /// The one that the request came in on.
    Same,
    Template(Template),
}

/// What stands for this machine.
#[derive(Debug)]
struct Local {
    here: Here,
    host: String,
    port: Port,
    rewrite: Option<Template>,
}

/// A host that may be tried.
enum Candidate<'t> {
    Here,
    At(Cow<'t, str>),
}

impl Dynamic {
    /// The captures that hold host and port, where each is one and nothing else.
    #[must_use]
    pub fn captures(&self) -> Option<(usize, usize)> {
        match (&self.host, &self.port) {
            (Where::Named(sources), Port::Template(port)) => match sources.as_slice() {
                [Source::Template(host)] => Some((host.as_capture()?, port.as_capture()?)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the target is known only when it is known who asks, or what a service or a look-up of names says.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        let asks = |port: &Port| matches!(port, Port::Template(template) if template.asks_who());
        let host = match &self.host {
            Where::Asked(..) => true,
            Where::Named(sources) => {
                sources.len() > 1
                    || sources.iter().any(|source| matches!(source, Source::Template(template) if template.asks_who()))
            }
        };
        host || asks(&self.port) || self.local.as_ref().is_some_and(|local| asks(&local.port))
    }

    /// Whether nothing but captures names the target.
    fn is_captured(&self) -> bool {
        matches!(&self.host, Where::Named(sources) if sources.iter().all(|s| matches!(s, Source::Template(_))))
            && !self.is_pending()
    }

    /// What names the target, for people.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether its hosts are this machine's Pylon's to find over TLS.
    #[must_use]
    pub fn may_be_https(&self) -> bool {
        self.scheme != TargetScheme::Http
    }

    /// The service that tells the host.
    #[must_use]
    pub fn lookup(&self) -> Option<&Arc<Lookup>> {
        match &self.host {
            Where::Asked(lookup, _) => Some(lookup),
            Where::Named(_) => None,
        }
    }

    /// The path towards this machine, where it is another than the route's.
    #[must_use]
    pub fn local_rewrite(&self) -> Option<&Template> {
        self.local.as_ref()?.rewrite.as_ref()
    }

    /// The cookies that name the host.
    #[must_use]
    pub fn cookies(&self, headers: &HeaderMap) -> Cookies {
        let Where::Named(sources) = &self.host else { return Cookies::new() };
        let names = sources.iter().filter_map(|source| match source {
            Source::Cookie(_, name) => Some(name),
            Source::Template(_) => None,
        });
        names.map(|name| cookie(headers, name).map(str::to_owned)).collect()
    }

    /// A name that is [`DynamicTarget::doubtful`] was looked up, and stands for nothing that may be reached: requests that
    /// name another host go there for a while.
    pub fn doubt(&self, host: &str) {
        self.doubts.add(host);
    }

    /// The target of a request.
    ///
    /// # Errors
    /// Why there is none.
    pub fn target(
        &self,
        values: &Values<'_>,
        arrived: &Arrived,
        cookies: &Cookies,
    ) -> Result<DynamicTarget, TargetRefusal> {
        let unfit =
            |what: &'static str| if self.is_captured() { TargetRefusal::Malformed } else { TargetRefusal::Unfit(what) };
        let sources = match &self.host {
            Where::Named(sources) => sources,
            Where::Asked(lookup, key) => {
                let key = key.render_whole(values).ok_or_else(|| unfit("the key of the look-up is not known"))?;
                return lookup.choose(&key, |host| {
                    let candidate = self.candidate(host.map(Into::into), arrived, &unfit)?;
                    let target = self.at(candidate, values, arrived, &unfit)?;
                    Ok(DynamicTarget { doubtful: false, ..target })
                });
            }
        };
        let mut last = Err(unfit("the host of the target is not known"));
        for (index, source) in sources.iter().enumerate() {
            let host: Option<Cow<'_, str>> = match source {
                Source::Cookie(index, _) => cookies.get(*index).and_then(Option::as_deref).map(Into::into),
                Source::Template(template) => template.render_whole(values).map(Into::into),
            };
            let named = host.as_deref().is_some_and(|host| !host.is_empty());
            last =
                self.candidate(host, arrived, &unfit).and_then(|candidate| self.at(candidate, values, arrived, &unfit));
            let is_last = index + 1 == sources.len();
            match &mut last {
                Ok(target) if target.doubtful && is_last => target.doubtful = false,
                Ok(target) if target.doubtful && self.doubts.has(&target.host) => {
                    last = Err(TargetRefusal::NotAllowed { entry: std::mem::take(&mut target.authority) });
                }
                _ => {}
            }
            if named && last.is_ok() {
                break;
            }
        }
        last
    }

    fn candidate<'t>(
        &self,
        host: Option<Cow<'t, str>>,
        arrived: &Arrived,
        unfit: &dyn Fn(&'static str) -> TargetRefusal,
    ) -> Result<Candidate<'t>, TargetRefusal> {
        let host = host.filter(|host| !host.is_empty());
        match (&self.local, host) {
            (Some(_), None) => Ok(Candidate::Here),
            (None, None) => Err(unfit("the host of the target is not known")),
            (Some(local), Some(host)) if local.here.is(&host) || is_address(arrived.address, &host) => {
                Ok(Candidate::Here)
            }
            (_, Some(host)) => Ok(Candidate::At(host)),
        }
    }

    fn at(
        &self,
        candidate: Candidate<'_>,
        values: &Values<'_>,
        arrived: &Arrived,
        unfit: &dyn Fn(&'static str) -> TargetRefusal,
    ) -> Result<DynamicTarget, TargetRefusal> {
        let (host, port, scheme, here) = match (candidate, &self.local) {
            (Candidate::Here, Some(local)) => (Cow::from(local.host.as_str()), &local.port, "http", true),
            (Candidate::Here, None) => return Err(unfit("the host of the target is not known")),
            (Candidate::At(host), _) => {
                let scheme = match self.scheme {
                    TargetScheme::Http => "http",
                    TargetScheme::Https => "https",
                    TargetScheme::Same => arrived.scheme,
                };
                (host, &self.port, scheme, false)
            }
        };
        let number = port.number(values, arrived).ok_or_else(|| unfit("the port of the target is not a port"))?;
        let address = parse_address(&host);
        if address.is_none() && !is_name(&host) {
            return Err(unfit("the host of the target is not a host"));
        }
        let default = if scheme == "https" { 443 } else { 80 };
        let port = if number == 0 { default } else { number };
        let bracketed = matches!(address, Some(IpAddr::V6(_))) && !host.starts_with('[');
        let shown = if bracketed { Cow::from(format!("[{host}]")) } else { Cow::from(&*host) };
        let permission = self.allow.permits(&host, port);
        if permission == Permission::Refused {
            return Err(TargetRefusal::NotAllowed { entry: format!("{shown}:{port}") });
        }
        let authority = if number == 0 { shown.into_owned() } else { format!("{shown}:{number}") };
        Ok(DynamicTarget {
            scheme,
            address,
            port,
            authority,
            base_path: String::new(),
            local: here,
            doubtful: permission == Permission::AskAddress,
            host: host.into_owned(),
        })
    }
}

impl Port {
    fn number(&self, values: &Values<'_>, arrived: &Arrived) -> Option<u16> {
        match self {
            Self::Same => Some(arrived.port),
            Self::Template(template) => {
                let digits = template.render_whole(values)?;
                digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
            }
        }
    }
}

fn is_address(address: Option<IpAddr>, host: &str) -> bool {
    address.is_some_and(|own| parse_address(host).is_some_and(|host| host.to_canonical() == own.to_canonical()))
}

/// The value of a cookie, without the quotes that it may stand in.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = super::cookies::value(headers, name)?;
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// Whether a text can be a host name (letters, digits, `-`, `_`, `.`).
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests;
