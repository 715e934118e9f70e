//! `headers`: change request and response headers.
//!
//! ```yaml
//!   headers:
//!     request: { set: { X-Cluster: lab }, remove: [X-Debug] }
//!     response: { set: { Strict-Transport-Security: max-age=31536000 } }
//! ```
//!
//! First `remove`, then `set`, then `add`. Framing, connection and `Host` headers are Pylon's own.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};

use super::Headers;
use crate::config::HeaderEditsSpec;
use crate::route::template::{Template, Values, Vocabulary};

/// Header changes that have been checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Value)>,
    add: Vec<(HeaderName, Value)>,
}

/// A header value, ready where nothing is to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Fixed(HeaderValue),
    Template(Template),
}

impl HeaderEdits {
    /// Checks the step.
    ///
    /// # Errors
    /// For each mistake the path of its key below the step, and what to write.
    pub fn compile(spec: &HeaderEditsSpec, vocabulary: &Vocabulary<'_>) -> Result<Self, Vec<([String; 2], String)>> {
        let mut problems = Vec::new();
        let remove = spec.remove.iter().map(|name| name.get().clone()).collect();
        let mut values = |key: &str, map: &std::collections::BTreeMap<crate::config::value::HeaderName, String>| {
            let mut compiled = Vec::new();
            for (name, text) in map {
                match compile_value(name.get(), text, vocabulary) {
                    Ok(value) => compiled.push((name.get().clone(), value)),
                    Err(message) => problems.push(([key.to_owned(), name.to_string()], message)),
                }
            }
            compiled
        };
        let set = values("set", &spec.set);
        let add = values("add", &spec.add);
        let edits = Self { remove, set, add };
        if problems.is_empty() { Ok(edits) } else { Err(problems) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Applies the changes. A header whose value cannot be filled in, or cannot stand in a header, is
    /// left out.
    pub fn apply(&self, headers: &mut dyn Headers, values: &Values<'_>) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            for alike in look_alikes(headers, name) {
                headers.remove(&alike);
            }
            match value.render(values) {
                Some(value) => headers.set(name, value),
                None => headers.remove(name),
            }
        }
        for (name, value) in &self.add {
            if let Some(value) = value.render(values) {
                headers.append(name, value);
            }
        }
    }
}

/// Headers that a server which reads `_` in a name as `-` takes for the one that is set: a client's own `Remote-User` must
/// not stand in for our `REMOTE_USER`.
fn look_alikes(headers: &dyn Headers, name: &HeaderName) -> Vec<HeaderName> {
    let read = |b: u8| if b == b'_' { b'-' } else { b };
    let same = |other: &&HeaderName| {
        let (one, other) = (name.as_str(), other.as_str());
        one != other && one.len() == other.len() && one.bytes().map(read).eq(other.bytes().map(read))
    };
    headers.map().keys().filter(same).cloned().collect()
}

impl Value {
    fn render(&self, values: &Values<'_>) -> Option<HeaderValue> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Template(template) => HeaderValue::from_str(&template.render_whole(values)?).ok(),
        }
    }
}

/// Whether a header belongs to the connection or to the framing of a message.
pub(super) fn is_of_the_message(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
}

fn compile_value(name: &HeaderName, text: &str, vocabulary: &Vocabulary<'_>) -> Result<Value, String> {
    if *name == HOST {
        return Err("`Host` is set with `host_header`; move it there".to_owned());
    }
    if is_of_the_message(name) {
        return Err(format!("`{name}` belongs to the connection, not to the message; leave it out"));
    }
    let template = Template::parse(text, vocabulary)?;
    let fixed = template.as_text().map(HeaderValue::from_str);
    match fixed {
        Some(Ok(value)) => Ok(Value::Fixed(value)),
        Some(Err(_)) => Err(format!("`{text}` holds a character that a header cannot; remove it")),
        None => Ok(Value::Template(template)),
    }
}
