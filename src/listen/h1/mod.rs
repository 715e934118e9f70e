//! HTTP/1 before Pingora: where each request begins and ends.

mod body;
mod grammar;
mod head;
#[cfg(test)]
mod tests;

pub use body::Body;
pub(super) use grammar::{is_tchar, is_value};
pub use head::{Framing, Head, HeadLimits, HeadReader};

use bytes::BytesMut;

/// Takes a header section off the bytes that came, in the form in which all servers read it the same: without empty lines
/// before it, and with its target in origin form (RFC 9112 §3.2.1).
#[must_use]
pub fn take_head(bytes: &mut BytesMut, head: &Head) -> BytesMut {
    let mut section = bytes.split_to(head.end);
    let _ = section.split_to(head.start);
    let Some((from, to)) = head.absolute else { return section };
    let (from, to) = (from - head.start, to - head.start);
    let (before, named, after) = (&section[..from], &section[from..to], &section[to..]);
    let mut origin = BytesMut::with_capacity(section.len() + 16);
    origin.extend_from_slice(before);
    if after.first() != Some(&b'/') {
        origin.extend_from_slice(b"/");
    }
    let line = memchr::memchr(b'\n', after).map_or(after.len(), |at| at + 1);
    origin.extend_from_slice(&after[..line]);
    if !head.has_host {
        let authority = named.rsplit(|b| *b == b'/').next().unwrap_or_default();
        for part in [&b"Host: "[..], authority, b"\r\n"] {
            origin.extend_from_slice(part);
        }
    }
    origin.extend_from_slice(&after[line..]);
    origin
}
