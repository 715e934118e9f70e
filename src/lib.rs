//! Pylon: the one entry point of a shielded cluster.
//!
//! A request goes accept → normalise → route → choose a server → forward → relay → adapt → record; [`proxy`] holds
//! that way. Words, each in one meaning: *listener* (an address clients connect to), *route* (what matches a request and
//! what happens to it), *step* (one thing a route does), *upstream* (a pool), *endpoint* (one of its addresses),
//! *attempt* (one try at an endpoint), *outcome* (how a request ended), *snapshot* (a compiled configuration).
//!
//! # Invariants
//! - [`snapshot::Snapshot::decide`] does no I/O, and is what the data path and [`explain`] both call.
//! - A request runs under one [`snapshot::Snapshot`] from begin to end; a reload swaps the whole.
//! - A configuration that does not compile changes nothing: [`snapshot::compile`] starts, resolves and connects nothing.
//! - Every problem in a configuration is a [`config::Problem`] with the path of its key; one place turns it into a line.
//! - [`step`]s see headers and bodies, never a session; [`config`], [`route`] and [`observe`] know no Pingora type.
//! - No name of a system stands in code: a system is a file in `conf/`.

pub mod admin;
pub mod cli;
pub mod config;
pub mod demo;
pub mod explain;
pub mod instance;
pub mod lifecycle;
pub mod listen;
pub mod observe;
pub mod proxy;
pub mod reload;
pub mod remote;
pub mod route;
pub mod server;
pub mod snapshot;
pub mod step;
pub mod tls;
pub mod upstream;
