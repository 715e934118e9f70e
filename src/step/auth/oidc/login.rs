//! A sign-in: the browser goes to the provider, and comes back with a code.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use oauth2::PkceCodeVerifier;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::super::jwt::{Known, seconds};
use super::provider::{Failed, Login};
use super::session::Session;
use super::{Asking, Desk, Finding, Here, page, redirect};

/// How long a sign-in may take, in seconds.
const PATIENCE: u64 = 600;
/// Sign-ins of a browser that are begun and not finished; the oldest go.
const MOST: usize = 6;
/// A longer address is not gone back to with its query.
const LONGEST: usize = 1500;
/// The length of a state: 16 random bytes.
const STATE: usize = 22;

/// A sign-in that was begun, in the browser's keeping.
#[derive(Serialize, Deserialize)]
struct Begun {
    #[serde(rename = "s")]
    state: String,
    #[serde(rename = "n")]
    nonce: String,
    #[serde(rename = "v")]
    verifier: String,
    /// The page that was asked for: path and query.
    #[serde(rename = "t")]
    target: String,
    /// In seconds since 1970.
    #[serde(rename = "b")]
    at: u64,
}

/// What a browser brings back. A parameter that comes twice is none.
#[derive(Default)]
struct Back<'a> {
    state: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
    issuer: Option<Cow<'a, str>>,
}

impl<'a> Back<'a> {
    fn read(query: &'a str) -> Option<Self> {
        let mut back = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut back.state,
                "code" => &mut back.code,
                "error" => &mut back.error,
                "iss" => &mut back.issuer,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(back)
    }
}

impl Desk {
    /// What an unfinished sign-in is encrypted for.
    fn purpose_of_login(&self, cookie: &str) -> String {
        format!("login {cookie} {} {}", self.provider.issuer, self.provider.client_id)
    }

    /// Sends a browser to the provider.
    pub(super) async fn begin(&self, asking: &Asking<'_>, here: &Here<'_>) -> Finding {
        let Some(known) = self.provider.remote.known().await else {
            return Finding::Unavailable("the provider has not described itself yet".to_owned());
        };
        let (Some(metadata), Some(state), Some(nonce), Some(verifier)) =
            (&known.metadata, self.seal.random(16), self.seal.random(16), self.seal.random(32))
        else {
            return Finding::Unavailable("there is no randomness".to_owned());
        };
        let now = seconds(asking.now);
        let target = if asking.target.len() > LONGEST { asking.path } else { asking.target };
        let target = if target.len() > LONGEST { "/" } else { target };
        let begun = Begun { state, nonce, verifier, target: target.to_owned(), at: now };
        let verifier = PkceCodeVerifier::new(begun.verifier.clone());
        let login = Login {
            state: begun.state.clone(),
            nonce: &begun.nonce,
            verifier: &verifier,
            redirect: here.url(&self.redirect_path),
        };
        let location = match self.provider.sign_in(metadata, login) {
            Ok(location) => location,
            Err(Failed::Refused(why)) => return Finding::Wrong(why.into()),
            Err(Failed::Unavailable(why)) => return Finding::Unavailable(why),
        };
        let name = here.cookies.login(&begun.state);
        let plain = serde_json::to_vec(&begun).ok();
        let Some(sealed) = plain.and_then(|plain| self.seal.seal(&self.purpose_of_login(&name), &plain)) else {
            return Finding::Unavailable("the sign-in cannot be encrypted".to_owned());
        };
        let mut headers = HeaderMap::new();
        self.tidy(asking, here, now, &mut headers);
        here.cookies.clear(asking, &mut headers);
        here.cookies.put(&name, &sealed, PATIENCE, &mut headers);
        redirect(&location, headers)
    }

    fn read(&self, name: &str, sealed: &str) -> Option<Begun> {
        serde_json::from_slice(&self.seal.open(&self.purpose_of_login(name), sealed)?).ok()
    }

    /// Takes away sign-ins that will not be finished any more, and the oldest where there are many.
    fn tidy(&self, asking: &Asking<'_>, here: &Here<'_>, now: u64, headers: &mut HeaderMap) {
        let mut begun: Vec<(u64, &str)> = here
            .cookies
            .logins(asking)
            .map(|(name, sealed)| (self.read(name, sealed).map_or(0, |begun| begun.at), name))
            .collect();
        begun.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        for (index, (at, name)) in begun.into_iter().enumerate() {
            if index + 1 >= MOST || now.saturating_sub(at) > PATIENCE {
                here.cookies.put(name, "", 0, headers);
            }
        }
    }

