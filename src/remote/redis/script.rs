//! Scripts that run within a Redis server.

use ::redis::Cmd;

/// A script, which runs as one step of the server.
#[derive(Debug)]
pub struct Script {
    pub(super) text: &'static str,
    /// Its SHA-1, by which the server knows it.
    pub(super) hash: String,
}

impl Script {
    /// A script from its text.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self { text, hash: ::redis::Script::new(text).get_hash().to_owned() }
    }
}

/// The command that runs a script by its text or hash.
pub(super) fn evaluate(name: &str, script: &str, keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
    let mut command = ::redis::cmd(name);
    command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}
