//! Checks what a configuration says of cookies.

use std::collections::BTreeSet;

use regex_automata::meta::Regex;
use ring::hmac;

use super::format::Format;
use super::{AuthScope, Cookie, Mistake, Part, Piece, SignedCookie, Text};
use crate::config::value::{Secret, is_cookie_name};
use crate::config::{CookieEncoding, CookieHash, CookiePartSpec, CookieSpec, KeyPath, SignedCookieSpec};

/// The fewest bytes of a key.
const KEY: usize = 16;

pub(super) fn compile(spec: &SignedCookieSpec, scope: &AuthScope<'_>) -> Result<SignedCookie, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let keys = keys(&spec.secret, spec.hash.unwrap_or_default(), &mut mistakes);
    let mut cookies: Vec<Cookie> = Vec::new();
    if spec.cookies.is_empty() {
        mistakes.push(Mistake::at("cookies", "there is none; list the cookies that are signed"));
    }
    for (index, one) in spec.cookies.iter().enumerate() {
        let at = KeyPath::root().then("cookies").then(index);
        let mut found = Vec::new();
        let cookie = cookie(one, &cookies, scope.captures, &mut found);
        mistakes.extend(found.into_iter().map(|mistake| Mistake::new(at.join(&mistake.path), mistake.message)));
        cookies.push(cookie);
    }
    if spec.cookies.iter().all(|cookie| cookie.optional.0) && !spec.cookies.is_empty() {
        let message = "all of them are optional; one must be there to prove who asks, remove `optional` from it";
        mistakes.push(Mistake::at("cookies", message));
    }
    if spec.user.is_empty() {
        mistakes.push(Mistake::at("user", "it is missing; write a template with a field that is signed: `{auth.u}`"));
    }
    let mut text = |key: &str, text: &str| {
        Text::parse(text, &cookies).map_err(|message| mistakes.push(Mistake::at(key, message))).ok()
    };
    let user: Vec<Text> = spec.user.iter().filter_map(|one| text("user", one)).collect();
    let name = spec.name.as_deref().and_then(|one| text("name", one));
    let mail = spec.mail.as_deref().and_then(|one| text("mail", one));
    let groups = spec.groups.as_deref().and_then(|one| text("groups", one));
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let hide = spec.hide.as_deref().map(Into::into);
    let signature = spec.signature_encoding.unwrap_or_default();
    Ok(SignedCookie { keys, signature, cookies, user, name, mail, groups, hide })
}

fn keys(secrets: &[Secret], hash: CookieHash, mistakes: &mut Vec<Mistake>) -> Vec<hmac::Key> {
    let algorithm = match hash {
        CookieHash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        CookieHash::Sha256 => hmac::HMAC_SHA256,
        CookieHash::Sha512 => hmac::HMAC_SHA512,
    };
    if secrets.is_empty() {
        mistakes.push(Mistake::at("secret", "it is missing; write the key of the signatures, best as `${file:…}`"));
    }
    if secrets.iter().any(|secret| secret.expose().len() < KEY) {
        let message =
            format!("it is shorter than {KEY} bytes and could be guessed; use a longer one where cookies are signed");
        mistakes.push(Mistake::at("secret", message));
    }
    secrets.iter().map(|secret| hmac::Key::new(algorithm, secret.expose().as_bytes())).collect()
}

