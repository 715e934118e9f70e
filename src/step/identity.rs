//! Who asks: what an `auth` step found out, `require` on it, and the headers that tell the upstream.
//!
//! ```yaml
//!   require: { groups: [staff, admins] }
//!   identity:
//!     REMOTE_USER: "{user}"
//!     X-Forwarded-Email: "{mail}"
//!     AUTHORIZE_MEMBEROF: { each_group: "CN={group}", separator: ";" }
//! ```

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::{Headers, Mistake};
use crate::config::{IdentityHeaderSpec, KeyPath, OneOrMany, RequireSpec};
use crate::route::asker::{Asker, Who};
use crate::route::template::{Template, Values, Vocabulary};

/// Who asks, proven.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// The name that they sign in with; never empty.
    pub user: String,
    /// Their name among people.
    pub name: Option<String>,
    /// Their mail address.
    pub mail: Option<String>,
    /// The groups that they belong to.
    pub groups: Vec<String>,
    /// What else is known.
    pub claims: Map<String, Value>,
    /// The step that proved it, as its key is called.
    pub by: &'static str,
}

impl Identity {
    /// Somebody of whom nothing but the name is known.
    #[must_use]
    pub fn of(user: impl Into<String>, by: &'static str) -> Self {
        Self { user: user.into(), by, ..Self::default() }
    }

    /// A claim: that of this very name, or the one that a path with dots leads to (`realm_access.roles`).
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name).or_else(|| {
            let mut parts = name.split('.');
            let first = self.claims.get(parts.next()?)?;
            parts.try_fold(first, |value, part| value.get(part))
        })
    }

    /// A claim as text: as it is where it is text, as JSON writes it where it is a number or a flag, the items of a list
    /// separated by commas.
    #[must_use]
    pub fn claim_text(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.claim(name)? {
            Value::Array(items) => Some(items.iter().filter_map(text_of).collect::<Vec<_>>().join(",").into()),
            value => text_of(value),
        }
    }
}

impl Asker for Identity {
    fn tell(&self, who: &Who) -> Option<Cow<'_, str>> {
        match who {
            Who::User => Some(self.user.as_str().into()).filter(is_exact),
            Who::Name => self.name.as_deref().map(str::trim).map(Into::into),
            Who::Mail => self.mail.as_deref().map(Into::into).filter(is_exact),
            Who::Groups => Some(listed(self.groups.iter().map(|group| group.as_str().into())).into()),
            Who::Claim(name) => match self.claim(name)? {
                Value::Array(items) => Some(listed(items.iter().filter_map(text_of)).into()),
                value => text_of(value).filter(is_exact),
            },
        }
    }
}

/// Whether a text stays what it is in a header: blanks around it are no part of the value (RFC 9110 §5.5), so that `ann`
/// and ` ann` would be the same.
fn is_exact<T: AsRef<str>>(text: &T) -> bool {
    text.as_ref().trim() == text.as_ref()
}

/// Names, separated by commas. One with a comma in it is left out, as nobody could tell whether it is several.
fn listed<'n>(names: impl Iterator<Item = Cow<'n, str>>) -> String {
    names.filter(|name| !name.contains(',') && is_exact(name)).collect::<Vec<_>>().join(",")
}

/// Whether a text from elsewhere can name somebody: it has no control characters, and no blanks around it.
#[must_use]
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && is_exact(&text) && !text.chars().any(char::is_control)
}

/// The text of a value that is neither a list nor a mapping.
#[must_use]
pub fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Who of those that proved who they are may pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Require {
    users: Vec<String>,
    groups: Vec<String>,
    claims: Vec<(String, Vec<String>)>,
}

