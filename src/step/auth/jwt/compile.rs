//! Checks what a config file says of tokens.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::discovery::{http_url, place};
use super::keys::KeySet;
use super::remote::{Known, Origin, PAUSE, Remote, RemoteSettings};
use super::verify::{Rules, Wanted};
use super::{Jwt, Keys, Mapping, Remembered, Verified, crypto};
use crate::config::value::Span;
use crate::config::{JwtAlgorithm, JwtSpec, KeyPath, OneOrMany, TokenPlace};
use crate::remote::HttpClient;
use crate::step::Mistake;
use crate::step::auth::AuthScope;

/// How long a key set may take to come.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is fetched: by default, at most and at least.
const REFRESH: Span = Span::from_secs(600);
const REFRESHES: std::ops::RangeInclusive<Span> = Span::from_secs(10)..=Span::from_secs(86_400);
const MOST_LEEWAY: Span = Span::from_secs(600);
/// Tokens that are remembered.
const REMEMBERED: usize = 10_000;
/// What is allowed by default where keys are public.
const PUBLIC: [JwtAlgorithm; 5] =
    [JwtAlgorithm::RS256, JwtAlgorithm::PS256, JwtAlgorithm::ES256, JwtAlgorithm::ES384, JwtAlgorithm::EdDSA];

pub(super) fn compile(spec: &JwtSpec, scope: &AuthScope<'_>) -> Result<Jwt, Vec<Mistake>> {
    crypto::install();
    let mut mistakes = Vec::new();
    let leeway = or_report(leeway(spec.leeway), &mut mistakes);
    let algorithms = or_report(algorithms(&spec.algorithms, spec.secret.is_some()), &mut mistakes);
    let keys = or_report(keys(spec, algorithms.as_deref().unwrap_or_default(), scope), &mut mistakes);
    let challenges = or_report(challenges(spec.realm.as_deref().unwrap_or("pylon")), &mut mistakes);
    if spec.hide.get() && spec.from.iter().any(|place| matches!(place, TokenPlace::Query(_))) {
        let message =
            "a token in the query cannot be hidden from the upstream; take `query` out of `from`, or `hide` out";
        mistakes.push(Mistake::at("hide", message));
    }
    let any = spec.audience.iter().any(|audience| audience == "*");
    if any && spec.audience.len() > 1 {
        mistakes.push(Mistake::at("audience", "`*` stands for all of them; write it alone, or leave it out"));
    }
    let (Some(leeway), Some(algorithms), Some((keys, files)), Some(challenges)) =
        (leeway, algorithms, keys, challenges)
    else {
        return Err(mistakes);
    };
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let most = spec.cache.map_or(REMEMBERED, crate::config::value::Count::as_usize);
    let verified = || Verified((most > 0).then(|| Remembered::new(most)));
    Ok(Jwt {
        keys,
        rules: Rules::new(&Wanted {
            algorithms: &algorithms,
            issuers: &spec.issuer,
            audiences: (!any).then_some(&spec.audience),
            required: &spec.required_claims,
            may_lack_expiry: spec.allow_no_expiry.get(),
            leeway,
        }),
        mapping: Mapping::new(&spec.claims),
        places: if spec.from.is_empty() { vec![TokenPlace::Bearer] } else { spec.from.to_vec() },
        hide: spec.hide.get(),
        known: scope.shared.keep(scope.before, &(spec.clone(), files), verified),
        challenges,
    })
}

fn or_report<T>(checked: Result<T, Mistake>, mistakes: &mut Vec<Mistake>) -> Option<T> {
    checked.map_err(|mistake| mistakes.push(mistake)).ok()
}

/// How far clocks may be apart, in seconds.
pub(in crate::step::auth) fn leeway(span: Option<Span>) -> Result<u64, Mistake> {
    match span {
        Some(span) if span > MOST_LEEWAY => Err(Mistake::at(
            "leeway",
            format!("{span} makes little of when tokens expire; write {MOST_LEEWAY} at most"),
        )),
        span => Ok(span.map_or(30, |span| span.duration().as_secs())),
    }
}

