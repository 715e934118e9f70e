//! Problems found in a configuration, each with the path of its key and, where known, its place in a file.
//!
//! Every stage of loading adds to one [`Report`], so that a user sees all problems at once:
//!
//! ```text
//! conf/site.yaml:41:9  routes[3].redirect.status: 305 is not a redirect; write one of 301, 302, 303, 307, 308
//! ```

mod path;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

pub use path::{KeyPath, Segment};

/// A place in a file, as editors count: line and column start at 1, a column is one character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The name of the file, as the user gave it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that is wrong in a configuration: where, and how to put it right.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The place in a file, if the value came from one.
    pub place: Option<Place>,
    /// The path of the key.
    pub path: KeyPath,
    /// What is wrong, and the cure.
    pub message: String,
}

impl Problem {
    /// A problem at a path, with its place where one is known.
    pub fn new(place: Option<Place>, path: KeyPath, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { place, path, message }
    }

    /// By file, line and column; a problem without a place comes last.
    fn compare_place(&self, other: &Self) -> Ordering {
        match (&self.place, &other.place) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}  ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl Serialize for Problem {
    /// The form of `--json`: `file`, `line` and `column` are null where no place is known.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = self.place.as_ref();
        let mut out = serializer.serialize_struct("Problem", 5)?;
        out.serialize_field("file", &place.map(|p| &*p.file))?;
        out.serialize_field("line", &place.map(|p| p.line))?;
        out.serialize_field("column", &place.map(|p| p.column))?;
        out.serialize_field("path", &self.path.to_string())?;
        out.serialize_field("message", &self.message)?;
        out.end()
    }
}

/// All problems found so far, in the order of the files; the same problem is kept once.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Report {
    problems: Vec<Problem>,
}

impl Report {
    /// A report without problems.
    #[must_use]
    pub const fn new() -> Self {
        Self { problems: Vec::new() }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many problems there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// The problems by file, line and column; those without a place last, in the order they were added.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Goes through [`Report::problems`].
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.problems.iter()
    }

    /// Adds a problem at its sorted position, unless the very same one is there.
    pub fn push(&mut self, problem: Problem) {
        let at = self.problems.partition_point(|p| p.compare_place(&problem) != Ordering::Greater);
        let known = self.problems[..at]
            .iter()
            .rev()
            .take_while(|p| p.compare_place(&problem) == Ordering::Equal)
            .any(|p| *p == problem);
        if !known {
            self.problems.insert(at, problem);
        }
    }

    /// This report as an error, or `value` when nothing is wrong.
    ///
    /// # Errors
    /// The report itself, when it holds a problem.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Problem> for Report {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl Extend<Problem> for Report {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        for problem in problems {
            self.push(problem);
        }
    }
}

impl FromIterator<Problem> for Report {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        let mut report = Self::new();
        report.extend(problems);
        report
    }
}

impl IntoIterator for Report {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.problems.into_iter()
    }
}

impl<'a> IntoIterator for &'a Report {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.problems.iter()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl Serialize for Report {
    /// A list of problems.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, column: u32, message: &str) -> Problem {
        let place = Place { file: "a.yaml".into(), line, column };
        Problem::new(Some(place), KeyPath::root(), message)
    }

    #[test]
    fn a_problem_names_place_path_and_cure() {
        let path = KeyPath::root().then("routes").then(3).then("redirect").then("status");
        let place = Place { file: "conf/site.yaml".into(), line: 41, column: 9 };
        let message = "305 is not a redirect; write one of 301, 302, 303, 307, 308";
        let mut problem = Problem::new(Some(place), path, message);
        assert_eq!(
            problem.to_string(),
            "conf/site.yaml:41:9  routes[3].redirect.status: 305 is not a redirect; write one of 301, 302, 303, 307, 308"
        );
        problem.place = None;
        assert_eq!(
            problem.to_string(),
            "routes[3].redirect.status: 305 is not a redirect; write one of 301, 302, 303, 307, 308"
        );
        problem.path = KeyPath::root();
        assert_eq!(problem.to_string(), message);
    }

    #[test]
    fn problems_are_sorted_stably_and_kept_once() {
        let nowhere = Problem::new(None, KeyPath::root(), "nowhere");
        let report: Report = [
            nowhere.clone(),
            at(10, 1, "late"),
            at(2, 5, "first here"),
            at(2, 5, "second here"),
            at(2, 5, "first here"),
            at(2, 1, "early"),
            nowhere,
        ]
        .into_iter()
        .collect();
        assert_eq!(
            report.to_string(),
            "a.yaml:2:1  early\na.yaml:2:5  first here\na.yaml:2:5  second here\na.yaml:10:1  late\nnowhere"
        );
        assert_eq!(report.len(), 5);
        assert_eq!(report.clone().into_result(()), Err(report));
        assert_eq!(Report::new().into_result(1), Ok(1));
    }

    #[test]
    fn json_has_every_part() {
        let mut problem = at(2, 5, "wrong");
        problem.path = KeyPath::root().then("a").then(0);
        let report: Report = [problem, Problem::new(None, KeyPath::root(), "x")].into_iter().collect();
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(
            json,
            r#"[{"file":"a.yaml","line":2,"column":5,"path":"a[0]","message":"wrong"},{"file":null,"line":null,"column":null,"path":"","message":"x"}]"#
        );
    }
}
