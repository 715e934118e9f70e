//! What routes have to know of each other.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Action, Forward, Route, TargetRule};
use crate::config::{Loaded, Report};
use crate::route::PathPattern;
use crate::route::public::{Mount, Via};
use crate::step::auth::{Gate, SignIn};
use crate::step::identity::IdentityHeaders;
use crate::step::reserved::Reserved;

/// Gives each route that redirects through a dynamic one what it needs of it.
pub(super) fn link_vias(loaded: &Loaded, routes: &mut [Route], report: &mut Report) {
    let vias: HashMap<String, Arc<Via>> =
        routes.iter().filter_map(|route| Some((route.name.clone(), Arc::new(via(route)?)))).collect();
    for entry in &loaded.routes {
        let Some(name) = entry.value.redirects.as_ref().and_then(|r| r.via.as_ref()) else {
            continue;
        };
        let known = vias.get(name);
        if known.is_none() && !loaded.is_left_out_route(name) {
            let message = format!("`{name}` is not a dynamic route; name one that has `dynamic`");
            report.push(loaded.problem(entry, &["redirects", "via"], message));
        }
        let route = routes.iter_mut().find(|route| route.name == entry.value.name);
        if let Some(Action::Forward(forward)) = route.map(|route| &mut route.action) {
            forward.adapt.via = known.cloned();
        }
    }
}

fn via(route: &Route) -> Option<Via> {
    let Action::Forward(forward) = &route.action else {
        return None;
    };
    let TargetRule::Dynamic(dynamic) = &forward.target else {
        return None;
    };
    let pattern = route.matcher.paths.first()?.clone();
    let (host, port) = dynamic.captures()?;
    Some(Via {
        host: pattern.names().get(host)?.clone(),
        port: pattern.names().get(port)?.clone(),
        listeners: route.listeners.clone(),
        pattern,
    })
}

/// The mounts of all routes whose public prefix and upstream prefix are fixed.
pub(super) fn mounts(routes: &[Route]) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for route in routes {
        let Action::Forward(forward) = &route.action else { continue };
        let TargetRule::Pool(upstream) = &forward.target else { continue };
        if !route.listeners.is_empty() {
            continue;
        }
        for pattern in route.matcher.paths.iter().filter(|p| p.has_rest()) {
            let Some((public, below)) = fixed_prefixes(pattern, forward) else {
                continue;
            };
            let authorities = upstream.configured().iter().filter_map(|e| e.authority.to_str().ok());
            mounts.extend(authorities.map(|authority| Mount {
                scheme: upstream.scheme(),
                authority: authority.to_owned(),
                upstream_prefix: format!("{}{below}", upstream.base_path()),
                public_prefix: public.clone(),
            }));
        }
    }
    mounts
}

/// Public and upstream prefix of a route, where neither depends on the request.
fn fixed_prefixes(pattern: &PathPattern, forward: &Forward) -> Option<(String, String)> {
    let public = pattern.fill(|_| None)?;
    match &forward.rewrite {
        None => Some((public.clone(), public)),
        Some(template) => match template.pieces() {
            [crate::route::template::Piece::Rest] => Some((public, String::new())),
            [crate::route::template::Piece::Text(text), crate::route::template::Piece::Rest] => {
                Some((public, text.clone()))
            }
            _ => None,
        },
    }
}

/// The names under which some route, or a service that it asks, tells who asks, or is told; and the cookies of sign-ins.
pub(super) fn reserved(routes: &[Route]) -> Reserved {
    let headers = routes.iter().filter_map(|route| match &route.action {
        Action::Forward(forward) => Some(&forward.identity),
        _ => None,
    });
    let told = routes.iter().filter_map(|route| route.entry.gate.as_ref()).flat_map(Gate::reserved);
    let sign_ins: Vec<SignIn> = routes.iter().flat_map(|route| &route.entry.gate).flat_map(Gate::sign_ins).collect();
    let cookies = sign_ins.iter().flat_map(SignIn::cookies);
    Reserved::new(headers.flat_map(IdentityHeaders::names).chain(told)).with_cookies(cookies)
}
