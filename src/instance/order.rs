//! What is asked for: the name and the body of an instance, checked; and conditions on what is there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Instance;
use super::table::Entry;
use crate::config::value::{HttpUrl, Span};
use crate::route::allow::{AllowList, Permission};

const NAME: usize = 63;
const TEXT: usize = 256;
const GROUPS: usize = 64;
const TTL: [Span; 2] = [Span::from_secs(2), Span::from_secs(365 * 86_400)];

/// An instance as someone wants it, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    url: HttpUrl,
    owner: Option<String>,
    groups: Vec<String>,
    ttl: Option<Span>,
}

/// The fields of an instance, as bodies and stores have them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object")]
pub(super) struct Fields {
    address: Option<Value>,
    owner: Option<Value>,
    groups: Option<Value>,
    ttl: Option<Value>,
}

/// The same, to be written.
#[derive(Debug, Serialize)]
pub(super) struct Written<'a> {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<Span>,
}

/// Checks a name.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (1..=NAME).contains(&name.len()) && name.bytes().all(sound) {
        return Ok(());
    }
    let shown: String = name.chars().take(NAME + 1).collect();
    Err(format!("name: {shown:?} is not a name; write 1 to {NAME} letters, digits, `-` and `_`"))
}

impl Wanted {
    /// Checks a body of JSON.
    ///
    /// # Errors
    /// Which field is wrong, and what to write.
    pub fn parse(body: &[u8], allow: &AllowList) -> Result<Self, String> {
        let wanted = Self::read(body)?;
        wanted.allowed(allow).map(|()| wanted)
    }

    /// Checks a body of JSON, wherever the instance is.
    ///
    /// # Errors
    /// Which field is wrong, and what to write.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err("the body is no JSON object".to_owned());
        }
        let fields: Fields = serde_json::from_slice(body).map_err(|error| format!("the body: {error}"))?;
        fields.check()
    }

    /// Checks where it is.
    ///
    /// # Errors
    /// The address is not allowed.
    pub(super) fn allowed(&self, allow: &AllowList) -> Result<(), String> {
        let (host, port) = (self.url.host(), self.url.port());
        if allow.permits(host, port) != Permission::Refused {
            return Ok(());
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Err(format!(
            "address: {host}:{port} is not allowed; add it to `instances.allow`, where special addresses such as loopback need \
             an entry of their own"
        ))
    }

    /// The instance of this name, as of now.
    pub(super) fn entry(self, name: &str, expires: Option<SystemTime>) -> Entry {
        let Self { url, owner, groups, ttl } = self;
        Entry { instance: Arc::new(Instance { name: name.to_owned(), url, owner, groups, expires }), ttl }
    }

    /// When it expires if it is put now.
    pub(super) fn expiry(&self, now: SystemTime) -> Option<SystemTime> {
        self.ttl.and_then(|ttl| now.checked_add(ttl.duration()))
    }

    pub(super) fn ttl(&self) -> Option<Duration> {
        self.ttl.map(Span::duration)
    }

    pub(super) fn written(&self) -> Written<'_> {
        Written { address: self.url.to_string(), owner: self.owner.as_deref(), groups: &self.groups, ttl: self.ttl }
    }

    /// Whether an instance is as wanted, so that putting it again renews it.
    pub(super) fn is(&self, entry: &Entry) -> bool {
        let Instance { url, owner, groups, .. } = &*entry.instance;
        (&self.url, &self.owner, &self.groups, self.ttl) == (url, owner, groups, entry.ttl)
    }
}

impl Entry {
    pub(super) fn written(&self) -> Written<'_> {
        let Instance { url, owner, groups, .. } = &*self.instance;
        Written { address: url.to_string(), owner: owner.as_deref(), groups, ttl: self.ttl }
    }

    /// A tag of what it is: the same wherever, and for as long as, it is the same.
    #[must_use]
    pub fn tag(&self) -> String {
        let digest = Sha256::digest(serde_json::to_vec(&self.written()).unwrap_or_default());
        data_encoding::HEXLOWER.encode(&digest[..12])
    }
}

impl Fields {
    pub(super) fn new(address: Option<Value>, owner: Option<Value>, groups: Option<Value>, ttl: Option<Value>) -> Self {
        Self { address, owner, groups, ttl }
    }

