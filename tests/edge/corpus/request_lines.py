"""The request line: its blanks, its version, its method."""

from cases import HOST, Outcome, Seen, accepted, case, either, get, message, posted, refused, with_length

BLANKS = {
    "a blank": " ",
    "a tab": "\t",
    "VT": "\x0b",
    "FF": "\x0c",
    "CR": "\r",
    "NUL": "\0",
    "0x85": "\x85",
    "0xa0": "\xa0",
}

VERSIONS = [
    "HTTP/0.9", "HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/9.9", "HTTP/0.0", "HTTP/1.10", "HTTP/1.01", "HTTP/01.1",
    "HTTP/1.1x", "HTTP/1.1.", "HTTP/1.1.1", "HTTP/11", "HTTP/1", "HTTP/1.", "HTTP/.1", "HTTP/", "HTTP", "H",
    "http/1.1", "Http/1.1", "HTTp/1.1", "HTTPS/1.1", "HTTP/1,1", "HTTP/1-1", "HTTP/+1.1", "HTTP/-1.1", "HTTP/1.-1",
    "HTTP/1.+1", "HTTP/ 1.1", "HTTP /1.1", "HTTP/1. 1", "HTTP/1 .1", "HTTP\\1.1", "HTTP//1.1", "HTTP/1.1/",
    "HTTP/1.1;", "HTTP/1.1\\", "XHTTP/1.1", "SHTTP/1.1", "ICY/1.1", "RTSP/1.0", "HTTP/x.y", "HTTP/1.x", "HTTP/x.1",
    "HTTP/1.1\0", "\0HTTP/1.1", "HTTP/1\0.1", "HTTP/\xb9.1", "HTTP/4294967297.1", "HTTP/1.4294967297",
    "HTTP/1.1 HTTP/1.1", "HTTP/1.1 x", "HTTP/257.1", "HTTP/1.1\x0b", "HTTP/1.1\x0c", "HTTP/1.1\r", "HTTP/1.1,HTTP/1.0",
    '"HTTP/1.1"', "\xefHTTP/1.1",
]  # fmt: skip


def blanks():
    for name, blank in BLANKS.items():
        if blank != " ":
            yield refused(f"{name} after the method", message(f"GET{blank}/x HTTP/1.1", [HOST]))
            yield refused(f"{name} after the target", message(f"GET /x{blank}HTTP/1.1", [HOST]))
            yield refused(f"{name} and a blank after the method", message(f"GET{blank} /x HTTP/1.1", [HOST]))
            yield refused(f"{name} and a blank after the target", message(f"GET /x{blank} HTTP/1.1", [HOST]))
        yield refused(f"a blank and {name} after the method", message(f"GET {blank}/x HTTP/1.1", [HOST]))
        yield refused(f"a blank and {name} after the target", message(f"GET /x {blank}HTTP/1.1", [HOST]))
        yield refused(f"{name} after the version", message(f"GET /x HTTP/1.1{blank}", [HOST]))
        yield refused(f"{name} before the method", message(f"{blank}GET /x HTTP/1.1", [HOST]))
        yield refused(f"{name} in the target", message(f"GET /x{blank}y HTTP/1.1", [HOST]))


def missing():
    for line in [
        "GET", "GET ", "GET /x", "GET /x ", "GET  HTTP/1.1", "GET HTTP/1.1", "/x HTTP/1.1", " /x HTTP/1.1", "HTTP/1.1",
        "/x", " ", "x", "GET /x /y HTTP/1.1", "GET GET /x HTTP/1.1", "HTTP/1.1 200 OK", "GET: /x HTTP/1.1",
        "HTTP/1.1 GET /x", "GET/x HTTP/1.1", "GET /xHTTP/1.1", "GET,/x,HTTP/1.1", "GET%20/x%20HTTP/1.1",
    ]:  # fmt: skip
        yield refused(f"the line {line!r}", message(line, [HOST]))
    yield refused("HTTP/0.9: a line alone", "GET /x\r\n")
    yield refused("HTTP/0.9: a line and an empty one", "GET /x\r\n\r\n")
    yield refused(
        "a TLS handshake", bytes.fromhex("16030100") + b"\x2e\x01\x00\x00\x2a\x03\x03" + b"r" * 32 + b"\r\n\r\n"
    )
    yield refused("bytes of nothing", bytes(range(256)) + b"\r\n\r\n")
    yield refused("the PROXY protocol", b"PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n" + get())
    yield refused(
        "the PROXY protocol, version 2",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\x06" * 4 + b"\x7f\0\0\1\0\1\0\2" + get(),
    )


