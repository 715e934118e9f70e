"""The target: its four forms, the bytes it may not hold, and what is never decoded on its way."""

from cases import HOST, Outcome, Seen, accepted, case, either, get, message, refused

ROUTES = {"": "normalised", "/raw": "as it came"}


def line(target, *hosts, method="GET"):
    return message(method.encode() + b" " + (target.encode("latin-1")) + b" HTTP/1.1", hosts or [HOST])


def absolute():
    for prefix, route in ROUTES.items():
        for authority in ["edge.test", "EDGE.test", "edge.test:80"]:
            for scheme in ["http", "HTTP"]:
                whole = f"{scheme}://{authority}{prefix}/x?a=b"
                seen = Seen(target=(f"{prefix}/x?a=b", whole))
                yield accepted(f"{scheme}://{authority} for its Host, {route}", line(whole, f"Host: {authority}"), seen)
        for authority in [
            "other.test",
            "edge.test.other.test",
            "edge.test:81",
            "other.test:80",
            "127.0.0.1",
            "edge",
            "xedge.test",
        ]:
            yield refused(f"http://{authority} for the Host edge.test, {route}", line(f"http://{authority}{prefix}/x"))
        yield refused(
            f"http://edge.test for another Host, {route}", line(f"http://edge.test{prefix}/x", "Host: other.test")
        )
        yield refused(f"http://edge.test without a Host, {route}", line(f"http://edge.test{prefix}/x", "X-A: 1"))
        yield refused(f"http://edge.test for an empty Host, {route}", line(f"http://edge.test{prefix}/x", "Host:"))
        for authority in [
            "user@edge.test",
            "user:word@edge.test",
            "@edge.test",
            "edge.test@other.test",
            ":@edge.test",
            "a@b@edge.test",
        ]:
            yield refused(f"http://{authority}, {route}", line(f"http://{authority}{prefix}/x"))
            yield refused(
                f"http://{authority} for its Host, {route}", line(f"http://{authority}{prefix}/x", f"Host: {authority}")
            )
    yield accepted("http://edge.test without a path", line("http://edge.test"), Seen(target=("/", "http://edge.test/")))
    yield accepted(
        "http://edge.test with a query alone", line("http://edge.test?a"), Seen(target=("/?a", "http://edge.test/?a"))
    )
    yield either("edge.test:80 in the target, edge.test in the Host", line("http://edge.test:80/x"))
    yield either("https on a port without TLS", line("https://edge.test/x"), Seen(target="/x"))
    for target in [
        "ftp://edge.test/x", "file:///x", "ws://edge.test/x", "gopher://edge.test/", "http:/x", "http:x", "http:///x",
        "http://", "http:", "http://:80/x", "http://edge.test:x/", "http://edge.test:99999/",
        "http://edge.test:80:80/", "http://[::1/x", "http://edge.test\\@other.test/", "http://edge.test#x",
        "http://edge.test/#x", "http:\\\\edge.test\\x", "http://edge.test%2fx/", "http//edge.test/x", "://edge.test/x",
        "javascript:x", "data:,x", "urn:x:y", "http://http://edge.test/x", "http://edge%2etest/x",
        "h\0ttp://edge.test/x",
    ]:  # fmt: skip
        yield refused(f"the target {target!r}", line(target))


def other_forms():
    for target in ["edge.test:80", "edge.test", "127.0.0.1:80", "[::1]:80", "localhost:80"]:
        yield refused(f"GET of the authority {target}", line(target))
        yield refused(f"GET of the authority {target} that is the Host", line(target, f"Host: {target}"))
    yield case("OPTIONS of *", line("*", method="OPTIONS"), Outcome((Seen("OPTIONS", "*"),)),
               Outcome(ends=(400, 404, 405, 501)), Outcome(own=(200, 204)))  # fmt: skip
    for method in ["GET", "HEAD", "POST", "DELETE", "FOO"]:
        yield refused(f"{method} of *", line("*", method=method), 400, 405)
    for target in ["*/x", "**", "*?x", "/*\0"]:
        yield refused(f"OPTIONS of {target!r}", line(target, method="OPTIONS"), 400)
    for target in [
        "x", "x/y", "?x", "./x", "../x", ".", "..", "\\x", "%2fx", ";x", "#", "#/x", "@", ":", ",", "&", "=", "~/x",
        "-", "\x80/x", ".//x", "\\\\x\\y", "'/x'", '"/x"', "</x>",
    ]:  # fmt: skip
        yield refused(f"the target {target!r}", line(target))


