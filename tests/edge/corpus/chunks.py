"""Bodies in chunks: their sizes, extensions, ends and trailers. Each bad one is sent at once, and after it was begun."""

from cases import HALF_CLOSE, UNTIL_SEEN, Outcome, accepted, broken, case, chunked, posted

CHUNK = "5\r\nhello\r\n"
END = "0\r\n\r\n"

NOT_SIZES = [
    "", " ", "0x5", "0X5", "x5", "+5", "-5", "-0", "--5", "5-", "5+", "5.0", "5.", "5,", "5,5", "5 5", " 5", "\t5",
    "5h", "h5", "5g", "g", "G5", "five", "5_0", "'5'", '"5"', "(5)", "{5}", "5=", "=5", "5:", ":5", "5/", "5\\", "5#",
    "5&", "#5", "$5", "%35", "5%20", "\0" + "5", "5\0", "5\x0b", "\x0b5", "5\x0c", "5\x7f", "5\x80", "5\xa0", "\xa05",
    "5\x85", "5\x1f", "\x1c5", "٥", "５", "²", "NaN", "5\t5", "05 05", "\ufeff5", "10000000000000005",
    "100000000000000005", "fffffffffffffffff", "0x" + "0" * 20 + "5", "1" + "0" * 40, "f" * 100, "123456789abcdef05",
    "100000005x",
]  # fmt: skip
GOOD_SIZES = ["5", "05", "005", "0000000000000005"]
DOUBTFUL_SIZES = ["0" * 16 + "5", "0" * 100 + "5", "5 ", "5\t", "5  "]

GOOD_EXTENSIONS = [
    ";ext",
    ";ext=1",
    ';ext="q"',
    ";a;b",
    ";a=1;b=2",
    ';a="x y"',
    ';a="x;y"',
    ';a="\\""',
    ';a=""',
    ";a-b_c=d",
]
DOUBTFUL_EXTENSIONS = [
    " ;ext", "\t;ext", "; ext", ";ext =1", ";ext= 1", ";ext ", ";", ";;", ";=", ";=1", ";ext=", ';ext="\xe9"', ";\xe9",
    ";a b", ";a,b", ';"a"', ';a="b', ";a=b=c", ";(x)", ";a\tb", ";a='b'",
]  # fmt: skip
BAD_EXTENSIONS = {
    "LF": ";ext\nx", "LF at the end": ";ext\n", "CR": ";ext\rx", "CR at the end": ";ext\r", "NUL": ";ext\0x",
    "CR CR": ";ext\r\r", "LF CR": ";ext\n\r", "LF in quotes": ';a="x\ny"', "CR in quotes": ';a="x\ry"',
    "CR LF in quotes": ';a="x\r\ny"', "NUL in quotes": ';a="\0"', "BS": ";a\bx", "VT": ";a\x0bx", "DEL": ";a\x7fx",
    "LF alone before it": "\n;ext", "CR alone before it": "\r;ext", "ESC": ";\x1b",
}  # fmt: skip


def broken_in(name, body, *statuses, lines=()):
    """A body that is refused, at once and after it was begun."""
    raw = chunked(body, *lines)
    yield broken(name, raw, *statuses)
    at = raw.index(b"\r\n\r\n") + 4
    yield broken(f"{name}, later", [raw[:at] + CHUNK.encode(), UNTIL_SEEN, raw[at:]], *(statuses or (400,)), None)


def doubtful(name, body, *statuses):
    yield case(name, chunked(body), Outcome((posted(),)), Outcome(ends=statuses or (400,), partial=True))


