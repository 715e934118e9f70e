//! What an unquoted scalar means, by the core schema of YAML 1.2 (section 10.3.2).

use serde_yaml::{Number, Value};

/// The value of an unquoted scalar: null, a boolean, a number, or else the text itself.
///
/// `yes`, `no`, `on` and `off` are text, and so are digits with a leading zero.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(f64::NEG_INFINITY.into()),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY.into()),
        ".nan" | ".NaN" | ".NAN" if unsigned.len() == text.len() => return Some(f64::NAN.into()),
        _ => {}
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && digits.starts_with(|c: char| c.is_digit(radix))
        {
            return u64::from_str_radix(digits, radix).ok().map(Number::from);
        }
    }
    let led_by_zero = unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.bytes().all(|b| b.is_ascii_digit());
    let looks_numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if led_by_zero || !looks_numeric {
        return None;
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    let number = text.parse::<f64>().ok()?;
    number.is_finite().then(|| number.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_schema_decides() {
        for null in ["", "~", "null"] {
            assert_eq!(plain(null), Value::Null);
        }
        assert_eq!(plain("true"), Value::Bool(true));
        assert_eq!(plain("8080"), Value::from(8080));
        assert_eq!(plain("-1"), Value::from(-1));
        assert_eq!(plain("0x1F"), Value::from(31));
        assert_eq!(plain("0o17"), Value::from(15));
        assert_eq!(plain("1.5"), Value::from(1.5));
        assert_eq!(plain("1e3"), Value::from(1000.0));
        assert_eq!(plain("-.inf"), Value::from(f64::NEG_INFINITY));
        for text in [
            "yes", "off", "0123", "1_000", "10.0.0.1", "5s", "inf", "nan", "infinity", "0x", "-", ".", "+-1", "e5",
            ":80",
        ] {
            assert_eq!(plain(text), Value::from(text));
        }
    }
}
