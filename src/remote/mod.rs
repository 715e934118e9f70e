//! Services that Pylon itself asks: over HTTP for keys, identities and endpoints, and Redis for counts and keys.

mod http;
mod redis;

pub use http::{HttpClient, HttpError, Received};
pub use redis::{Redis, RedisError, Script};
