//! W3C Trace Context: to which trace a request belongs, <https://www.w3.org/TR/trace-context/>.

use http::{HeaderName, HeaderValue};

/// `traceparent`.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`.
pub static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace of a request, and its own place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, the same in all services.
    pub trace: u128,
    /// The span of the caller, where one was told.
    pub parent: Option<u64>,
    /// The span of this request in Pylon.
    pub span: u64,
    /// Whether the trace is recorded by those who record.
    pub sampled: bool,
}

impl TraceContext {
    /// Goes on with the trace of a caller; `None` when the header is not one.
    ///
    /// Later versions may have more fields, which are not passed on.
    #[must_use]
    pub fn follow(header: &[u8]) -> Option<Self> {
        let (version, rest) = (hex(header.get(..2)?)?, header.get(2..)?);
        let known = version == 0 && rest.len() == 53;
        let later = (1..255).contains(&version) && rest.len() >= 53 && rest.get(53).is_none_or(|byte| *byte == b'-');
        if !(known || later) || rest[0] != b'-' || rest[33] != b'-' || rest[50] != b'-' {
            return None;
        }
        let trace = hex(&rest[1..33])?;
        let parent = u64::try_from(hex(&rest[34..50])?).ok()?;
        let flags = hex(&rest[51..53])?;
        (trace != 0 && parent != 0).then(|| Self { trace, parent: Some(parent), span: span(), sampled: flags & 1 == 1 })
    }

    /// Begins a trace. The request's id, where it is one of Pylon's own, is the name of the trace as well.
    #[must_use]
    pub fn begin(request_id: &[u8], sampled: bool) -> Self {
        let own = (request_id.len() == 32).then(|| hex(request_id)).flatten().filter(|trace| *trace != 0);
        Self { trace: own.unwrap_or_else(|| fastrand::u128(1..)), parent: None, span: span(), sampled }
    }

    /// The span of an attempt, from 1.
    #[must_use]
    pub fn attempt(&self, number: usize) -> u64 {
        let span = self.span ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if span == 0 { 1 } else { span }
    }

    /// What an upstream is told, in an attempt of this number.
    #[must_use]
    pub fn header(&self, attempt: usize) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], self.trace);
        write_hex(&mut text[36..52], u128::from(self.attempt(attempt)));
        text[54] = if self.sampled { b'1' } else { b'0' };
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// The trace, as logs name it.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

/// A new span.
fn span() -> u64 {
    fastrand::u64(1..)
}

/// A number in lower-case hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

fn write_hex(to: &mut [u8], number: u128) {
    for (at, digit) in to.iter_mut().rev().enumerate() {
        let nibble = (number >> (at * 4)) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_callers_trace_goes_on() {
        let context = TraceContext::follow(GOOD.as_bytes()).unwrap();
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((context.parent, context.sampled), (Some(0xb7ad_6b71_6920_3331), true));
        let told = context.header(1);
        assert_eq!(&told.as_bytes()[..36], &GOOD.as_bytes()[..36]);
        let next = TraceContext::follow(told.as_bytes()).unwrap();
        assert_eq!((next.parent, next.sampled), (Some(context.attempt(1)), true));
        assert_ne!(context.attempt(1), context.attempt(2));
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.x",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::follow(bad.as_bytes()), None, "{bad}");
        }
        assert!(TraceContext::follow(b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more").is_some());
    }

    #[test]
    fn a_new_trace_is_named_after_the_request() {
        let id = b"0af7651916cd43dd8448eb211c80319c";
        assert_eq!(TraceContext::begin(id, false).trace_id().as_bytes(), id);
        assert_ne!(TraceContext::begin(b"of-a-client", true).trace, 0);
    }
}
