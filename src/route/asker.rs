//! Who asks, as templates see them.

use std::borrow::Cow;

/// What a template can say of who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// The name that they sign in with.
    User,
    /// Their name among people.
    Name,
    /// Their mail address.
    Mail,
    /// Their groups, separated by commas.
    Groups,
    /// A claim.
    Claim(String),
}

/// Where a template finds who asks.
pub trait Asker: std::fmt::Debug + Sync {
    /// What is known, if it is.
    fn tell(&self, who: &Who) -> Option<Cow<'_, str>>;
}

impl Who {
    /// What a place in a template names.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "user" => Some(Self::User),
            "name" => Some(Self::Name),
            "mail" => Some(Self::Mail),
            "groups" => Some(Self::Groups),
            _ => {
                name.strip_prefix("claim:").filter(|claim| !claim.is_empty()).map(|claim| Self::Claim(claim.to_owned()))
            }
        }
    }
}
