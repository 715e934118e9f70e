//! Services that Pylon itself asks: over HTTP for keys, identities and endpoints.

mod http;

pub use http::{HttpClient, HttpError, Opened, Received};
