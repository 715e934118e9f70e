//! Status codes as label values: a bounded set, whatever servers answer.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// The codes that have a label of their own: those that IANA has registered, and 499 for clients that left. Others count
/// under their class, which stands first.
const CODES: [u16; 63] = [
    100, 101, 102, 103, 104, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308,
    400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 424, 425,
    426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
];
/// The classes, and `none` where there was no answer.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// How many labels there are.
const LABELS: usize = CLASSES.len() + CODES.len();

/// The label of each code from 0 to 599.
static COLUMNS: [u8; 600] = columns();

const fn columns() -> [u8; 600] {
    let mut columns = [0; 600];
    let mut code = 100;
    while code < 600 {
        #[allow(clippy::cast_possible_truncation, reason = "at most 5")]
        let class = (code / 100) as u8;
        columns[code] = class;
        code += 1;
    }
    let mut at = 0;
    while at < CODES.len() {
        #[allow(clippy::cast_possible_truncation, reason = "fewer than 256 labels")]
        let column = (CLASSES.len() + at) as u8;
        columns[CODES[at] as usize] = column;
        at += 1;
    }
    columns
}

/// A counter for each label.
#[derive(Debug)]
pub(super) struct CodeCounts([AtomicU64; LABELS]);

impl Default for CodeCounts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; LABELS])
    }
}

impl CodeCounts {
    /// Counts a status; `None` where there was no answer.
    pub(super) fn count(&self, status: Option<StatusCode>) {
        let code = status.map_or(0, |status| usize::from(status.as_u16()));
        let column = COLUMNS.get(code).copied().unwrap_or_default();
        self.0[usize::from(column)].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds all counts to `sums`.
    pub(super) fn add_to(&self, sums: &mut CodeSums) {
        for (sum, count) in sums.0.iter_mut().zip(&self.0) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
}

/// Counts of all parts together.
#[derive(Debug, Clone)]
pub(super) struct CodeSums([u64; LABELS]);

impl Default for CodeSums {
    fn default() -> Self {
        Self([0; LABELS])
    }
}

impl CodeSums {
    /// The labels that occurred, with their counts.
    pub(super) fn nonzero(&self) -> impl Iterator<Item = (String, u64)> {
        let label = |at: usize| match CLASSES.get(at) {
            Some(class) => (*class).to_owned(),
            None => CODES[at - CLASSES.len()].to_string(),
        };
        self.0.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(at, count)| (label(at), *count))
    }

    /// How many there are in all.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_count_under_their_class() {
        let counts = CodeCounts::default();
        for code in [200, 200, 299, 499, 599, 999, 404] {
            counts.count(StatusCode::from_u16(code).ok());
        }
        counts.count(None);
        let mut sums = CodeSums::default();
        counts.add_to(&mut sums);
        let found: Vec<(String, u64)> = sums.nonzero().collect();
        let expected = [("none", 2), ("2xx", 1), ("5xx", 1), ("200", 2), ("404", 1), ("499", 1)];
        assert_eq!(found, expected.map(|(label, count)| (label.to_owned(), count)));
        assert_eq!(sums.total(), 8);
    }

    #[test]
    fn codes_stand_in_order_and_once() {
        assert!(CODES.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
