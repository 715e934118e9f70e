"""Expect, several requests on a connection, and requests that hide in bodies."""

from cases import (
    HALF_CLOSE,
    HOST,
    UNTIL_CONTINUE,
    UNTIL_SEEN,
    Outcome,
    Seen,
    accepted,
    broken,
    case,
    chunked,
    either,
    get,
    message,
    posted,
    refused,
    then_refused,
    with_length,
)

CHUNKS = "5\r\nhello\r\n0\r\n\r\n"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n"
SECOND = get(target="/second")
THEN_SECOND = Seen(target="/second")


def expect():
    for value in ["100-continue", "100-Continue", "100-CONTINUE"]:
        head = message("POST /x HTTP/1.1", [HOST, f"Expect: {value}", "Content-Length: 5"])
        once = Outcome((posted(),), interim=1)
        yield case(f"Expect: {value}, and the body when it may come", [head, UNTIL_CONTINUE, "hello"], once)
        yield accepted(f"Expect: {value}, and the body at once", head + b"hello", posted())
        yield accepted(f"Expect: {value} of a GET", get(f"Expect: {value}"))
    head = message("POST /x HTTP/1.1", [HOST, "expect:100-continue", "Transfer-Encoding: chunked"])
    yield case("expect of chunks", [head, UNTIL_CONTINUE, CHUNKS], Outcome((posted(),), interim=1))
    yield accepted("expect of chunks, at once", head + CHUNKS.encode(), posted())
    yield accepted(
        "an expectation, then a request", with_length("Expect: 100-continue") + SECOND, posted(), THEN_SECOND
    )
    for value in [
        "x", "101-continue", "100-continue, x", "x, 100-continue", "100-continue;q=1", "100-continue-x",
        "100 continue", "100", "200-ok", '"100-continue"', "continue", "x=100-continue", "100-continue 100-continue",
    ]:  # fmt: skip
        yield refused(f"Expect: {value}", with_length(f"Expect: {value}"), 417, 400)
        yield refused(f"Expect: {value} of a GET", get(f"Expect: {value}"), 417, 400)
    yield refused("two other expectations", with_length("Expect: 100-continue", "Expect: x"), 417, 400)
    yield either(
        "the same expectation twice",
        with_length("Expect: 100-continue", "Expect: 100-continue"),
        posted(),
        statuses=(417, 400),
    )
    yield either("an empty expectation", with_length("Expect:"), posted(), statuses=(417, 400))
    old = with_length("Expect: 100-continue", version="HTTP/1.0")
    yield case("an expectation in HTTP/1.0", old, Outcome((posted(),), interim=0))
    bad = message("POST /x HTTP/1.1", [HOST, "Expect: 100-continue", "Content-Length: 5", "Transfer-Encoding: chunked"])
    yield refused("an expectation with length and coding", bad)
    cut = message("POST /x HTTP/1.1", [HOST, "Expect: 100-continue", "Content-Length: 5"])
    yield broken("an expectation, and then nothing", [cut, UNTIL_CONTINUE, HALF_CLOSE], 400, None)


def cut():
    for name, body in {"nothing": "", "a byte": "h", "all but one": "hell"}.items():
        raw = message("POST /x HTTP/1.1", [HOST, "Content-Length: 5"], body)
        yield broken(f"{name} of a length of 5", [raw, HALF_CLOSE], 400, None)
        yield broken(f"{name} of a length of 5, later", [raw, UNTIL_SEEN, HALF_CLOSE], 400, None)
    for name, raw in {
        "a request line": "GET /x HT", "a field": f"GET /x HTTP/1.1\r\n{HOST}\r\nX-A",
        "a section": f"GET /x HTTP/1.1\r\n{HOST}\r\n", "a last line": f"GET /x HTTP/1.1\r\n{HOST}\r\n\r",
        "a Host": "GET /x HTTP/1.1\r\nHost: edge",
    }.items():  # fmt: skip
        yield refused(f"cut in {name}", [raw, HALF_CLOSE], 400, None)