def sizes():
    for size in NOT_SIZES:
        written = size.encode().decode("latin-1") if any(ord(one) > 255 for one in size) else size
        huge = size[:1] in "178f" and len(size) > 15
        name = size if len(size) < 30 else f"{size[:12]}... of {len(size)}"
        yield from broken_in(
            f"the size {ascii(name)}", f"{written}\r\nhello\r\n{END}", *((400, 413) if huge else (400,))
        )
    for size in GOOD_SIZES:
        yield accepted(f"the size {size}", chunked(f"{size}\r\nhello\r\n{END}"), posted())
    for size in DOUBTFUL_SIZES:
        yield from doubtful(f"the size {size[-8:]!r} of {len(size)}", f"{size}\r\nhello\r\n{END}")
    yield from doubtful("the last size of 30 digits", f"{CHUNK}{'0' * 30}\r\n\r\n")
    yield from broken_in("a size of 70000 digits", f"{'0' * 70_000}5\r\nhello\r\n{END}", 400, 413, 431)
    for size in ["ffffffffffffffff", "8000000000000000", "7fffffffffffffff", "ffffffff"]:
        # A size that fits into an integer; the client never comes to its end.
        yield broken(
            f"the size {size}, and 5 bytes", [chunked(f"{size}\r\nhello\r\n{END}"), HALF_CLOSE], 400, 413, None
        )
    yield accepted("the size a", chunked(f"a\r\n0123456789\r\n{END}"), posted(b"0123456789"))
    yield accepted("the size A", chunked(f"A\r\n0123456789\r\n{END}"), posted(b"0123456789"))
    yield accepted("the size 1F", chunked(f"1F\r\n{'x' * 31}\r\n{END}"), posted(b"x" * 31))
    yield accepted("no chunk", chunked(END), posted(b""))
    yield accepted("five chunks", chunked("".join(f"1\r\n{one}\r\n" for one in "hello") + END), posted())
    yield accepted("the last size 000", chunked(f"{CHUNK}000\r\n\r\n"), posted())
    yield accepted("ends of lines within", chunked(f"7\r\n\r\n0\r\n\r\n\r\n{END}"), posted(b"\r\n0\r\n\r\n"))
    yield accepted("byte by byte", [bytes([one]) for one in chunked(CHUNK + END)], posted())
    large = b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in (1, 4096, 16_384, 65_535))
    yield accepted("large chunks", chunked(large + END.encode()), posted(b"x" * 86_016))


def extensions():
    for extension in GOOD_EXTENSIONS:
        yield accepted(f"the extension {extension!r}", chunked(f"5{extension}\r\nhello\r\n{END}"), posted())
    yield accepted("an extension of the last chunk", chunked(f"{CHUNK}0;ext=1\r\n\r\n"), posted())
    for extension in DOUBTFUL_EXTENSIONS:
        yield from doubtful(f"the extension {extension!r}", f"5{extension}\r\nhello\r\n{END}")
    for name, extension in BAD_EXTENSIONS.items():
        yield from broken_in(f"{name} in an extension", f"5{extension}\r\nhello\r\n{END}")
        yield from broken_in(f"{name} in an extension of the last chunk", f"{CHUNK}0{extension}\r\n\r\n")
    yield from broken_in("an extension of 70000 bytes", f"5;{'x' * 70_000}\r\nhello\r\n{END}", 400, 413, 431)
    yield from broken_in("extensions of 200 KB in all", f"1;{'x' * 2000}\r\nh\r\n" * 100 + END, 400, 413, 431)
    yield from broken_in("an extension without an end", f"5;{'x' * 70_000}", 400, 413, 431)
    hidden = "GET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n"
    yield from broken_in("a chunk hidden by LF", f"2;\nxx\r\n{len(hidden) + 5:x}\r\n0\r\n\r\n{hidden}\r\n{END}")


# What stands for a CR LF.
NOT_ENDS = {
    "LF": "\n", "CR": "\r", "nothing": "", "LF CR": "\n\r", "CR CR LF": "\r\r\n", "a blank": " ",
    "blank CR LF": " \r\n", "xx": "xx", "CR x": "\rx", "x LF": "x\n", "NUL": "\0", "two CR LF": "\r\n\r\n",
    "two LF": "\n\n",
}  # fmt: skip