def versions():
    for version in VERSIONS:
        yield refused(f"the version {version!r}", get(version=version), 400, 505)
    for version in ["HTTP/1.2", "HTTP/1.9"]:
        yield either(f"the version {version}", get(version=version), statuses=(400, 505))
    yield accepted("the version HTTP/1.0", get(version="HTTP/1.0"))
    yield accepted("HTTP/1.0, to be kept", get("Connection: keep-alive", version="HTTP/1.0"))
    yield accepted("HTTP/1.0 with a length", with_length(version="HTTP/1.0"), posted())
    for version in ["HTTP/2.0", "HTTP/1.1x", "HTTP/0.9"]:
        yield refused(f"a POST of version {version}", with_length(version=version), 400, 505)
    yield refused("the beginning of HTTP/2, cut", b"PRI * HTTP/2.0\r\n\r\n" + get(), 400, 505)
    yield refused(
        "the beginning of HTTP/2 with a field", message("PRI * HTTP/2.0", [HOST], b"SM\r\n\r\n"), 400, 405, 501, 505
    )
    yield refused("the method PRI", get(method="PRI", target="*"), 400, 404, 405, 501)


NOT_METHODS = [
    "G(T", "G)T", "G,T", "G/T", "G:T", "G;T", "G<T", "G=T", "G>T", "G?T", "G@T", "G[T", "G\\T", "G]T", "G{T", "G}T",
    'G"T', '"GET"', "GET\0", "\0GET", "G\0ET", "G\x01T", "G\x0bT", "G\x7fT", "G\x80T", "G\xe9T", "\xefGET", "GET,POST",
    "GET/", "(GET)", "GET:",
]  # fmt: skip


def methods():
    for method in NOT_METHODS:
        yield refused(f"the method {method!r}", get(method=method), 400, 501)
    for method in [
        "FOO",
        "PROPFIND",
        "M-SEARCH",
        "X_Y",
        "A",
        "QUERY",
        "PATCH",
        "DELETE",
        "BASELINE-CONTROL",
        "VERSION",
        "$!#%&'*+-.^`|~9",
    ]:
        yield accepted(f"the method {method}", get(method=method), Seen(method))
    for method in ["get", "Get", "gET", "post", "head", "GETT", "GE", "XGET", "GET1"]:
        yield either(f"the method {method}", get(method=method), Seen(method), statuses=(400, 405, 501))
    yield accepted("the method FOO with a body", with_length().replace(b"POST", b"FOO"), Seen("FOO", body=b"hello"))
    yield accepted("the method HEAD", get(method="HEAD"), Seen("HEAD"))
    yield accepted("the method OPTIONS", get(method="OPTIONS"), Seen("OPTIONS"))
    for method in ["TRACE", "TRACK"]:
        yield either(f"the method {method}", get(method=method), Seen(method), statuses=(400, 405, 501))
    yield from connect()


def connect():
    """CONNECT never makes a tunnel, and is never forwarded."""
    statuses = (400, 405, 501)
    for target in [
        "edge.test:80",
        "edge.test:443",
        "127.0.0.1:22",
        "[::1]:80",
        "/x",
        "*",
        "edge.test",
        ":80",
        "http://edge.test/",
        "/",
    ]:
        yield refused(f"CONNECT {target}", get(method="CONNECT", target=target), *statuses)
    named = message("CONNECT edge.test:80 HTTP/1.1", ["Host: edge.test:80"])
    yield refused("CONNECT of its Host", named, *statuses)
    yield refused("CONNECT with a request behind it", named + get(target="/smuggled"), *statuses)
    yield refused(
        "CONNECT with a length",
        message("CONNECT edge.test:80 HTTP/1.1", [HOST, "Content-Length: 5"], "hello"),
        *statuses,
    )
    yield refused(
        "CONNECT with chunks",
        message("CONNECT edge.test:80 HTTP/1.1", [HOST, "Transfer-Encoding: chunked"], "0\r\n\r\n"),
        *statuses,
    )
    yield refused("CONNECT of HTTP/1.0", message("CONNECT edge.test:80 HTTP/1.0", [HOST]), *statuses)
    upgrade = ["Host: edge.test:80", "Connection: upgrade", "Upgrade: websocket"]
    yield refused("CONNECT with an upgrade", message("CONNECT edge.test:80 HTTP/1.1", upgrade), *statuses)
    lower = Outcome((Seen("connect", None),)), Outcome(ends=statuses)
    yield case("connect in lower case", get(method="connect"), *lower)


CASES = [*blanks(), *missing(), *versions(), *methods()]
