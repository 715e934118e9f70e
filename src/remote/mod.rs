//! Services that Pylon itself asks: over HTTP for keys, identities and endpoints.

mod http;
mod redis;

pub use http::{HttpClient, HttpError, Opened, Received, tls_config};
pub use redis::{Redis, RedisError, Script};