def pipelined():
    yield accepted("two GETs", get() + SECOND, Seen(), THEN_SECOND)
    yield accepted("a POST, then a GET", with_length() + SECOND, posted(), THEN_SECOND)
    yield accepted("chunks, then a GET", chunked(CHUNKS) + SECOND, posted(), THEN_SECOND)
    yield accepted(
        "chunks with a trailer, then a GET", chunked("0\r\nX-T: 1\r\n\r\n") + SECOND, posted(b""), THEN_SECOND
    )
    yield accepted("a HEAD, then a GET", get(method="HEAD") + SECOND, Seen("HEAD"), THEN_SECOND)
    yield accepted(
        "a GET with a length, then a GET",
        get("Content-Length: 5") + b"hello" + SECOND,
        Seen(body=b"hello"),
        THEN_SECOND,
    )
    yield accepted(
        "a GET with chunks, then a GET",
        get("Transfer-Encoding: chunked") + CHUNKS.encode() + SECOND,
        Seen(body=b"hello"),
        THEN_SECOND,
    )
    yield accepted(
        "a HEAD with a length, then a GET",
        get("Content-Length: 5", method="HEAD") + b"hello" + SECOND,
        Seen("HEAD", body=b"hello"),
        THEN_SECOND,
    )
    yield accepted(
        "a DELETE with a length, then a GET",
        get("Content-Length: 5", method="DELETE") + b"hello" + SECOND,
        Seen("DELETE", body=b"hello"),
        THEN_SECOND,
    )
    yield accepted(
        "an OPTIONS with chunks, then a GET",
        get("Transfer-Encoding: chunked", method="OPTIONS") + CHUNKS.encode() + SECOND,
        Seen("OPTIONS", body=b"hello"),
        THEN_SECOND,
    )
    twenty = [Seen(target=f"/{number}") for number in range(20)]
    yield accepted("twenty GETs", b"".join(get(target=one.target) for one in twenty), *twenty)
    posts = [posted(f"body {number}".encode(), target=f"/{number}") for number in range(20)]
    yield accepted("twenty POSTs", b"".join(with_length(body=one.body, target=one.target) for one in posts), *posts)
    yield accepted("in pieces", [get()[:10], get()[10:] + SECOND[:20], SECOND[20:]], Seen(), THEN_SECOND)
    yield case("a GET that ends the connection, then a GET", get("Connection: close") + SECOND, Outcome((Seen(),)))
    yield case("a GET of HTTP/1.0, then a GET", get(version="HTTP/1.0") + SECOND, Outcome((Seen(),)))


BAD = {
    "no version": "GET /bad\r\n\r\n", "no Host": "GET /bad HTTP/1.1\r\n\r\n",
    "two lengths": "POST /bad HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "length and coding": "POST /bad HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 5\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": "GET /bad HTTP/1.1\r\nHost : edge.test\r\n\r\n",
    "NUL": "GET /bad HTTP/1.1\r\nHost: edge.test\r\nX: \0\r\n\r\n",
    "two Hosts": "GET /bad HTTP/1.1\r\nHost: edge.test\r\nHost: edge.test\r\n\r\n",
    "bytes of nothing": "\0\1\2\3\r\n\r\n", "the end of a chunk": "0\r\n\r\n",
    "a folded field": "GET /bad HTTP/1.1\r\nHost: edge.test\r\nX: 1\r\n 2\r\n\r\n",
    "LF": "GET /bad HTTP/1.1\nHost: edge.test\n\n\r\n\r\n",
}  # fmt: skip


def then_bad():
    for name, bad in BAD.items():
        yield then_refused(f"a GET, then {name}", get() + bad.encode(), Seen())
        yield then_refused(f"a POST, then {name}", with_length() + bad.encode(), posted())
        yield then_refused(f"chunks, then {name}", chunked(CHUNKS) + bad.encode(), posted())
        yield refused(f"{name}, then a GET", bad.encode() + SECOND)
    yield then_refused("a body longer than its length", with_length() + b"more\r\n\r\n", posted())
    yield then_refused("bytes after the chunks", chunked(CHUNKS) + b"more\r\n\r\n", posted())
    yield then_refused("a GET with a body that it does not announce", get() + b"hello\r\n\r\n", Seen())


def hidden():
    """A body that looks like a request stays a body."""
    for name, body in {
        "a request": SMUGGLED, "the end of chunks and a request": "0\r\n\r\n" + SMUGGLED,
        "an empty line and a request": "\r\n" + SMUGGLED, "half a request": "GET /smuggled HTTP/1.1\r\nX: y",
        "an answer": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "the beginning of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    }.items():  # fmt: skip
        data = body.encode()
        yield accepted(f"a body that is {name}", with_length(body=data), posted(data))
        yield accepted(f"chunks that are {name}", chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)), posted(data))
        yield accepted(f"a GET with a body that is {name}", get(f"Content-Length: {len(data)}") + data, Seen(body=data))
        yield accepted(f"a body that is {name}, then a GET", with_length(body=data) + SECOND, posted(data), THEN_SECOND)
    for method in ["HEAD", "DELETE", "OPTIONS", "FOO"]:
        raw = get(f"Content-Length: {len(SMUGGLED)}", method=method) + SMUGGLED.encode()
        yield accepted(f"a {method} with a body that is a request", raw, Seen(method, body=SMUGGLED.encode()))


CASES = [*expect(), *cut(), *pipelined(), *then_bad(), *hidden()]
