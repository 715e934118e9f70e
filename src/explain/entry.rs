//! Who may pass a route, in words.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::snapshot::{Action, Route};
use crate::step::auth::Asked;

/// What a route asks before anything passes, and what it tells the upstream of who did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    asked: Asked,
    tells: Vec<(String, String)>,
}

impl Entry {
    /// That of a route, where it asks who asks.
    pub(super) fn of(route: &Route) -> Option<Self> {
        let asked = route.entry.gate.as_ref()?.asked();
        let tells = match &route.action {
            Action::Forward(forward) => {
                forward.identity.told().map(|(name, text)| (name.to_string(), text.to_owned())).collect()
            }
            _ => Vec::new(),
        };
        Some(Self { asked, tells })
    }

    /// All that comes from the configuration.
    pub(super) fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let Asked { ways, require, challenges, .. } = &mut self.asked;
        let ways = ways.iter_mut().map(|(_, about)| about);
        let tells = self.tells.iter_mut().map(|(_, text)| text);
        ways.chain(require).chain(challenges).chain(tells)
    }

    /// For people.
    pub(super) fn push(&self, out: &mut String) {
        let asked = &self.asked;
        for (place, (key, about)) in asked.ways.iter().enumerate() {
            let _ = writeln!(out, "{:<9} {key}: {about}", if place == 0 { "auth" } else { "" });
        }
        for required in &asked.require {
            let _ = writeln!(out, "          required: {required}");
        }
        for (name, text) in &self.tells {
            let _ = writeln!(out, "          upstream is told {name}: {text}");
        }
        let challenges: Vec<String> = asked.challenges.iter().map(|one| format!(", {one}")).collect();
        let _ = writeln!(out, "          others get {}{}", asked.status, challenges.concat());
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let asked = &self.asked;
        let ways = asked.ways.iter().map(|(key, about)| json!({ "way": key, "about": about }));
        json!({
            "ways": ways.collect::<Vec<_>>(),
            "require": asked.require,
            "tells": self.tells,
            "others": { "status": asked.status.as_u16(), "challenges": asked.challenges },
        })
    }
}
