"""Host: none, two, and what is not a host with an optional port."""

from cases import Seen, accepted, either, get, message, posted, refused

GET = "GET /x HTTP/1.1"

NOT_HOSTS = [
    "edge.test, edge.test", "edge.test,other.test", "edge.test other.test", "edge.test\tother.test", "edge .test",
    "edge.test :80", "edge.test: 80", "user@edge.test", "user:word@edge.test", "@edge.test", "edge.test@", "a@b@c",
    "edge.test/", "edge.test/x", "/", "/x", "edge.test/../x", "edge.test?x", "?", "edge.test#x", "#",
    "http://edge.test", "http://edge.test/", "//edge.test", "edge.test\\x", "\\", "edge.test:x", "edge.test:80x",
    "edge.test:x80", "edge.test:-80", "edge.test:+80", "edge.test:8 0", "edge.test:80:80", "edge.test::80",
    "edge.test:0x50", "edge.test:80.0", "edge.test:65536", "edge.test:99999", "edge.test:100000",
    "edge.test:4294967376", "edge.test:80/", "edge.test:80@other.test", "edge.test:80,", "edge.test:80#",
    "edge.test:80?", ":80", ":", "::1", "::1:80", "[", "]", "[]", "[]:80", "[::1", "::1]", "[::1]x", "x[::1]",
    "[::1]80", "[::1]:x", "[::1]:80x", "[::1]:65536", "[::1]:-1", "[::1]:80:80", "[::1]]", "[[::1]]", "[::1][::1]",
    "[zz]", "[1::2::3]", "[:]", "[:::]", "[12345::]", "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[::1/64]",
    "[127.0.0.1]", "[edge.test]", "[::1 ]", "[ ::1]", "[::1%]", "[::256.0.0.1]", "[::1]@x", "[::1].test",
    "edge.test[::1]", '"edge.test"', "<edge.test>", "edge.test>", "{edge}", "edge|test", "edge^test", "edge`test",
    "edge.test\0", "\0", "edge\0.test", "edge\x01.test", "edge\x7f.test", "edge.test\x0b", "\x0cedge.test",
    "edg\xe9.test", "\xff", "edge\xa0test", "edge.test\x85", "edge.test\r", "%", "edge%.test", "edge%zz.test",
    "edge%2.test", "edge.test%00", "edge.test%0d%0aX-A:1", "edge%20.test", "edge%2ftest", "edge%40other.test", "*",
    "*.test",
]  # fmt: skip
# Valid as the grammar of URIs goes, of no use in practice; or refused by some, and passed by others.
DOUBTFUL = [
    "edge.test:", "edge.test:0", "edge.test:00080", "edge.test:000000000080", "[::1]:", "[::1]:0", "[fe80::1%25eth0]",
    "[fe80::1%eth0]", "[v1.x]", "edge..test", ".edge.test", ".", "..", "-edge.test", "edge.test-", "!", "edge!test",
    "edge$test", "edge&test", "edge'test", "(edge)", "a+b", "a;b", "a=b", "edge%41.test", "a" * 64, "a" * 300, "1.2.3",
    "256.256.256.256", "0x7f.1", "127.1", "0", "xn--", "_", "~",
]  # fmt: skip
HOSTS = [
    "edge.test", "EDGE.TEST", "Edge.Test", "edge.test:80", "edge.test:8080", "edge.test:1", "edge.test:65535", "edge",
    "localhost", "127.0.0.1", "127.0.0.1:80", "10.0.0.1", "[::1]", "[::1]:80", "[::]", "[2001:db8::1]",
    "[2001:DB8::1]:443", "[::ffff:127.0.0.1]", "[1:2:3:4:5:6:7:8]", "edge-1.test", "edge_1.test", "1.test",
    "a.b.c.d.e.f", "edge.test.", "xn--bcher-kva.test", "a",
]  # fmt: skip


def seen(host):
    """Whatever Host it sends, Pylon says which one the client has named."""
    return Seen(has=[("x-forwarded-host", host)])


