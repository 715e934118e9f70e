"""Floods of HTTP/2 that ask the origin for something, or pretend to."""

import itertools
import struct
import time

import pytest

from attackers import flood
from edge import BODY_IDLE, MIB, SLACK
from frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    H2,
    HEADERS,
    block,
    frame,
    priority,
    request,
    reset,
    settings,
    streams,
    window_update,
)

FLOOD = 1.0  # seconds; what is to be cut at once has the usual time of a busy machine on top
STREAMS = 100


def batches(make, size):
    """`make(stream)` for one stream after the other, so many at a time."""
    numbers = streams()
    while batch := b"".join(make(number) for number in itertools.islice(numbers, size)):
        yield batch


def is_cut(one, seconds=SLACK):
    one.until(lambda: False, seconds)
    assert one.ended, f"it goes on; {one.seen}, {one.sent >> 20} MiB sent"


@pytest.mark.parametrize("size", [1, 20, 1000])
def test_rapid_reset(edge, size):
    path = f"/wait/200?rapid-{size}"
    before = edge.origin.saw(f"rapid-{size}")
    one = H2(edge)
    count = flood(one, batches(lambda number: request(number, path) + reset(number), size), FLOOD)
    print(f"{count * size} requests were sent before it was cut")
    is_cut(one)
    assert one.goaway == ENHANCE_YOUR_CALM, one.seen
    assert edge.origin.saw(f"rapid-{size}") - before <= STREAMS


def test_rapid_reset_with_bodies(edge):
    path = "/ok?rapid-body"
    one = H2(edge)

    def ask(number):
        return request(number, path, "POST", end=False) + frame(DATA, number, b"a") + reset(number)

    flood(one, batches(ask, 50), FLOOD)
    is_cut(one)
    assert one.goaway == ENHANCE_YOUR_CALM, one.seen
    assert edge.origin.saw("rapid-body") <= STREAMS


def too_much_window(number):
    return window_update(number, (1 << 31) - 1)


# What makes the other end reset the stream after a request that is right.
PROVOCATIONS = {
    "window-update-0": lambda number: window_update(number, 0),
    "window-overflow": too_much_window,
    "data-after-the-end": lambda number: frame(DATA, number, b"a"),
    "headers-after-the-end": lambda number: frame(HEADERS, number, block(), END_HEADERS),
    "depends-on-itself": lambda number: priority(number, number),
    "priority-too-short": lambda number: frame(2, number, b"\0\0\0"),
}


@pytest.mark.parametrize("how", PROVOCATIONS)
def test_made_to_reset(edge, how):
    """No more than the streams of a connection are at work for it, and it is cut."""
    name = f"made-{how}"
    provoke = PROVOCATIONS[how]
    one = H2(edge)
    flood(one, batches(lambda number: request(number, f"/wait/200?{name}") + provoke(number), 20), FLOOD)
    is_cut(one)
    seen = edge.origin.counts()
    at_once, all_in_all = seen["busiest"].get(name, 0), seen["heads"].get(name, 0)
    print(f"{all_in_all} requests reached the origin, up to {at_once} at once")
    assert at_once <= STREAMS + 10, f"{at_once} requests at once at the origin"
    assert all_in_all <= 10 * STREAMS, f"{all_in_all} requests reached the origin"


def test_more_streams_than_are_allowed(edge):
    one = H2(edge)
    # Those that are let in last longer than all others take.
    asks = batches(lambda number: request(number, "/wait/30000?many-streams"), 100)
    flood(one, itertools.islice(asks, 20), 0, lambda: len(one.resets) >= 1800)
    seen = edge.origin.counts()
    assert seen["busiest"].get("many-streams", 0) <= STREAMS + 10, seen["busiest"]["many-streams"]
    assert one.ended or len(one.resets) >= 1800, one.seen


def test_requests_that_are_wrong(edge):
    """Header blocks without any field of a request."""
    one = H2(edge)
    flood(one, batches(lambda number: frame(HEADERS, number, b"", END_HEADERS | END_STREAM), 200), FLOOD)
    is_cut(one)


