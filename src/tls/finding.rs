//! What is wrong with the TLS part of a listener, or worth knowing.

use crate::config::KeyPath;

/// One thing to say about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key.
    pub path: KeyPath,
    /// What it is, and the cure.
    pub message: String,
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What cannot be served.
    pub problems: Vec<Finding>,
    /// What is served all the same.
    pub warnings: Vec<Finding>,
}

impl Findings {
    /// Adds what cannot be served.
    pub(super) fn problem(&mut self, path: KeyPath, message: impl Into<String>) {
        self.problems.push(Finding { path, message: message.into() });
    }

    /// Adds what is served all the same.
    pub(super) fn warning(&mut self, path: KeyPath, message: impl Into<String>) {
        self.warnings.push(Finding { path, message: message.into() });
    }

    /// The value of a result; a problem where there is none.
    pub(super) fn good<T>(&mut self, path: KeyPath, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.problem(path, message)).ok()
    }
}
