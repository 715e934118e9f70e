//! Values of TLS: versions, cipher suites, and what `Strict-Transport-Security` says.

use std::fmt;
use std::str::FromStr;

use super::ValueError;

/// A version of TLS that is still sound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        })
    }
}

impl FromStr for TlsVersion {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.trim() {
            "1.2" => Ok(Self::V1_2),
            "1.3" => Ok(Self::V1_3),
            "1.0" | "1.1" | "1" => {
                Err(ValueError::new(format!("TLS {text} is broken and not spoken; write \"1.2\" or \"1.3\"")))
            }
            _ => Err(ValueError::new(format!("{text:?} is not a version of TLS; write \"1.2\" or \"1.3\""))),
        }
    }
}

super::scalar!(TlsVersion, "a version of TLS, \"1.2\" or \"1.3\"", {
    "description": "A version of TLS: 1.2 or 1.3.",
    "anyOf": [{ "enum": [1.2, 1.3] }, { "type": "string", "pattern": r"^\s*1\.[23]\s*$|\$\{" }],
});

/// The suites that can be had, by their names in IANA's registry, and their numbers there.
const SUITES: [(&str, u16); 9] = [
    ("TLS_AES_256_GCM_SHA384", 0x1302),
    ("TLS_AES_128_GCM_SHA256", 0x1301),
    ("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8),
];

/// A cipher suite, by its name in IANA's registry; for those of TLS 1.3 `TLS13_…` will do, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CipherSuite {
    name: &'static str,
    number: u16,
}

impl CipherSuite {
    /// All that can be had.
    pub fn all() -> impl Iterator<Item = Self> {
        SUITES.iter().map(|&(name, number)| Self { name, number })
    }

    /// Its number in IANA's registry.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.number
    }

    /// The only version of TLS that it is for.
    #[must_use]
    pub const fn version(self) -> TlsVersion {
        if self.number >> 8 == 0x13 { TlsVersion::V1_3 } else { TlsVersion::V1_2 }
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for CipherSuite {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("TLS13_").map_or_else(|| upper.clone(), |rest| format!("TLS_{rest}"));
        Self::all().find(|suite| suite.name == name).ok_or_else(|| {
            let known: Vec<&str> = SUITES.iter().map(|(name, _)| *name).collect();
            ValueError::new(format!("{text:?} is not a cipher suite of Pylon; write one of {}", known.join(", ")))
        })
    }
}

super::scalar!(CipherSuite, "the name of a cipher suite", {
    "description": "A cipher suite, by its name in IANA's registry.",
    "type": "string",
    "pattern": r"^\s*TLS(13)?_[A-Z0-9_]+\s*$|\$\{",
    "examples": SUITES.map(|(name, _)| name),
});

/// The value of `Strict-Transport-Security` (RFC 6797 §6.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hsts(String);

impl Hsts {
    /// The value, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Hsts {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = |why: String| {
            Err(ValueError::new(format!("{why}; write such as \"max-age=31536000; includeSubDomains\" (seconds)")))
        };
        let mut seen: Vec<String> = Vec::new();
        for directive in text.split(';').map(str::trim).filter(|directive| !directive.is_empty()) {
            let (name, value) =
                directive.split_once('=').map_or((directive, None), |(name, value)| (name.trim(), Some(value.trim())));
            let lower = name.to_ascii_lowercase();
            let age = |value: &str| {
                let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                bare.bytes().all(|b| b.is_ascii_digit()) && bare.parse::<u64>().is_ok()
            };
            match (lower.as_str(), value) {
                ("max-age", Some(value)) if age(value) => {}
                ("max-age", _) => return refused(format!("{directive:?} is no number of seconds")),
                ("includesubdomains" | "preload", None) => {}
                ("includesubdomains" | "preload", Some(_)) => {
                    return refused(format!("{directive:?} has a value, and `{name}` takes none"));
                }
                _ => return refused(format!("{name:?} is none of max-age, includeSubDomains and preload")),
            }
            if seen.contains(&lower) {
                return refused(format!("{name:?} stands there twice"));
            }
            seen.push(lower);
        }
        if seen.iter().any(|name| name == "max-age") {
            Ok(Self(text.trim().to_owned()))
        } else {
            refused(format!("{text:?} has no max-age"))
        }
    }
}

super::scalar!(Hsts, "the value of Strict-Transport-Security", {
    "description": "The value of Strict-Transport-Security; max-age must be there.",
    "type": "string",
    "pattern": r"[mM][aA][xX]-[aA][gG][eE]\s*=|\$\{",
    "examples": ["max-age=31536000; includeSubDomains"],
});

super::serialize_as_text!(TlsVersion CipherSuite Hsts);