def bytes_within():
    """Bytes that no target may hold, in the path and in the query."""
    for byte in [*range(0x21), 0x7F]:
        for prefix, route in ROUTES.items():
            yield refused(f"0x{byte:02x} in a path, {route}", line(f"{prefix}/x{chr(byte)}y"))
        yield refused(f"0x{byte:02x} in a query", line(f"/x?a{chr(byte)}b"))
    for prefix, route in ROUTES.items():
        for end in ["#", "#y", "?a#y", "/#/../y"]:
            yield refused(f"{end} in a target, {route}", line(f"{prefix}/x{end}"))
        for byte in [0x80, 0x85, 0xA0, 0xC3, 0xFF]:
            for place in ["/x", "/x?a="]:
                target = f"{prefix}{place}{chr(byte)}y"
                yield either(f"0x{byte:02x} after {place}, {route}", line(target), Seen(target=target))
        for character in '\\"<>^`{|}':
            target = f"{prefix}/x{character}y"
            yield either(f"{character} in a path, {route}", line(target), Seen(target=target))
        for character in '"<>':
            yield refused(f"{character} in a query, {route}", line(f"{prefix}/x?a{character}b"))
        utf8 = f"{prefix}/ä".encode().decode("latin-1")
        yield either(f"UTF-8 in a path, {route}", line(utf8), Seen(target=utf8))


ENCODED = [
    "/%00", "/x%00y", "/x%0d%0aHost:%20y", "/x%0D%0A%0D%0AGET%20/y", "/%2e%2e/y", "/x/%2e%2e/y", "/x/%2E%2E/y",
    "/x/.%2e/y", "/x/%2e", "/x%2fy", "/x%2Fy", "/x%5cy", "/x/..%2fy", "/x%252fy", "/%252e%252e/y", "/x%20y", "/x%09y",
    "/x%23y", "/x%3fy", "/x%3by", "/x%25", "/%41", "/%7euser", "/x%c0%afy", "/%e4", "/x;y", "/x;a=b;c=d/y", "/x/..;/y",
    "/;/x", "/;x", "/x/;y", "/x:80", "/@x", "/x,y", "/x'y", "/(x)", "/x!$&*+=y", "/*", "/~", "/x?%00", "/x?a=%0d%0a",
    "/x?/../y", "/x?//y", "/x??y", "/x?a=b&a=c", "/x?", "/x?;", "/x?a=http://other.test/", "/x?%", "/x?%zz",
    "/HTTP/1.1", "/http://other.test/", "/x?a=\\",
]  # fmt: skip


def encoded():
    for path in ENCODED:
        for prefix, route in ROUTES.items():
            merged = path if prefix else path.replace("//", "/") if "?" not in path else path
            yield either(f"{path}, {route}", line(prefix + path), Seen(target=prefix + merged))
    for path in ["/%41b", "/x?%00", "/x?", "/x?/../y", "/x,y", "/x'y", "/x;y", "/x:80", "/x%20y", "/x??y"]:
        yield accepted(f"{path} passes", line(path), Seen(target=path))


NORMALISED = [
    ("/x/./y", "/x/y"), ("/x/../y", "/y"), ("/x/y/..", "/x/"), ("/x/.", "/x/"), ("/./x", "/x"), ("//x", "/x"),
    ("/x//y", "/x/y"), ("///x///", "/x/"), ("//edge.test/x", "/edge.test/x"), ("//other.test/", "/other.test/"),
    ("//other.test:80/x", "/other.test:80/x"), ("/x/..//y", "/y"), ("/x/.../y", "/x/.../y"), ("/x/..y", "/x/..y"),
    ("/.x", "/.x"), ("/x/../y?/../z", "/y?/../z"), ("//", "/"), ("//user@other.test/", "/user@other.test/"),
    ("/x/./././y", "/x/y"), ("/x//../y", "/x/y"),
]  # fmt: skip


def normalised():
    for path, target in NORMALISED:
        if path == "/x//../y":
            # Merged first or removed first: these lead to different places.
            yield either(path, line(path), Seen(target=("/y", "/x/y")))
            continue
        yield accepted(f"{path} becomes {target}", line(path), Seen(target=target))
        if path.startswith("/x"):
            yield either(f"{path}, as it came", line(f"/raw{path}"), Seen(target=f"/raw{path}"))
    for path in ["/..", "/../x", "/x/../../y", "/x/../..", "/./../x", "//../x", "/..?x"]:
        yield refused(f"{path} climbs above the root", line(path))
    for path in ["/%", "/%z", "/%zz", "/%2", "/%u0041", "/x%", "/%%41", "/%-1", "/%0", "/% 41"]:
        yield refused(f"{path} is not encoded", line(path))
    yield accepted("the root", get(target="/"), Seen(target="/"))
    yield accepted("//, as it came", line("/raw//x"), Seen(target="/raw//x"))
    yield accepted("/., as it came", line("/raw/x/./y"), Seen(target="/raw/x/./y"))
    # This one leaves the route that does not normalise.
    out = Outcome((Seen(target=("/x", "/raw/../x")),)), Outcome(ends=(400,))
    yield case("/raw/../x", line("/raw/../x"), *out)


CASES = [*absolute(), *other_forms(), *bytes_within(), *encoded(), *normalised()]
