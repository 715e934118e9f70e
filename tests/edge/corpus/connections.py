"""Fields of the client's connection: they end at the proxy, and cannot be used to strip others."""

from cases import Seen, accepted, chunked, either, get, posted, with_length

SECRET = ["X-Secret: 1"]


def named():
    """What Connection names is not forwarded."""
    gone = Seen(absent=["x-secret"])
    for value in [
        "X-Secret", "x-secret", "X-SECRET", "close, X-Secret", "X-Secret, close", "keep-alive,X-Secret",
        "keep-alive , X-Secret", ",X-Secret", "X-Secret,", ", ,X-Secret, ,", "\tX-Secret\t",
        "X-Other, X-Secret, X-More",
    ]:  # fmt: skip
        yield accepted(f"Connection: {value!r}", get(f"Connection: {value}", *SECRET), gone)
    yield accepted("the field before Connection", get(*SECRET, "Connection: X-Secret"), gone)
    yield accepted("the field twice", get(*SECRET, "Connection: X-Secret", *SECRET), gone)
    yield accepted("two Connections", get("Connection: keep-alive", "Connection: X-Secret", *SECRET), gone)
    yield accepted(
        "two Connections, the other way round", get("Connection: X-Secret", "connection: keep-alive", *SECRET), gone
    )
    yield accepted("Connection of a POST", with_length("Connection: X-Secret", *SECRET), posted(absent=["x-secret"]))
    yield accepted(
        "Connection of chunks",
        chunked("5\r\nhello\r\n0\r\n\r\n", "Connection: X-Secret", *SECRET),
        posted(absent=["x-secret"]),
    )
    yield accepted("Connection names itself", get("Connection: Connection"))
    yield accepted("Connection names what is not there", get("Connection: X-Nobody"))
    for value in ["X-Sec", "X-Secret-2", "Secret", "X_Secret"]:
        yield accepted(
            f"Connection: {value} does not name X-Secret",
            get(f"Connection: {value}", *SECRET),
            Seen(has=[("x-secret", "1")]),
        )
    for value in ['"X-Secret"', "X-Secret;q=1", "X-Secret X-Other", "(X-Secret)", "X-Secret:", "\xe9", "@", "a/b", "/"]:
        yield either(f"Connection: {value}, which is no name", get(f"Connection: {value}"))


# Who could take these away could change what a request means, or who it seems to come from.
# Others that are named are a matter of the connection, as the client says: they go no further (RFC 9110 §7.6.1).
PROTECTED = {
    "Host": None, "Content-Length": None, "Transfer-Encoding": None, "X-Forwarded-For": "127.0.0.1",
    "X-Real-IP": "127.0.0.1", "X-Forwarded-Host": "edge.test", "X-Forwarded-Proto": "http", "X-Request-Id": None,
    "Content-Type": "text/plain", "Content-Encoding": "x",
}
NAMED = {
    "Authorization": "Basic eDp5", "Cookie": "a=b", "Accept": "text/html", "Origin": "http://other.test",
    "Range": "bytes=0-1", "If-Match": '"1"', "User-Agent": "edge", "Cache-Control": "no-store",
}  # fmt: skip


def protected():
    for name, value in NAMED.items():
        for option in [name, name.lower(), f"close, {name}", f"{name}, keep-alive"]:
            raw = with_length(f"Connection: {option}", f"{name}: {value}")
            yield either(f"Connection: {option}", raw, posted(absent=[name.lower()]))
    for name, value in PROTECTED.items():
        own = [] if name in ("Host", "Content-Length", "Transfer-Encoding") else [f"{name}: {value or 'x'}"]
        has = [(name.lower(), value)] if value else []
        for option in [name, name.lower(), f"close, {name}", f"{name}, keep-alive"]:
            raw = with_length(f"Connection: {option}", *own)
            yield either(f"Connection: {option}", raw, posted(has=[*has, ("content-length", "5")]))
        if name == "Transfer-Encoding":
            yield either(
                "Connection: Transfer-Encoding of chunks",
                chunked("5\r\nhello\r\n0\r\n\r\n", "Connection: Transfer-Encoding"),
                posted(),
            )
    everything = ", ".join(PROTECTED)
    yield either(
        "Connection names all of these",
        with_length(f"Connection: {everything}", "Cookie: a=b"),
        posted(has=[("cookie", "a=b")]),
    )
    imitated = ["Connection: X-Forwarded-For", "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6"]
    ours = Seen(has=[("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")])
    yield either("Connection names an address that is imitated", get(*imitated), ours)