impl Require {
    /// Checks the step. A list that is there has something in it: one that came to be empty, as of a variable that is not
    /// set, must not let everybody pass.
    ///
    /// # Errors
    /// All mistakes, each below the key.
    pub fn compile(spec: &RequireSpec) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut check = |at: KeyPath, list: &OneOrMany<String>, may_be_empty: bool| -> Vec<String> {
            if list.is_empty() || (!may_be_empty && list.iter().any(String::is_empty)) {
                mistakes.push(Mistake::new(at, "there is an empty name, or none at all; write one, or leave it out"));
            }
            list.to_vec()
        };
        let mut names = |key: &str, list: &Option<OneOrMany<String>>| {
            list.as_ref().map(|list| check(KeyPath::root().then(key), list, false)).unwrap_or_default()
        };
        let (users, groups) = (names("users", &spec.users), names("groups", &spec.groups));
        let claims = spec.claims.iter().map(|(name, wanted)| {
            let at = KeyPath::root().then("claims").then(name.as_str());
            (name.clone(), check(at, wanted, true))
        });
        let claims = claims.collect();
        if mistakes.is_empty() { Ok(Self { users, groups, claims }) } else { Err(mistakes) }
    }

    /// What is required, in words.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let of = |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", names.join(" or ")));
        let lists = [of("the user", &self.users), of("the group", &self.groups)];
        let claims = self.claims.iter().map(|(name, wanted)| of(&format!("the claim {name}"), wanted));
        lists.into_iter().chain(claims).flatten().collect()
    }

    /// Whether somebody may pass.
    ///
    /// # Errors
    /// What is missing, for the log.
    pub fn check(&self, identity: &Identity) -> Result<(), String> {
        if !self.users.is_empty() && !self.users.contains(&identity.user) {
            return Err(format!("`{}` is none of the users that may pass", identity.user));
        }
        if !self.groups.is_empty() && !identity.groups.iter().any(|group| self.groups.contains(group)) {
            return Err(format!("`{}` is in none of the groups that may pass", identity.user));
        }
        let fits = |wanted: &[String], value: &Value| match value {
            Value::Array(items) => items.iter().filter_map(text_of).any(|item| wanted.iter().any(|one| *one == item)),
            value => text_of(value).is_some_and(|text| wanted.iter().any(|one| *one == text)),
        };
        let missing =
            self.claims.iter().find(|(name, wanted)| !identity.claim(name).is_some_and(|value| fits(wanted, value)));
        match missing {
            Some((name, _)) => Err(format!("`{}` does not have the claim `{name}` that is required", identity.user)),
            None => Ok(()),
        }
    }
}

/// Headers that tell the upstream who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityHeaders {
    headers: Vec<(HeaderName, Told)>,
    /// What is told under each name, as it is written.
    texts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Value(Template),
    /// Before and after the name of each group, and between them.
    EachGroup(String, String, String),
}

impl IdentityHeaders {
    /// Checks the step.
    ///
    /// # Errors
    /// All mistakes, each below the key.
    pub fn compile<'s>(
        spec: impl Iterator<Item = (&'s crate::config::value::HeaderName, &'s IdentityHeaderSpec)>,
        vocabulary: &Vocabulary<'_>,
    ) -> Result<Self, Vec<Mistake>> {
        let (mut headers, mut texts, mut mistakes) = (Vec::new(), Vec::new(), Vec::new());
        for (name, spec) in spec {
            texts.extend(spec.value.iter().chain(&spec.each_group).cloned());
            let at = KeyPath::root().then(name.to_string());
            if super::headers::is_of_the_message(name.get()) {
                mistakes.push(Mistake::new(at, format!("`{name}` cannot tell who asks; choose another name")));
                continue;
            }
            match told(spec, vocabulary) {
                Ok(told) => headers.push((name.get().clone(), told)),
                Err((key, message)) => mistakes.push(Mistake::new(at.then(key), message)),
            }
        }
        if mistakes.is_empty() { Ok(Self { headers, texts }) } else { Err(mistakes) }
    }

    /// What is told under which name, for people.
    pub fn told(&self) -> impl Iterator<Item = (&HeaderName, &str)> {
        self.names().zip(self.texts.iter().map(String::as_str))
    }

    /// The names, under which nothing that a client sends may pass.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|(name, _)| name)
    }

    /// Tells who asks. What a client sent under these names is gone already.
    pub fn apply(&self, headers: &mut dyn Headers, values: &Values<'_>, identity: Option<&Identity>) {
        for (name, told) in &self.headers {
            let text = match told {
                Told::Value(template) => template.render_whole(values),
                Told::EachGroup(before, after, separator) => identity.map(|identity| {
                    let clear = identity.groups.iter().filter(|group| is_clear(group, before, after, separator));
                    clear.map(|group| format!("{before}{group}{after}")).collect::<Vec<_>>().join(separator)
                }),
            };
            if let Some(text) = text {
                headers.set_text(name, &text);
            }
        }
    }
}

