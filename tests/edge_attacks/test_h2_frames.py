"""Floods of HTTP/2 frames on connections without a request, all at once: whoever asks for nothing is idle, and cut."""

import itertools

import pytest

from attackers import flood
from edge import DRAIN, H2_IDLE, SLACK
from frames import H2, PING, SETTINGS, frame, priority, settings, window_update


def floods(edge, piece, **options):
    one = H2(edge, **options)
    deaf = options.get("deaf")
    flood(one, itertools.repeat(piece), H2_IDLE + (DRAIN if deaf else 0))
    assert one.ended, f"it goes on; {one.seen}, {one.sent >> 20} MiB sent"


def pings(edge):
    floods(edge, frame(PING, payload=bytes(8)) * 500)


def pings_without_reading(edge):
    floods(edge, frame(PING, payload=bytes(8)) * 500, deaf=True, receive=4096)


def settings_frames(edge):
    floods(edge, settings(streams=100) * 500)


def settings_without_reading(edge):
    floods(edge, settings(streams=100) * 500, deaf=True, receive=4096)


def settings_with_many_values(edge):
    floods(edge, frame(SETTINGS, payload=b"\x00\x04\x00\x00\xff\xff" * 2700))


def settings_acknowledgements(edge):
    floods(edge, frame(SETTINGS, flags=1) * 500)


def window_updates(edge):
    floods(edge, window_update(0, 1) * 500)


def priorities(edge):
    floods(edge, b"".join(priority(number, number - 2) for number in range(3, 1003, 2)))


def unknown_frames(edge):
    floods(edge, frame(0xEE, 0, b"unknown") * 500)


def large_unknown_frames(edge):
    floods(edge, frame(0xEE, 0, bytes(16_384)) * 4)


def frames_that_are_too_large(edge):
    floods(edge, frame(0xEE, 0, bytes(200_000)))


def pings_a_few_a_second(edge):
    """Not a flood, only a connection that is kept for nothing."""
    one = H2(edge)
    while not one.ended and one.frames < 10_000:
        one.push(frame(PING, payload=bytes(8)))
        one.until(lambda: False, 0.2)
        if one.frames > 5 * (H2_IDLE + SLACK):
            break
    assert one.ended, f"it goes on; {one.seen}"


ATTACKS = [
    pings,
    pings_without_reading,
    settings_frames,
    settings_without_reading,
    settings_with_many_values,
    settings_acknowledgements,
    window_updates,
    priorities,
    unknown_frames,
    large_unknown_frames,
    frames_that_are_too_large,
    pings_a_few_a_second,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.__name__ for attack in ATTACKS])
def test_it_is_cut(attack, outcomes):
    outcomes.of(attack)


def test_others_are_served_and_nothing_is_left(outcomes):
    if outcomes.afterwards:
        raise outcomes.afterwards
