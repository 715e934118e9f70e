//! What requests are counted by.

use std::borrow::Cow;
use std::net::IpAddr;

use http::HeaderName;
use regex_automata::meta::Regex;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::super::Mistake;
use super::super::auth::Asking;
use super::super::identity::Identity;
use super::table::{Hashed, Hashing};
use crate::config::{KeyForm, LimitKeySpec, LimitSpec, Otherwise};

/// Bits of an IPv6 address where the configuration does not say: what one client has at least.
const IPV6_PREFIX: u8 = 64;
/// Bytes of a key that is kept as it is at most.
const LONGEST: usize = 256;

/// What keys in a store begin with that are not texts as they are.
const OURS: [&[u8]; 2] = [b"client_ip:", b"sha256:"];

/// A key in a store.
pub(super) type StoreKey = SmallVec<[u8; 64]>;

/// What requests are counted by.
#[derive(Debug)]
pub(super) struct By {
    what: What,
    ipv6_prefix: u8,
    otherwise: Otherwise,
}

#[derive(Debug)]
enum What {
    ClientIp,
    User,
    Route,
    Header(HeaderName, Option<Regex>),
    Cookie(String, Option<Regex>),
    Claim(String, Option<Regex>),
}

/// What a request is counted by: a text of some kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    kind: u8,
    text: Cow<'a, [u8]>,
}

impl By {
    /// Checks what to count by.
    ///
    /// # Errors
    /// The mistake, below the limit.
    pub(super) fn compile(spec: &LimitSpec) -> Result<Self, Mistake> {
        let default = LimitKeySpec { client_ip: crate::config::value::Flag(true), ..LimitKeySpec::default() };
        let key = spec.by.as_ref().map_or(&default, |key| &key.0);
        let ipv6_prefix = match spec.ipv6_prefix {
            None => IPV6_PREFIX,
            Some(count) => u8::try_from(count.get())
                .ok()
                .filter(|bits| (1..=128).contains(bits))
                .ok_or_else(|| Mistake::at("ipv6_prefix", format!("{count} is not from 1 to 128; write 64 or so")))?,
        };
        let what = what(key).map_err(|(below, message)| {
            let at = crate::config::KeyPath::root().then("by");
            Mistake::new(if below.is_empty() { at } else { at.then(below) }, message)
        })?;
        Ok(Self { what, ipv6_prefix, otherwise: spec.otherwise.unwrap_or_default() })
    }

    /// Whether keys may be secrets, which are not to be seen in a store.
    pub(super) fn may_be_secret(&self) -> bool {
        matches!(self.what, What::Header(..) | What::Cookie(..))
    }

    /// The header that says whom a request counts by, where it is there more than once: the upstream may take another of
    /// them.
    pub(super) fn ambiguous(&self, asking: &Asking<'_>) -> Option<&HeaderName> {
        match &self.what {
            What::Header(name, _) if asking.headers.get_all(name).iter().nth(1).is_some() => Some(name),
            _ => None,
        }
    }

    /// What a request is counted by; `None` where it is not counted.
    pub(super) fn key<'a>(&self, asking: &Asking<'a>, identity: Option<&'a Identity>) -> Option<Key<'a>> {
        self.own(asking, identity).or_else(|| match self.otherwise {
            Otherwise::ClientIp => Some(self.client(asking)),
            Otherwise::Pass => None,
        })
    }

