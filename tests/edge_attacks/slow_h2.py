"""Slow clients of HTTP/2. Each attack is a function of the proxy."""

from attackers import Secure, cut_within
from edge import BODY_GRACE, BODY_IDLE, DRAIN, DRAIN_GRACE, H2_IDLE, HEADER
from frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    H2,
    HEADERS,
    PREFACE,
    block,
    frame,
    request,
    settings,
    streams,
    window_update,
)

FEW = 4


def silent_after(edge, **options):
    return [H2(edge, **options) for _ in range(FEW)]


def handshake_without_a_preface(edge):
    cut_within([Secure(edge, protocols=["h2"]) for _ in range(FEW)], H2_IDLE, soonest=0.5)


def half_a_preface(edge):
    cut_within(silent_after(edge, preface=PREFACE[:12], first=b""), H2_IDLE)


def preface_only(edge):
    cut_within(silent_after(edge, first=b""), H2_IDLE)


def preface_and_settings_only(edge):
    cut_within(silent_after(edge), H2_IDLE, soonest=0.8)


def used_and_idle_h2(edge):
    made = []
    for _ in range(FEW):
        one = H2(edge)
        one.push(request(1, "/ok?h2-idle"))
        assert one.until(lambda one=one: 1 in one.done), one.seen
        one.begin()
        made.append(one)
    cut_within(made, H2_IDLE, soonest=0.8)


def header_block_never_finished(edge):
    made = silent_after(edge)
    for one in made:
        one.push(frame(HEADERS, 1, block(), END_STREAM))
        one.begin()
    cut_within(made, max(HEADER, H2_IDLE))


def header_block_drip(edge):
    made = silent_after(edge)
    for one in made:
        one.push(frame(HEADERS, 1, block(), END_STREAM))
        one.begin()
    cut_within(made, max(HEADER, H2_IDLE), drip=lambda one: one.push(frame(CONTINUATION, 1, b"\x00\x01a\x01b")))


def frame_that_never_ends(edge):
    made = silent_after(edge)
    for one in made:
        one.push(frame(HEADERS, 1, block() + b"\x00" * 1000, END_STREAM)[:40])
        one.begin()
    cut_within(made, max(HEADER, H2_IDLE), drip=lambda one: one.push(b"\x00"))


def uploads(edge, **options):
    made = silent_after(edge, **options)
    for one in made:
        one.push(request(1, "/ok?h2-upload", "POST", end=False))
        one.begin()
    return made


def is_over(one):
    return 1 in one.closed


def body_drip(edge):
    made = uploads(edge)
    cut_within(made, BODY_GRACE, drip=lambda one: one.push(frame(DATA, 1, b"a")), every=1.0, over=is_over)


def body_of_padding(edge):
    """Data frames with nothing but padding are not a body that goes on."""
    padded = frame(DATA, 1, b"\xff" + bytes(255), 0x8)
    cut_within(uploads(edge), BODY_GRACE, drip=lambda one: one.push(padded), every=0.02, over=is_over)


def body_of_empty_frames(edge):
    cut_within(uploads(edge), BODY_GRACE, drip=lambda one: one.push(frame(DATA, 1)), every=0.1, over=is_over)


def body_that_stops_h2(edge):
    made = uploads(edge)
    for one in made:
        one.push(frame(DATA, 1, bytes(16_000)))
    cut_within(made, BODY_IDLE, over=is_over)


def stalled(edge, window, count=100):
    """Asks for long answers on all streams, and takes none."""
    made = silent_after(edge, first=settings(window=window))
    for one in made:
        one.numbers = [number for number, _ in zip(streams(), range(count))]
        for number in one.numbers:
            one.push(request(number, "/big/1000000?h2-stall"))
        one.begin()
    return made


def all_are_over(one):
    return one.closed >= set(one.numbers)


def zero_window_stall(edge):
    cut_within(stalled(edge, 0, 25), 2 * DRAIN_GRACE, over=all_are_over)


def window_drip(edge):
    def drip(one):
        one.push(b"".join(window_update(number, 1) for number in one.numbers if number not in one.closed))

    cut_within(stalled(edge, 0, 10), 2 * DRAIN_GRACE, drip=drip, every=0.5, over=all_are_over)


def connection_window_stall(edge):
    """Each stream may send, the connection as a whole may not."""
    cut_within(stalled(edge, 1 << 20, 10), 2 * DRAIN_GRACE, over=all_are_over)


def h2_answers_that_are_not_read(edge):
    made = silent_after(edge, first=settings(window=1 << 30) + window_update(0, 1 << 30), receive=4096, deaf=True)
    for one in made:
        one.push(b"".join(request(number, "/big/8000000?h2-deaf") for number, _ in zip(streams(), range(4))))
        one.begin()
    cut_within(made, DRAIN, soonest=0.8)


ATTACKS = [
    handshake_without_a_preface,
    half_a_preface,
    preface_only,
    preface_and_settings_only,
    used_and_idle_h2,
    header_block_never_finished,
    header_block_drip,
    frame_that_never_ends,
    body_drip,
    body_of_padding,
    body_of_empty_frames,
    body_that_stops_h2,
    zero_window_stall,
    window_drip,
    connection_window_stall,
    h2_answers_that_are_not_read,
]