    /// A browser comes back from the provider.
    pub(super) async fn finish(&self, asking: &Asking<'_>, here: &Here<'_>) -> Finding {
        let no_way = |headers| page(StatusCode::BAD_REQUEST, "This is not the way back of a sign-in.", headers);
        let Some(back) = Back::read(asking.query()) else { return no_way(HeaderMap::new()) };
        let Some(state) = back.state.as_deref().filter(|state| state.len() == STATE) else {
            return no_way(HeaderMap::new());
        };
        let now = seconds(asking.now);
        let name = here.cookies.login(state);
        let begun = asking.cookie(&name).and_then(|sealed| self.read(&name, sealed));
        let begun = begun.filter(|begun| begun.state == state && now.saturating_sub(begun.at) <= PATIENCE);
        let Some(begun) = begun else {
            let text =
                "This sign-in was not begun in this browser, or too long ago. Please open the page anew that you want.";
            return page(StatusCode::BAD_REQUEST, text, HeaderMap::new());
        };
        let mut headers = HeaderMap::new();
        here.cookies.put(&name, "", 0, &mut headers);
        let Some(known) = self.provider.remote.known().await else {
            return Finding::Unavailable("the provider has not described itself yet".to_owned());
        };
        // RFC 9207: what another provider gave must not be taken to this one.
        let names_itself =
            known.metadata.as_ref().is_some_and(|metadata| metadata.authorization_response_iss_parameter_supported);
        if back.issuer.as_deref().map_or(names_itself, |issuer| issuer != self.provider.issuer) {
            return no_way(headers);
        }
        match (back.error, back.code) {
            (Some(error), _) => refused(&error, headers),
            (None, Some(code)) if !code.is_empty() => {
                self.redeem(asking, here, known, code.into_owned(), &begun, headers).await
            }
            _ => no_way(headers),
        }
    }

    /// Makes a session of a code, and leads the browser back to the page that it asked for.
    async fn redeem(
        &self,
        asking: &Asking<'_>,
        here: &Here<'_>,
        known: Arc<Known>,
        code: String,
        begun: &Begun,
        mut headers: HeaderMap,
    ) -> Finding {
        let verifier = PkceCodeVerifier::new(begun.verifier.clone());
        let tokens = self.provider.redeem(known, code, verifier, here.url(&self.redirect_path), &begun.nonce).await;
        let (tokens, id_token) = match tokens {
            Ok(tokens) => tokens,
            Err(Failed::Unavailable(why)) => return Finding::Unavailable(why),
            Err(Failed::Refused(why)) => {
                tracing::debug!(%why, "a sign-in failed");
                let text = "The provider did not confirm this sign-in. Please open the page anew that you want.";
                return page(StatusCode::BAD_REQUEST, text, headers);
            }
        };
        let Some(id) = self.seal.random(16) else {
            return Finding::Unavailable("there is no randomness".to_owned());
        };
        let session = Session::begin(id, tokens, id_token, seconds(asking.now));
        if let Err(why) = session.identity(&self.mapping) {
            tracing::warn!(%why, "a sign-in does not tell the user");
            let text = "You are signed in at the provider, which does not tell who you are.";
            return page(StatusCode::FORBIDDEN, text, headers);
        }
        if !self.give(asking, here, &session, &mut headers) {
            tracing::warn!("what the provider tells of a user is too long for cookies");
            return page(StatusCode::FORBIDDEN, "The provider tells more of you than a browser can keep.", headers);
        }
        redirect(&here.url(&begun.target), headers)
    }
}

/// The provider sent a browser back without a code (RFC 6749 §4.1.2.1).
fn refused(error: &str, headers: HeaderMap) -> Finding {
    match error {
        "access_denied" => page(StatusCode::FORBIDDEN, "The provider did not let you in.", headers),
        "temporarily_unavailable" | "server_error" => {
            Finding::Unavailable("the provider says that it cannot sign people in at the moment".to_owned())
        }
        _ => page(StatusCode::BAD_REQUEST, "The provider did not finish this sign-in. Please try again.", headers),
    }
}
