//! The date of a signed request, as it is sent.

use std::time::{Duration, SystemTime};

use time::format_description::well_known::{Iso8601, Rfc2822};
use time::{OffsetDateTime, PrimitiveDateTime};

/// A moment, and the day that it is in its own time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignedDate {
    at: OffsetDateTime,
    /// `20181215`.
    pub(super) day: String,
}

impl SignedDate {
    /// Reads a date as HTTP and mail write it (RFC 9110 §5.6.7, RFC 5322 §3.3), or ISO 8601 with a time zone; UTC without
    /// one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let at = if text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(['-', 'T']) {
            iso(text)?
        } else {
            let offset = text.strip_suffix(" UTC").map(|rest| format!("{rest} +0000"));
            let written = OffsetDateTime::parse(offset.as_deref().unwrap_or(text), &Rfc2822).ok();
            // The two forms of old that recipients have to know are in UTC.
            written.or_else(|| httpdate::parse_http_date(text).ok().map(OffsetDateTime::from))?
        };
        let date = at.date();
        let day = format!("{:04}{:02}{:02}", date.year(), u8::from(date.month()), date.day());
        Some(Self { at, day })
    }

    /// Whether it is less than that far from now, in either direction.
    pub(super) fn is_within(&self, far: Duration, now: SystemTime) -> bool {
        (OffsetDateTime::from(now) - self.at).unsigned_abs() < far
    }
}

fn iso(text: &str) -> Option<OffsetDateTime> {
    // Between date and time, people write a space too (RFC 3339 §5.6).
    let joined = match text.as_bytes().get(10) {
        Some(b' ') => format!("{}T{}", text.get(..10)?, text.get(11..)?),
        _ => text.to_owned(),
    };
    let with_zone = OffsetDateTime::parse(&joined, &Iso8601::PARSING);
    let without = || PrimitiveDateTime::parse(&joined, &Iso8601::PARSING).map(PrimitiveDateTime::assume_utc);
    with_zone.or_else(|_| without()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_that_of_the_time_zone() {
        for (text, day, unix) in [
            ("Sat, 15 Dec 2018 23:30:00 GMT", "20181215", 1_544_916_600),
            ("Sat, 15 Dec 2018 23:30:00 UTC", "20181215", 1_544_916_600),
            ("Saturday, 15-Dec-18 23:30:00 GMT", "20181215", 1_544_916_600),
            ("Sat Dec 15 23:30:00 2018", "20181215", 1_544_916_600),
            ("Sun, 16 Dec 2018 08:30:00 +0900", "20181216", 1_544_916_600),
            ("15 Dec 2018 23:30:00 +0000", "20181215", 1_544_916_600),
            ("2018-12-15T23:30:00Z", "20181215", 1_544_916_600),
            ("2018-12-15T23:30:00.123456+00:00", "20181215", 1_544_916_600),
            ("2018-12-16T08:30:00+09:00", "20181216", 1_544_916_600),
            ("2018-12-16T08:30:00+0900", "20181216", 1_544_916_600),
            ("2018-12-16 08:30:00+09:00", "20181216", 1_544_916_600),
            ("20181216T083000+0900", "20181216", 1_544_916_600),
            ("20181215T233000Z", "20181215", 1_544_916_600),
            ("2018-12-15T23:30:00", "20181215", 1_544_916_600),
        ] {
            let date = SignedDate::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((date.day.as_str(), date.at.unix_timestamp()), (day, unix), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in
            ["", "now", "1544916600", "2018-12-15", "2018-13-15T00:00:00Z", "Sat, 15 Dec 2018", "2018-12-1\u{e9}T"]
        {
            assert_eq!(SignedDate::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_may_be_so_far_from_now() {
        let date = SignedDate::parse("2018-12-15T23:30:00Z").unwrap();
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let far = Duration::from_secs(900);
        assert!(date.is_within(far, at(1_544_916_600 + 899)) && date.is_within(far, at(1_544_916_600 - 899)));
        assert!(!date.is_within(far, at(1_544_916_600 + 900)) && !date.is_within(far, at(1_544_916_600 - 900)));
    }
}
