//! Secrets out of queries, before they are logged.

use std::borrow::Cow;

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// Parts of names whose values are secrets more often than not; compared without `-` and `_`, in lower case.
const SECRET: [&str; 19] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "passcode",
    "pwd",
    "saml",
    "apikey",
    "accesskey",
    "privatekey",
    "auth",
    "credential",
    "signature",
    "session",
    "jwt",
    "assertion",
    "cookie",
    "delegation",
    "ticket",
];
/// Names that are secrets only when they are the whole name.
const SECRET_NAMES: [&str; 8] = ["code", "key", "sig", "sid", "state", "pass", "pin", "otp"];
/// A name can be encoded so often before it is not looked at any more.
const LAYERS: usize = 4;

/// Whether a parameter of this name holds a secret. `more` are further names, in lower case.
fn is_secret(name: &str, more: &[String]) -> bool {
    let name = decoded(name).to_ascii_lowercase();
    let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    SECRET.iter().any(|part| bare.contains(part)) || SECRET_NAMES.contains(&bare.as_str()) || more.contains(&name)
}

/// A text without its layers of percent-encoding.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..LAYERS {
        let next = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// Whether a value is itself a URL, or a part of one, that holds a secret.
fn holds_secret(value: &str, more: &[String]) -> bool {
    let value = decoded(value);
    let mut pairs = value.split(['?', '&', ';', '#']).filter_map(|pair| pair.split_once('='));
    pairs.any(|(name, _)| is_secret(name, more))
}

/// A path with secret parameters in it (`/a;jsessionid=1`) cut off before them.
#[must_use]
pub fn path<'p>(path: &'p str, more: &[String]) -> Cow<'p, str> {
    if memchr::memchr2(b';', b'%', path.as_bytes()).is_none() {
        return Cow::Borrowed(path);
    }
    let plain = decoded(path);
    match plain.split_once([';', '?']) {
        Some((_, rest)) if holds_secret(rest, more) => {
            let end = path.find([';', '%']).unwrap_or(path.len());
            Cow::Owned(format!("{};{HIDDEN}", &path[..end]))
        }
        _ => Cow::Borrowed(path),
    }
}

/// A query with the values of secrets blotted out. `more` are further names of secrets, in lower case.
#[must_use]
pub fn query<'q>(query: &'q str, more: &[String]) -> Cow<'q, str> {
    let hides = |pair: &str| {
        pair.split_once('=').is_some_and(|(name, value)| is_secret(name, more) || holds_secret(value, more))
    };
    if !query.split(['&', ';']).any(hides) {
        return Cow::Borrowed(query);
    }
    let mut out = String::with_capacity(query.len());
    for piece in query.split_inclusive(['&', ';']) {
        let (pair, end) = match piece.strip_suffix(['&', ';']) {
            Some(pair) => (pair, &piece[pair.len()..]),
            None => (piece, ""),
        };
        match pair.split_once('=') {
            Some((name, _)) if hides(pair) => {
                out.push_str(name);
                out.push('=');
                out.push_str(HIDDEN);
            }
            _ => out.push_str(pair),
        }
        out.push_str(end);
    }
    Cow::Owned(out)
}

/// A URL, or a part of one, with secrets blotted out: those in its query, and a password before its host. Its fragment goes.
#[must_use]
pub fn url<'u>(url: &'u str, more: &[String]) -> Cow<'u, str> {
    let whole = url.split_once('#').map_or(url, |(before, _)| before);
    let (path, asked) = whole.split_once('?').map_or((whole, None), |(path, asked)| (path, Some(asked)));
    let authority = path.split_once("://").map(|(scheme, rest)| (scheme, rest.split('/').next().unwrap_or_default()));
    let user = authority.and_then(|(scheme, authority)| Some((scheme, authority.rsplit_once('@')?.0)));
    let path = match user {
        Some((scheme, user)) => {
            let rest = &path[scheme.len() + 3 + user.len()..];
            Cow::Owned(format!("{scheme}://{HIDDEN}{rest}"))
        }
        None => Cow::Borrowed(path),
    };
    match (asked.map(|asked| query(asked, more)), path) {
        (None, path) => path,
        (Some(Cow::Borrowed(_)), Cow::Borrowed(_)) => Cow::Borrowed(whole),
        (Some(asked), path) => Cow::Owned(format!("{path}?{asked}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blotted_out() {
        for (given, shown) in [
            ("op=LISTSTATUS&user.name=me", "op=LISTSTATUS&user.name=me"),
            ("op=OPEN&delegation=HAAEa&x=1", "op=OPEN&delegation=***&x=1"),
            ("Access_Token=abc;b=2", "Access_Token=***;b=2"),
            ("%74oken=abc", "%74oken=***"),
            ("a=token&token", "a=token&token"),
            ("X-Amz-Signature=ff&X-Amz-Date=1", "X-Amz-Signature=***&X-Amz-Date=1"),
            ("code=4/0Ab&monkey=3", "code=***&monkey=3"),
            ("own=1&password==&", "own=***&password=***&"),
            ("pin=1&otp=2&SAMLResponse=x&opinion=3", "pin=***&otp=***&SAMLResponse=***&opinion=3"),
            ("p%2561ssword=1", "p%2561ssword=***"),
            ("next=https%3A%2F%2Fh%2F%3Ftoken%3D1&x=%2Fa%3Fb%3D1", "next=***&x=%2Fa%3Fb%3D1"),
            ("", ""),
        ] {
            assert_eq!(query(given, &["own".to_owned()]), shown);
        }
    }

    #[test]
    fn paths_lose_what_is_secret_in_them() {
        for (given, shown) in [
            ("/a;jsessionid=1/b", "/a;***"),
            ("/a%3Ftoken=1", "/a;***"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/token/x", "/token/x"),
        ] {
            assert_eq!(path(given, &[]), shown);
        }
    }

    #[test]
    fn urls_lose_passwords_and_fragments() {
        for (given, shown) in [
            ("https://me:pw@host/a?token=1#x", "https://***@host/a?token=***"),
            ("https://host/a?b=1", "https://host/a?b=1"),
            ("/a@b://c@d", "/a@b://***@d"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(url(given, &[]), shown);
        }
    }
}