def test_requests_with_wrong_names(edge):
    one = H2(edge)
    wrong = block(path="/ok?wrong") + b"\x00\x03X A\x01b"
    flood(one, batches(lambda number: frame(HEADERS, number, wrong, END_HEADERS | END_STREAM), 200), FLOOD)
    is_cut(one)
    assert edge.origin.saw("wrong") == 0


SMALL = b"\x00\x01a\x01b"
PIECES = {"empty": b"", "small": SMALL, "large": b"\x00\x01a\x7f\x81\x7e" + b"b" * 16_256 + SMALL * 19}


@pytest.mark.parametrize("size", PIECES)
def test_continuations_without_end(edge, size):
    piece = frame(CONTINUATION, 1, PIECES[size])
    batch = piece * max(1, 65_536 // len(piece))
    one = H2(edge)
    first = frame(HEADERS, 1, block("/ok?continued"), END_STREAM)
    flood(one, itertools.chain([first], itertools.repeat(batch)), FLOOD)
    is_cut(one)
    assert one.sent < 16 * MIB, f"{one.sent >> 20} MiB were taken"
    assert edge.origin.saw("continued") == 0


def bomb(references):
    """A field of 3,900 bytes for the dynamic table, and requests that name it again and again."""
    value = b"b" * 3900
    length = struct.pack("B", 0x7F) + bytes([((len(value) - 127) & 0x7F) | 0x80, (len(value) - 127) >> 7])
    store = b"\x40\x01a" + length + value
    return block("/ok?bomb") + store, block("/ok?bomb") + b"\xbe" * references


def test_hpack_bomb(edge):
    """A few KiB that would unfold to 60 MB for each request."""
    one = H2(edge)
    before = edge.origin.saw("bomb")
    store, unfold = bomb(15_000)
    one.push(frame(HEADERS, 1, store, END_HEADERS | END_STREAM))
    one.until(lambda: 1 in one.closed)
    asks = (frame(HEADERS, number, unfold, END_HEADERS | END_STREAM) for number in range(3, 401, 2))
    flood(one, asks, 0, lambda: len(one.closed) == 200)
    assert one.ended or all(one.statuses.get(number, 431) == 431 for number in range(3, 401, 2)), one.statuses
    assert one.ended or len(one.closed) == 200, one.seen
    assert edge.origin.saw("bomb") - before <= 1


def test_table_size_changes_without_end(edge):
    """A block of nothing but changes of the size of the dynamic table."""
    one = H2(edge)
    changes = (b"\x20\x3f\xe1\x1f" * 4000)[:16_000]
    flood(one, batches(lambda number: frame(HEADERS, number, changes, END_HEADERS | END_STREAM), 4), FLOOD)
    is_cut(one)


def test_empty_data_without_end(edge):
    """Frames without a byte keep no upload alive."""
    one = H2(edge)
    one.push(request(1, "/ok?empty-data", "POST", end=False))
    one.begin()
    batch = frame(DATA, 1) * 2000
    deadline = time.monotonic() + BODY_IDLE + SLACK
    while not one.ended and 1 not in one.closed and time.monotonic() < deadline:
        one.push(batch, 1)
        one.look()
    assert one.ended or 1 in one.closed, one.seen


def test_window_by_window(edge):
    """Long answers that are taken in pieces of one byte, as fast as it goes: no crash, and others are served."""
    one = H2(edge, first=settings(window=0))
    numbers = list(itertools.islice(streams(), 50))
    one.push(b"".join(request(number, "/big/1000000?byte-by-byte") for number in numbers))
    one.begin()
    batch = b"".join(window_update(number, 1) for number in numbers)
    deadline = time.monotonic() + FLOOD
    while not one.ended and time.monotonic() < deadline:
        one.push(batch, 0.5)
        one.look()
    one.until(lambda: False, 0.1)