    fn client(&self, asking: &Asking<'_>) -> Key<'static> {
        Key { kind: 0, text: Cow::Owned(network(asking.client.address, self.ipv6_prefix)) }
    }

    fn own<'a>(&self, asking: &Asking<'a>, identity: Option<&'a Identity>) -> Option<Key<'a>> {
        let (kind, text, pattern) = match &self.what {
            What::ClientIp => return Some(self.client(asking)),
            What::Route => return Some(Key { kind: 1, text: Cow::Borrowed(b"") }),
            What::User => (2, Cow::Borrowed(identity?.user.as_bytes()), &None),
            What::Header(name, pattern) => (3, Cow::Borrowed(asking.headers.get(name)?.as_bytes()), pattern),
            What::Cookie(name, pattern) => (4, Cow::Borrowed(asking.cookie(name)?.as_bytes()), pattern),
            What::Claim(name, pattern) => {
                let text = match identity?.claim_text(name)? {
                    Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                    Cow::Owned(text) => Cow::Owned(text.into_bytes()),
                };
                (5, text, pattern)
            }
        };
        let text = match pattern {
            None => text,
            Some(pattern) => first_group(pattern, text)?,
        };
        (!text.is_empty()).then_some(Key { kind, text })
    }
}

fn what(key: &LimitKeySpec) -> Result<What, (&'static str, String)> {
    let named =
        [key.client_ip.0, key.user.0, key.route.0, key.header.is_some(), key.cookie.is_some(), key.claim.is_some()];
    if named.iter().filter(|named| **named).count() != 1 {
        let message = "name exactly one of `client_ip`, `user`, `route`, `header`, `cookie` and `claim`";
        return Err(("", message.to_owned()));
    }
    let pattern = key.pattern.as_deref().map(pattern).transpose().map_err(|message| ("pattern", message))?;
    Ok(match (&key.header, &key.cookie, &key.claim) {
        (Some(name), _, _) => What::Header(name.get().clone(), pattern),
        (_, Some(name), _) => {
            if !crate::config::value::is_cookie_name(name) {
                return Err(("cookie", format!("{name:?} is not the name of a cookie; write one such as `session`")));
            }
            What::Cookie(name.clone(), pattern)
        }
        (_, _, Some(name)) => What::Claim(name.clone(), pattern),
        _ if pattern.is_some() => {
            return Err(("pattern", "only a header, a cookie or a claim has a text to match; remove it".to_owned()));
        }
        _ if key.user.0 => What::User,
        _ if key.route.0 => What::Route,
        _ => What::ClientIp,
    })
}

fn pattern(text: &str) -> Result<Regex, String> {
    let regex = Regex::new(text).map_err(|error| {
        let why = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
        format!("{text:?} is not a regular expression: {why}")
    })?;
    if regex.captures_len() < 2 {
        return Err(format!(
            "{text:?} has no group; put what to count by into parentheses, as in 'credential=([^:]+):'"
        ));
    }
    Ok(regex)
}

/// What the first group that took part matched.
fn first_group<'a>(pattern: &Regex, text: Cow<'a, [u8]>) -> Option<Cow<'a, [u8]>> {
    let mut groups = pattern.create_captures();
    pattern.captures(&*text, &mut groups);
    let span = groups.iter().skip(1).flatten().next()?;
    Some(match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[span.range()]),
        Cow::Owned(text) => Cow::Owned(text[span.range()].to_vec()),
    })
}

/// The network of a client: an IPv4 address whole, of an IPv6 address so many bits.
fn network(address: IpAddr, ipv6_prefix: u8) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix)).unwrap_or(0);
            (u128::from(address) & mask).to_be_bytes().to_vec()
        }
    }
}

