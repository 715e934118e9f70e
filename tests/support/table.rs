//! Tables of texts: what an upstream says, and what becomes of it.

/// All of the left side and all of the right side, a line for each row.
pub(crate) fn sides(rows: &[(&str, &str)]) -> (String, String) {
    let left: Vec<_> = rows.iter().map(|row| row.0).collect();
    let right: Vec<_> = rows.iter().map(|row| row.1).collect();
    (left.join("\n"), right.join("\n"))
}