def own():
    for value in [
        "close",
        "Close",
        "CLOSE",
        "close, close",
        "keep-alive",
        "Keep-Alive",
        "keep-alive, close",
        "close, keep-alive",
        "",
        ",",
        "close,",
        "x",
    ]:
        yield accepted(f"Connection: {value!r} alone", get(f"Connection: {value}"), Seen(absent=["close", "x"]))
    for line in [
        "Keep-Alive: timeout=5", "Keep-Alive: 300", "Proxy-Connection: keep-alive", "Proxy-Connection: close",
        "proxy-connection: X-A", "TE: trailers", "TE: gzip", "TE: chunked", "TE: trailers, deflate;q=0.5", "TE:",
        "Trailer: X-T", "Trailer: Content-Length", "Proxy-Authorization: Basic eDp5", "Proxy-Authenticate: Basic",
    ]:  # fmt: skip
        name = line.split(":")[0]
        gone = () if line == "TE: trailers" or name == "Proxy-Authenticate" else (name.lower(),)
        yield accepted(f"{line}", get(line), Seen(absent=gone))
        yield accepted(f"{line}, named by Connection", get(f"Connection: {name}", line), Seen(absent=gone))
    yield accepted(
        "Proxy-Connection names a field, and cannot",
        get("Proxy-Connection: X-Secret", *SECRET),
        Seen(has=[("x-secret", "1")]),
    )


def upgrades():
    gone = Seen(absent=["upgrade", "http2-settings"])
    settings = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
    for value in ["h2c", "H2C", "h2c, websocket", "websocket, h2c", "h2", "h2c-14", "HTTP/2.0", "TLS/1.0"]:
        for option in ["Upgrade, HTTP2-Settings", "upgrade", "HTTP2-Settings, Upgrade, close"]:
            wanted = (
                Seen(absent=["http2-settings"])
                if value in ("h2", "HTTP/2.0", "TLS/1.0") or "websocket" in value
                else gone
            )
            yield accepted(
                f"Upgrade: {value} by Connection: {option}",
                get(f"Connection: {option}", f"Upgrade: {value}", settings),
                wanted,
            )
        yield accepted(f"Upgrade: {value} without Connection", get(f"Upgrade: {value}", settings), gone)
    yield accepted("HTTP2-Settings alone", get(settings), gone)
    yield accepted(
        "h2c of a POST",
        with_length("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", settings),
        posted(absent=["upgrade"]),
    )
    yield accepted(
        "h2c in a second Upgrade", get("Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c", settings)
    )
    for connection in ["", "close", "keep-alive", "X-Upgrade", "upgraded"]:
        lines = [f"Connection: {connection}"] if connection else []
        yield accepted(f"Upgrade: websocket with Connection: {connection!r}", get(*lines, "Upgrade: websocket"), gone)
    yield either(
        "Upgrade: websocket with Connection: 'up grade'", get("Connection: up grade", "Upgrade: websocket"), gone
    )
    yield accepted("Connection: upgrade without Upgrade", get("Connection: upgrade"), gone)
    yield accepted(
        "Upgrade: websocket in HTTP/1.0", get("Connection: upgrade", "Upgrade: websocket", version="HTTP/1.0"), gone
    )
    ordinary = get(
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    yield accepted("Upgrade: websocket that the origin does not want", ordinary, Seen(has=[("upgrade", "websocket")]))


CASES = [*named(), *protected(), *own(), *upgrades()]
