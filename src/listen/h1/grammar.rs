//! The grammar of header sections, as far as it frames, addresses or steers a request.

use crate::observe::Rejection;

/// Whether a line with the form of a request line is none of HTTP's: it names neither a known method nor HTTP.
pub(super) fn is_strange(method: &[u8], version: &[u8]) -> bool {
    let methods = [&b"GET"[..], b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"];
    let says_http = version.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case(b"HTTP"));
    !says_http && !methods.iter().any(|known| method.eq_ignore_ascii_case(known))
}

/// RFC 9110 §5.6.2.
pub(in crate::listen) fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// RFC 9110 §5.5: visible characters, spaces, tabs, and bytes beyond ASCII.
pub(in crate::listen) fn is_value(b: u8) -> bool {
    matches!(b, b'\t' | 0x20..=0x7e | 0x80..)
}

/// A number without sign, list or leading zeros, that fits.
pub(super) fn length(value: &[u8]) -> Option<u64> {
    let sound = !value.is_empty() && value.iter().all(u8::is_ascii_digit) && (value.len() == 1 || value[0] != b'0');
    std::str::from_utf8(value)
        .ok()
        .filter(|_| sound)?
        .parse()
        .ok()
        .filter(|length: &u64| i64::try_from(*length).is_ok())
}

/// Whether an option of `Connection` names a header without which the message is another one.
pub(super) fn names_message(option: &[u8]) -> bool {
    let option = option.trim_ascii();
    [&b"host"[..], b"content-length", b"content-type", b"transfer-encoding", b"content-encoding", b"expect"]
        .iter()
        .any(|name| option.eq_ignore_ascii_case(name))
}

/// Whether an encoding is one that could be served, and is not, or none at all.
pub(super) fn other_encoding(value: &[u8]) -> Rejection {
    let mut codings = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    let known = |coding: &[u8]| {
        [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress"].iter().any(|c| coding.eq_ignore_ascii_case(c))
    };
    let last_is_chunked =
        value.rsplit(|b| *b == b',').next().is_some_and(|c| c.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    let all_known = codings.all(|coding| known(coding) || coding.eq_ignore_ascii_case(b"chunked"));
    let once = value.to_ascii_lowercase().windows(7).filter(|w| *w == b"chunked").count() == 1;
    if all_known && last_is_chunked && once { Rejection::EncodingNotImplemented } else { Rejection::Encoding }
}
