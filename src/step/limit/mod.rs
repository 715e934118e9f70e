//! `limit`: how many requests may pass, in a time or at once.

use http::{HeaderMap, StatusCode};

use super::Mistake;
use super::auth::{Asking, AuthScope};
use super::identity::Identity;
use crate::config::LimitSpec;

/// The limits of a route.
#[derive(Debug)]
pub struct Limits {}

/// A request that passed its limits; what it holds of them is given back when this is dropped.
#[derive(Debug)]
pub struct Pass {
    /// Headers that the client gets.
    pub response: HeaderMap,
}

impl Pass {
    /// The upstream answered: what is counted only now is counted, by whether it accepted the request.
    pub fn answered(&mut self, _status: StatusCode) {}
}

/// A request that does not pass.
#[derive(Debug)]
pub struct Exceeded {
    /// 429, or 503 where a limit cannot be checked and is closed then.
    pub status: StatusCode,
    /// Headers that the client gets, `Retry-After` among them.
    pub response: HeaderMap,
    /// The body and its media type, where the limit has one of its own.
    pub body: Option<(String, &'static str)>,
    /// Which limit, for the log.
    pub reason: String,
}

impl Limits {
    /// Compiles the limits of a route.
    ///
    /// # Errors
    /// All mistakes, below `limit`.
    pub fn compile(_specs: &[&LimitSpec], _route: &str, _scope: &AuthScope<'_>) -> Result<Self, Vec<Mistake>> {
        Ok(Self {})
    }

    /// Lets a request pass, or not.
    ///
    /// # Errors
    /// What was exceeded.
    pub async fn admit(&self, _asking: &Asking<'_>, _identity: Option<&Identity>) -> Result<Box<Pass>, Box<Exceeded>> {
        Ok(Box::new(Pass { response: HeaderMap::new() }))
    }
}
