//! What the answer of a service that is asked says.

use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, LOCATION, PROXY_AUTHENTICATE, SERVER, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::config::ForwardAuthSpec;
use crate::config::value::HeaderName as Name;
use crate::remote::Received;
use crate::step::auth::{Finding, Proof, Reply};
use crate::step::identity::Identity;
use crate::step::redirect::is_redirect;

/// Bytes of headers that may go on, to the upstream or to the client.
const HEADERS: usize = 16 * 1024;

/// Headers of an answer that are not for the client: they are of the connection, or Pylon's own.
const NOT_HANDED_ON: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    PROXY_AUTHENTICATE,
    SERVER,
    STRICT_TRANSPORT_SECURITY,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// How answers are read.
#[derive(Debug)]
pub(super) struct Reading {
    user: Option<HeaderName>,
    name: Option<HeaderName>,
    mail: Option<HeaderName>,
    groups: Option<HeaderName>,
    separator: String,
    pub(super) pass: Vec<HeaderName>,
    set_cookie: bool,
}

impl Reading {
    pub(super) fn new(spec: &ForwardAuthSpec, pass: Vec<HeaderName>) -> Self {
        let name = |name: &Option<Name>| name.as_ref().map(|name| name.get().clone());
        let separator = spec.group_separator.clone().filter(|separator| !separator.is_empty());
        Self {
            user: name(&spec.user),
            name: name(&spec.name),
            mail: name(&spec.mail),
            groups: name(&spec.groups),
            separator: separator.unwrap_or_else(|| ",".to_owned()),
            pass,
            set_cookie: spec.set_cookie.get(),
        }
    }

    /// What follows of an answer.
    pub(super) fn read(&self, received: Received) -> Finding {
        let status = received.status;
        let finding = if status.is_success() {
            self.passed(&received.headers)
        } else if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || (is_redirect(status) && received.headers.contains_key(LOCATION))
        {
            Ok(handed_on(received))
        } else {
            Err(format!("the service answers {}", status.as_u16()))
        };
        finding.unwrap_or_else(Finding::Unavailable)
    }

    fn passed(&self, headers: &HeaderMap) -> Result<Finding, String> {
        let user = match &self.user {
            None => "anonymous".to_owned(),
            Some(name) => {
                let user = self.only(headers, name)?;
                user.ok_or_else(|| format!("the service lets it pass without `{name}`, which would say who it is"))?
            }
        };
        let some = |name: &Option<HeaderName>| match name {
            Some(name) => self.only(headers, name),
            None => Ok(None),
        };
        let mut groups = Vec::new();
        for line in self.groups.iter().flat_map(|name| headers.get_all(name)) {
            let names = text(line)?.split(self.separator.as_str()).map(str::trim).filter(|group| !group.is_empty());
            groups.extend(names.map(str::to_owned));
        }
        let identity =
            Identity { user, name: some(&self.name)?, mail: some(&self.mail)?, groups, ..Identity::of("", "forward") };
        let mut proof = Proof::of(identity.into());
        proof.hide.extend(self.pass.iter().cloned());
        take(headers, &self.pass, &mut proof.request)?;
        if self.set_cookie {
            take(headers, &[SET_COOKIE], &mut proof.response)?;
        }
        Ok(Finding::Proven(Box::new(proof)))
    }

    /// The text of a header that comes once, if at all.
    #[allow(clippy::unused_self, reason = "it reads")]
    fn only(&self, headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, String> {
        let mut lines = headers.get_all(name).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Ok(None),
            (Some(line), None) => {
                let text = text(line)?.trim();
                Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
            }
            (Some(_), Some(_)) => Err(format!("the service gives `{name}` twice")),
        }
    }
}

fn text(value: &HeaderValue) -> Result<&str, String> {
    std::str::from_utf8(value.as_bytes())
        .map_err(|_| "the service says who it is in bytes that are no UTF-8".to_owned())
}

/// Takes headers over, as many as an upstream or a client can take.
fn take(from: &HeaderMap, names: &[HeaderName], into: &mut HeaderMap) -> Result<(), String> {
    let mut size = 0;
    for name in names {
        for value in from.get_all(name) {
            size += name.as_str().len() + value.len();
            if size > HEADERS {
                return Err(format!("the service gives more than {HEADERS} bytes of headers to hand on"));
            }
            into.append(name.clone(), value.clone());
        }
    }
    Ok(())
}

/// An answer for the client.
fn handed_on(received: Received) -> Finding {
    let Received { status, mut headers, body } = received;
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let more = ["keep-alive", "proxy-connection", "alt-svc"].map(HeaderName::from_static);
    for name in NOT_HANDED_ON.iter().chain(&more).chain(&named) {
        headers.remove(name);
    }
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > HEADERS {
        return Finding::Unavailable(format!("the service gives more than {HEADERS} bytes of headers to hand on"));
    }
    Finding::Answer(Box::new(Reply { status, headers, body }))
}
