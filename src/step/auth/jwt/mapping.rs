//! Who asks, by the claims of a token.

use std::borrow::Cow;

use serde_json::Value;

use super::verify::{Claims, claim};
use crate::config::ClaimsSpec;
use crate::step::identity::{Identity, is_name, text_of};

/// The claim that says whether a mail address is the user's.
const VERIFIED: &str = "email_verified";

/// Which claims tell who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::step::auth) struct Mapping {
    user: String,
    name: String,
    mail: String,
    groups: String,
}

impl Mapping {
    pub(in crate::step::auth) fn new(spec: &ClaimsSpec) -> Self {
        let or = |claim: &Option<String>, default: &str| claim.clone().unwrap_or_else(|| default.to_owned());
        Self {
            user: or(&spec.user, "sub"),
            name: or(&spec.name, "name"),
            mail: or(&spec.mail, "email"),
            groups: or(&spec.groups, "groups"),
        }
    }

    /// Who asks.
    ///
    /// # Errors
    /// When the claims do not tell, or a header could not.
    pub(in crate::step::auth) fn identity(
        &self,
        claims: Claims,
        by: &'static str,
    ) -> Result<Identity, Cow<'static, str>> {
        let text =
            |name: &str| claim(&claims, name).and_then(text_of).map(Cow::into_owned).filter(|text| is_name(text));
        let is_doubted = |name: &str| {
            name == "email" && claims.get(VERIFIED).is_some_and(|told| *told != Value::Bool(true) && *told != "true")
        };
        if is_doubted(&self.user) {
            return Err("the mail address that would be the user's name is not verified".into());
        }
        let Some(user) = text(&self.user) else {
            return Err(format!("the claim `{}`, which tells the user, is missing or no plain text", self.user).into());
        };
        let groups = match claim(&claims, &self.groups) {
            Some(Value::Array(items)) => items.iter().filter_map(text_of).map(Cow::into_owned).collect(),
            Some(value) => text_of(value).map(Cow::into_owned).into_iter().collect(),
            None => Vec::new(),
        };
        Ok(Identity {
            name: text(&self.name),
            mail: if is_doubted(&self.mail) { None } else { text(&self.mail) },
            groups: groups.into_iter().filter(|group| is_name(group)).collect(),
            user,
            by,
            claims,
        })
    }
}
