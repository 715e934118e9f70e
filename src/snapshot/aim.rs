//! Where a forwarded request goes: as far as it can be told at once, and, where that depends on who asks or on what is
//! registered, as soon as that is known.

use std::sync::Arc;

use super::decide::path_of;
use super::{Action, Decision, Forward, Forwarding, Refusal, Request, Target, TargetRule, Verdict};
use crate::instance::Instance;
use crate::route::allow::parse_address;
use crate::route::asker::Asker;
use crate::route::template::{Template, Values};
use crate::step::dynamic::{Cookies, Dynamic, DynamicTarget, TargetRefusal};
use crate::step::identity::Identity;
use crate::step::instance::InstanceRule;

/// Finds an instance by its name.
pub type Find<'f> = &'f dyn Fn(&str) -> Option<Arc<Instance>>;

impl Forward {
    /// The target, as far as it can be told at once.
    pub(super) fn target(&self, values: &Values<'_>, request: &Request<'_>) -> Result<Target, Refusal> {
        match &self.target {
            TargetRule::Pool(upstream) => Ok(Target::Pool(Arc::clone(upstream))),
            TargetRule::Instance(_) => Ok(Target::Pending(Cookies::new())),
            TargetRule::Dynamic(dynamic) => {
                let cookies = dynamic.cookies(request.headers);
                if dynamic.is_pending() {
                    return Ok(Target::Pending(cookies));
                }
                self.told(dynamic.target(values, &request.arrived, &cookies))
            }
        }
    }

    /// The target that a request names, else the fallback.
    fn told(&self, target: Result<DynamicTarget, TargetRefusal>) -> Result<Target, Refusal> {
        match (target, &self.fallback) {
            (Ok(target), _) => Ok(Target::Address(target)),
            (Err(_), Some(upstream)) => Ok(Target::Pool(Arc::clone(upstream))),
            (Err(refusal), None) => Err(refusal.into()),
        }
    }

    /// The path towards a target; `None`: as the request's target came.
    pub(super) fn path(&self, target: &Target, values: &Values<'_>, path_changed: bool) -> Option<String> {
        let base = target.base_path();
        let rewrite = self.rewrite_towards(target);
        if rewrite.is_none() && base.is_empty() && (self.raw_target || !path_changed) {
            return None;
        }
        let mut path = String::with_capacity(base.len() + values.path.len() + 16);
        path.push_str(base);
        match rewrite {
            Some(template) => template.render(values, &mut path),
            None => path.push_str(values.path),
        }
        if path.is_empty() {
            path.push('/');
        }
        Some(path)
    }

    /// How the path towards a target is rewritten.
    #[must_use]
    pub fn rewrite_towards(&self, target: &Target) -> Option<&Template> {
        let local = match (&self.target, target) {
            (TargetRule::Dynamic(dynamic), Target::Address(target)) if target.local => dynamic.local_rewrite(),
            _ => None,
        };
        local.or(self.rewrite.as_ref())
    }
}

impl Target {
    /// The path before that of each request, without a final slash.
    #[must_use]
    pub fn base_path(&self) -> &str {
        match self {
            Self::Pool(upstream) => upstream.base_path(),
            Self::Address(target) => &target.base_path,
            Self::Pending(_) => "",
        }
    }

    /// Whether it stands for this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Address(target) if target.local)
    }
}

