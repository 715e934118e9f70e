"""Sizes: targets over 16 KiB, header sections over 64 KiB or of more than 100 fields, and what never ends."""

from cases import HOST, Seen, accepted, get, message, posted, refused, with_length

KIB = 1024
GET = "GET /x HTTP/1.1"
# The limit a request meets first is for Pylon to say, as long as it says one of these.
TOO_LARGE = (431,)
TOO_LONG = (414,)


def fields(count, size, name="X-{:05d}"):
    return [f"{name.format(number)}: {'v' * size}" for number in range(count)]


def sections():
    for count, size in [(10, 6 * KIB), (50, KIB), (1, 60_000), (99, 100)]:
        yield accepted(f"{count} fields of {size} bytes", get(*fields(count, size)))
    yield accepted("a POST with 50 KiB of fields", with_length(*fields(50, KIB)), posted())
    for count, size in [
        (10, 7 * KIB),
        (66, KIB),
        (2, 40 * KIB),
        (1, 66 * KIB),
        (1, 100 * KIB),
        (1, 300 * KIB),
        (90, 4 * KIB),
        (1, 1024 * KIB),
    ]:
        yield refused(f"{count} fields of {size} bytes", get(*fields(count, size)), *TOO_LARGE)
    yield refused("a POST with 70 KiB of fields", with_length(*fields(70, KIB)), *TOO_LARGE)
    yield refused("70 KiB of the same field", get(*fields(70, KIB, "X-Same")), *TOO_LARGE)
    yield refused("a Cookie of 70 KiB", get(f"Cookie: a={'b' * 70 * KIB}"), *TOO_LARGE)
    yield refused("a Host of 70 KiB", message(GET, [f"Host: {'a' * 70 * KIB}"]), 400, *TOO_LARGE)
    yield refused("a name of 70 KiB", get(f"{'x' * 70 * KIB}: 1"), 400, *TOO_LARGE)
    yield refused("a value of 70 KiB of blanks", get(f"X-A: {' ' * 70 * KIB}1"), *TOO_LARGE)
    yield refused("70 KiB before the Host", message(GET, [*fields(70, KIB), HOST]), *TOO_LARGE)
    yield refused("a section of 70 KiB without an end", message(GET, [HOST, *fields(80, KIB)])[:-4], *TOO_LARGE)
    yield refused("a line of 70 KiB without an end", f"{GET}\r\n{HOST}\r\nX-A: {'v' * 80 * KIB}", *TOO_LARGE)
    yield refused("a name of 70 KiB without an end", f"{GET}\r\n{HOST}\r\n{'x' * 80 * KIB}", 400, *TOO_LARGE)


def counts():
    yield accepted("100 fields in all", get(*fields(99, 1)))
    for count in (100, 101, 128, 200, 256, 257, 1000, 5000):
        yield refused(f"{count + 1} fields in all", get(*fields(count, 1)), *TOO_LARGE)
    yield refused("150 times the same field", get(*fields(150, 1, "X-Same")), *TOO_LARGE)
    yield refused("150 empty fields", get(*["X-A:"] * 150), *TOO_LARGE)
    yield refused("150 fields before the Host", message(GET, [*fields(150, 1), HOST]), *TOO_LARGE)
    yield refused("150 fields of a POST", with_length(*fields(150, 1)), *TOO_LARGE)
    yield refused("150 Cookies", get(*[f"Cookie: a{number}=b" for number in range(150)]), *TOO_LARGE)
    yield refused("150 Hosts", message(GET, [HOST] * 150), 400, *TOO_LARGE)


def targets():
    for size in (4 * KIB, 8 * KIB, 16_000):
        path, query = "/" + "p" * (size - 1), "/x?" + "q" * (size - 3)
        yield accepted(f"a path of {size}", get(target=path), Seen(target=path))
        yield accepted(f"a query of {size}", get(target=query), Seen(target=query))
    for size in (16 * KIB + 64, 20 * KIB, 32 * KIB, 60 * KIB):
        yield refused(f"a path of {size}", get(target="/" + "p" * size), *TOO_LONG)
        yield refused(f"a query of {size}", get(target="/x?" + "q" * size), *TOO_LONG)
    for size in (66 * KIB, 100 * KIB, 1024 * KIB):
        yield refused(f"a path of {size}", get(target="/" + "p" * size), *TOO_LONG, *TOO_LARGE)
        yield refused(f"a request line of {size} without an end", "GET /" + "p" * size, *TOO_LONG, *TOO_LARGE)
    yield refused("a path of 20 KiB as it came", get(target="/raw/" + "p" * 20 * KIB), *TOO_LONG)
    yield refused("an absolute target of 20 KiB", get(target="http://edge.test/" + "p" * 20 * KIB), *TOO_LONG)
    yield refused("a path of 20 KiB of slashes", get(target="/" * 20 * KIB), *TOO_LONG)
    yield refused("a POST to a path of 20 KiB", with_length(target="/" + "p" * 20 * KIB), *TOO_LONG)


def others():
    for size in (KIB, 20 * KIB, 70 * KIB):
        yield refused(f"a method of {size}", get(method="M" * size), 400, 414, 431, 501)
        yield refused(f"a version of {size}", get(version="HTTP/1." + "1" * size), 400, 414, 431, 505)
        yield refused(f"{size} blanks after the target", message(f"GET /x{' ' * size}HTTP/1.1", [HOST]), 400, 414, 431)
    yield refused("100 KiB without a line", "x" * 100 * KIB, 400, 414, 431, 501)
    yield refused("100 KiB of NUL", "\0" * 100 * KIB, 400, 414, 431, 501)
    yield refused("100 KiB of blanks", " " * 100 * KIB, 400, 414, 431, 501)


CASES = [*sections(), *counts(), *targets(), *others()]
