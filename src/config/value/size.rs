//! Sizes in bytes.

use std::fmt;
use std::str::FromStr;

use super::ValueError;

/// The units in which a size is shown, the largest first.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes: `32MiB`, `4k`, `512`.
///
/// A plain number counts bytes. Units are binary and in any case: `KiB`, `MiB`, `GiB`, `TiB`, or in short `k`, `m`, `g`, `t`
/// as in nginx. `KB`, `MB` and `GB` are refused, as some read them as powers of 1000. From 0 to 2⁶⁴ − 1 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size in bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size in KiB; the largest size if that is too much.
    #[must_use]
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1 << 10))
    }

    /// A size in MiB; the largest size if that is too much.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as the length of a buffer; the largest length where it does not fit.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that shows the size exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let not_a_size =
            || ValueError::new(format!("{text:?} is not a size; write one such as \"32MiB\", \"4k\" or 512"));
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        if number.is_empty() {
            return Err(not_a_size());
        }
        let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            decimal @ ("kb" | "mb" | "gb" | "tb") => {
                let letter = decimal[..1].to_ascii_uppercase();
                return Err(ValueError::new(format!(
                    "{text:?} could count by 1000 or by 1024; write \"{number}{letter}iB\""
                )));
            }
            _ => return Err(not_a_size()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| ValueError::new(format!("{text:?} is too large; write at most \"16777215TiB\"")))
    }
}

super::scalar!(ByteSize, "a size such as \"32MiB\"", {
    "description": "A number of bytes, such as 32MiB, 4k or 512. Units are binary.",
    "type": ["string", "integer"],
    "minimum": 0,
    "pattern": r"^\s*[0-9]+\s*([bB]|[kKmMgGtT]([iI][bB])?)?\s*$|\$\{",
    "examples": ["32MiB", "4k", 512],
});
super::serialize_as_text!(ByteSize);
