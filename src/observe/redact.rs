//! Secrets out of queries, before they are logged.

use std::borrow::Cow;

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// Parts of names whose values are secrets more often than not; compared without `-` and `_`, in lower case.
const SECRET: [&str; 16] = [
    "token",
    "secret",
    "passw",
    "pwd",
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
const SECRET_NAMES: [&str; 5] = ["code", "key", "sig", "sid", "state"];

/// Whether a parameter of this name holds a secret. `more` are further names, in lower case.
fn is_secret(name: &str, more: &[String]) -> bool {
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
    let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    SECRET.iter().any(|part| bare.contains(part)) || SECRET_NAMES.contains(&bare.as_str()) || more.contains(&name)
}

/// A query with the values of secrets blotted out. `more` are further names of secrets, in lower case.
#[must_use]
pub fn query<'q>(query: &'q str, more: &[String]) -> Cow<'q, str> {
    let hides = |pair: &str| pair.split_once('=').is_some_and(|(name, _)| is_secret(name, more));
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
            ("", ""),
        ] {
            assert_eq!(query(given, &["own".to_owned()]), shown);
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
