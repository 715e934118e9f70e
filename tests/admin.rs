//! The admin port of a running Pylon, asked byte for byte, and the verbs that ask it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that cannot go on fails its test")]

#[path = "admin/access.rs"]
mod access;
#[path = "admin/answers.rs"]
mod answers;
#[path = "admin/draining.rs"]
mod draining;
#[path = "admin/limits.rs"]
mod limits;
#[path = "admin/records.rs"]
mod records;
#[path = "reload/running.rs"]
#[allow(dead_code, reason = "it serves the tests of reloads, too")]
mod running;
#[path = "support/schema.rs"]
mod schema;
mod support;
#[path = "admin/talk.rs"]
mod talk;
#[path = "admin/verbs.rs"]
mod verbs;
