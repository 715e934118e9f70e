"""Requests in HTTP/2 that would be others once they are written in HTTP/1."""

from cases import UNTIL_SEEN, Outcome, Seen, posted
from frames import REFUSALS, downgrade

METHOD, SCHEME, PATH, AUTHORITY = (":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "edge.test")
BASE = [METHOD, SCHEME, AUTHORITY, PATH]
POST = [(":method", "POST"), SCHEME, AUTHORITY, PATH]
SMUGGLED = "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n"
BROKEN = Outcome(ends=REFUSALS, partial=True)
CONTROLS = {"CR": "\r", "LF": "\n", "CR LF": "\r\n", "NUL": "\0"}


def but(name, value):
    """The request with another value of a pseudo-field."""
    return [(found, value if found == name else old) for found, old in BASE]


def without(*names):
    return [one for one in BASE if one[0] not in names]


def good(name, fields, seen=None, **options):
    return downgrade(name, fields, Outcome((seen or Seen(),)), **options)


def doubtful(name, fields, seen=None, **options):
    return downgrade(name, fields, Outcome((seen or Seen(),)), Outcome(ends=REFUSALS), **options)


def values():
    for name, control in CONTROLS.items():
        for place, value in {"in": f"a{control}b", "before": f"{control}b", "after": f"a{control}"}.items():
            yield downgrade(f"{name} {place} a value", [*BASE, ("x-a", value)])
        yield downgrade(f"{name} in a name", [*BASE, (f"x{control}a", "1")])
        yield downgrade(f"{name} before a name", [*BASE, (f"{control}xa", "1")])
        yield downgrade(f"{name} after a name", [*BASE, (f"xa{control}", "1")])
        yield downgrade(f"{name} in a cookie", [*BASE, ("cookie", f"a{control}b")])
        for pseudo in (":method", ":path", ":authority", ":scheme"):
            yield downgrade(f"{name} in {pseudo}", but(pseudo, dict(BASE)[pseudo] + control + "x"))
            yield downgrade(f"{name} after {pseudo}", but(pseudo, dict(BASE)[pseudo] + control))
        yield downgrade(f"{name} in a trailer", POST, BROKEN, body=[b"hello"], trailers=[("x-t", f"a{control}b")])
    yield downgrade("a request in a value", [*BASE, ("x-a", f"a{SMUGGLED}")])
    yield downgrade("a request in a name", [*BASE, (f"x-a: 1{SMUGGLED}x", "1")])
    yield downgrade("a request in :path", but(":path", f"/x HTTP/1.1\r\nHost: edge.test{SMUGGLED}"))
    yield downgrade("a request in :method", but(":method", f"GET /x HTTP/1.1\r\nHost: edge.test{SMUGGLED}GET"))
    yield downgrade("a request in :authority", but(":authority", f"edge.test{SMUGGLED}"))
    yield downgrade("a coding in a value", [*POST, ("x-a", "b\r\ntransfer-encoding: chunked")], body=[b"0\r\n\r\n"])
    for byte in [*range(1, 9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F]:
        # HTTP/2 itself forbids only NUL, CR and LF; HTTP/1 the others, too.
        yield downgrade(f"0x{byte:02x} in a value", [*BASE, ("x-a", f"a{chr(byte)}b")])
    for name, value in {
        "a blank before": " a",
        "a blank after": "a ",
        "a tab before": "\ta",
        "a tab after": "a\t",
        "blanks around": "  a  ",
    }.items():
        yield doubtful(f"{name} a value", [*BASE, ("x-a", value)], Seen(has=[("x-a", "a")]))
    yield good("0xe9 in a value", [*BASE, ("x-a", "a\xe9b")], Seen(has=[("x-a", "a\xe9b")]))
    yield good("an empty value", [*BASE, ("x-a", "")], Seen(has=[("x-a", "")]))


def names():
    for name in ["X-A", "x-A", "Content-Length", "Host", "COOKIE", "Transfer-Encoding"]:
        yield downgrade(f"upper case in {name}", [*BASE, (name, "5")])
    for character in ':"(),/;<=>?@[\\]{} \t\x7f\x80\xff':
        yield downgrade(f"{character!r} in a name", [*BASE, (f"x{character}a", "1")])
    for name in [
        "",
        " ",
        " x-a",
        "x-a ",
        "x-a:",
        "host:",
        "transfer-encoding:",
        "transfer-encoding: chunked\r\nx",
        "::x",
    ]:
        yield downgrade(f"the name {name!r}", [*BASE, (name, "1")])
    for name in ["x_forwarded_for", "x_real_ip", "content_length", "transfer_encoding"]:
        yield doubtful(f"the name {name}", [*BASE, (name, "6")], Seen(absent=[name]))


def pseudo():
    for name in (":method", ":scheme", ":path"):
        yield downgrade(f"no {name}", without(name))
        yield downgrade(f"an empty {name}", but(name, ""))
    for name, value in BASE:
        yield downgrade(f"{name} twice", [*BASE, (name, value)])
        yield downgrade(f"another {name}", [*BASE, (name, f"{value}x")])
        yield downgrade(f"{name} after a field", [*without(name), ("x-a", "1"), (name, value)])
        # Trailers are not passed on: what the origin sees is whole and sound without them.
        trailer = [(name, value)]
        yield downgrade(f"{name} as a trailer", POST, BROKEN, Outcome((posted(),)), body=[b"hello"], trailers=trailer)
    for name in [":status", ":protocol", ":x", ":", ":Method", ":host", ":version", ":path ", ": path"]:
        yield downgrade(f"the pseudo-field {name!r}", [*BASE, (name, "200")])
    yield downgrade(":path alone", [PATH])
    yield downgrade("no pseudo-field at all", [("x-a", "1")])
    yield downgrade("no field at all", [])
    for method in ["GE T", "GET ", " GET", "GET /y HTTP/1.1", "G(T", "G\xe9T", "GET\t", "G:T", "G/T", "G\x7fT"]:
        yield downgrade(f"the method {method!r}", but(":method", method))
    for path in [
        "/x y", "/x HTTP/1.1", " /x", "/x ", "/x\ty", "x", "?x", "x/y", "../x", "\\x",
        "http://edge.test/x", "http://other.test/x", "//\0", "edge.test:80", "*", "/x\x01", "/x\x7f", "*/x", ":80",
    ]:  # fmt: skip
        yield downgrade(f"the path {path!r}", but(":path", path))
    for path in ["/x#y", "/x#"]:
        yield doubtful(f"the path {path!r}", but(":path", path), Seen(target="/x"))
    for path in ["/x\xe9", '/x"', "/x\\y", "/x%00", "/x%0d%0ay"]:
        yield doubtful(f"the path {path!r}", but(":path", path), Seen(target=path))
    for scheme in ["http ", "ht tp", "http://other.test/", "http:", "1", "\xe9"]:
        yield doubtful(f"the scheme {scheme!r}", but(":scheme", scheme), Seen())
    yield good("a query", but(":path", "/x?a=b"), Seen(target="/x?a=b"))
    yield good("dot segments", but(":path", "/y/../x"), Seen())


def connect():
    for target in ["edge.test:80", "127.0.0.1:22"]:
        yield downgrade(f"CONNECT {target}", [(":method", "CONNECT"), (":authority", target)])
    yield downgrade("CONNECT with a path", but(":method", "CONNECT"))
    yield downgrade("CONNECT without an authority", [(":method", "CONNECT")])
    yield downgrade("CONNECT with a protocol", [*but(":method", "CONNECT"), (":protocol", "websocket")])
    yield downgrade(
        "CONNECT with a body",
        [(":method", "CONNECT"), (":authority", "edge.test:80")],
        body=[b"GET / HTTP/1.1\r\n\r\n"],
    )


def hops():
    for name, value in [
        ("connection", "close"), ("connection", "keep-alive"), ("connection", "x-a"), ("connection", ""),
        ("keep-alive", "timeout=5"), ("proxy-connection", "keep-alive"), ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"), ("transfer-encoding", ""), ("upgrade", "h2c"), ("upgrade", "websocket"),
        ("te", "gzip"), ("te", "chunked"), ("te", "trailers, gzip"), ("te", "x"),
    ]:  # fmt: skip
        yield downgrade(f"{name}: {value}", [*BASE, (name, value)])
    yield downgrade("a coding of a body", [*POST, ("transfer-encoding", "chunked")], body=[f"0{SMUGGLED}".encode()])
    yield downgrade("connection and upgrade", [*BASE, ("connection", "upgrade"), ("upgrade", "websocket")])
    yield good("te: trailers", [*BASE, ("te", "trailers")])
    yield doubtful("http2-settings", [*BASE, ("http2-settings", "AAMAAABk")], Seen(absent=["http2-settings"]))
    yield doubtful("expect: 100-continue", [*POST, ("expect", "100-continue")], posted(), body=[b"hello"])


def hosts():
    named = Seen(has=[("x-forwarded-host", "edge.test")])
    yield good("host as :authority", [*BASE, ("host", "edge.test")], named)
    yield doubtful("host in place of :authority", [*without(":authority"), ("host", "edge.test")], named)
    yield downgrade("neither host nor :authority", without(":authority"))
    yield downgrade("host unlike :authority", [*BASE, ("host", "other.test")])
    yield downgrade("host with a port unlike :authority", [*BASE, ("host", "edge.test:81")])
    yield downgrade("two hosts", [*without(":authority"), ("host", "edge.test"), ("host", "other.test")])
    yield downgrade("two hosts and :authority", [*BASE, ("host", "edge.test"), ("host", "other.test")])
    yield downgrade("an empty :authority", but(":authority", ""))
    yield downgrade("an empty host", [*without(":authority"), ("host", "")])
    yield downgrade("an empty host beside :authority", [*BASE, ("host", "")])
    for authority in [
        "user@edge.test", "user:word@edge.test", "@edge.test", "edge.test/x", "edge.test/", "edge.test?x",
        "edge.test#x", "http://edge.test", "a b", " edge.test", "edge.test ", "edge.test:x", "edge.test:99999",
        "edge.test,other.test", "[::1", "::1", "edge\xe9", "edge.test\\x", ":80", "/",
    ]:  # fmt: skip
        yield downgrade(f":authority {authority!r}", but(":authority", authority))
    for authority in ["edge.test:80", "[::1]", "[::1]:80", "EDGE.test", "127.0.0.1"]:
        yield good(f":authority {authority}", but(":authority", authority), Seen(has=[("x-forwarded-host", authority)]))


def bodies():
    yield good("a body with its length", [*POST, ("content-length", "5")], posted(), body=[b"hello"])
    yield good("a body without a length", POST, posted(), body=[b"hel", b"lo"])
    yield good("an empty body", [*POST, ("content-length", "0")], posted(b""))
    yield good("a body in pieces, later", [*POST, ("content-length", "5")], posted(), body=[b"h", UNTIL_SEEN, b"ello"])
    yield good("a body that is a request", POST, posted(SMUGGLED.encode()), body=[SMUGGLED.encode()])
    yield good("a body that ends chunks", POST, posted(b"0\r\n\r\n"), body=[b"0\r\n\r\n"])
    yield good("a trailer", POST, posted(absent=["x-t"]), body=[b"hello"], trailers=[("x-t", "1")])


def lengths():
    for length, body in [
        ("4", [b"hello"]),
        ("6", [b"hello"]),
        ("0", [b"hello"]),
        ("5", []),
        ("5", [b"hello", b"more"]),
        ("3", [b"hel", b"lo"]),
        ("99", [b"hello", b""]),
    ]:
        sizes = " and ".join(str(len(piece)) for piece in body) or "nothing"
        yield downgrade(f"a length of {length} for {sizes}", [*POST, ("content-length", length)], BROKEN, body=body)
    yield downgrade(
        "less than its length, later", [*POST, ("content-length", "9")], BROKEN, body=[b"hel", UNTIL_SEEN, b"lo"]
    )
    yield downgrade(
        "more than its length, later", [*POST, ("content-length", "4")], BROKEN, body=[b"hel", UNTIL_SEEN, b"lo"]
    )
    yield downgrade(
        "a request past its length, later",
        [*POST, ("content-length", "3")],
        BROKEN,
        body=[b"hel", UNTIL_SEEN, SMUGGLED.encode()],
    )
    yield downgrade(
        "less than its length, with a trailer",
        [*POST, ("content-length", "9")],
        BROKEN,
        body=[b"hello"],
        trailers=[("x-t", "1")],
    )
    yield downgrade("a GET with a length and no body", [*BASE, ("content-length", "5")], BROKEN)
    for value in ["5, 5", "+5", "-5", "0x5", "5 5", "", "x", "5.0", "18446744073709551621", "5\0", "5x"]:
        yield downgrade(f"the length {value!r}", [*POST, ("content-length", value)], BROKEN, body=[b"hello"])
    yield downgrade("two lengths", [*POST, ("content-length", "5"), ("content-length", "6")], BROKEN, body=[b"hello"])
    yield downgrade(
        "the same length twice", [*POST, ("content-length", "5"), ("content-length", "5")], BROKEN, body=[b"hello"]
    )
    for name in [
        "content-length",
        "transfer-encoding",
        "host",
        "connection",
        "x-forwarded-for",
        "cookie",
        "Upper",
        "x:y",
    ]:
        outcomes = (
            [BROKEN] if name in ("connection", "transfer-encoding", "Upper", "x:y") else [Outcome((posted(),)), BROKEN]
        )
        yield downgrade(f"the trailer {name}", POST, *outcomes, body=[b"hello"], trailers=[(name, "5")])
    yield good(
        "two crumbs of a cookie", [*BASE, ("cookie", "a=b"), ("cookie", "c=d")], Seen(has=[("cookie", "a=b; c=d")])
    )
    yield good("a plain GET", BASE, Seen(absent=["transfer-encoding"]))


CASES = [*values(), *names(), *pseudo(), *connect(), *hops(), *hosts(), *bodies(), *lengths()]
