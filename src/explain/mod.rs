//! Which route a request takes and why, from the same function that decides on the data path: for the command line and the
//! admin port.

mod entry;
mod explained;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use explained::{Explained, Told};

use crate::listen::{Listener, Listeners};
use crate::snapshot::{Request, Snapshot};
use crate::step::dynamic::Arrived;

/// The client where none is given: an address of the documentation's.
pub const CLIENT: &str = "203.0.113.7";
/// The headers that a request may have.
const HEADERS: usize = 100;

/// A request as someone describes it.
#[derive(Debug, Clone)]
pub struct Question {
    /// The method.
    pub method: String,
    /// The URL as a client would write it; its path is taken byte for byte.
    pub url: String,
    /// Headers, each `Name: value`.
    pub headers: Vec<String>,
    /// The client's address.
    pub client: IpAddr,
    /// The listener that it comes in on, by name.
    pub listener: Option<String>,
}

/// A described request, taken apart.
struct Parsed {
    method: Method,
    scheme: &'static str,
    authority: String,
    target: String,
    headers: HeaderMap,
}

impl Parsed {
    /// Where it comes in: at the listener, else where its URL says.
    fn arrived(&self, listener: Option<&Arc<Listener>>) -> Arrived {
        let named = crate::route::host::split_port(&self.authority).1.and_then(|port| port.parse().ok());
        let default = if self.scheme == "https" { 443 } else { 80 };
        match listener {
            Some(listener) => Arrived {
                scheme: if listener.tls.is_some() { "https" } else { "http" },
                port: listener.address.port(),
                address: Some(listener.address.ip()).filter(|address| !address.is_unspecified()),
            },
            None => Arrived { scheme: self.scheme, port: named.unwrap_or(default), address: None },
        }
    }
}

impl Question {
    /// Makes the decision about it.
    ///
    /// # Errors
    /// What is wrong with the description, and what to write.
    pub fn ask(&self, snapshot: &Snapshot, listeners: &Listeners) -> Result<Explained, String> {
        let parsed = self.parse()?;
        let listener = self.listener(listeners, &parsed)?;
        let client = snapshot.trusted().client(self.client, parsed.scheme, &parsed.headers);
        let request = Request {
            method: &parsed.method,
            target: &parsed.target,
            host: &parsed.authority,
            headers: &parsed.headers,
            scheme: client.scheme,
            arrived: parsed.arrived(listener),
            listener: listener.and_then(|l| l.name.as_deref()),
            redirect_to_https: listener.is_some_and(|l| l.redirect_to_https),
        };
        Ok(Explained::new(snapshot, &request, &client))
    }

    /// Checks that it describes a request.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    pub fn check(&self) -> Result<(), String> {
        self.parse().map(drop)
    }

    fn parse(&self) -> Result<Parsed, String> {
        let method = Method::from_bytes(self.method.to_ascii_uppercase().as_bytes())
            .map_err(|_| format!("`{}` is not a method; write one such as GET", self.method))?;
        let (scheme, rest) = match self.url.split_once("://") {
            Some(("http", rest)) => ("http", rest),
            Some(("https", rest)) => ("https", rest),
            _ => return Err(format!("`{}` is not a URL; write http://host/path", self.url)),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if self.headers.len() > HEADERS {
            return Err(format!("there are more than {HEADERS} headers"));
        }
        let mut headers = HeaderMap::new();
        for line in &self.headers {
            let (name, value) =
                line.split_once(':').ok_or_else(|| format!("`{line}` is not a header; write `Name: value`"))?;
            let name: HeaderName = name.trim().parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
            let value =
                HeaderValue::from_str(value.trim()).map_err(|_| format!("`{value}` cannot stand in a header"))?;
            headers.append(name, value);
        }
        if let Ok(host) = HeaderValue::from_str(authority) {
            headers.entry(http::header::HOST).or_insert(host);
        }
        Ok(Parsed { method, scheme, authority: authority.to_owned(), target, headers })
    }

    /// The listener: the one named, else one with the URL's port, else the first general one for the scheme.
    fn listener<'l>(&self, listeners: &'l Listeners, parsed: &Parsed) -> Result<Option<&'l Arc<Listener>>, String> {
        if let Some(name) = &self.listener {
            let found = listeners.all().iter().find(|l| l.name.as_ref() == Some(name));
            let known = listeners.all().iter().filter_map(|l| l.name.as_deref());
            return found.map(Some).ok_or_else(|| crate::config::unknown_name("listener", name, known));
        }
        let port: Option<u16> = crate::route::host::split_port(&parsed.authority).1.and_then(|port| port.parse().ok());
        let tls = parsed.scheme == "https";
        let by_port = listeners.all().iter().find(|l| Some(l.address.port()) == port);
        let general = listeners.all().iter().find(|l| !l.dedicated && l.tls.is_some() == tls);
        Ok(by_port.or(general))
    }
}
