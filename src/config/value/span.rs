//! Durations.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::ValueError;

/// The units with their length in milliseconds, the largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const MAX_MS: u64 = 365 * 86_400_000;

/// A duration: `250ms`, `5s`, `60m`, `2h`, `1d`, `1h30m`.
///
/// Numbers are whole, units go from the largest to the smallest and none comes twice. A bare number is refused, as nobody
/// can tell its unit. From 1ms to 365d; zero is written `0s`, so that it is never there by accident.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    ms: u64,
}

impl Span {
    /// A duration in seconds, up to 365 days.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// A duration in milliseconds, up to 365 days.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        let ms = if ms > MAX_MS { MAX_MS } else { ms };
        Self { ms }
    }

    /// This as a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.ms)
    }

    /// Whether this is `0s`.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.ms == 0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.duration()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.ms;
        for (name, unit) in UNITS {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = |why: &str| ValueError::new(format!("{text:?} {why}"));
        let not_a_span = || refused("is not a duration; write one such as \"5s\", \"250ms\" or \"1h30m\"");
        let trimmed = text.trim();
        if trimmed == "0s" {
            return Ok(Self { ms: 0 });
        }
        if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused(&format!(
                "has no unit; write \"{trimmed}s\" for seconds or \"{trimmed}ms\" for milliseconds"
            )));
        }
        let mut rest = trimmed;
        let mut units = UNITS.iter();
        let mut ms = 0_u64;
        while !rest.is_empty() {
            let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
            let (name, tail) = tail.split_at(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()));
            if number.is_empty() || !UNITS.iter().any(|(unit, _)| *unit == name) {
                return Err(not_a_span());
            }
            // The iterator goes on where it stopped, so a unit that comes again or too late is not found.
            let Some((_, unit)) = units.find(|(unit, _)| *unit == name) else {
                return Err(refused("has its units out of order; write the largest first, such as \"1h30m\""));
            };
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit));
            ms = part
                .and_then(|part| ms.checked_add(part))
                .filter(|ms| *ms <= MAX_MS)
                .ok_or_else(|| refused("is too long; write at most \"365d\""))?;
            rest = tail;
        }
        match ms {
            0 if trimmed.is_empty() => Err(not_a_span()),
            0 => Err(refused("is zero; write \"0s\" if that is meant")),
            ms => Ok(Self { ms }),
        }
    }
}

super::scalar!(Span, "a duration such as \"5s\"", {
    "description": "A duration from 1ms to 365d, such as 250ms, 5s or 1h30m; zero is 0s.",
    "type": "string",
    "pattern": r"^\s*([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?\s*$|\$\{",
    "examples": ["250ms", "5s", "1h30m"],
});
super::serialize_as_text!(Span);
