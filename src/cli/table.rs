//! Tables, numbers and times as people read them in a terminal.

use std::fmt::Write as _;

/// A column of a table.
pub(super) struct Column {
    name: &'static str,
    right: bool,
}

impl Column {
    pub(super) const fn left(name: &'static str) -> Self {
        Self { name, right: false }
    }

    /// For numbers.
    pub(super) const fn right(name: &'static str) -> Self {
        Self { name, right: true }
    }
}

/// Rows below each other, each column as wide as its widest cell.
pub(super) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [Column; N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| plain(&cell)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table, without a line end behind its last row.
    pub(super) fn text(&self) -> String {
        let names = self.columns.each_ref().map(|column| column.name.to_owned());
        let wide = |index: usize| {
            let cells = self.rows.iter().chain([&names]).map(|row| row[index].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: [usize; N] = std::array::from_fn(wide);
        let line = |row: &[String; N]| {
            let mut line = String::new();
            for ((cell, column), width) in row.iter().zip(&self.columns).zip(widths) {
                let _ = if column.right { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
            }
            line.trim_end().to_owned()
        };
        std::iter::once(&names).chain(&self.rows).map(line).collect::<Vec<_>>().join("\n")
    }
}

/// A text without what would move the terminal's cursor: some of it comes from clients.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A number of bytes.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A time that someone waited for.
pub(super) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 100_000.0 => format!("{:.1} s", ms / 1000.0),
        ms => age(ms / 1000.0),
    }
}

/// A long time, by its two largest units.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds that people count")]
pub(super) fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// A share of a whole.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn share(part: u64, whole: u64) -> String {
    match (part, whole) {
        (0, _) | (_, 0) => "0%".to_owned(),
        (part, whole) if part >= whole => "100%".to_owned(),
        // Neither none nor all may look so.
        (part, whole) => format!("{:.2}%", (part as f64 * 100.0 / whole as f64).clamp(0.01, 99.99)),
    }
}

/// A moment, in UTC, from seconds of Unix time.
#[allow(clippy::cast_possible_truncation, reason = "seconds and milliseconds of a moment")]
pub(super) fn moment(unix: f64) -> String {
    let millis = (unix * 1000.0).round() as i64;
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // The civil date of a day, by counting in eras of 400 years that begin on a first of March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03} UTC", rest % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new([Column::left("A"), Column::right("COUNT")]);
        table.row(["long name".to_owned(), "1".to_owned()]);
        table.row(["b\u{1b}[2J".to_owned(), "1234567".to_owned()]);
        assert_eq!(table.text(), "A            COUNT\nlong name        1\nb\u{fffd}[2J      1234567");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(3 << 40)], ["0 B", "1023 B", "1.5 KiB", "3.0 TiB"]);
        assert_eq!([milliseconds(0.04), milliseconds(12.3), milliseconds(2500.0)], ["0.0 ms", "12 ms", "2.5 s"]);
        assert_eq!([age(59.9), age(61.0), age(3600.0), age(90_000.0)], ["59s", "1m 1s", "1h 0m", "1d 1h"]);
        assert_eq!(
            [share(0, 0), share(1, 1_000_000), share(1, 3), share(999_999, 1_000_000)],
            ["0%", "0.01%", "33.33%", "99.99%"]
        );
    }

    #[test]
    fn moments_are_dates() {
        for (unix, text) in [
            (0.0, "1970-01-01 00:00:00.000 UTC"),
            (951_782_400.0, "2000-02-29 00:00:00.000 UTC"),
            (1_795_273_209.863, "2026-11-21 15:00:09.863 UTC"),
            (4_107_542_399.999, "2100-02-28 23:59:59.999 UTC"),
        ] {
            assert_eq!(moment(unix), text);
        }
    }
}