/// Whether it is plain where a group ends, and that it is one: there are no blanks around it, and it does not hold the
/// separator, nor a mark that parts names and stands around it, as in `CN={group},OU=groups`.
fn is_clear(group: &str, before: &str, after: &str, separator: &str) -> bool {
    let parts = |c: char| ",;=+<>|\"\\".contains(c) && (before.contains(c) || after.contains(c));
    is_exact(&group) && !group.contains(parts) && (separator.is_empty() || !group.contains(separator))
}

fn told(spec: &IdentityHeaderSpec, vocabulary: &Vocabulary<'_>) -> Result<Told, (&'static str, String)> {
    match (&spec.value, &spec.each_group) {
        (Some(text), None) => Template::parse(text, vocabulary).map(Told::Value).map_err(|message| ("value", message)),
        (None, Some(text)) => match text.split_once("{group}") {
            Some((before, after)) => {
                let separator = spec.separator.clone().unwrap_or_else(|| ",".to_owned());
                Ok(Told::EachGroup(before.to_owned(), after.to_owned(), separator))
            }
            None => Err(("each_group", format!("`{text}` does not hold `{{group}}`; write it where the name goes"))),
        },
        (Some(_), Some(_)) => Err(("each_group", "`value` is there as well; keep one of them".to_owned())),
        (None, None) => Err(("value", "it is missing; write a template such as `{user}`".to_owned())),
    }
}

/// A header value, where the text can be one.
#[must_use]
pub fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn somebody() -> Identity {
        let claims = json!({"realm": {"roles": ["a", "b"]}, "n": 7, "a.b": "exact"});
        Identity {
            user: "ann".to_owned(),
            groups: vec!["staff".to_owned(), "dev".to_owned()],
            claims: claims.as_object().cloned().unwrap_or_default(),
            ..Identity::of("ann", "basic")
        }
    }

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        let ann = somebody();
        assert_eq!(ann.claim_text("realm.roles").as_deref(), Some("a,b"));
        assert_eq!(ann.claim_text("n").as_deref(), Some("7"));
        assert_eq!(ann.claim_text("a.b").as_deref(), Some("exact"));
        assert_eq!(ann.claim_text("realm"), None);
    }

    #[test]
    fn everything_that_is_required_must_hold() {
        let spec = |text: &str| Require::compile(&serde_yaml::from_str(text).unwrap()).unwrap();
        for good in ["{}", "groups: dev", "users: [bob, ann]", "claims: { realm.roles: [b, c], n: '7' }"] {
            assert_eq!(spec(good).check(&somebody()), Ok(()), "{good}");
        }
        for bad in ["groups: root", "users: bob", "claims: { realm.roles: c }", "{ groups: dev, claims: { x: '' } }"] {
            assert!(spec(bad).check(&somebody()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_group_cannot_pass_for_another() {
        let clear = |group: &str| is_clear(group, "CN=", ",OU=groups", ";");
        assert!(["staff", "data science", "/a/b", "a-b_c.d"].into_iter().all(clear));
        assert!(!["x;CN=admin", "admin,OU=x", "a=b"].into_iter().any(clear));
        assert!(is_clear("a=b", "", "", ","));
        let who = Identity { groups: vec!["a,admin".to_owned(), "b".to_owned()], ..Identity::of("ann", "jwt") };
        assert_eq!(who.tell(&Who::Groups).as_deref(), Some("b"));
    }
}
