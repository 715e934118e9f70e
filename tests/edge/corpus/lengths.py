"""Content-Length: twice, in a list, not a number, and disguised."""

from cases import HALF_CLOSE, HOST, accepted, broken, either, get, message, post, posted, refused

TWICE = [
    ("5", "5"),
    ("5", "6"),
    ("6", "5"),
    ("0", "5"),
    ("5", "0"),
    ("5", "05"),
    ("5", ""),
    ("", "5"),
    ("5", "x"),
    ("5", "-5"),
]

NOT_A_LENGTH = [
    "5, 5", "5,5", "5 ,5", "5, 6", "6, 5", ",5", "5,", "5;5", "+5", "-5", "-0", "+0", "- 5", "--5", "0x5", "0X5", "5h",
    "0b101", "0o5", "5.0", "5.", ".5", "5e0", "5E0", "5_0", "5 5", "5\t5", "5 0", "", " ", "\t", "x", "five", "5x",
    "x5", "5 x", "5;x=1", "'5'", '"5"', "(5)", "5=", "5#", "5/5", "5%", "\\5", "5\\", "5\0", "\x005", "5\x0b", "\x0b5",
    "5\x0c", "\x0c5", "5\x1f", "\x1c5", "5\r", "\r5", "5\x7f", "5\x85", "5\xa0", "\xa05", "NaN", "Infinity", "null",
    "true", "chunked", "²", "5²", "18446744073709551616", "18446744073709551621", "4294967301" + "0" * 20, "9" * 40,
    "9" * 400, "-18446744073709551611", "0x" + "f" * 16,
]  # fmt: skip
# Digits to some number parsers, in UTF-8.
DIGITS = ["٥", "５", "५", "𝟓"]


# Lengths as long as integers are: one that the client never comes to the end of.
ENDLESS = ["2147483647", "4294967301", "9223372036854775807", "9223372036854775808", "18446744073709551615"]


def twice():
    for one, other in TWICE:
        raw = post(f"Content-Length: {one}", f"Content-Length: {other}", body="hello")
        yield refused(f"length {one!r} and length {other!r}", raw)
        raw = post(f"Content-Length: {one}", "X-Between: 1", f"content-length: {other}", body="hello")
        yield refused(f"length {one!r}, a field, and length {other!r}", raw)
    yield refused("three lengths", post(*["Content-Length: 5"] * 3, body="hello"))
    yield refused("two lengths and no body", get("Content-Length: 0", "Content-Length: 0"))
    smuggled = "GET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n"
    yield refused(
        "two lengths before a second request",
        post("Content-Length: 0", f"Content-Length: {len(smuggled)}", body=smuggled),
    )
    yield refused(
        "two lengths after a second request",
        post(f"Content-Length: {len(smuggled)}", "Content-Length: 0", body=smuggled),
    )


def not_a_length():
    for value in NOT_A_LENGTH:
        large = value.isdigit() and value.isascii()
        name = value if len(value) < 30 else f"{value[:12]}... of {len(value)}"
        # A length that fits into the integers of a reader may be too much for it, or never come to its end.
        yield refused(
            f"length {name!r}", post(f"Content-Length: {value}", body="hello"), *([400, 413] if large else [400])
        )
    for digit in DIGITS:
        yield refused(f"length {ascii(digit)}", post(b"Content-Length: " + digit.encode(), body="hello"))
    for value in ["x", "-1", "0, 0", "", "1 1"]:
        yield refused(f"a GET with length {value!r}", get(f"Content-Length: {value}"))
    for value in ["5, 5", "x", "-5"]:
        yield refused(
            f"HTTP/1.0 with length {value!r}", message("POST /x HTTP/1.0", [HOST, f"Content-Length: {value}"], "hello")
        )


DISGUISED = [
    "Content-Length : 5", "Content-Length\t: 5", " Content-Length: 5", "\tContent-Length: 5", "Content-Length\0: 5",
    "Content-Length\x0b: 5", "Content-Length\xa0: 5", "Content-Length\r: 5", "\0Content-Length: 5",
    "Content Length: 5", "Content-Length", "Content-Length 5", "Content-Length= 5", "Content-Length:: 5",
    "Content-Length:\r\n 5", "Content-Length:\r\n\t5", "Content-Length: 5\r\n ", "Content-Length: 5\r\n 5",
    "X: y\rContent-Length: 5", "X: y\nContent-Length: 5", "X: y\r\n Content-Length: 5", "Content\0-Length: 5",
    '"Content-Length": 5', "Content-Length[]: 5", "Content-\r\n Length: 5",
]  # fmt: skip


def disguised():
    for line in DISGUISED:
        yield refused(f"{line!r}", post(line, body="hello"))
        yield refused(
            f"{line!r} beside a coding", post("Transfer-Encoding: chunked", line, body="5\r\nhello\r\n0\r\n\r\n")
        )
    for line in ["Content_Length: 500", "Content-Length_: 500", "X-Content-Length: 500"]:
        raw = post("Content-Length: 5", line, body="hello")
        yield either(f"length and {line!r}", raw, posted(has=[("content-length", "5")], absent=["content_length"]))


def good():
    for value in ["05", "005", "0" * 20 + "5", "0" * 100 + "5"]:
        yield either(
            f"length {value[:8]!r} of {len(value)} digits", post(f"Content-Length: {value}", body="hello"), posted()
        )
    for line in [
        "Content-Length:5", "Content-Length: 5 ", "Content-Length:\t5", "Content-Length: \t 5 \t", "content-length: 5",
        "CONTENT-LENGTH: 5", "cONTENT-lENGTH: 5",
    ]:  # fmt: skip
        yield accepted(f"{line!r} alone", post(line, body="hello"), posted())
    yield accepted("a POST of length 0", post("Content-Length: 0", body=""), posted(b""))
    yield accepted("a GET of length 0", get("Content-Length: 0"))
    yield either("a POST of length 00", post("Content-Length: 00", body=""), posted(b""))
    for value in ENDLESS:
        yield broken(f"length {value}, and 5 bytes", [post(f"Content-Length: {value}"), HALF_CLOSE], 400, 413, None)
    large = b"x" * 65_536
    yield accepted("a POST of 64 KiB", post(f"Content-Length: {len(large)}", body=large), posted(large))


CASES = [*twice(), *not_a_length(), *disguised(), *good()]
