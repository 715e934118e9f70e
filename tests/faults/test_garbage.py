"""Answers that are not HTTP, or that two readers could take in two ways: 502, and none of it reaches the client."""

import pytest

from client import BODY, Caller, call
from origins import sends
from proxies import pool

MARK = "leaked"
GOOD = "HTTP/1.1 200 OK\r\n"


def head(*lines, status="HTTP/1.1 200 OK", body=f"{MARK}"):
    """An answer whose body is the mark, as is its first header."""
    return "\r\n".join([status, f"X-Mark: {MARK}", *lines, "", body])


def line(status):
    return head(f"Content-Length: {len(MARK)}", status=status)


def field(*lines):
    return head(*lines, f"Content-Length: {len(MARK)}")


def coded(*codings, version="1.1"):
    chunk = f"{len(MARK):x}\r\n{MARK}\r\n0\r\n\r\n"
    return head(*(f"Transfer-Encoding: {one}" for one in codings), body=chunk, status=f"HTTP/{version} 200 OK")


def length(*values, body=MARK):
    return head(*(f"Content-Length: {value}" for value in values), body=body)


NOT_HTTP = {
    "text": "leaked: what you hear is not HTTP\r\n\r\n",
    "html": f"<html>{MARK}</html>",
    "ssh": f"SSH-2.0-OpenSSH_9.2 {MARK}\r\n",
    "smtp": f"220 mail.test ESMTP {MARK}\r\n",
    "icy": line("ICY 200 OK"),
    "zeros": "\0" * 400,
    "a-tls-alert": "\x15\x03\x03\x00\x02\x02\x28",
    "h2-settings": "\0\0\0\x04\0\0\0\0\0",
    "a-request": f"GET /{MARK} HTTP/1.1\r\nHost: x\r\n\r\n",
    "empty-lines": "\r\n" * 40,
    "bytes": "".join(map(chr, range(128, 256))) * 8 + "\r\n\r\n",
}
STATUS_LINES = {
    "no-status": "HTTP/1.1",
    "no-status-but-a-space": "HTTP/1.1 ",
    "letters": "HTTP/1.1 abc OK",
    "two-digits": "HTTP/1.1 20 OK",
    "four-digits": "HTTP/1.1 2000 OK",
    "a-sign": "HTTP/1.1 -200 OK",
    "a-fraction": "HTTP/1.1 200.1 OK",
    "below-100": "HTTP/1.1 099 Low",
    "zero": "HTTP/1.1 000 Zero",
    "600": "HTTP/1.1 600 High",
    "999": "HTTP/1.1 999 High",
    "glued-reason": "HTTP/1.1 200OK",
    "no-space": "HTTP/1.1200 OK",
    "version-0.9": "HTTP/0.9 200 OK",
    "version-2": "HTTP/2 200 OK",
    "version-2.0": "HTTP/2.0 200 OK",
    "version-3.7": "HTTP/3.7 200 OK",
    "version-11.1": "HTTP/11.1 200 OK",
    "version-1.": "HTTP/1. 200 OK",
    "version-one": "HTTP/one 200 OK",
    "lower-case": "http/1.1 200 OK",
    "a-space-first": " HTTP/1.1 200 OK",
    "nul-in-the-reason": "HTTP/1.1 200 O\0K",
    "bare-cr-in-the-reason": "HTTP/1.1 200 O\rK",
    "control-in-the-reason": "HTTP/1.1 200 O\x01K",
}
FIELDS = {
    "no-colon": "X-Other",
    "no-name": ": x",
    "a-space-in-the-name": "X Other: x",
    "a-space-before-the-colon": "X-Other : x",
    "a-tab-before-the-colon": "X-Other\t: x",
    "folded-by-a-space": "X-Other: x\r\n more",
    "folded-by-a-tab": "X-Other: x\r\n\tmore",
    "folded-length": "Content-Length:\r\n 6",
    "nul-in-the-name": "X-O\0ther: x",
    "nul-in-the-value": "X-Other: x\0y",
    "control-in-the-name": "X-O\x01ther: x",
    "control-in-the-value": "X-Other: x\x01y",
    "bell-in-the-value": "X-Other: x\x07y",
    "bare-cr-in-the-value": "X-Other: x\rY: z",
    "bare-cr-in-the-name": "X-O\rther: x",
}
LENGTHS = {
    "negative": ["-6"],
    "a-plus": ["+6"],
    "letters": ["six"],
    "hexadecimal": ["0x6"],
    "a-letter-after": ["6a"],
    "a-fraction": ["6.0"],
    "two-numbers": ["6 6"],
    "empty": [""],
    "too-large": ["99999999999999999999999"],
    "wraps-64-bits": ["18446744073709551622"],
    "differing": ["6", "3"],
    "differing-in-one": ["6, 3"],
    "differing-by-form": ["6", "+6"],
}
CODINGS = {
    "gzip-then-chunked": ["gzip, chunked"],
    "identity": ["identity"],
    "chunked-twice": ["chunked, chunked"],
    "chunked-in-two-lines": ["chunked", "chunked"],
    "chunked-then-identity": ["chunked", "identity"],
    "chunked-not-last": ["chunked, gzip"],
    "like-chunked": ["xchunked"],
    "a-parameter": ["chunked;q=1"],
    "a-control-before": ["\x0bchunked"],
    "quoted": ['"chunked"'],
    "empty": [""],
    "unknown": ["cow"],
}
CHUNKS = {
    "letters": "zz\r\nleaked\r\n0\r\n\r\n",
    "negative": "-6\r\nleaked\r\n0\r\n\r\n",
    "a-plus": "+6\r\nleaked\r\n0\r\n\r\n",
    "hexadecimal": "0x6\r\nleaked\r\n0\r\n\r\n",
    "empty": "\r\nleaked\r\n0\r\n\r\n",
    "wraps-64-bits": "10000000000000006\r\nleaked\r\n0\r\n\r\n",
    "too-large": "fffffffffffffffff\r\nleaked\r\n0\r\n\r\n",
    "none": "leaked",
}
OTHERS = {
    "length-and-chunked": coded("chunked").replace("\r\n\r\n", "\r\nContent-Length: 6\r\n\r\n", 1),
    "chunked-in-1.0": coded("chunked", version="1.0"),
    "101-unasked": line("HTTP/1.1 101 Switching Protocols"),
    "101-unasked-with-upgrade": head("Connection: Upgrade", "Upgrade: leaked", status="HTTP/1.1 101 Switching Protocols"),
    "a-field-of-100k": field("X-Long: " + "x" * 100_000),
    "a-name-of-100k": field("x" * 100_000 + ": x"),
    "a-reason-of-100k": line("HTTP/1.1 200 " + "x" * 100_000),
    "10000-fields": field(*(f"X-{number}: some value" for number in range(10_000))),
}
ANSWERS = {
    **{f"not-http-{name}": text for name, text in NOT_HTTP.items()},
    **{f"status-line-{name}": line(text) for name, text in STATUS_LINES.items()},
    **{f"field-{name}": field(text) for name, text in FIELDS.items()},
    "field-first-is-folded": f"{GOOD} X-Mark: {MARK}\r\nContent-Length: 6\r\n\r\n{MARK}",
    **{f"length-{name}": length(*values) for name, values in LENGTHS.items()},
    **{f"coding-{name}": coded(*values) for name, values in CODINGS.items()},
    **{f"chunk-{name}": head("Transfer-Encoding: chunked", body=text) for name, text in CHUNKS.items()},
    **OTHERS,
}


