//! `auth: { trusted_headers: … }`: a sign-in proxy before Pylon found out who asks, and says so in headers.
//!
//! ```yaml
//!   auth:
//!     trusted_headers:
//!       from: [10.0.0.5, 10.0.0.6]           # the sign-in proxies, and nobody else
//!       user: REMOTE_USER
//!       name: [AUTHENTICATE_GIVENNAME, AUTHENTICATE_SN]
//!       mail: AUTHENTICATE_MAIL
//!       groups: AUTHORIZE_MEMBEROF           # CN=staff,OU=groups,DC=example,DC=org;CN=dev,…
//! ```
//!
//! What comes from elsewhere counts as missing. Nothing that comes under these names goes on, on any route, and nothing under
//! names that a server takes for them: with `-` for `_`, or the other way round.

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::dn::{common_name, split};
use super::{Asking, AuthScope, Finding, Mistake};
use crate::config::{GroupsForm, TrustedHeadersSpec};
use crate::step::headers::is_of_the_message;
use crate::step::identity::Identity;

/// The step, compiled.
#[derive(Debug)]
pub(super) struct TrustedHeaders {
    from: Vec<IpNet>,
    user: HeaderName,
    name: Vec<HeaderName>,
    mail: Option<HeaderName>,
    groups: Option<HeaderName>,
    form: GroupsForm,
    separator: String,
    /// All of them.
    names: Vec<HeaderName>,
}

impl TrustedHeaders {
    /// Checks the step.
    pub(super) fn compile(spec: &TrustedHeadersSpec, _scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let from: Vec<IpNet> = spec.from.iter().flat_map(|list| &list.0).map(|cidr| cidr.net()).collect();
        if from.is_empty() {
            mistakes.push(Mistake::at("from", "it is empty; list the addresses of the sign-in proxies"));
        }
        if let Some(all) = from.iter().find(|net| net.prefix_len() == 0) {
            let message = format!("`{all}` is everybody, who could then be anybody; list the sign-in proxies alone");
            mistakes.push(Mistake::at("from", message));
        }
        let default = HeaderName::from_static("remote_user");
        let user = spec.user.as_ref().map_or(default, |name| name.get().clone());
        let name: Vec<HeaderName> = spec.name.iter().map(|name| name.get().clone()).collect();
        let mail = spec.mail.as_ref().map(|name| name.get().clone());
        let groups = spec.groups.as_ref().map(|name| name.get().clone());
        let mut names = Vec::new();
        let keyed = [("user", Some(&user)), ("mail", mail.as_ref()), ("groups", groups.as_ref())];
        let keyed = keyed.into_iter().filter_map(|(key, name)| Some((key, name?)));
        for (key, name) in keyed.chain(name.iter().map(|name| ("name", name))) {
            if is_of_the_message(name) || ["authorization", "cookie"].contains(&name.as_str()) {
                mistakes.push(Mistake::at(key, format!("`{name}` has a meaning of its own; choose another header")));
            }
            names.push(name.clone());
        }
        let default = if spec.groups_form.unwrap_or_default() == GroupsForm::Dn { ";" } else { "," };
        let separator = spec.groups_separator.clone().unwrap_or_else(|| default.to_owned());
        let form = spec.groups_form.unwrap_or_default();
        if separator.is_empty() || (form == GroupsForm::Dn && !matches!(separator.as_str(), ";" | "|" | "^")) {
            let message = format!("{separator:?} cannot stand between groups; write `;`, or with `names` any text");
            mistakes.push(Mistake::at("groups_separator", message));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self { from, user, name, mail, groups, form, separator, names })
    }

    /// The names of its headers, under which nothing that a client sends may pass.
    pub(super) fn names(&self) -> &[HeaderName] {
        &self.names
    }

    /// Finds out who asks.
    #[allow(clippy::unused_async, reason = "the ways have one form, and others wait")]
    pub(super) async fn identify(&self, asking: &Asking<'_>) -> Finding {
        let peer = asking.client.peer.to_canonical();
        if !self.from.iter().any(|net| net.contains(&peer)) {
            return Finding::Absent;
        }
        match self.read(asking.headers) {
            Ok(Some(identity)) => Finding::proven(identity),
            Ok(None) => Finding::Absent,
            Err(why) => Finding::Wrong(why.into()),
        }
    }

    /// What `WWW-Authenticate` says: nothing, as clients sign in elsewhere.
    #[allow(clippy::unused_self, reason = "the ways have one form")]
    pub(super) fn challenge(&self, _wrong: bool) -> Option<HeaderValue> {
        None
    }

    /// Who asks, if somebody signed in.
    fn read(&self, headers: &HeaderMap) -> Result<Option<Identity>, &'static str> {
        let user = value(headers, &self.user)?;
        let of = |name: &Option<HeaderName>| match name {
            Some(name) => value(headers, name),
            None => Ok(None),
        };
        let (mail, groups) = (of(&self.mail)?, of(&self.groups)?);
        let parts: Result<Vec<Option<&str>>, _> = self.name.iter().map(|name| value(headers, name)).collect();
        let name = parts?.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let Some(user) = user else { return Ok(None) };
        let told = self.names.iter().filter_map(|name| Some((name.to_string(), value(headers, name).ok()??.into())));
        Ok(Some(Identity {
            claims: told.collect(),
            name: (!name.is_empty()).then_some(name),
            mail: mail.map(str::to_owned),
            groups: groups.map(|text| self.groups(text)).unwrap_or_default(),
            ..Identity::of(user, "trusted_headers")
        }))
    }

    fn groups(&self, text: &str) -> Vec<String> {
        let found: Vec<String> = match self.form {
            GroupsForm::Dn => {
                let separator = self.separator.chars().next().unwrap_or(';');
                split(text, separator).into_iter().filter_map(common_name).collect()
            }
            GroupsForm::Names => text.split(self.separator.as_str()).map(|name| name.trim().to_owned()).collect(),
        };
        found.into_iter().filter(|group| !group.is_empty()).collect()
    }
}

