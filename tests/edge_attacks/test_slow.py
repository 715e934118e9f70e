"""Slow attacks, all at once: each is cut within the time that is set for it."""

import pytest

import slow_h2
import slow_http1
import slow_tls

ATTACKS = slow_http1.ATTACKS + slow_tls.ATTACKS + slow_h2.ATTACKS


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.__name__ for attack in ATTACKS])
def test_it_is_cut(attack, outcomes):
    outcomes.of(attack)


def test_others_are_served_and_nothing_is_left(outcomes):
    if outcomes.afterwards:
        raise outcomes.afterwards
