"""Ends of lines: LF and CR alone at every place, and empty lines before the request."""

from cases import HOST, Seen, accepted, either, get, posted, refused, then_refused, with_length

GET = "GET /x HTTP/1.1"
ENDS = {
    "LF": "\n", "CR": "\r", "CR CR LF": "\r\r\n", "LF CR": "\n\r", "LF CR LF": "\n\r\n", "CR LF CR": "\r\n\r",
    "VT": "\x0b", "FF": "\x0c", "NEL": "\x85", "NUL LF": "\0\n", "CR NUL LF": "\r\0\n", "blank CR LF LF": " \r\n\n",
}  # fmt: skip


def at_every_place():
    for name, end in ENDS.items():
        after = "\r\n\r\n"  # so that every reader comes to an end
        yield refused(f"{name} after the request line", f"{GET}{end}{HOST}\r\nX-A: 1{after}")
        yield refused(f"{name} after the first field", f"{GET}\r\n{HOST}{end}X-A: 1{after}")
        in_a_value = accepted if name == "NEL" else refused  # this one is a byte like others there
        yield in_a_value(f"{name} after a field", f"{GET}\r\n{HOST}\r\nX-A: 1{end}X-B: 2{after}")
        yield in_a_value(f"{name} before the empty line", f"{GET}\r\n{HOST}\r\nX-A: 1{end}\r\nX-B: 2{after}")
        # The first CR LF of this one is the empty line: what follows is the beginning of another request, and a bad one.
        instead = then_refused if name == "CR LF CR" else refused
        seen = [Seen()] if name == "CR LF CR" else []
        yield instead(f"{name} in place of the empty line", f"{GET}\r\n{HOST}\r\n{end}X-B: 2{after}", *seen)
        yield refused(f"{name} in a length", f"POST /x HTTP/1.1\r\n{HOST}\r\nContent-Length: 5{end}X-B: 2{after}hello")
        if name in ("LF", "CR", "LF CR", "CR CR LF"):
            lines = [GET, HOST, "X-A: 1", ""]
            yield refused(f"{name} at the end of all lines", end.join([*lines, after]))


def before_the_request():
    for count in (1, 2):
        yield accepted(f"{count} empty lines before the request", "\r\n" * count + get().decode())
        yield accepted(f"{count} empty lines before a POST", b"\r\n" * count + with_length(), posted())
    for count in (3, 16, 200):
        yield either(
            f"{count} empty lines before the request", "\r\n" * count + get().decode(), statuses=(400, 414, 431)
        )
    yield refused("40000 empty lines before the request", "\r\n" * 40_000 + get().decode(), 400, 414, 431)
    yield refused("80000 LF before the request", "\n" * 80_000 + get().decode(), 400, 414, 431)
    yield either("LF before the request", b"\n" + get())
    starts = {
        "CR": "\r", "a blank": " ", "a tab": "\t", "blank CR LF": " \r\n", "CR CR LF": "\r\r\n", "NUL": "\0",
        "NUL CR LF": "\0\r\n", "VT": "\x0b", "FF": "\x0c", "a mark of UTF-8": "\xef\xbb\xbf", "x CR LF": "x\r\n",
        "LF CR": "\n\r", "0x80": "\x80", ": CR LF": ":\r\n", "a chunk": "0\r\n\r\n", "a field": "X: y\r\n",
        "an end of chunks": "5\r\nhello\r\n0\r\n\r\n",
    }  # fmt: skip
    for name, start in starts.items():
        yield refused(f"{name} before the request", start.encode("latin-1") + get())


def between_requests():
    for name, end in {"an empty line": "\r\n", "two empty lines": "\r\n\r\n"}.items():
        raw = [with_length() + end.encode() + get(target="/second")]
        yield accepted(f"{name} between two requests", raw, posted(), Seen(target="/second"))


CASES = [*at_every_place(), *before_the_request(), *between_requests()]
