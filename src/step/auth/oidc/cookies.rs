//! The cookies of a sign-in: those of its session, in as many parts as browsers need, and one for each sign-in that was
//! begun and is not finished.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue};

use crate::step::auth::Asking;
use crate::step::cookies;

/// The bytes of a value: with name and attributes, browsers take 4096.
const LONGEST: usize = 3700;
/// The parts of a session; servers refuse longer header sections.
const MOST: usize = 8;
/// So much of a state names its cookie.
const NAMED: usize = 12;

/// The cookies of a scheme.
#[derive(Debug)]
pub(super) struct Cookies {
    /// The session's name; in parts, `NAME.0` and so on.
    session: String,
    /// What the names of unfinished sign-ins begin with.
    login: String,
    attributes: &'static str,
}

impl Cookies {
    pub(super) fn new(name: Option<&str>, is_https: bool) -> Self {
        let session = name.unwrap_or(if is_https { "__Host-pylon-session" } else { "pylon-session" }).to_owned();
        Self {
            login: format!("{session}.login."),
            attributes: if is_https {
                "; Path=/; Secure; HttpOnly; SameSite=Lax"
            } else {
                "; Path=/; HttpOnly; SameSite=Lax"
            },
            session,
        }
    }

    /// The name of the session.
    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// The name for a sign-in that was begun.
    pub(super) fn login(&self, state: &str) -> String {
        format!("{}{}", self.login, state.get(..NAMED).unwrap_or(state))
    }

    /// The value of the session, put together.
    pub(super) fn read<'a>(&self, asking: &Asking<'a>) -> Option<Cow<'a, str>> {
        if let Some(whole) = asking.cookie(&self.session) {
            return Some(whole.into());
        }
        let part = |index: usize| asking.cookie(&format!("{}.{index}", self.session));
        let (count, first) = part(0)?.split_once('.')?;
        let count = count.parse().ok().filter(|count| (2..=MOST).contains(count))?;
        let mut value = first.to_owned();
        for index in 1..count {
            value.push_str(part(index)?);
        }
        Some(value.into())
    }

    /// Whether there is anything of a session, sound or not.
    pub(super) fn has_session(&self, asking: &Asking<'_>) -> bool {
        of_request(asking.headers).any(|(name, _)| self.is_session(name))
    }

    /// Sets the session, and takes away what is left of another; false where it is too long.
    pub(super) fn set(&self, asking: &Asking<'_>, value: &str, seconds: u64, response: &mut HeaderMap) -> bool {
        let parts: Vec<&str> = value.as_bytes().chunks(LONGEST).filter_map(|part| str::from_utf8(part).ok()).collect();
        let mut names = Vec::new();
        if let [whole] = parts.as_slice() {
            self.put(&self.session, whole, seconds, response);
            names.push(self.session.clone());
        } else if parts.len() <= MOST {
            for (index, part) in parts.iter().enumerate() {
                let name = format!("{}.{index}", self.session);
                let value = if index == 0 { format!("{}.{part}", parts.len()) } else { (*part).to_owned() };
                self.put(&name, &value, seconds, response);
                names.push(name);
            }
        } else {
            return false;
        }
        for (name, _) in of_request(asking.headers).filter(|(name, _)| self.is_session(name)) {
            if !names.iter().any(|set| set == name) {
                self.put(name, "", 0, response);
            }
        }
        true
    }

    /// Takes the session away.
    pub(super) fn clear(&self, asking: &Asking<'_>, response: &mut HeaderMap) {
        for (name, _) in of_request(asking.headers).filter(|(name, _)| self.is_session(name)) {
            self.put(name, "", 0, response);
        }
    }

    /// Sets a cookie for so long; 0 takes it away.
    pub(super) fn put(&self, name: &str, value: &str, seconds: u64, response: &mut HeaderMap) {
        let mut text = String::with_capacity(name.len() + value.len() + 64);
        let _ = write!(text, "{name}={value}{}; Max-Age={seconds}", self.attributes);
        if let Ok(value) = HeaderValue::try_from(text) {
            response.append(http::header::SET_COOKIE, value);
        }
    }

    /// The sign-ins that were begun and are not finished, by name and value.
    pub(super) fn logins<'a>(&'a self, asking: &Asking<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
        of_request(asking.headers).filter(|(name, _)| name.starts_with(&self.login))
    }

    fn is_session(&self, name: &str) -> bool {
        match name.strip_prefix(self.session.as_str()) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('.').is_some_and(|part| part.parse::<u8>().is_ok()),
            None => false,
        }
    }
}

fn of_request(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let text = std::str::from_utf8;
    cookies::pairs(headers).filter_map(move |(name, value)| Some((text(name).ok()?, text(value).ok()?)))
}