fn cookie(spec: &CookieSpec, before: &[Cookie], captures: &[String], mistakes: &mut Vec<Mistake>) -> Cookie {
    let name = name(&spec.name, captures).map_err(|message| mistakes.push(Mistake::at("name", message)));
    let name = name.unwrap_or_default();
    let alias = spec.alias.as_ref().unwrap_or(&spec.name).clone();
    if !is_cookie_name(&alias) || alias.contains('.') {
        let message = format!("`{alias}` cannot stand before the name of a field; write `as` with letters and digits");
        mistakes.push(Mistake::at("as", message));
    }
    if before.iter().any(|cookie| cookie.alias == alias) {
        mistakes.push(Mistake::at("as", format!("`{alias}` is what another cookie is called; choose another `as`")));
    }
    let format = format(spec, mistakes);
    if spec.signature.is_empty() {
        mistakes.push(Mistake::at("signature", "it is missing; write the name of the field that holds the signature"));
    }
    let mut signed = Vec::new();
    for (index, one) in spec.signed.iter().enumerate() {
        match part(one, spec, before, captures) {
            Ok(part) => signed.push(part),
            Err(message) => mistakes.push(Mistake::new(KeyPath::root().then("signed").then(index), message)),
        }
    }
    ends_of_times(spec, &signed, mistakes);
    let own: BTreeSet<&str> = signed.iter().filter_map(Part::own).collect();
    if own.is_empty() {
        let message =
            "no field of this cookie is signed, so that anybody could change it; list what the signature is over";
        mistakes.push(Mistake::at("signed", message));
    }
    let mut is_signed = |key: &str, field: &str| {
        if !own.contains(field) {
            let message = format!("`{field}` is not in `signed`, so that anybody could change it");
            mistakes.push(Mistake::at(key, message));
        }
    };
    spec.issued.iter().for_each(|field| is_signed("issued", field));
    spec.expires.iter().for_each(|field| is_signed("expires", field));
    spec.matches.keys().for_each(|field| is_signed("matches", field));
    if spec.issued.is_some() != spec.max_age.is_some() {
        let (there, missing) = if spec.issued.is_some() { ("issued", "max_age") } else { ("max_age", "issued") };
        mistakes.push(Mistake::at(missing, format!("there is `{there}` without it; write both")));
    }
    let claims = own.iter().map(|field| ((*field).to_owned(), format!("{alias}.{field}"))).collect();
    Cookie {
        matches: matches(spec, mistakes),
        issued: spec.issued.clone().zip(spec.max_age.map(Into::into)),
        expires: spec.expires.clone(),
        join: spec.join.clone(),
        signature: spec.signature.clone(),
        optional: spec.optional.0,
        name,
        alias,
        format,
        claims,
        signed,
    }
}

impl Part {
    fn own(&self) -> Option<&str> {
        match self {
            Self::Own(field) => Some(field),
            _ => None,
        }
    }
}

/// A time can have more or fewer digits at its end: what is signed behind it could give it some, or take them.
fn ends_of_times(spec: &CookieSpec, signed: &[Part], mistakes: &mut Vec<Mistake>) {
    let is_time = |field: &str| [&spec.issued, &spec.expires].into_iter().flatten().any(|time| time == field);
    let could_go_on = |c: char| c.is_ascii_digit() || ".:+-Zz".contains(c);
    for (index, part) in signed.iter().enumerate() {
        let Some(field) = part.own().filter(|field| is_time(field)) else { continue };
        let mut behind = signed[index + 1..].iter().filter(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        let is_open = match behind.next() {
            None => false,
            Some(Part::Text(text)) => text.starts_with(could_go_on),
            Some(_) => true,
        };
        if is_open && spec.join.is_empty() && !spec.matches.contains_key(field) {
            let message = format!(
                "it is missing, so that digits can move between the time `{field}` and what is signed behind it; write what \
                 stands between them, or in `matches` how `{field}` looks: `[0-9]{{10}}`"
            );
            mistakes.push(Mistake::at("join", message));
        }
    }
}

fn matches(spec: &CookieSpec, mistakes: &mut Vec<Mistake>) -> Vec<(String, Regex)> {
    let mut found = Vec::new();
    for (field, text) in &spec.matches {
        // By itself first: an expression that closes a group too many must not change what stands around it.
        let (alone, whole) = (Regex::new(text), Regex::new(&format!(r"\A(?:{text})\z")));
        match (alone, whole) {
            (Ok(_), Ok(regex)) => found.push((field.clone(), regex)),
            (Err(error), _) | (_, Err(error)) => {
                let path = KeyPath::root().then("matches").then(field.as_str());
                let why = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
                mistakes.push(Mistake::new(path, format!("`{text}` is not a regular expression: {why}")));
            }
        }
    }
    found
}

fn format(spec: &CookieSpec, mistakes: &mut Vec<Mistake>) -> Format {
    let default = if spec.fields.is_empty() { CookieEncoding::Base64Json } else { CookieEncoding::Plain };
    let percent = match spec.encoding.unwrap_or(default) {
        encoding @ (CookieEncoding::Base64Json | CookieEncoding::Base64urlJson) => {
            for (key, set) in [("fields", !spec.fields.is_empty()), ("separator", spec.separator.is_some())] {
                if set {
                    mistakes.push(Mistake::at(key, format!("JSON names its fields itself; remove `{key}`")));
                }
            }
            return Format::Json { url: encoding == CookieEncoding::Base64urlJson };
        }
        CookieEncoding::Plain => false,
        CookieEncoding::Percent => true,
    };
    let separator = spec.separator.clone().unwrap_or_else(|| "|".to_owned());
    if separator.is_empty() {
        mistakes.push(Mistake::at("separator", "it is empty; write what stands between the fields"));
    }
    let names: BTreeSet<&String> = spec.fields.iter().collect();
    if !(2..=32).contains(&spec.fields.len()) || names.len() < spec.fields.len() {
        mistakes.push(Mistake::at("fields", "write 2 to 32 names, each once, in the order of the fields"));
    }
    if !spec.signature.is_empty() && !spec.fields.contains(&spec.signature) {
        let message = format!("`{}` is none of `fields`; write one of them", spec.signature);
        mistakes.push(Mistake::at("signature", message));
    }
    Format::Plain { fields: spec.fields.clone(), separator, percent }
}

/// A name with captures.
fn name(text: &str, captures: &[String]) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut left = text;
    while let Some((before, rest)) = left.split_once('{') {
        let (capture, after) =
            rest.split_once('}').ok_or_else(|| format!("`{text}` has a brace that is not closed"))?;
        known(capture, captures)?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(Piece::Capture(capture.to_owned()));
        left = after;
    }
    if !left.is_empty() {
        pieces.push(Piece::Text(left.to_owned()));
    }
    let is_name = |piece: &Piece| !matches!(piece, Piece::Text(text) if !is_cookie_name(text));
    if pieces.is_empty() || !pieces.iter().all(is_name) {
        return Err(format!("`{text}` is not the name of a cookie; write letters, digits, `-` and `_`"));
    }
    Ok(pieces)
}