impl Decision {
    /// Whether the target is still to be told.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(&self.verdict, Verdict::Forward(Forwarding { target: Target::Pending(_), .. }))
    }

    /// Tells the target of a request that was let in, where it was pending; gives back the cookies that name it.
    pub fn aim(&mut self, request: &Request<'_>, identity: Option<&Identity>, find: Find<'_>) -> Cookies {
        let Some((forward, found)) = self.route.as_ref().and_then(|(route, found)| match &route.action {
            Action::Forward(forward) => Some((forward, found)),
            _ => None,
        }) else {
            return Cookies::new();
        };
        let Verdict::Forward(Forwarding { target: Target::Pending(cookies), .. }) = &mut self.verdict else {
            return Cookies::new();
        };
        let cookies = std::mem::take(cookies);
        let asker = identity.map(|identity| identity as &dyn Asker);
        let values = Values { identity: asker, ..self.values(found, request) };
        let target = match &forward.target {
            TargetRule::Pool(upstream) => Ok(Target::Pool(Arc::clone(upstream))),
            TargetRule::Instance(rule) => instance(rule, &values, identity, find).map(Target::Address),
            TargetRule::Dynamic(dynamic) => forward.told(dynamic.target(&values, &request.arrived, &cookies)),
        };
        self.verdict = match target {
            Ok(target) => {
                let path = forward.path(&target, &values, self.path != path_of(request.target));
                Verdict::Forward(Forwarding { target, path })
            }
            Err(refusal) => Verdict::Refuse(refusal),
        };
        cookies
    }

    /// The target, where it is one of which a look-up can tell whether it may be reached, with what told it.
    #[must_use]
    pub fn doubtful(&self) -> Option<(&Dynamic, &DynamicTarget)> {
        let Verdict::Forward(Forwarding { target: Target::Address(target), .. }) = &self.verdict else { return None };
        let Action::Forward(forward) = &self.route.as_ref()?.0.action else { return None };
        match &forward.target {
            TargetRule::Dynamic(dynamic) if target.doubtful => Some((dynamic, target)),
            _ => None,
        }
    }

    /// Makes the target one that is still to be told, of these cookies.
    pub fn pend(&mut self, cookies: Cookies) {
        self.verdict = Verdict::Forward(Forwarding { target: Target::Pending(cookies), path: None });
    }

    /// Leads a request to the fallback of its route, where it has one and is not there already; whether that is so.
    pub fn fall_back(&mut self, request: &Request<'_>) -> bool {
        let Some((forward, found)) = self.route.as_ref().and_then(|(route, found)| match &route.action {
            Action::Forward(forward) => Some((forward, found)),
            _ => None,
        }) else {
            return false;
        };
        let Some(upstream) = &forward.fallback else { return false };
        if !matches!(&self.verdict, Verdict::Forward(Forwarding { target: Target::Address(_), .. })) {
            return false;
        }
        let target = Target::Pool(Arc::clone(upstream));
        let path = forward.path(&target, &self.values(found, request), self.path != path_of(request.target));
        self.verdict = Verdict::Forward(Forwarding { target, path });
        true
    }
}

fn instance(
    rule: &InstanceRule,
    values: &Values<'_>,
    identity: Option<&Identity>,
    find: Find<'_>,
) -> Result<DynamicTarget, Refusal> {
    let instance = rule.name(values).and_then(|name| find(&name)).ok_or(Refusal::NoInstance)?;
    if !rule.admits(identity, instance.owner.as_deref(), &instance.groups) {
        return Err(Refusal::NotAdmitted);
    }
    let url = &instance.url;
    let host = url.host();
    let bare = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let other = rule.port().filter(|port| *port != url.port());
    Ok(DynamicTarget {
        scheme: url.scheme().as_str(),
        host: host.to_owned(),
        address: parse_address(host),
        port: other.unwrap_or(url.port()),
        authority: other.map_or_else(|| url.authority().to_owned(), |port| format!("{bare}:{port}")),
        base_path: if other.is_some() { String::new() } else { url.base_path().to_owned() },
        local: false,
        doubtful: false,
    })
}

impl From<TargetRefusal> for Refusal {
    fn from(refusal: TargetRefusal) -> Self {
        match refusal {
            TargetRefusal::Malformed => Self::BadTarget,
            TargetRefusal::Unfit(what) => Self::UnfitTarget(what),
            TargetRefusal::NotAllowed { entry } => Self::TargetNotAllowed { entry },
        }
    }
}
