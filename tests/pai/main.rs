//! The PAI system through real sockets: every route and rule of `conf/pai.yaml`, before upstreams that record what they
//! receive.

#[path = "../support/mod.rs"]
mod support;

mod allow_list;
mod bodies;
mod connections;
mod dynamic;
mod errors;
mod etag;
mod forwarding;
mod hardening;
mod in_a_file;
mod legacy;
mod links;
mod location;
mod paths;
mod portal;
mod responses;
mod rewriting;
mod routes;
mod slash;
mod standalone;
mod tls;
mod upgrade;
mod webhdfs;
mod webhdfs_pages;
mod yarn;
mod yarn_pages;