/// The algorithms that are allowed.
pub(in crate::step::auth) fn algorithms(
    wanted: &OneOrMany<JwtAlgorithm>,
    is_shared: bool,
) -> Result<Vec<JwtAlgorithm>, Mistake> {
    let of_secret = |one: JwtAlgorithm| matches!(one, JwtAlgorithm::HS256 | JwtAlgorithm::HS384 | JwtAlgorithm::HS512);
    if wanted.is_empty() {
        return Ok(if is_shared { vec![JwtAlgorithm::HS256] } else { PUBLIC.to_vec() });
    }
    match wanted.iter().find(|one| of_secret(**one) != is_shared) {
        Some(one) if is_shared => Err(Mistake::at(
            "algorithms",
            format!("`{one:?}` needs a public key, and there is a `secret`; write HS256"),
        )),
        Some(one) => {
            let message = format!("`{one:?}` needs a `secret`, and the keys are public; write one such as RS256");
            Err(Mistake::at("algorithms", message))
        }
        None => Ok(wanted.to_vec()),
    }
}

/// The keys, and what the files hold that they come from.
fn keys(spec: &JwtSpec, algorithms: &[JwtAlgorithm], scope: &AuthScope<'_>) -> Result<(Keys, Vec<Vec<u8>>), Mistake> {
    let given = [
        ("jwks", spec.jwks.is_some()),
        ("jwks_file", spec.jwks_file.is_some()),
        ("public_keys", !spec.public_keys.is_empty()),
        ("secret", spec.secret.is_some()),
        ("discover", spec.discover.get()),
    ];
    let mut given = given.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| key);
    let first = given.next();
    if let (Some(first), Some(second)) = (first, given.next()) {
        return Err(Mistake::at(second, format!("`{first}` says already where keys are; keep one of them")));
    }
    let fixed = |keys| Keys::Fixed(Arc::new(Known { keys, generation: 0, metadata: None }));
    match first {
        Some("secret") => {
            let secret = spec.secret.as_ref().map_or("", |secret| secret.expose());
            check_secret(secret, algorithms)?;
            Ok((fixed(KeySet::of_secret(secret.as_bytes())), Vec::new()))
        }
        Some("jwks_file") => {
            let (shown, text) = read("jwks_file", spec.jwks_file.as_deref().unwrap_or_default(), scope)?;
            let keys = KeySet::of_jwks(&text).map_err(|why| {
                Mistake::at(
                    "jwks_file",
                    format!("`{shown}`: {why}; give a file such as {{\"keys\": [{{\"kty\": …}}]}}"),
                )
            })?;
            Ok((fixed(keys), vec![text]))
        }
        Some("public_keys") => public_keys(&spec.public_keys, scope).map(|(keys, files)| (fixed(keys), files)),
        Some("jwks") => {
            let url = http_url(spec.jwks.as_deref().unwrap_or_default()).map_err(|why| Mistake::at("jwks", why))?;
            remote(spec, Origin::Keys(url), scope)
        }
        Some(_) => match &*spec.issuer {
            [issuer] => {
                let url = place(issuer).map_err(|why| Mistake::at("issuer", why))?;
                remote(spec, Origin::Issuer(issuer.clone(), url), scope)
            }
            _ => Err(Mistake::at("discover", "it needs one `issuer`, whose description leads to the keys; name it")),
        },
        None => {
            let message =
                "nothing says where the keys are; add `jwks`, `jwks_file`, `public_keys`, `secret` or `discover`";
            Err(Mistake::new(KeyPath::root(), message))
        }
    }
}

