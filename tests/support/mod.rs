//! The language of these tests: upstreams that remember, the real Pylon before them, and a client that sends bytes as told.
#![allow(dead_code, unused_imports, reason = "each test file speaks its own part of this language")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string,
    clippy::doc_markdown,
    reason = "a harness that cannot go on fails its test; its strings are short"
)]

mod cluster;
mod door;
mod endpoint;
mod pylon;
mod reply;
mod response;
mod table;
mod tls;
mod upstream;
mod wire;

pub(crate) use cluster::Cluster;
pub(crate) use door::{Connection, Door, Request};
pub(crate) use endpoint::{EMPTY_HASH, Endpoint, Seen, hash};
pub(crate) use pylon::{Ended, Launch, Pylon, free_port};
pub(crate) use reply::{Reply, Tap, gzip, reply};
pub(crate) use response::Response;
pub(crate) use table::sides;
pub(crate) use tls::Certificate;
pub(crate) use upstream::Upstream;
pub(crate) use wire::{End, Gone, Head, Headers, eventually, latin1, within};