fn known(capture: &str, captures: &[String]) -> Result<(), String> {
    if captures.iter().any(|known| known == capture) {
        return Ok(());
    }
    Err(format!("the path captures no `{capture}`; write `{{{capture}}}` where it stands in `path`"))
}

fn part(spec: &CookiePartSpec, of: &CookieSpec, before: &[Cookie], captures: &[String]) -> Result<Part, String> {
    match (&spec.field, &spec.cookie, &spec.text, &spec.capture) {
        (Some(field), None, None, None) if *field == of.signature => {
            Err(format!("`{field}` is the signature, which cannot be over itself; remove it"))
        }
        (Some(field), None, None, None) => {
            if !of.fields.is_empty() && !of.fields.contains(field) {
                return Err(format!("`{field}` is none of `fields`; write one of them"));
            }
            Ok(Part::Own(field.clone()))
        }
        (Some(field), Some(alias), None, None) => {
            let (index, cookie) = earlier(alias, before)?;
            // The signature has no name of its own here: it is taken as it was checked.
            if *field == cookie.signature {
                return Ok(Part::Earlier(index, String::new()));
            }
            signed_field(cookie, field).map(|field| Part::Earlier(index, field))
        }
        (None, None, Some(text), None) => Ok(Part::Text(text.clone())),
        (None, None, None, Some(capture)) => known(capture, captures).map(|()| Part::Capture(capture.clone())),
        _ => Err("write the name of a field, `{ text: … }` or `{ capture: … }`".to_owned()),
    }
}

fn earlier<'c>(alias: &str, before: &'c [Cookie]) -> Result<(usize, &'c Cookie), String> {
    let found = before.iter().enumerate().find(|(_, cookie)| cookie.alias == alias);
    found.ok_or_else(|| {
        let names: Vec<String> = before.iter().map(|cookie| format!("`{}`", cookie.alias)).collect();
        let there =
            if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
        format!("`{alias}` is not an earlier cookie; {there}, and a field with a dot is written `{{ field: … }}`")
    })
}

fn signed_field(cookie: &Cookie, field: &str) -> Result<String, String> {
    if cookie.signed.iter().filter_map(Part::own).any(|known| known == field) {
        return Ok(field.to_owned());
    }
    Err(format!("`{field}` is not signed in `{}`, so that anybody could change it; name a field that is", cookie.alias))
}

impl Text {
    fn parse(text: &str, cookies: &[Cookie]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut left = text;
        while let Some((before, rest)) = left.split_once('{') {
            let (place, after) =
                rest.split_once('}').ok_or_else(|| format!("`{text}` has a brace that is not closed"))?;
            let (alias, field) = place
                .split_once('.')
                .ok_or_else(|| format!("`{{{place}}}` names no cookie; write one such as `{{auth.u}}`"))?;
            let (index, cookie) =
                earlier(alias, cookies).map_err(|_| format!("`{alias}` is none of the cookies here"))?;
            pieces.push((before.to_owned(), Some((index, signed_field(cookie, field)?))));
            left = after;
        }
        if pieces.is_empty() {
            return Err(format!("`{text}` is the same for all; write a field that is signed, such as `{{auth.u}}`"));
        }
        pieces.push((left.to_owned(), None));
        Ok(Self { pieces })
    }
}
