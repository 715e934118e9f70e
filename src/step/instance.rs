//! `instance`: forward to a server that was registered by name at the admin port.
//!
//! ```yaml
//! - name: desk
//!   host: "{name}.apps.example.org"
//!   path: /**
//!   auth: { oidc: { … } }
//!   instance: { name: "{name}", enter: owner }      # its owner, and members of its groups
//!   wait_for: 90s                                   # until it takes connections
//! ```
//!
//! A name that is not registered is answered with 404, somebody who may not enter with 403.

use super::Mistake;
use super::identity::Identity;
use crate::config::{Enter, InstanceSpec};
use crate::route::template::{Template, Values, Vocabulary};

/// The step, compiled.
#[derive(Debug)]
pub struct InstanceRule {
    name: Template,
    enter: Enter,
    port: Option<u16>,
    shown: String,
}

impl InstanceRule {
    /// Checks the step; `vocabulary` says whether the route finds out who asks.
    ///
    /// # Errors
    /// All mistakes, below `instance`.
    pub fn compile(spec: &InstanceSpec, vocabulary: &Vocabulary<'_>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let name =
            Template::parse(&spec.name, vocabulary).map_err(|message| mistakes.push(Mistake::at("name", message)));
        if spec.name.is_empty() {
            mistakes.push(Mistake::at("name", "missing; write a capture such as `{name}`, or a name"));
        }
        if !vocabulary.asker && spec.enter != Enter::Anyone {
            let message = "it is about who asks, which nothing here finds out; add `auth`, or write `enter: anyone`";
            mistakes.push(Mistake::at("enter", message));
        }
        let port = spec.port.as_ref().map(|port| port.0.parse::<u16>().ok().filter(|port| *port > 0));
        if port == Some(None) {
            mistakes.push(Mistake::at("port", "it is not the number of a port; write 1 to 65535"));
        }
        match name {
            Ok(name) if mistakes.is_empty() => {
                Ok(Self { name, enter: spec.enter, port: port.flatten(), shown: spec.name.clone() })
            }
            _ => Err(mistakes),
        }
    }

    /// The name of the instance that a request asks for.
    #[must_use]
    pub fn name(&self, values: &Values<'_>) -> Option<String> {
        self.name.render_whole(values)
    }

    /// The port that is spoken to, where it is another than that of the instance.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The name as it is written.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether somebody may enter an instance of this owner and these groups.
    #[must_use]
    pub fn admits(&self, identity: Option<&Identity>, owner: Option<&str>, groups: &[String]) -> bool {
        let owns = |who: &Identity| owner == Some(who.user.as_str());
        match (self.enter, identity) {
            (Enter::Anyone, _) | (Enter::SignedIn, Some(_)) => true,
            (_, None) => false,
            (Enter::OwnerOnly, Some(who)) => owns(who),
            (Enter::Owner, Some(who)) => owns(who) || who.groups.iter().any(|group| groups.contains(group)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_enter() {
        let vocabulary = Vocabulary { captures: &[], rest: false, groups: None, authority: &|_| None, asker: true };
        let rule = |enter: &str| {
            let spec: InstanceSpec = serde_yaml::from_str(&format!("{{ name: x, enter: {enter} }}")).unwrap();
            InstanceRule::compile(&spec, &vocabulary).unwrap()
        };
        let who = |user: &str, group: &str| Identity { groups: vec![group.to_owned()], ..Identity::of(user, "basic") };
        let (ann, bob, eve) = (who("ann", "a"), who("bob", "staff"), who("eve", "e"));
        let groups = ["staff".to_owned()];
        for (enter, expected) in [
            ("owner", [true, true, false, false]),
            ("owner_only", [true, false, false, false]),
            ("signed_in", [true, true, true, false]),
            ("anyone", [true, true, true, true]),
        ] {
            let rule = rule(enter);
            let found = [Some(&ann), Some(&bob), Some(&eve), None].map(|who| rule.admits(who, Some("ann"), &groups));
            assert_eq!(found, expected, "{enter}");
        }
        assert!(!rule("owner").admits(Some(&who("", "")), None, &groups), "nobody owns it");
    }

    #[test]
    fn a_port_is_a_number() {
        let vocabulary = Vocabulary { captures: &[], rest: false, groups: None, authority: &|_| None, asker: true };
        let compile = |port: &str| {
            let spec: InstanceSpec = serde_yaml::from_str(&format!("{{ name: x, port: {port} }}")).unwrap();
            InstanceRule::compile(&spec, &vocabulary)
        };
        assert_eq!(compile("8787").unwrap().port(), Some(8787));
        for bad in ["0", "65536", "same", "''"] {
            assert_eq!(compile(bad).unwrap_err()[0].path.to_string(), "port", "{bad}");
        }
    }

    #[test]
    fn without_auth_only_everybody_may_enter() {
        let vocabulary = Vocabulary { captures: &[], rest: false, groups: None, authority: &|_| None, asker: false };
        let spec = |text: &str| serde_yaml::from_str::<InstanceSpec>(text).unwrap();
        assert!(InstanceRule::compile(&spec("{ name: x, enter: anyone }"), &vocabulary).is_ok());
        let mistakes = InstanceRule::compile(&spec("{ name: x }"), &vocabulary).unwrap_err();
        assert!(mistakes[0].message.contains("add `auth`"), "{mistakes:?}");
    }
}