/// The keys of PEM files, and what is in them.
fn public_keys(paths: &[String], scope: &AuthScope<'_>) -> Result<(KeySet, Vec<Vec<u8>>), Mistake> {
    let (mut all, mut files): (Option<KeySet>, _) = (None, Vec::new());
    for (index, path) in paths.iter().enumerate() {
        let (shown, text) = read("public_keys", path, scope)?;
        let keys = KeySet::of_pem(&text).map_err(|why| {
            let at = KeyPath::root().then("public_keys").then(index);
            Mistake::new(at, format!("`{shown}`: {why}; give a PEM file with public keys"))
        })?;
        all = Some(match all {
            Some(before) => before.and(keys),
            None => keys,
        });
        files.push(text);
    }
    all.map(|keys| (keys, files)).ok_or_else(|| Mistake::at("public_keys", "it is empty; name a file"))
}

fn remote(spec: &JwtSpec, origin: Origin, scope: &AuthScope<'_>) -> Result<(Keys, Vec<Vec<u8>>), Mistake> {
    let refresh = spec.refresh.unwrap_or(REFRESH);
    if !REFRESHES.contains(&refresh) {
        let (least, most) = (REFRESHES.start(), REFRESHES.end());
        return Err(Mistake::at("refresh", format!("{refresh} is too often or too rare; write {least} to {most}")));
    }
    let (client, ca) = ca(spec.ca.as_deref(), scope)?;
    let files = ca.iter().cloned().collect();
    let settings = RemoteSettings { origin, ca, refresh: refresh.duration(), timeout: TIMEOUT, pause: PAUSE };
    let make = || Remote::new(settings.clone(), client);
    Ok((Keys::Remote(scope.shared.keep(scope.before, &settings, make)), files))
}

/// A client that believes the authorities of a file, or the system's, and what is in the file.
pub(in crate::step::auth) fn ca(
    path: Option<&str>,
    scope: &AuthScope<'_>,
) -> Result<(HttpClient, Option<Vec<u8>>), Mistake> {
    let path = path.map(|path| (scope.file)(path));
    let client = HttpClient::new(path.as_deref())
        .map_err(|why| Mistake::at("ca", format!("{why}; give a PEM file with the authorities that are believed")))?;
    let text = path.as_deref().map(std::fs::read).transpose();
    let text = text.map_err(|error| Mistake::at("ca", format!("it cannot be read: {error}; mend that")))?;
    Ok((client, text))
}

/// A secret has as many bytes as the hash, at least (RFC 7518 §3.2).
fn check_secret(secret: &str, algorithms: &[JwtAlgorithm]) -> Result<(), Mistake> {
    let least = algorithms.iter().map(|one| match one {
        JwtAlgorithm::HS384 => 48,
        JwtAlgorithm::HS512 => 64,
        _ => 32,
    });
    let least = least.max().unwrap_or(32);
    let length = secret.len();
    if length < least {
        let message = format!(
            "it has {length} bytes, which can be guessed; take {least} at least, as of `openssl rand -hex {least}`"
        );
        return Err(Mistake::at("secret", message));
    }
    Ok(())
}

fn read(key: &str, path: &str, scope: &AuthScope<'_>) -> Result<(String, Vec<u8>), Mistake> {
    let path = (scope.file)(path);
    let shown = Path::display(&path).to_string();
    match std::fs::read(&path) {
        Ok(text) => Ok((shown, text)),
        Err(error) => {
            Err(Mistake::at(key, format!("`{shown}` cannot be read: {error}; mend that, or name another file")))
        }
    }
}

/// What is asked for: where nothing came, and where what came was not good (RFC 6750 §3).
fn challenges(realm: &str) -> Result<[HeaderValue; 2], Mistake> {
    let refused = || Mistake::at("realm", "it has characters that cannot be quoted in a header; write plain text");
    if realm.contains(['"', '\\']) || !realm.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(refused());
    }
    let value = |text: String| HeaderValue::try_from(text).map_err(|_| refused());
    Ok([
        value(format!("Bearer realm=\"{realm}\""))?,
        value(format!("Bearer realm=\"{realm}\", error=\"invalid_token\""))?,
    ])
}
