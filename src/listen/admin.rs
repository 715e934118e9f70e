//! The admin port's part of a configuration, checked.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Listener;
use crate::config::{KeyPath, Loaded, Report};

/// The shortest token.
const TOKEN: usize = 16;

/// The address of the admin port, where there is one.
pub(super) fn check(loaded: &Loaded, listeners: &[Arc<Listener>], report: &mut Report) -> Option<SocketAddr> {
    let admin = loaded.process.admin.as_ref()?;
    let (address, at) = (admin.address.socket(), KeyPath::root().then("admin").then("token"));
    if loaded.is_empty_file(&at) {
        // Not as if there were none: that would let everyone in.
        let message = "the file of the token is empty; fill it with what `openssl rand -hex 32` prints";
        report.push(loaded.problem_at(0, at, message));
        return Some(address);
    }
    let mut problem = |key: &str, message: String| {
        report.push(loaded.problem_at(0, KeyPath::root().then("admin").then(key), message));
    };
    if !address.ip().is_loopback() && admin.token.is_none() {
        let message = format!(
            "`{address}` is open to other machines, and without a token to everyone on them; write 127.0.0.1:{}, or add \
             `token: \"${{file:/run/secrets/pylon-admin}}\"`",
            address.port()
        );
        problem("address", message);
    }
    if listeners.iter().any(|listener| listener.address == address && address.port() != 0) {
        problem("address", format!("`{address}` is the address of a listener; choose another port"));
    }
    if let Some(token) = &admin.token {
        let token = token.expose();
        if token.len() < TOKEN {
            let message = format!("the token is shorter than {TOKEN} characters; make one with `openssl rand -hex 32`");
            problem("token", message);
        }
        // RFC 6750 §2.1: other bytes cannot be sent behind `Bearer`.
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message =
                "the token holds blanks or characters that no header can carry; make one with `openssl rand -hex 32`";
            problem("token", message.to_owned());
        }
    }
    Some(address)
}
