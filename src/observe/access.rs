//! Lines of the access log: JSON, or the combined format that nginx and Apache write.

use std::fmt::Write as _;
use std::io::Write as _;

use super::record::{JsonLine, Record, version};
use super::redact;

/// The form of access log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// The combined log format.
    Combined,
}

impl AccessFormat {
    /// Appends a line. `secrets` are names of parameters that are secret besides the usual ones.
    pub(super) fn push(self, buffer: &mut Vec<u8>, record: &Record, secrets: &[String]) {
        match self {
            Self::Json => {
                let before = buffer.len();
                if serde_json::to_writer(&mut *buffer, &JsonLine { record, secrets }).is_err() {
                    buffer.truncate(before);
                    return;
                }
            }
            Self::Combined => push_combined(buffer, record, secrets),
        }
        buffer.push(b'\n');
    }

    /// Whether it has `User-Agent` and `Referer`.
    #[must_use]
    pub fn has_agent(self) -> bool {
        self == Self::Combined
    }
}

fn push_combined(buffer: &mut Vec<u8>, record: &Record, secrets: &[String]) {
    let user = record.user.as_deref().map_or("-".into(), |user| escaped(&user.replace(' ', "_")));
    let query = record.query(secrets).map_or(String::new(), |query| format!("?{query}"));
    let referer = record.referer.as_deref().map_or("-".into(), |url| escaped(&redact::url(url, secrets)));
    let agent = record.agent.as_deref().map_or("-".into(), escaped);
    let _ = write!(
        buffer,
        "{} - {user} [{}] \"{} {} {}\" {} {} \"{referer}\" \"{agent}\"",
        record.client,
        date(record.time),
        record.method,
        escaped(&format!("{}{query}", redact::path(record.path(), secrets))),
        version(record.version),
        record.status.as_u16(),
        record.sent,
    );
}

/// `10/Oct/2000:13:55:36 +0000`.
fn date(time: std::time::SystemTime) -> String {
    // Sun, 06 Nov 1994 08:49:37 GMT
    let date = httpdate::fmt_http_date(time);
    let parts: Vec<&str> = date.split(' ').collect();
    match parts[..] {
        [_, day, month, year, time, _] => format!("{day}/{month}/{year}:{time} +0000"),
        _ => date,
    }
}

/// A text in which nothing ends a quoted field or a line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || c == '"' || c == '\\' {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(out, "\\x{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use http::{Method, StatusCode, Version};

    use super::*;
    use crate::observe::{Attempt, Outcome, RouteInfo, TraceContext};

    fn record() -> Record {
        let attempt = Attempt {
            endpoint: "10.0.0.1:80".parse().unwrap(),
            at: Duration::ZERO,
            reused: false,
            connect: Some(Duration::from_micros(250)),
            first_byte: Some(Duration::from_micros(1250)),
            end: Duration::from_millis(2),
            status: Some(StatusCode::OK),
            failure: None,
            reason: None,
            retried: false,
        };
        Record {
            id: "1f".into(),
            trace: TraceContext { trace: 7, parent: None, span: 1, sampled: false },
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(784_111_777_123_456),
            client: "192.0.2.1".parse().unwrap(),
            user: Some("CN=a b".into()),
            version: Version::HTTP_2,
            tls: Some("TLSv1.3"),
            listener: None,
            method: Method::GET,
            host: "h".to_owned(),
            target: "/a\"b?token=1&x=2".into(),
            agent: Some("x\" \n y".into()),
            referer: Some("https://h/?code=1".into()),
            route: Some(Arc::new(RouteInfo {
                name: "r".into(),
                steps: vec![],
                upstream: Some("u".into()),
                logged: None,
                secrets: Vec::new(),
            })),
            generation: 1,
            attempts: [attempt].into(),
            made: 1,
            status: StatusCode::OK,
            upstream_status: Some(StatusCode::OK),
            outcome: Outcome::Forwarded,
            reason: None,
            received: 3,
            sent: 12,
            took: Duration::from_millis(2),
        }
    }

    fn line(format: AccessFormat) -> String {
        let mut buffer = Vec::new();
        format.push(&mut buffer, &record(), &[]);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn combined_lines_are_those_of_others() {
        let expected = "192.0.2.1 - CN=a_b [06/Nov/1994:08:49:37 +0000] \"GET /a\\x22b?token=***&x=2 HTTP/2.0\" 200 12 \
                        \"https://h/?code=***\" \"x\\x22 \\x0A y\"\n";
        assert_eq!(line(AccessFormat::Combined), expected);
    }

    #[test]
    fn json_lines_tell_all() {
        let value: serde_json::Value = serde_json::from_str(&line(AccessFormat::Json)).unwrap();
        for (key, expected) in [
            ("time", serde_json::json!(784_111_777.123_456)),
            ("path", "/a\"b".into()),
            ("query", "token=***&x=2".into()),
            ("route", "r".into()),
            ("upstream", "u".into()),
            ("endpoint", "10.0.0.1:80".into()),
            ("outcome", "forwarded".into()),
            ("first_byte_seconds", serde_json::json!(0.00125)),
            ("connect_seconds", serde_json::json!(0.00025)),
            ("reason", serde_json::Value::Null),
        ] {
            assert_eq!(value[key], expected, "{key}");
        }
    }
}