impl Key<'_> {
    /// The key in this process.
    pub(super) fn hashed(&self, hashing: &Hashing) -> Hashed {
        hashing.hash(self.kind, &self.text)
    }

    /// The key in a store; `taken` is a name that it may not have.
    pub(super) fn stored(&self, prefix: &str, form: KeyForm, taken: &str) -> StoreKey {
        let mut key = StoreKey::from_slice(prefix.as_bytes());
        if self.kind == 0 {
            let shown = match <[u8; 4]>::try_from(&*self.text) {
                Ok(v4) => IpAddr::from(v4),
                Err(_) => <[u8; 16]>::try_from(&*self.text).map_or(IpAddr::from([0; 4]), IpAddr::from),
            };
            key.extend_from_slice(format!("client_ip:{shown}").as_bytes());
            return key;
        }
        if self.kind == 1 {
            key.extend_from_slice(b"route");
            return key;
        }
        let is_taken = OURS.iter().any(|begin| self.text.starts_with(begin));
        if form == KeyForm::Raw && self.text.len() <= LONGEST && !is_taken {
            key.extend_from_slice(&self.text);
            if key.as_slice() != taken.as_bytes() {
                return key;
            }
            key.truncate(prefix.len());
        }
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&self.text));
        key.extend_from_slice(b"sha256:");
        key.extend_from_slice(digest.as_bytes());
        key
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::step::forwarded::Client;

    fn by(text: &str) -> Result<By, Mistake> {
        By::compile(&serde_yaml::from_str(text).unwrap())
    }

    fn key_of(by: &By, headers: &HeaderMap, address: &str, identity: Option<&Identity>) -> Option<Vec<u8>> {
        let address = address.parse().unwrap();
        let client = Client { peer: address, trusted: false, address, scheme: "https" };
        let asking = Asking {
            method: &Method::GET,
            target: "/",
            path: "/",
            host: "h",
            headers,
            client: &client,
            has_body: false,
            captures: &(),
            now: SystemTime::now(),
        };
        by.key(&asking, identity).map(|key| key.stored("p:", KeyForm::Raw, "p:#").to_vec())
    }

    fn shown(by: &By, headers: &HeaderMap, address: &str, identity: Option<&Identity>) -> Option<String> {
        key_of(by, headers, address, identity).map(|key| String::from_utf8(key).unwrap())
    }

    #[test]
    fn clients_of_one_network_are_one() {
        let none = HeaderMap::new();
        let by64 = by("{}").unwrap();
        let of = |by: &By, address: &str| shown(by, &none, address, None).unwrap();
        assert_eq!(of(&by64, "192.0.2.7"), "p:client_ip:192.0.2.7");
        assert_eq!(of(&by64, "::ffff:192.0.2.7"), "p:client_ip:192.0.2.7");
        assert_eq!(of(&by64, "2001:db8:1:2:3:4:5:6"), "p:client_ip:2001:db8:1:2::");
        assert_eq!(of(&by("ipv6_prefix: 128").unwrap(), "2001:db8::1"), "p:client_ip:2001:db8::1");
        assert_eq!(of(&by("ipv6_prefix: 48").unwrap(), "2001:db8:1:2::1"), "p:client_ip:2001:db8:1::");
        assert!(by("ipv6_prefix: 0").is_err() && by("ipv6_prefix: 129").is_err());
    }

    #[test]
    fn a_pattern_takes_the_key_out_of_a_header() {
        let by = by("by: { header: Authorization, pattern: '^(?:A k=([^:]+):|B (\\w+))' }\notherwise: pass").unwrap();
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_str(value).unwrap());
            shown(&by, &headers, "192.0.2.1", None)
        };
        assert_eq!(of("A k=me:sig").as_deref(), Some("p:me"));
        assert_eq!(of("B you").as_deref(), Some("p:you"));
        assert_eq!(of("C k=me:sig"), None);
        assert_eq!(shown(&by, &HeaderMap::new(), "192.0.2.1", None), None);
    }

    #[test]
    fn who_brings_no_key_counts_by_address_unless_told_otherwise() {
        let user = by("by: user").unwrap();
        let ann = Identity::of("ann", "basic");
        assert_eq!(shown(&user, &HeaderMap::new(), "192.0.2.1", Some(&ann)).as_deref(), Some("p:ann"));
        assert_eq!(shown(&user, &HeaderMap::new(), "192.0.2.1", None).as_deref(), Some("p:client_ip:192.0.2.1"));
        let free = by("{ by: user, otherwise: pass }").unwrap();
        assert_eq!(shown(&free, &HeaderMap::new(), "192.0.2.1", None), None);
    }

    #[test]
    fn keys_in_a_store_are_bounded_and_never_the_counter() {
        let key = |text: &str| Key { kind: 3, text: Cow::Owned(text.as_bytes().to_vec()) };
        assert_eq!(key("a").stored("", KeyForm::Raw, "#").as_slice(), b"a");
        for (text, form) in [
            ("#", KeyForm::Raw),
            ("a", KeyForm::Hashed),
            (&*"x".repeat(257), KeyForm::Raw),
            ("client_ip:192.0.2.1", KeyForm::Raw),
            ("sha256:00", KeyForm::Raw),
        ] {
            let stored = key(text).stored("", form, "#");
            assert!(stored.starts_with(b"sha256:") && stored.len() == 71, "{text}");
        }
        let hashing = Hashing::default();
        let other = Key { kind: 4, text: Cow::Borrowed(b"a") };
        assert_ne!(key("a").hashed(&hashing), other.hashed(&hashing));
    }

    #[test]
    fn mistakes_name_their_key() {
        for (text, at, said) in [
            ("by: { header: X, cookie: y }", "by", "exactly one"),
            ("by: { pattern: '(a)' }", "by", "exactly one"),
            ("by: { user: true, pattern: '(a)' }", "by.pattern", "only a header"),
            ("by: { header: X, pattern: 'a' }", "by.pattern", "no group"),
            ("by: { header: X, pattern: '(' }", "by.pattern", "regular expression"),
            ("by: { cookie: 'a b' }", "by.cookie", "not the name"),
        ] {
            let mistake = by(text).unwrap_err();
            assert_eq!(mistake.path.to_string(), at, "{text}");
            assert!(mistake.message.contains(said), "{text}: {}", mistake.message);
        }
    }
}
