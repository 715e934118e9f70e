"""Requests that are larger than allowed are refused, and those just within are served."""

import pytest

from attackers import Plain, Secure
from edge import SLACK
from frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, H2, HEADERS, block, frame, request

KIB = 1024


def sized(target=b"/ok?size", fields=b""):
    return b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"


def many(count):
    return b"".join(b"X-%d: a\r\n" % number for number in range(count))


WITHIN = {
    "target": sized(b"/ok?" + b"a" * 12 * KIB),
    "fields": sized(fields=many(90)),
    "field": sized(fields=b"X-A: " + b"a" * 14 * KIB + b"\r\n"),
    "section": sized(fields=b"".join(b"X-%d: %b\r\n" % (number, b"a" * 7000) for number in range(8))),
}
BEYOND = {
    "target": (sized(b"/ok?beyond" + b"a" * 64 * KIB), 414),
    "fields": (sized(b"/ok?beyond", many(150)), 431),
    "field": (sized(b"/ok?beyond", b"X-A: " + b"a" * 80 * KIB + b"\r\n"), 431),
    "section": (sized(b"/ok?beyond", b"".join(b"X-%d: %b\r\n" % (n, b"a" * 7000) for n in range(14))), 431),
}
FORMS = pytest.mark.parametrize("form", [Plain, Secure], ids=["plain", "tls"])


@FORMS
@pytest.mark.parametrize("what", WITHIN)
def test_within(edge, form, what):
    one = form(edge)
    one.push(WITHIN[what], SLACK)
    assert one.status() == 200, one.got[:200]


@FORMS
@pytest.mark.parametrize("what", BEYOND)
def test_beyond(edge, form, what):
    data, status = BEYOND[what]
    before = beyond(edge)
    one = form(edge)
    one.push(data, SLACK)
    assert one.status() in (status, 400, None), one.got[:200]
    assert one.until(lambda: one.ended), "it is kept"
    assert beyond(edge) == before, "it was led on"


def beyond(edge):
    """How many requests of these have reached the origin."""
    return sum(count for name, count in edge.origin.counts()["heads"].items() if name.startswith("beyond"))


def test_large_targets_one_after_the_other(edge):
    """On one connection as long as it is kept, and then on the next."""
    for _ in range(20):
        one = Plain(edge)
        for _ in range(10):
            one.push(BEYOND["target"][0], SLACK)
        assert one.until(lambda one=one: one.ended)


def upload(length, chunked=False):
    head = b"POST /ok?upload HTTP/1.1\r\nHost: x\r\n"
    return head + (b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % length)


def test_a_body_within(edge):
    one = Plain(edge)
    one.push(upload(9_000_000) + bytes(9_000_000), SLACK)
    assert one.status() == 200, one.got[:200]
    assert b"fine 9000000" in one.got


def test_a_length_beyond(edge):
    before = edge.origin.saw("upload")
    one = Plain(edge)
    one.push(upload(12_000_000))
    assert one.status() == 413, one.got[:200]
    assert edge.origin.saw("upload") == before, "it was asked all the same"


def test_chunks_beyond(edge):
    before = edge.origin.counts()["whole"].get("upload", 0)
    one = Plain(edge)
    one.push(upload(0, chunked=True) + b"10000\r\n%b\r\n" % bytes(65_536) * 190 + b"0\r\n\r\n", SLACK)
    assert one.status() in (413, None), one.got[:200]
    assert edge.origin.counts()["whole"].get("upload", 0) == before


def test_a_body_beyond_over_h2(edge):
    before = edge.origin.counts()["whole"].get("upload", 0)
    one = H2(edge)
    one.push(request(1, "/ok?upload", "POST", end=False, fields=[("content-length", "12000000")]))
    one.push(frame(DATA, 1, b"a" * 1000))
    one.until(lambda: 1 in one.closed)
    assert one.ended or 1 in one.closed
    assert one.statuses.get(1, 413) == 413, one.statuses
    assert edge.origin.counts()["whole"].get("upload", 0) == before


OVER_H2 = {
    "target": ("/ok?beyond" + "a" * 20 * KIB, []),
    "fields": ("/ok?beyond", [(f"x-{number}", "a") for number in range(150)]),
    "section": ("/ok?beyond", [(f"x-{number}", "a" * 1500) for number in range(60)]),
    "field": ("/ok?beyond", [("x-a", "a" * 80 * KIB)]),
}


@pytest.mark.parametrize("what", OVER_H2)
def test_beyond_over_h2(edge, what):
    path, fields = OVER_H2[what]
    before = beyond(edge)
    one = H2(edge)
    one.push(in_frames(block(path, fields=fields)), SLACK)
    one.until(lambda: 1 in one.closed)
    assert one.ended or 1 in one.closed, one.seen
    assert one.statuses.get(1, 431) in (400, 414, 431), one.statuses
    assert beyond(edge) == before, "it was led on"


def in_frames(fields, stream=1, size=16_000):
    """A header block over as many frames as it needs."""
    pieces = [fields[at : at + size] for at in range(0, len(fields), size)]
    last = len(pieces) - 1
    kinds = [HEADERS] + [CONTINUATION] * last
    flags = [(END_STREAM if at == 0 else 0) | (END_HEADERS if at == last else 0) for at in range(last + 1)]
    return b"".join(frame(kind, stream, piece, flag) for kind, piece, flag in zip(kinds, pieces, flags))