    pub(super) fn check(self) -> Result<Wanted, String> {
        let present = |value: Option<Value>| value.filter(|value| !value.is_null());
        let address =
            present(self.address).ok_or("address: it is missing; write one such as \"http://10.0.0.5:8787\"")?;
        let url = address_of(&address)?;
        let owner = present(self.owner).map(|owner| text("owner", &owner)).transpose()?;
        let groups = match present(self.groups) {
            None => Vec::new(),
            Some(Value::Array(groups)) if groups.len() <= GROUPS => {
                groups.iter().map(|group| text("groups", group)).collect::<Result<_, _>>()?
            }
            Some(_) => {
                return Err(format!("groups: it is no list of up to {GROUPS} names; write one such as [\"staff\"]"));
            }
        };
        let ttl = present(self.ttl).map(|ttl| span(&ttl)).transpose()?;
        Ok(Wanted { url, owner, groups, ttl })
    }
}

fn address_of(value: &Value) -> Result<HttpUrl, String> {
    let text =
        value.as_str().map(str::trim).ok_or("address: it is no text; write one such as \"http://10.0.0.5:8787\"")?;
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    whole.parse().map_err(|error| format!("address: {error}"))
}

fn text(field: &str, value: &Value) -> Result<String, String> {
    let sound =
        |text: &&str| (1..=TEXT).contains(&text.len()) && text.trim() == *text && !text.chars().any(char::is_control);
    match value.as_str().filter(sound) {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!(
            "{field}: {} is no name of a user or group; write text of 1 to {TEXT} bytes, without blanks at its ends",
            if value.is_string() { "this text" } else { "this" }
        )),
    }
}

fn span(value: &Value) -> Result<Span, String> {
    let text = value.as_str().ok_or("ttl: it is no text; write a duration such as \"60s\"")?;
    let span: Span = text.parse().map_err(|error| format!("ttl: {error}"))?;
    if (TTL[0]..=TTL[1]).contains(&span) {
        return Ok(span);
    }
    Err(format!(
        "ttl: {text:?} is not from {} to {}; write one such as \"60s\", or leave it out for none",
        TTL[0], TTL[1]
    ))
}

/// What must be the case for a change to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// There is no instance of the name.
    Absent,
    /// There is one.
    Present,
    /// There is one with one of these tags.
    Tagged(Vec<String>),
}

