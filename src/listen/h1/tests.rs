use super::*;
use crate::observe::Rejection;

/// Reads a header section, given in pieces of `step` bytes.
fn read_by(bytes: &[u8], step: usize) -> Result<Option<Head>, Rejection> {
    let mut reader = HeadReader::default();
    let mut have = 0;
    while have < bytes.len() {
        have = (have + step).min(bytes.len());
        if let Some(head) = reader.read(&bytes[..have], &HeadLimits::default())? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn read(text: &str) -> Result<Option<Head>, Rejection> {
    let results: Vec<_> = [1, 3, 7, 100_000].into_iter().map(|step| read_by(text.as_bytes(), step)).collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{text:?}: {results:?}");
    results[0]
}

#[test]
fn good_requests_are_read_whole() {
    let good = [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Framing::None),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Framing::None),
        ("POST /a?b=\\ HTTP/1.1\r\nhOST:\th:80 \r\nContent-Length: 12\r\n\r\n", Framing::Length(12)),
        ("PUT /{a|b}^` HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n", Framing::Chunked),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", Framing::None),
        ("GET http://H:1/x HTTP/1.1\r\nHost: h:1\r\nExpect: 100-Continue\r\n\r\n", Framing::None),
        ("get /\u{e9} HTTP/1.0\r\n\r\n", Framing::None),
        ("GET / HTTP/1.0\r\nExpect: x\r\nContent-Length: 0\r\n\r\n", Framing::None),
        ("GET / HTTP/1.1\r\nHost: [::1]\r\nX: \u{e9}\t\"\r\nEmpty:\r\n\r\n", Framing::None),
    ];
    for (text, framing) in good {
        let head = read(&format!("{text}NEXT")).unwrap().unwrap();
        assert_eq!((head.framing, head.end), (framing, text.len()), "{text:?}");
    }
    assert_eq!(read("GET / HTTP/1.1\r\nHost: h\r\n"), Ok(None));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    use Rejection as R;
    let bad = [
        (R::LineEnding, "GET / HTTP/1.1\nHost: h\r\n\r\n"),
        (R::LineEnding, "GET / HTTP/1.1\r\nHost: h\n\r\n"),
        (R::LineEnding, "GET / HTTP/1.1\r\nHost: h\r\n\n"),
        (R::LineEnding, "GET / HTTP/1.1\r\nA: b\rc\r\nHost: h\r\n\r\n"),
        (R::LineEnding, "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n"),
        (R::RequestLine, "\r\n\r\n\r\nGET / HTTP/1.1\r\n"),
        (R::RequestLine, "GET /\r\n\r\n"),
        (R::RequestLine, "GET  / HTTP/1.1\r\n"),
        (R::RequestLine, "GET / HTTP/1.1 \r\n"),
        (R::RequestLine, "GET / HTTP/1.1x\r\n"),
        (R::RequestLine, "GET / http/1.1\r\n"),
        (R::RequestLine, " GET / HTTP/1.1\r\n"),
        (R::Method, " /x HTTP/1.1\r\n"),
        (R::NotHttp, "HELO mail.example.org there\r\n"),
        (R::Method, "G\tET / HTTP/1.1\r\n"),
        (R::Method, "GET\t/ HTTP/1.1\r\n"),
        (R::Method, "G(T / HTTP/1.1\r\n"),
        (R::TlsOnPlain, "\u{16}\u{3}\u{1}"),
        (R::MethodNotImplemented, "CONNECT h:80 HTTP/1.1\r\n"),
        (R::MethodNotImplemented, "TRACE / HTTP/1.1\r\n"),
        (R::MethodNotImplemented, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        (R::Version, "GET / HTTP/1.2\r\n"),
        (R::Version, "GET / HTTP/2.0\r\n"),
        (R::Target, "GET /\u{1} HTTP/1.1\r\n"),
        (R::Target, "GET /\t HTTP/1.1\r\n"),
        (R::Target, "GET /a#b HTTP/1.1\r\n"),
        (R::Target, "GET /a\\b HTTP/1.1\r\n"),
        (R::Target, "GET /\"b HTTP/1.1\r\n"),
        (R::Target, "GET a HTTP/1.1\r\n"),
        (R::Target, "GET * HTTP/1.1\r\n"),
        (R::Target, "GET h:80 HTTP/1.1\r\n"),
        (R::Target, "GET ftp://h/ HTTP/1.1\r\n"),
        (R::Target, "GET http://u@h/ HTTP/1.1\r\n"),
        (R::Target, "GET http:///a HTTP/1.1\r\n"),
        (R::FoldedHeader, "GET / HTTP/1.1\r\n Host: h\r\n"),
        (R::FoldedHeader, "GET / HTTP/1.1\r\nA: b\r\n\tc\r\n"),
        (R::HeaderName, "GET / HTTP/1.1\r\nA\r\n"),
        (R::HeaderName, "GET / HTTP/1.1\r\n: b\r\n"),
        (R::HeaderName, "GET / HTTP/1.1\r\nA : b\r\n"),
        (R::HeaderName, "GET / HTTP/1.1\r\nA\u{e9}: b\r\n"),
        (R::HeaderValue, "GET / HTTP/1.1\r\nA: b\0c\r\n"),
        (R::HeaderValue, "GET / HTTP/1.1\r\nA: b\u{7f}\r\n"),
        (R::HeaderValue, "GET / HTTP/1.1\r\nTransfer-Encoding: \u{b}chunked\r\n"),
        (R::Host, "GET / HTTP/1.1\r\n\r\n"),
        (R::Host, "GET / HTTP/1.1\r\nHost:\r\n"),
        (R::Host, "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n"),
        (R::Host, "GET / HTTP/1.1\r\nHost: a, b\r\n"),
        (R::Host, "GET / HTTP/1.1\r\nHost: u@h\r\n"),
        (R::Host, "GET / HTTP/1.1\r\nHost: h:65536\r\n"),
        (R::Host, "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
        (R::Length, "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n"),
        (R::Length, "GET / HTTP/1.1\r\nContent-Length: 5, 5\r\n"),
        (R::Length, "GET / HTTP/1.1\r\nContent-Length: +5\r\n"),
        (R::Length, "GET / HTTP/1.1\r\nContent-Length: 05\r\n"),
        (R::Length, "GET / HTTP/1.1\r\nContent-Length:\r\n"),
        (R::Length, "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n"),
        (R::LengthWithEncoding, "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (R::LengthWithEncoding, "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
        (R::Encoding, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        (R::Encoding, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n"),
        (R::Encoding, "GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n"),
        (R::Encoding, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked;q=1\r\n"),
        (R::Encoding, "GET / HTTP/1.1\r\nTransfer-Encoding:\r\n"),
        (R::Encoding, "GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n"),
        (R::Encoding, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n"),
        (R::Encoding, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n"),
        (R::EncodingNotImplemented, "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n"),
        (R::Expectation, "GET / HTTP/1.1\r\nExpect: 200-ok\r\n"),
        (R::Connection, "GET / HTTP/1.1\r\nConnection: close, Host\r\n"),
    ];
    for (rejection, text) in bad {
        assert_eq!(read(text), Err(rejection), "{text:?}");
    }
}

#[test]
fn sizes_are_bounded() {
    let limits = HeadLimits::default();
    let target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(limits.target));
    assert_eq!(read_by(target.as_bytes(), 1000), Err(Rejection::TargetTooLong));
    assert_eq!(read_by(&[b'A'; 10], 1), Ok(None));
    let endless = format!("GET /{}", "a".repeat(100_000));
    assert_eq!(read_by(endless.as_bytes(), 1000), Err(Rejection::TargetTooLong));
    let header = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(limits.size));
    assert_eq!(read_by(header.as_bytes(), 1000), Err(Rejection::HeaderTooLarge));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(limits.headers + 1));
    assert_eq!(read_by(many.as_bytes(), 1000), Err(Rejection::TooManyHeaders));
}

#[test]
fn targets_become_origin_form() {
    let forms = [
        ("\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("GET HTTPS://h HTTP/1.1\r\nHost: H\r\n\r\n", "GET / HTTP/1.1\r\nHost: H\r\n\r\n"),
        ("GET http://h?x HTTP/1.0\r\nA: b\r\n\r\n", "GET /?x HTTP/1.0\r\nHost: h\r\nA: b\r\n\r\n"),
    ];
    for (from, to) in forms {
        let head = read(from).unwrap().unwrap();
        let mut bytes = BytesMut::from(format!("{from}BODY").as_bytes());
        assert_eq!(take_head(&mut bytes, &head), to.as_bytes());
        assert_eq!(&bytes[..], b"BODY");
    }
}