def ends():
    for name, end in NOT_ENDS.items():
        if name != "blank CR LF":
            yield from broken_in(f"{name} after a size", f"5{end}hello\r\n{END}")
        yield from broken_in(f"{name} after the data", f"5\r\nhello{end}{END}")
        if name not in ("blank CR LF", "two CR LF", "nothing"):
            yield from broken_in(f"{name} after the last size", f"{CHUNK}0{end}\r\n\r\n")
    yield from broken_in("LF at all ends", f"{CHUNK}{END}".replace("\r\n", "\n") + "\r\n\r\n")
    yield from broken_in("LF at the end of the body", f"{CHUNK}0\r\n\n\r\n")
    yield from broken_in("CR x at the end of the body", f"{CHUNK}0\r\n\rx\r\n\r\n")
    for name, body in {
        "more data than the size": "5\r\nhello!\r\n", "one byte more": "4\r\nhello\r\n", "less data": "6\r\nhello\r\n",
        "much more": "1\r\nhello world\r\n", "an empty line before the size": "\r\n5\r\nhello\r\n",
        "two ends of data": "5\r\nhello\r\n\r\n",
    }.items():  # fmt: skip
        yield from broken_in(name, body + END)
    for name, body in {
        "a chunk": "5\r\nhel", "a size": "5", "an end": "5\r\nhello\r", "the last chunk": CHUNK,
        "the last size": f"{CHUNK}0\r\n", "the last end": f"{CHUNK}0\r\n\r", "everything": "",
        "a trailer": f"{CHUNK}0\r\nX-T: 1\r\n",
    }.items():  # fmt: skip
        yield broken(f"cut in {name}", [chunked(body), HALF_CLOSE], 400, None)
        yield broken(f"cut in {name}, later", [chunked(body), UNTIL_SEEN, HALF_CLOSE], 400, None)


BAD_TRAILERS = [
    "no colon", ": 1", "X T: 1", "X-T : 1", " X-T: 1", "\tX-T: 1", "X-T: 1\r\n folded", "X-T: a\0b", "X-T: a\rb",
    "X-T: a\nX-U: b", "X-T: 1\n", "X(T: 1", "X-T\0: 1", "X-T: \x01", "X\xe9: 1", "X-T: 1\r", "GET /smuggled HTTP/1.1",
    "X-T: \x7f", "X\x0bT: 1", "X-T: 1\r\nno colon", "X-T: 1\r\n : 2",
]  # fmt: skip
FORBIDDEN = [
    "Content-Length: 5", "Content-Length: 0", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip",
    "Host: other.test", "Connection: close", "Connection: X-Forwarded-For", "Trailer: x", "X-Forwarded-For: 6.6.6.6",
    "X-Real-IP: 6.6.6.6", "X-Forwarded-Host: other.test", "Cookie: a=b", "Authorization: Basic eDp5",
    "Content-Type: text/evil", "Content-Encoding: gzip", "Content_Length: 5", "Expect: 100-continue", "Upgrade: h2c",
]  # fmt: skip


def trailers():
    for line in ["X-T: 1", "X-T:", "X-T: 1\r\nX-U: 2", "x-t:\t1 ", "X-T: \xe9", "X-Content-Type: text/plain"]:
        absent = ["x-t", "x-u", "x-content-type"]
        yield accepted(
            f"the trailer {line!r}", chunked(f"{CHUNK}0\r\n{line}\r\n\r\n", "Trailer: X-T"), posted(absent=absent)
        )
        yield accepted(
            f"the trailer {line!r}, not announced", chunked(f"{CHUNK}0\r\n{line}\r\n\r\n"), posted(absent=absent)
        )
    for line in FORBIDDEN:
        name, value = line.split(": ")
        yield from forbidden(name.lower(), value, f"{CHUNK}0\r\n{line}\r\n\r\n")
    for line in BAD_TRAILERS:
        yield from broken_in(f"the bad trailer {line!r}", f"{CHUNK}0\r\n{line}\r\n\r\n")
    yield from broken_in("a trailer of 70000 bytes", f"{CHUNK}0\r\nX-T: {'v' * 70_000}\r\n\r\n", 400, 413, 431)
    yield from broken_in("a trailer of 70000 bytes without an end", f"{CHUNK}0\r\nX-T: {'v' * 70_000}", 400, 413, 431)
    yield from broken_in("1000 trailers", f"{CHUNK}0\r\n" + "X-T: 1\r\n" * 1000 + "\r\n", 400, 413, 431)
    yield from broken_in("100 KB of trailers", f"{CHUNK}0\r\n" + f"X-T: {'v' * 1000}\r\n" * 100 + "\r\n", 400, 413, 431)


def forbidden(name, value, body):
    """A field that must not be a trailer: refused or dropped, and never one of the header section."""
    ours = {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "x-forwarded-host": "edge.test"}
    kept = {"has": [(name, ours[name])]} if name in ours else {}
    if name not in (*ours, "host", "content-length", "transfer-encoding", "connection"):
        kept = {"absent": [name]}
    seen = Outcome((posted(**kept),))
    yield case(f"the trailer {name}: {value}", chunked(body), seen, Outcome(ends=(400,), partial=True))


CASES = [*sizes(), *extensions(), *ends(), *trailers()]
