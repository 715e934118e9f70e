//! What the entry of a user tells of them.

use std::collections::HashMap;

use ldap3::SearchEntry;
use serde_json::{Map, Value};

use crate::config::{GroupsForm, LdapSpec};
use crate::step::auth::dn::common_name;
use crate::step::identity::Identity;

/// The attributes that are asked for.
pub(super) struct Attributes {
    user: String,
    name: String,
    mail: String,
    groups: String,
    form: GroupsForm,
    /// Claims, and their attributes.
    claims: Vec<(String, String)>,
}

impl Attributes {
    pub(super) fn new(spec: &LdapSpec, user: String) -> Self {
        let named = |name: &Option<String>, default: &str| name.clone().unwrap_or_else(|| default.to_owned());
        Self {
            user,
            name: named(&spec.name, "cn"),
            mail: named(&spec.mail, "mail"),
            groups: named(&spec.groups, "memberOf"),
            form: spec.groups_form.unwrap_or_default(),
            claims: spec.claims.iter().map(|(claim, attribute)| (claim.clone(), attribute.clone())).collect(),
        }
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<&str> {
        let own = [&self.user, &self.name, &self.mail, &self.groups];
        let all = own.into_iter().chain(self.claims.iter().map(|(_, attribute)| attribute));
        all.map(String::as_str).filter(|name| !name.is_empty()).collect()
    }

    /// Who a user is; `None` where the entry does not say what they are called.
    pub(super) fn identity(&self, given: &str, entry: &SearchEntry) -> Option<Identity> {
        let first = |name: &str| values(&entry.attrs, name).first().filter(|value| !value.is_empty()).cloned();
        let groups = values(&entry.attrs, &self.groups);
        let groups = match self.form {
            GroupsForm::Dn => groups.iter().filter_map(|dn| common_name(dn)).collect(),
            GroupsForm::Names => groups.to_vec(),
        };
        let claim = |(claim, attribute): &(String, String)| {
            let value = match values(&entry.attrs, attribute) {
                [] => return None,
                [value] => Value::String(value.clone()),
                several => Value::Array(several.iter().cloned().map(Value::String).collect()),
            };
            Some((claim.clone(), value))
        };
        Some(Identity {
            name: first(&self.name),
            mail: first(&self.mail),
            groups,
            claims: self.claims.iter().filter_map(claim).collect::<Map<_, _>>(),
            ..Identity::of(called(given, values(&entry.attrs, &self.user))?, "ldap")
        })
    }
}

/// What a user is called, of the names that their entry has: as the directory writes it, whatever case it came in.
fn called<'v>(given: &str, names: &'v [String]) -> Option<&'v str> {
    let same = names.iter().find(|name| name.to_lowercase() == given.trim().to_lowercase());
    let only = match names {
        [only] => Some(only),
        _ => None,
    };
    same.or(only).map(String::as_str).filter(|name| !name.is_empty())
}

/// The values of an attribute, whose name is the same in any case.
pub(super) fn values<'e>(attributes: &'e HashMap<String, Vec<String>>, name: &str) -> &'e [String] {
    attributes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or(&[], |(_, values)| values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(attributes: &[(&str, &[&str])]) -> SearchEntry {
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let attrs = attributes.iter().map(|(name, of)| ((*name).to_owned(), values(of))).collect();
        SearchEntry { dn: "uid=ann".to_owned(), attrs, bin_attrs: HashMap::new() }
    }

    #[test]
    fn an_entry_tells_who_somebody_is() {
        let spec = "{ claims: { office: l, tags: ou, none: x } }";
        let attributes = Attributes::new(&serde_yaml::from_str(spec).unwrap(), "uid".to_owned());
        let entry = entry(&[
            ("UID", &["Ann"]),
            ("cn", &["Ann Smith", "A. Smith"]),
            ("mail", &["ann@example.org"]),
            ("memberof", &["cn=staff,ou=groups", "ou=nothing"]),
            ("l", &["Oslo"]),
            ("ou", &["a", "b"]),
        ]);
        let identity = attributes.identity("ANN", &entry).unwrap();
        assert_eq!((identity.user.as_str(), identity.name.as_deref()), ("Ann", Some("Ann Smith")));
        assert_eq!(
            (identity.mail.as_deref(), identity.groups.as_slice()),
            (Some("ann@example.org"), &["staff".into()][..])
        );
        assert_eq!(identity.claim_text("office").as_deref(), Some("Oslo"));
        assert_eq!(identity.claim_text("tags").as_deref(), Some("a,b"));
        assert_eq!(identity.claim("none"), None);
    }

    #[test]
    fn a_user_is_called_as_the_directory_has_it() {
        let called = |given, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            called(given, &names).map(str::to_owned)
        };
        assert_eq!(called("ANN ", &["bob", "ann"]).as_deref(), Some("ann"));
        assert_eq!(called("ann@example.org", &["ann"]).as_deref(), Some("ann"));
        assert_eq!(called("ann@example.org", &["ann", "annie"]), None);
        assert_eq!(called("ann", &[]), None);
    }
}
