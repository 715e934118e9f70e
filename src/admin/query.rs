//! What is asked for, in queries and bodies: nothing unknown is passed over.

use serde::de::DeserializeOwned;

use super::answer::Refusal;

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// Checks that there are no others than these; those that may be repeated end in `*`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Refusal> {
        for (index, (name, _)) in self.0.iter().enumerate() {
            let Some(rule) = known.iter().find(|rule| rule.trim_end_matches('*') == name) else {
                let names = known.iter().map(|rule| rule.trim_end_matches('*'));
                return Err(Refusal::bad(crate::config::unknown_name("parameter", name, names)));
            };
            if !rule.ends_with('*') && self.0[..index].iter().any(|(before, _)| before == name) {
                return Err(Refusal::bad(format!("`{name}` stands there twice; keep one")));
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A body of JSON; `example` is one that would do.
pub(super) fn body<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, Refusal> {
    let wrong = |why: String| {
        Refusal::bad(format!("the body is not what is expected: {why}")).cure(format!("send JSON such as {example}"))
    };
    // A list would do for a struct as well.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(wrong("it is a list, not an object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))
}