def one():
    for host in NOT_HOSTS:
        yield refused(f"the Host {host!r}", message(GET, [f"Host: {host}"]))
    for host in DOUBTFUL:
        name = host if len(host) < 40 else f"a name of {len(host)}"
        yield either(f"the Host {name!r}", message(GET, [f"Host: {host}"]))
    for host in HOSTS:
        yield accepted(f"the Host {host}", message(GET, [f"Host: {host}"]), seen(host))
    for line in [
        "host: edge.test",
        "HOST: edge.test",
        "hOsT: edge.test",
        "Host:edge.test",
        "Host: \tedge.test\t ",
        "Host:\tedge.test",
    ]:
        yield accepted(f"the line {line!r}", message(GET, [line]), seen("edge.test"))


def none():
    for version in ["HTTP/1.1", "HTTP/1.2"]:
        yield refused(f"no Host in {version}", message(f"GET /x {version}", ["X-A: 1"]), 400, 505)
        yield refused(f"no field at all in {version}", message(f"GET /x {version}", []), 400, 505)
    for line in ["Host:", "Host: ", "Host: \t "]:
        yield refused(f"the line {line!r}", message(GET, [line]))
        yield refused(f"the line {line!r}, with a field after it", message(GET, [line, "X-A: 1"]))
    yield refused("a POST without a Host", message("POST /x HTTP/1.1", ["Content-Length: 5"], "hello"))
    yield refused("a Host in another name", message(GET, ["X-Host: edge.test"]))
    yield refused("Host_ alone", message(GET, ["Host_: edge.test"]))
    yield refused("X-Forwarded-Host alone", message(GET, ["X-Forwarded-Host: edge.test"]))
    yield accepted("HTTP/1.0 without a Host", message("GET /x HTTP/1.0", ["X-A: 1"]))
    yield accepted("HTTP/1.0 without any field", message("GET /x HTTP/1.0", []))
    yield accepted(
        "HTTP/1.0, a POST without a Host", message("POST /x HTTP/1.0", ["Content-Length: 5"], "hello"), posted()
    )
    yield refused("HTTP/1.0 with a Host that is none", message("GET /x HTTP/1.0", ["Host: a b"]))


def two():
    pairs = [
        ("edge.test", "edge.test"), ("edge.test", "other.test"), ("edge.test", "EDGE.test"),
        ("edge.test", "edge.test:80"), ("edge.test", ""), ("", "edge.test"), ("edge.test", "x y"), ("[::1]", "[::1]"),
    ]  # fmt: skip
    for first, other in pairs:
        yield refused(f"the Hosts {first!r} and {other!r}", message(GET, [f"Host: {first}", f"Host: {other}"]))
        yield refused(
            f"the Hosts {first!r} and, further on, {other!r}",
            message(GET, [f"Host: {first}", "X-A: 1", f"hOST: {other}"]),
        )
    yield refused("two Hosts in HTTP/1.0", message("GET /x HTTP/1.0", ["Host: edge.test", "Host: other.test"]))
    yield refused(
        "two Hosts with an absolute target",
        message("GET http://edge.test/x HTTP/1.1", ["Host: edge.test", "Host: edge.test"]),
    )
    yield refused("three Hosts", message(GET, ["Host: edge.test"] * 3))
    yield refused(
        "two Hosts of a POST", message("POST /x HTTP/1.1", ["Host: a", "Content-Length: 5", "Host: b"], "hello")
    )
    for line in [
        "Host : other.test", " Host: other.test", "\tHost: other.test", "Host\t: other.test", "Host\0: other.test",
        "Host", "Host other.test", "Host\x0b: other.test", "\0Host: other.test", "Host\r: other.test",
        "X: y\rHost: other.test", "X: y\nHost: other.test",
    ]:  # fmt: skip
        yield refused(f"a Host, and {line!r}", get(line))
        yield refused(f"{line!r}, and a Host", message(GET, [line, "Host: edge.test"]))
    hidden = Seen(has=[("x-forwarded-host", "edge.test")], absent=["host_", "_host"])
    for line in ["Host_: other.test", "_Host: other.test"]:
        yield either(f"a Host, and {line!r}", get(line), hidden)


CASES = [*one(), *none(), *two()]
