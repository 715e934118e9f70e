//! Instances: servers that come and go, registered by name at the admin port.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::config::value::HttpUrl;

/// A server that was registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// Where it is, `http://10.0.0.5:8787`.
    pub url: HttpUrl,
    /// Whose it is.
    pub owner: Option<String>,
    /// Groups whose members may enter as well.
    pub groups: Vec<String>,
    /// When it is forgotten unless it is put again.
    pub expires: Option<SystemTime>,
}

/// All instances that are known, the same on every Pylon of a fleet.
#[derive(Debug, Default)]
pub struct Registry {
    table: ArcSwap<HashMap<String, Arc<Instance>>>,
}

impl Registry {
    /// The instance of a name, unless it has expired.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<Instance>> {
        self.table.load().get(name).cloned()
    }
}