impl Condition {
    pub(super) fn is_met(&self, entry: Option<&Entry>) -> bool {
        match (self, entry) {
            (Self::None, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Tagged(tags), Some(entry)) => tags.contains(&entry.tag()),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::everywhere;
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for name in ["a", "i-0abc", "A_1", &"x".repeat(63)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "a.b", "a/b", "a b", "ä", "a\n", "..", "a%2fb", &"x".repeat(64)] {
            assert!(check_name(name).unwrap_err().starts_with("name: "), "{name}");
        }
    }

    #[test]
    fn bodies_are_read() {
        let wanted = |body: &str| Wanted::parse(body.as_bytes(), &everywhere()).unwrap();
        let plain = wanted(r#"{"address": "10.0.0.5:8787"}"#);
        assert_eq!(plain.url.to_string(), "http://10.0.0.5:8787");
        assert_eq!((plain.owner, plain.groups.len(), plain.ttl), (None, 0, None));
        let full = wanted(r#"{"address":"https://n.example/base/","owner":"ann","groups":["a","b"],"ttl":"60s"}"#);
        assert_eq!(full.url.to_string(), "https://n.example/base");
        assert_eq!(full.expiry(SystemTime::UNIX_EPOCH), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(60)));
        assert_eq!(wanted(r#"{"address":"[fd00::1]:80","owner":null,"ttl":null}"#).url.host(), "fd00::1");
        let text = serde_json::to_vec(&full.written()).unwrap();
        let again = Wanted::parse(&text, &everywhere()).unwrap();
        assert!(again.clone().entry("x", None) == full.clone().entry("x", None) && again.is(&full.entry("x", None)));
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        let long = format!(r#"{{"address":"10.0.0.1","owner":"{}"}}"#, "x".repeat(257));
        for (body, field) in [
            ("", "the body"),
            ("[]", "the body"),
            ("[\"10.0.0.1\"]", "the body"),
            ("{", "the body"),
            (r#"{"address":"10.0.0.1","address":"10.0.0.2"}"#, "the body"),
            (r#"{"address":"10.0.0.1","adress":"10.0.0.2"}"#, "the body"),
            (r#"{"address":"10.0.0.1"} x"#, "the body"),
            ("{}", "address: "),
            (r#"{"address":5}"#, "address: "),
            (r#"{"address":""}"#, "address: "),
            (r#"{"address":"ftp://10.0.0.1"}"#, "address: "),
            (r#"{"address":"http://u:p@10.0.0.1"}"#, "address: "),
            (r#"{"address":"10.0.0.1:0"}"#, "address: "),
            (r#"{"address":"10.0.0.300:80"}"#, "address: "),
            (r#"{"address":"10.0.0.1:80?x"}"#, "address: "),
            (r#"{"address":"0.0.0.0:80"}"#, "address: "),
            (r#"{"address":"[::]:80"}"#, "address: "),
            (r#"{"address":"169.254.169.254"}"#, "address: "),
            (r#"{"address":"[::ffff:169.254.169.254]"}"#, "address: "),
            (r#"{"address":"[fe80::1]:80"}"#, "address: "),
            (r#"{"address":"127.0.0.1:80"}"#, "address: "),
            (r#"{"address":"10.0.0.1","owner":""}"#, "owner: "),
            (r#"{"address":"10.0.0.1","owner":" a"}"#, "owner: "),
            (r#"{"address":"10.0.0.1","owner":"a\n"}"#, "owner: "),
            (r#"{"address":"10.0.0.1","owner":7}"#, "owner: "),
            (long.as_str(), "owner: "),
            (r#"{"address":"10.0.0.1","groups":"a"}"#, "groups: "),
            (r#"{"address":"10.0.0.1","groups":["a",1]}"#, "groups: "),
            (r#"{"address":"10.0.0.1","ttl":60}"#, "ttl: "),
            (r#"{"address":"10.0.0.1","ttl":"60"}"#, "ttl: "),
            (r#"{"address":"10.0.0.1","ttl":"0s"}"#, "ttl: "),
            (r#"{"address":"10.0.0.1","ttl":"1s"}"#, "ttl: "),
            (r#"{"address":"10.0.0.1","ttl":"366d"}"#, "ttl: "),
        ] {
            let error = Wanted::parse(body.as_bytes(), &everywhere()).unwrap_err();
            assert!(error.starts_with(field), "{body}: {error}");
        }
    }

    #[test]
    fn special_addresses_need_an_entry() {
        let allow = AllowList::new(vec!["127.0.0.0/8:8000-8999".parse().unwrap(), "node".parse().unwrap()]);
        let allowed = |address: &str| Wanted::parse(format!(r#"{{"address":"{address}"}}"#).as_bytes(), &allow).is_ok();
        assert!(allowed("127.0.0.1:8080") && allowed("node:1"));
        // A name that only its address can tell of is left for when it is connected to.
        assert!(allowed("other:8080"));
        assert!(!allowed("127.0.0.1:80") && !allowed("10.0.0.1:8080") && !allowed("other:80"));
    }

    #[test]
    fn tags_tell_what_differs_and_conditions_use_them() {
        let wanted = |body: &str| Wanted::parse(body.as_bytes(), &everywhere()).unwrap();
        let one = wanted(r#"{"address":"10.0.0.5","ttl":"5s"}"#).entry("x", None);
        let later = Entry {
            instance: Arc::new(Instance { expires: Some(SystemTime::now()), ..(*one.instance).clone() }),
            ..one.clone()
        };
        let other = wanted(r#"{"address":"10.0.0.5","ttl":"6s"}"#).entry("x", None);
        assert_eq!(one.tag(), later.tag());
        assert_ne!(one.tag(), other.tag());
        let tagged = Condition::Tagged(vec!["no".to_owned(), one.tag()]);
        assert!(tagged.is_met(Some(&later)) && !tagged.is_met(Some(&other)) && !tagged.is_met(None));
        assert!(Condition::Absent.is_met(None) && !Condition::Absent.is_met(Some(&one)));
        assert!(Condition::Present.is_met(Some(&one)) && !Condition::Present.is_met(None));
    }
}
