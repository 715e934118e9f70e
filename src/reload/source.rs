//! Where a configuration comes from, and which files it is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::config::{Env, Loaded, Report, load, load_system};
use crate::listen::tls_files;

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A built-in system, from variables: those given, or else the environment.
    System {
        /// Its name.
        name: String,
        /// What stands for the environment.
        variables: Option<BTreeMap<String, String>>,
    },
}

impl Source {
    /// A built-in system, from the environment.
    #[must_use]
    pub fn system(name: &str) -> Self {
        Self::System { name: name.to_owned(), variables: None }
    }

    /// Reads it.
    ///
    /// # Errors
    /// All problems, each with its place.
    pub fn load(&self) -> Result<Loaded, Report> {
        match self {
            Self::File(path) => load(path, &Env),
            Self::System { name, variables: Some(variables) } => load_system(name, variables),
            Self::System { name, variables: None } => load_system(name, &Env),
        }
    }
}

impl Source {
    /// A hash of what its files hold now, and of which files there are. `others` are globs of files besides the first.
    #[must_use]
    pub fn fingerprint(&self, others: &[PathBuf]) -> u64 {
        let mut hasher = crate::step::StableHasher::default();
        let found = others.iter().filter_map(|pattern| glob::glob(&pattern.to_string_lossy()).ok());
        for path in self.main().map(Path::to_path_buf).into_iter().chain(found.flatten().filter_map(Result::ok)) {
            (&path, std::fs::read(&path).ok()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The globs of the files that a configuration has besides the first: what it includes, what its listeners need
    /// for TLS, and error pages.
    #[must_use]
    pub fn others(&self, loaded: &Loaded) -> Vec<PathBuf> {
        let folder = self.main().and_then(Path::parent).unwrap_or(Path::new(""));
        let included = self.main().map(|_| loaded.process.include.iter().map(|pattern| folder.join(pattern)));
        let literal = |path: PathBuf| PathBuf::from(glob::Pattern::escape(&path.to_string_lossy()));
        let files = tls_files(loaded).into_iter().chain(crate::step::errors::files(loaded));
        included.into_iter().flatten().chain(files.map(literal)).collect()
    }

    /// The folders in which its files stand, or would stand.
    pub(super) fn folders(&self, others: &[PathBuf]) -> BTreeSet<PathBuf> {
        self.main().into_iter().chain(others.iter().map(PathBuf::as_path)).map(folder_of).collect()
    }

    pub(super) fn main(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::System { .. } => None,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::System { name, .. } => write!(f, "the built-in system `{name}`"),
        }
    }
}

/// The folder of a path, which may be a glob: what stands before its first wildcard.
fn folder_of(path: &Path) -> PathBuf {
    let wild = |part: &std::path::Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let plain: PathBuf = path.components().take_while(|part| !wild(part)).collect();
    let folder = if plain.as_path() == path { plain.parent().map(Path::to_path_buf) } else { Some(plain) };
    folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_end_before_wildcards() {
        for (path, folder) in [
            ("pylon.yaml", "."),
            ("/etc/pylon/pylon.yaml", "/etc/pylon"),
            ("/etc/pylon/conf.d/*.yaml", "/etc/pylon/conf.d"),
            ("conf.d/*/x.yaml", "conf.d"),
            ("*.yaml", "."),
        ] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }
}
