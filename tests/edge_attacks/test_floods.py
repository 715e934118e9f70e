"""Floods of connections, and of bytes in HTTP/1 and TLS."""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from attackers import Plain, Secure, connected, cut_within, flood, source, vanish
from edge import DRAIN, HANDSHAKE, KEEP_ALIVE, MIB, SLACK
from slow_http1 import HEAD, UPLOAD

FLOOD = 1.0  # seconds
MANY = 300  # connections, however long they take
ENOUGH = 16 * MIB  # an attacker's own and the system's buffers are in it


def in_threads(count, work, least=1):
    """Runs `work()` over and over in threads, for as long as a flood lasts and so often; how often it was."""
    until, late = (time.monotonic() + seconds for seconds in (FLOOD, FLOOD + SLACK))

    def works():
        times = 0
        while (now := time.monotonic()) < until or times < least and now < late:
            times += work(times)
        return times

    with ThreadPoolExecutor(count) as pool:
        times = sum(each.result() for each in [pool.submit(works) for _ in range(count)])
    assert times >= count * least, f"{times} in {FLOOD + SLACK} s are no flood"
    return times


@pytest.mark.parametrize("kind", ["plain", "tls", "proxied"])
@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01"], ids=["nothing", "three-bytes"])
def test_churn_of_connections(edge, kind, first):
    own = threading.local()

    def churn(_):
        own.source = getattr(own, "source", None) or source()
        try:
            one = connected(edge.ports[kind], own.source)
        except OSError:
            return 0
        with contextlib.suppress(OSError):
            one.send(first)
        vanish(one)
        return 1

    print(f"{in_threads(3, churn, MANY // 3)} connections")


def test_garbage_on_the_tls_port(edge):
    half = b"\x16\x03\x01\x40\x00" + os.urandom(16_000)
    garbage = [os.urandom(2000), half, b"\x17\x03\x03\x00\x10" + bytes(16), HEAD + b"\r\n"]

    def throw(count):
        one = Plain(edge, "tls")
        one.push(garbage[count % len(garbage)])
        assert one.until(lambda: one.ended, HANDSHAKE + SLACK), "garbage is not refused"
        one.close()
        return 1

    in_threads(5, throw)


def test_garbage_after_the_handshake(edge):
    made = [Secure(edge) for _ in range(10)]
    for one in made:
        one.raw(b"\x17\x03\x03\x10\x00" + os.urandom(4096))
    cut_within(made, 1)


def test_garbage_in_place_of_a_request(edge):
    made = [Plain(edge) for _ in range(10)]
    for number, one in enumerate(made):
        one.push([os.urandom(4000), b"\0" * 4000, b"\x16\x03\x01\x02\x00\x01" * 10, b"GET\r\n\r\n"][number % 4])
    cut_within(made, 1)


def test_garbage_in_place_of_a_proxy_header(edge):
    binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + os.urandom(65_535)
    made = [Plain(edge, "proxied") for _ in range(12)]
    for number, one in enumerate(made):
        one.push([HEAD + b"\r\n", b"PROXY " + b"a" * 500, binary][number % 3])
    cut_within(made, 1)
    assert not any(one.got.startswith(b"HTTP/1.1 200") for one in made)


def endless(first, piece):
    """What has a beginning and no end, in pieces."""
    yield first
    while True:
        yield piece


CHUNKED = UPLOAD.replace(b"slow-body", b"endless") + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "target": (b"GET /", b"a" * 65_536),
    "method": (b"G", b"G" * 65_536),
    "field": (HEAD + b"X-A: ", b"a" * 65_536),
    "field-name": (HEAD, b"a" * 65_536),
    "lines": (HEAD, b"X-A: b\r\n" * 8192),
    "short-lines": (HEAD, b"a:\r\n" * 16_384),
    "blank-lines": (b"", b"\r\n" * 32_768),
    "folded-lines": (HEAD + b"X-A: b\r\n", b" c\r\n" * 16_384),
    "chunk-extension": (CHUNKED + b"1;", b"a" * 65_536),
    "chunk-size": (CHUNKED, b"0" * 65_536),
    "chunk-extensions": (CHUNKED, (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * 16),
    "trailers": (CHUNKED + b"0\r\n", b"X-A: b\r\n" * 8192),
    "trailer": (CHUNKED + b"0\r\nX-A: ", b"a" * 65_536),
    "chunked-body": (CHUNKED, b"10000\r\n" + b"a" * 65_536 + b"\r\n"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_part_of_a_request(edge, name):
    before = edge.origin.counts()["whole"].get("endless", 0)
    one = Plain(edge)
    flood(one, endless(*ENDLESS[name]), FLOOD)
    enough = ENOUGH + (16 * MIB if name in ("chunked-body", "chunk-extensions") else 0)
    assert one.ended, f"it goes on after {one.sent >> 20} MiB; saw {bytes(one.got[:200])}"
    assert one.sent < enough, f"{one.sent >> 20} MiB were taken"
    assert not one.got.startswith(b"HTTP/1.1 2"), one.got[:200]
    assert edge.origin.counts()["whole"].get("endless", 0) == before, "the origin took it for a whole request"


def test_an_endless_header_section_over_tls(edge):
    one = Secure(edge)
    flood(one, endless(*ENDLESS["lines"]), FLOOD)
    assert one.ended and one.sent < ENOUGH, f"{one.sent >> 20} MiB were taken, and it ended by {one.ended}"


def test_pipelining_without_reading(edge):
    """A few connections ask as fast as they can, and take no answer."""
    asks = b"GET /big/20000?flood HTTP/1.1\r\nHost: x\r\n\r\n" * 500
    made = [form(edge, receive=4096, deaf=True) for form in (Plain, Secure) for _ in range(5)]
    for one in made:
        one.begin()
    cut_within(made, DRAIN, drip=lambda one: one.push(b"" if one.out else asks), every=0.0)
    assert sum(one.sent for one in made) < 10 * ENOUGH


def test_pipelining_with_reading(edge):
    """Whoever reads may ask fast; all answers come, in order."""
    one = Plain(edge)
    for _ in range(10):
        one.push(b"GET /ok?pipe HTTP/1.1\r\nHost: x\r\n\r\n" * 50, SLACK)
    last = b"GET /wait/1?pipe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    one.push(last, SLACK)
    assert one.until(lambda: one.ended)
    assert one.got.count(b"fine 0") > 300 and one.got.endswith(b"waited")


@pytest.mark.grows(128)
@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_two_thousand_idle_connections(edge, kind):
    sources = [source() for _ in range(50)]
    made = [Plain(edge, kind, address=sources[number % 50]) for number in range(2000)]
    cut_within(made, KEEP_ALIVE)


@pytest.mark.grows(96)
def test_many_tls_connections_that_ask_once_and_stay(edge):
    sources = [source() for _ in range(40)]
    made = []
    for number in range(400):
        one = Secure(edge, address=sources[number % 40])
        one.push(HEAD + b"\r\n")
        made.append(one)
    for one in made:
        one.until(lambda one=one: b"fine" in one.got)
        one.begin()
    cut_within(made, KEEP_ALIVE)