@pytest.fixture(scope="module")
def bench(shared):
    return shared.bench(retry={"attempts": 2}, timeouts={"first_byte": "10s", "idle": "10s"})


def refused(bench, method="GET", **request):
    """502, and nothing of what the origin sent, up to the end of the connection."""
    with Caller(bench.proxy) as caller:
        answer = caller.ask("/one/x", method, **request).answer(method)
        surplus = caller.surplus(0.02)
    assert (answer.status, answer.complete) == (502, True), answer
    assert not answer.holds(MARK), answer
    assert MARK.encode() not in surplus


@pytest.mark.parametrize("kind", ANSWERS)
def test_garbage_is_502(bench, kind):
    bench.play(sends(ANSWERS[kind]))
    refused(bench)
    bench.is_sound()


@pytest.mark.parametrize("kind", ["not-http-text", "status-line-letters", "field-no-colon", "length-differing", "coding-unknown"])
def test_garbage_to_a_post_is_502_and_executed_once(bench, kind):
    bench.play(sends(ANSWERS[kind]))
    refused(bench, "POST", body=BODY)
    assert len(bench.origin.executed) == 1


def test_an_endless_head_is_502(bench):
    def play(wire, _):
        wire.send(GOOD)
        for number in range(100_000):
            wire.send(f"X-{number}: {MARK}\r\n")

    bench.play(play)
    refused(bench)
    bench.is_sound()


# From here on, a part may have been relayed before the fault could be seen.
BROKEN_LATER = {
    "a-size-of-letters": "4\r\nsome\r\nzz\r\nmore\r\n0\r\n\r\n",
    "a-negative-size": "4\r\nsome\r\n-4\r\nmore\r\n0\r\n\r\n",
    "a-size-that-wraps": "4\r\nsome\r\n10000000000000004\r\nmore\r\n0\r\n\r\n",
    "longer-than-its-size": "4\r\nsome more than that\r\n0\r\n\r\n",
    "no-line-end": "4\r\nsome0\r\n\r\n",
}


@pytest.mark.parametrize("kind", BROKEN_LATER)
def test_garbage_in_a_chunked_body_never_looks_whole(bench, kind):
    bench.play(sends(GOOD, "Transfer-Encoding: chunked\r\n\r\n", BROKEN_LATER[kind]))
    answer = bench.call()
    assert answer.cut or answer.status == 502, answer
    bench.is_sound()


def test_garbage_in_many_requests_at_once_leaves_others_alone(rig):
    bad, good = rig.origin(sends(ANSWERS["not-http-text"])), rig.origin()
    proxy = rig.proxy({"bad": pool(bad), "good": pool(good)})
    for _ in range(100):
        assert call(proxy, "/bad/x").status == 502
        assert call(proxy, "/good/x").status == 200
