use super::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let lines = lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
    lines.collect()
}

fn call(content_type: &str) -> Option<Call> {
    Call::of(&headers(&[("content-type", content_type)]))
}

#[test]
fn requests_become_grpc() {
    for (web, grpc) in [
        ("application/grpc-web", "application/grpc"),
        ("application/grpc-web+proto", "application/grpc+proto"),
        ("Application/gRPC-Web+thrift; a=b", "application/grpc+thrift"),
        ("application/grpc-web-text", "application/grpc"),
        ("application/grpc-web-text+proto", "application/grpc+proto"),
    ] {
        let mut request =
            headers(&[("content-type", web), ("x-grpc-web", "1"), ("content-length", "5"), ("x-user-agent", "js")]);
        assert!(Call::of(&request).is_some());
        Call::outward(&mut request);
        assert_eq!(request, headers(&[("content-type", grpc), ("te", "trailers"), ("x-user-agent", "js")]));
    }
}

#[test]
fn all_else_is_left_alone() {
    for other in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc-webs",
        "application/grpc-web-textual",
        "text/html",
        "",
        "application/grpc-we",
    ] {
        let before = headers(&[("content-type", other), ("x-grpc-web", "1"), ("content-length", "5")]);
        let mut request = before.clone();
        assert_eq!(Call::of(&request), None, "{other}");
        Call::outward(&mut request);
        assert_eq!(request, before);
    }
    assert_eq!(Call::of(&HeaderMap::new()), None);
}

#[test]
fn answers_come_as_the_client_accepts_them() {
    for (sent, accept, grpc, web) in [
        ("application/grpc-web", None, "application/grpc", "application/grpc-web"),
        ("application/grpc-web+proto", Some("*/*"), "application/grpc+proto", "application/grpc-web+proto"),
        ("application/grpc-web-text", None, "application/grpc", "application/grpc-web-text"),
        (
            "application/grpc-web-text",
            Some("application/grpc-web-text"),
            "application/grpc",
            "application/grpc-web-text",
        ),
        ("application/grpc-web-text", Some("text/x, application/grpc-web"), "application/grpc", "application/grpc-web"),
        (
            "application/grpc-web",
            Some("application/grpc-web-text"),
            "application/grpc+proto",
            "application/grpc-web-text+proto",
        ),
    ] {
        let mut request = headers(&[("content-type", sent)]);
        request.extend(accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept))));
        let mut call = Call::of(&request).unwrap();
        let mut response = headers(&[("content-type", grpc), ("content-length", "5"), ("grpc-encoding", "gzip")]);
        assert_eq!(call.respond(&mut response).is_some(), web.contains("text"));
        assert_eq!(response, headers(&[("content-type", web), ("grpc-encoding", "gzip")]));
    }
}

#[test]
fn answers_that_are_no_grpc_stay() {
    for other in ["text/html", "application/grpcx", "application/json"] {
        let mut call = call("application/grpc-web-text").unwrap();
        let before = headers(&[("content-type", other), ("content-length", "5")]);
        let mut response = before.clone();
        assert!(call.respond(&mut response).is_none());
        assert_eq!(response, before);
        assert_eq!(call.trailers(&headers(&[("grpc-status", "0")])), None);
    }
}

#[test]
fn trailers_become_the_last_message() {
    let mut call = call("application/grpc-web").unwrap();
    call.respond(&mut headers(&[("content-type", "application/grpc")]));
    let mut trailers = headers(&[("Grpc-Status", "9"), ("grpc-message", "gr%C3%B6%C3%9Fe"), ("why-bin", "AP8")]);
    trailers.append("why-bin", HeaderValue::from_static("AQ"));
    let message = call.trailers(&trailers).unwrap();
    let lines = "grpc-status:9\r\ngrpc-message:gr%C3%B6%C3%9Fe\r\nwhy-bin:AP8\r\nwhy-bin:AQ\r\n";
    assert_eq!(message[..5], [0x80, 0, 0, 0, u8::try_from(lines.len()).unwrap()]);
    assert_eq!(&message[5..], lines.as_bytes());
    assert_eq!(call.trailers(&HeaderMap::new()).unwrap()[..], [0x80, 0, 0, 0, 0]);
}

/// Sends a body in pieces; what came of it.
fn send(call: &mut Call, text: &[u8], size: usize) -> Result<Vec<u8>, NotBase64> {
    let mut came = Vec::new();
    for piece in text.chunks(size) {
        let mut body = Some(Bytes::copy_from_slice(piece));
        call.take(&mut body, false)?;
        came.extend(body.unwrap());
    }
    call.take(&mut None, true)?;
    Ok(came)
}

#[test]
fn base64_is_decoded_however_it_is_cut() {
    // Three pieces, each padded by itself.
    let text: String = [&b"\0\0\0\0\x05hello"[..], b"\0\0\0\0\x02", b"hi!"].map(|piece| BASE64.encode(piece)).concat();
    for size in 1..=text.len() {
        let mut call = call("application/grpc-web-text").unwrap();
        let came = send(&mut call, text.as_bytes(), size).unwrap();
        assert_eq!(came, b"\0\0\0\0\x05hello\0\0\0\0\x02hi!", "in pieces of {size}");
    }
    let mut binary = call("application/grpc-web").unwrap();
    assert_eq!(send(&mut binary, b"\0\0\0\0\x01=", 2).unwrap(), b"\0\0\0\0\x01=");
}

#[test]
fn what_is_no_base64_is_refused() {
    for text in ["AAA", "AAAAA", "A===", "AA=A", "AAA\n", "AA-_", "====", "ÄÄ"] {
        for size in [1, 3, 100] {
            let mut call = call("application/grpc-web-text").unwrap();
            assert_eq!(send(&mut call, text.as_bytes(), size), Err(NotBase64), "{text}");
        }
    }
}

#[test]
fn answers_in_base64_can_be_read_piece_by_piece() {
    for piece in [&b"\0\0\0\0\x05hello"[..], b"x", b"abc"] {
        let mut out = Vec::new();
        ToText.push(piece, &mut out).unwrap();
        assert_eq!(BASE64.decode(&out).unwrap(), piece);
    }
}
