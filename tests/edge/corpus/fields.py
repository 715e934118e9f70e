"""Field lines: folded, without a name or a colon, with what no name and no value may hold."""

from cases import HOST, Seen, accepted, chunked, get, message, posted, refused, with_length

GET = "GET /x HTTP/1.1"
CONTROLS = [byte for byte in [*range(0x20), 0x7F] if byte != 0x09]


def folded():
    for name, blank in {"a blank": " ", "a tab": "\t", "blanks": "  \t "}.items():
        yield refused(f"a value that goes on after {name}", get("X-A: 1", f"{blank}2"))
        yield refused(f"a value that begins after {name}", get("X-A:", f"{blank}2"))
        yield refused(f"a line of {name} alone", get("X-A: 1", blank))
        yield refused(f"a folded Host after {name}", message(GET, ["Host:", f"{blank}edge.test"]))
        yield refused(f"a Host that goes on after {name}", message(GET, [HOST, f"{blank}.other.test"]))
        yield refused(f"{name} before the first field", message(GET, [f"{blank}X-A: 1", HOST]))
        yield refused(f"{name} before the Host", message(GET, [f"{blank}{HOST}"]))
        yield refused(f"{name} before a field", get("X-A: 1", f"{blank}X-B: 2"))
        yield refused(f"{name} on a line before the first field", message(GET, [blank, HOST]))
        yield refused(f"{name} before the colon", get(f"X-A{blank}: 1"))
        yield refused(f"{name} before the colon of the Host", message(GET, [f"Host{blank}: edge.test"]))
        yield refused(f"a folded request line after {name}", message("GET /x", [f"{blank}HTTP/1.1", HOST]))
        yield refused(f"folded twice after {name}", get("X-A: 1", f"{blank}2", f"{blank}3"))


def without():
    for line in [
        ":",
        ": 1",
        ":1",
        "::",
        ": : 1",
        " : 1",
        "X-A",
        "X-A 1",
        "X",
        "hello world",
        "GET / HTTP/1.1",
        "=",
        "X-A=1",
        "{",
        "--",
        "\x00",
    ]:
        yield refused(f"the line {line!r}", get(line))
        yield refused(f"the line {line!r} first", message(GET, [line, HOST]))
        yield refused(f"the line {line!r} of a POST", with_length(line))


def names():
    for byte in b'"(),/;<=>?@[\\]{} ':
        yield refused(f"{chr(byte)!r} in a name", get(f"X{chr(byte)}A: 1"))
        yield refused(f"{chr(byte)!r} at the end of a name", get(f"X-A{chr(byte)}: 1"))
        yield refused(f"{chr(byte)!r} at the start of a name", get(f"{chr(byte)}X-A: 1"))
    for byte in [*CONTROLS, 0x09, 0x80, 0x85, 0xA0, 0xC3, 0xFF]:
        yield refused(f"0x{byte:02x} in a name", get(f"X{chr(byte)}A: 1"))
    for byte in [0x00, 0x0B, 0x0C, 0x1C, 0x85, 0xA0]:
        yield refused(f"0x{byte:02x} at the end of a name", get(f"X-A{chr(byte)}: 1"))
        yield refused(f"0x{byte:02x} at the start of a name", get(f"{chr(byte)}X-A: 1"))
    odd = "!#$%&'*+-.^`|~"
    for byte in odd:
        yield accepted(f"the name X{byte}A", get(f"X{byte}A: 1"), Seen(has=[(f"x{byte}a", "1")]))
    yield accepted("a name of odd characters", get(f"{odd}: 1"), Seen(has=[(odd, "1")]))
    yield accepted("a name of digits", get("0123456789: 1"), Seen(has=[("0123456789", "1")]))
    yield accepted("a name of one letter", get("A: 1"), Seen(has=[("a", "1")]))
    yield accepted("a name of 200 letters", get(f"{'a' * 200}: 1"), Seen(has=[("a" * 200, "1")]))


def values():
    for byte in CONTROLS:
        yield refused(f"0x{byte:02x} in a value", get(f"X-A: 1{chr(byte)}2"))
        yield refused(f"0x{byte:02x} at the end of a value", get(f"X-A: 1{chr(byte)}"))
        if byte != 0x0A:
            yield refused(f"0x{byte:02x} at the start of a value", get(f"X-A: {chr(byte)}2"))
        yield refused(f"0x{byte:02x} as the whole of a value", get(f"X-A:{chr(byte)}", "X-B: 2"))
    for byte in (0x00, 0x0D, 0x0B):
        yield refused(f"0x{byte:02x} in the Host", message(GET, [f"Host: edge{chr(byte)}.test"]))
        yield refused(f"0x{byte:02x} in a value of a POST", with_length(f"X-A: 1{chr(byte)}2"))
        yield refused(f"0x{byte:02x} in a Cookie", get(f"Cookie: a=1{chr(byte)}; b=2"))
        yield refused(f"0x{byte:02x} in a field of chunks", chunked("0\r\n\r\n", f"X-A: 1{chr(byte)}2"))
        yield refused(f"0x{byte:02x} in a User-Agent", get(f"User-Agent: a{chr(byte)}b"))


def passed():
    """What is valid passes unchanged."""
    for byte in [0x80, 0x85, 0xA0, 0xAD, 0xC0, 0xE9, 0xFE, 0xFF]:
        value = f"a{chr(byte)}b"
        yield accepted(f"0x{byte:02x} in a value", get(f"X-A: {value}"), Seen(has=[("x-a", value)]))
        yield accepted(
            f"0x{byte:02x} around a value",
            get(f"X-A: {chr(byte)}b{chr(byte)}"),
            Seen(has=[("x-a", f"{chr(byte)}b{chr(byte)}")]),
        )
    every = bytes([*range(0x80, 0x100)]).decode("latin-1")
    yield accepted("all bytes from 0x80 in a value", get(f"X-A: a{every}b"), Seen(has=[("x-a", f"a{every}b")]))
    utf8 = "häßlich ☃ 🦀".encode().decode("latin-1")
    yield accepted("UTF-8 in a value", get(f"X-A: {utf8}"), Seen(has=[("x-a", utf8)]))
    printable = "".join(map(chr, range(0x21, 0x7F)))
    yield accepted("all printable characters in a value", get(f"X-A: {printable}"), Seen(has=[("x-a", printable)]))
    for name, line, value in [
        ("an empty value", "X-A:", ""), ("a value of blanks", "X-A: \t ", ""), ("no blank", "X-A:1", "1"),
        ("blanks", "X-A: \t 1 \t ", "1"), ("a blank within", "X-A: 1  2", "1  2"), ("colons", "X-A: ::", "::"),
        ("quotes", 'X-A: "a, \\"b"', '"a, \\"b"'), ("a comment", "X-A: (a (b))", "(a (b))"),
        ("a comma", "X-A: ,", ","), ("a request line", "X-A: GET / HTTP/1.1", "GET / HTTP/1.1"),
    ]:  # fmt: skip
        yield accepted(f"{name} in a field", get(line), Seen(has=[("x-a", value)]))
    yield accepted("a tab within a value", get("X-A: 1\t2"), Seen(has=[("x-a", "1\t2")]))
    yield accepted("the same name twice", get("X-A: 1", "X-A: 2"))
    yield accepted(
        "a POST with odd fields", with_length("X-A:", "X-B: \xff"), posted(has=[("x-a", ""), ("x-b", "\xff")])
    )


CASES = [*folded(), *without(), *names(), *values(), *passed()]