/// What a header says, if it does. Web servers write `(null)` for what is not set.
fn value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, &'static str> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err("a header that tells who asks is there more than once");
    }
    let text = std::str::from_utf8(line.as_bytes()).map_err(|_| "a header that tells who asks is not UTF-8")?.trim();
    Ok((!text.is_empty() && text != "(null)").then_some(text))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::observe::Metrics;
    use crate::step::forwarded::Client;
    use crate::step::shared::Shared;

    const SPEC: &str = "
from: [10.0.0.5, 'fd00::/8']
name: [AUTHENTICATE_GIVENNAME, AUTHENTICATE_SN]
mail: AUTHENTICATE_MAIL
groups: AUTHORIZE_MEMBEROF
";

    fn compile(text: &str) -> Result<TrustedHeaders, Vec<Mistake>> {
        let scope = AuthScope {
            file: &|path| path.into(),
            shared: &Shared::default(),
            before: None,
            metrics: &Metrics::default(),
            captures: &[],
        };
        TrustedHeaders::compile(&serde_yaml::from_str(text).unwrap(), &scope)
    }

    async fn ask(step: &TrustedHeaders, peer: &str, address: &str, lines: &[(&str, &str)]) -> Finding {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        let (peer, address) = (peer.parse().unwrap(), address.parse().unwrap());
        let asking = Asking {
            method: &Method::GET,
            target: "/",
            path: "/",
            host: "site",
            headers: &headers,
            client: &Client { peer, trusted: true, address, scheme: "https" },
            has_body: false,
            captures: &(),
            now: std::time::SystemTime::now(),
        };
        step.identify(&asking).await
    }

    const ALL: [(&str, &str); 5] = [
        ("REMOTE_USER", "ann"),
        ("AUTHENTICATE_GIVENNAME", "Zoë Ann"),
        ("AUTHENTICATE_SN", "Smith"),
        ("AUTHENTICATE_MAIL", "ann@example.org"),
        ("AUTHORIZE_MEMBEROF", r"CN=staff,OU=g,DC=x;cn=dev\;ops,DC=x;OU=none,DC=x;"),
    ];

    #[tokio::test]
    async fn the_proxy_is_believed_and_nobody_else() {
        let step = compile(SPEC).unwrap();
        for peer in ["10.0.0.5", "::ffff:10.0.0.5", "fd00::1"] {
            let Finding::Proven(proof) = ask(&step, peer, "1.2.3.4", &ALL).await else { panic!("{peer}") };
            let expected = Identity {
                name: Some("Zoë Ann Smith".to_owned()),
                mail: Some("ann@example.org".to_owned()),
                groups: vec!["staff".to_owned(), "dev;ops".to_owned()],
                // As they came, too: what stands behind may want them so.
                claims: ALL.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).into())).collect(),
                ..Identity::of("ann", "trusted_headers")
            };
            assert_eq!(*proof.identity, expected);
        }
        for peer in ["10.0.0.6", "1.2.3.4", "::1", "fe80::1"] {
            // What a proxy says of the client counts for nothing here.
            assert!(matches!(ask(&step, peer, "10.0.0.5", &ALL).await, Finding::Absent), "{peer}");
        }
    }

    #[tokio::test]
    async fn what_is_not_clear_is_refused() {
        let step = compile(SPEC).unwrap();
        for absent in
            [&[][..], &ALL[1..], &[("REMOTE_USER", "")], &[("REMOTE_USER", "(null)")], &[("REMOTE-USER", "a")]]
        {
            assert!(matches!(ask(&step, "10.0.0.5", "1.2.3.4", absent).await, Finding::Absent), "{absent:?}");
        }
        for twice in ["REMOTE_USER", "AUTHORIZE_MEMBEROF", "AUTHENTICATE_SN", "AUTHENTICATE_MAIL"] {
            let lines = [&ALL[..], &[(twice, "eve")]].concat();
            assert!(matches!(ask(&step, "10.0.0.5", "1.2.3.4", &lines).await, Finding::Wrong(_)), "{twice}");
        }
    }

    #[tokio::test]
    async fn groups_can_be_plain_names() {
        let spec = "{ from: 10.0.0.5, user: X-User, groups: X-Groups, groups_form: names }";
        let lines = [("X-User", "ann"), ("X-Groups", "staff, dev,,")];
        let Finding::Proven(proof) = ask(&compile(spec).unwrap(), "10.0.0.5", "1.2.3.4", &lines).await else {
            panic!()
        };
        assert_eq!(proof.identity.groups, ["staff", "dev"]);
    }

    #[test]
    fn mistakes_name_the_key_and_the_cure() {
        for (text, key) in [
            ("{}", "from"),
            ("{ from: '' }", "from"),
            ("{ from: 0.0.0.0/0 }", "from"),
            ("{ from: [10.0.0.1, '::/0'] }", "from"),
            ("{ from: 10.0.0.1, user: Host }", "user"),
            ("{ from: 10.0.0.1, mail: Cookie }", "mail"),
            ("{ from: 10.0.0.1, groups_separator: ',' }", "groups_separator"),
        ] {
            let mistakes = compile(text).unwrap_err();
            assert_eq!(mistakes[0].path.to_string(), key, "{text}");
        }
    }
}
