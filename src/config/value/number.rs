//! Counts, flags and percentages.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::ValueError;

/// A whole number from 0 to 4294967295, as a number or a string.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub u32);

impl Count {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number as the size of a collection.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Count {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let trimmed = text.trim();
        trimmed.parse().ok().filter(|_| trimmed.bytes().all(|b| b.is_ascii_digit())).map(Self).ok_or_else(|| {
            ValueError::new(format!("{text:?} is not a count; write a whole number from 0 to {}", u32::MAX))
        })
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

super::scalar!(Count, "a whole number", {
    "description": "A whole number.",
    "type": ["integer", "string"],
    "minimum": 0,
    "maximum": 4_294_967_295_u32,
    "pattern": r"^\s*[0-9]+\s*$|\$\{",
});

/// A switch: `true` or `false`, `yes` or `no`, `on` or `off`, 1 or 0, in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flag(pub bool);

impl Flag {
    /// Whether it is on.
    #[must_use]
    pub const fn get(self) -> bool {
        self.0
    }
}

impl From<Flag> for bool {
    fn from(flag: Flag) -> Self {
        flag.0
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Flag {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Self(true)),
            "false" | "no" | "off" | "0" => Ok(Self(false)),
            _ => Err(ValueError::new(format!("{text:?} is not a switch; write true or false"))),
        }
    }
}

impl Serialize for Flag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.0)
    }
}

super::scalar!(Flag, "true or false", {
    "description": "True or false.",
    "anyOf": [
        { "type": "boolean" },
        { "enum": [0, 1] },
        { "type": "string", "pattern": r"^\s*([tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[yY][eE][sS]|[nN][oO]|[oO][nN]|[oO][fF][fF]|0|1)\s*$|\$\{" },
    ],
});

/// A share of a whole: `20%`, `0.5%`. From 0% to 100%, with up to three decimals.
///
/// The `%` is needed, as `0.2` could mean either 0.2% or 20%.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    /// Thousandths of a percent.
    thousandths: u32,
}

impl Percent {
    /// All of it.
    pub const ALL: Self = Self { thousandths: 100_000 };

    /// A whole number of percent; more than 100 is 100.
    #[must_use]
    pub const fn new(percent: u8) -> Self {
        let percent = if percent > 100 { 100 } else { percent };
        Self { thousandths: percent as u32 * 1000 }
    }

    /// The share as a number from 0 to 1.
    #[must_use]
    pub fn ratio(self) -> f64 {
        f64::from(self.thousandths) / 100_000.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.thousandths / 1000, self.thousandths % 1000);
        if fraction == 0 {
            return write!(f, "{whole}%");
        }
        let fraction = format!("{fraction:03}");
        write!(f, "{whole}.{}%", fraction.trim_end_matches('0'))
    }
}

impl FromStr for Percent {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = || ValueError::new(format!("{text:?} is not a percentage; write one from \"0%\" to \"100%\""));
        let trimmed = text.trim();
        let number = trimmed.strip_suffix('%').map(str::trim_end);
        let (whole, fraction) = {
            let number = number.unwrap_or(trimmed);
            number.split_once('.').unwrap_or((number, ""))
        };
        let is_number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > 3 {
            return Err(refused());
        }
        if number.is_none() {
            return Err(ValueError::new(format!("{text:?} has no percent sign; write \"{trimmed}%\"")));
        }
        let thousandths = format!("{whole}{fraction:0<3}").parse().ok();
        thousandths
            .filter(|thousandths| *thousandths <= Self::ALL.thousandths)
            .map(|thousandths| Self { thousandths })
            .ok_or_else(refused)
    }
}

super::scalar!(Percent, "a percentage such as \"20%\"", {
    "description": "A share from 0% to 100%.",
    "type": "string",
    "pattern": r"^\s*[0-9]{1,3}(\.[0-9]{0,3})?\s*%\s*$|\$\{",
    "examples": ["20%", "0.5%"],
});
super::serialize_as_text!(Percent);
