"""Endpoints that are set aside for what they do to requests, and taken back."""

import pytest

from client import Caller, call
from origins import ok, resets, says
from processes import wait_until
from proxies import pool

EJECT = {"failures": 3, "interval": "300ms", "time": "700ms", "max_time": "2s", "max_share": "50%"}
RETRY = {"attempts": 3, "budget": "100%"}


@pytest.fixture
def four(rig):
    return rig.origins(4)


def ejecting(rig, origins, **keys):
    return rig.proxy({"all": pool(*origins, ejection=EJECT | keys, retry=RETRY)})


def statuses(proxy, count):
    return [call(proxy, "/all/x").status for _ in range(count)]


@pytest.mark.parametrize("how", ["refuses", "resets", "leaves", "garbage"])
def test_one_that_fails_is_ejected(rig, four, how):
    proxy = ejecting(rig, four, time="5m", max_time="5m")
    if how == "refuses":
        four[0].down()
    else:
        four[0].play = {
            "resets": resets,
            "leaves": lambda wire, _: None,
            "garbage": lambda wire, _: wire.send("garbage\r\n\r\n"),
        }[how]
    assert set(statuses(proxy, 40)) <= {200, 502}
    proxy.until(four[0], "ejected")
    four[0].forget()
    assert statuses(proxy, 40) == [200] * 40
    assert not four[0].heads


def test_one_that_is_ejected_is_taken_back(rig, four):
    proxy = ejecting(rig, four)
    four[0].play = resets
    # It is taken back soon: asked for anew until it is seen.
    wait_until(lambda: statuses(proxy, 8) and '"ejected"' in proxy.shown(four[0]), what="it is ejected")
    four[0].play = ok
    four[0].forget()
    wait_until(lambda: statuses(proxy, 8) and four[0].executed, 10, "it gets requests again")
    wait_until(lambda: '"ejected"' not in proxy.shown(four[0]), 5, "it is shown so")


def test_not_all_are_ejected(rig, four):
    proxy = ejecting(rig, four, time="5m", max_time="5m")
    for origin in four:
        origin.play = resets
    statuses(proxy, 100)
    shown = [proxy.shown(origin) for origin in four]
    assert sum('"ejected"' in one for one in shown) <= 2, shown


def test_a_pool_of_one_is_not_given_up(rig):
    origin = rig.origin(resets)
    proxy = ejecting(rig, [origin], time="5m", max_time="5m")
    statuses(proxy, 30)
    origin.play = ok
    assert statuses(proxy, 10) == [200] * 10


def test_a_share_of_failures_ejects(rig, four):
    proxy = ejecting(rig, four, failures=1000, share_over="30%", minimum_requests=5, time="5m", max_time="5m")
    turns = iter(range(10_000))
    four[0].play = lambda wire, request: ok(wire, request) if next(turns) % 2 else None
    wait_until(lambda: statuses(proxy, 40) and '"ejected"' in proxy.shown(four[0]), 10, "it is ejected")


def test_few_failures_do_not_eject(rig, four):
    proxy = ejecting(rig, four, failures=3, minimum_requests=10_000)
    turns = iter(range(10_000))
    four[0].play = lambda wire, request: ok(wire, request) if next(turns) % 3 else None
    statuses(proxy, 120)
    assert '"ejected"' not in proxy.shown(four[0])
    assert len(four[0].executed) >= 25


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "429 Too Many Requests"])
def test_what_clients_do_wrong_does_not_eject(rig, four, status):
    proxy = ejecting(rig, four)
    four[0].play = says(status)
    statuses(proxy, 40)
    assert '"ejected"' not in proxy.shown(four[0])


def test_clients_that_leave_do_not_eject(rig, four):
    proxy = ejecting(rig, four)
    for origin in four:
        origin.play = lambda wire, _: wire.until_left()
    for _ in range(24):
        with Caller(proxy) as caller:
            caller.ask("/all/x")
            wait_until(lambda: any(origin.busy for origin in four), 5, "it is asked")
            caller.wire.reset()
        wait_until(lambda: not any(origin.busy for origin in four), 5, "it is left")
    assert not [one for one in map(proxy.shown, four) if '"ejected"' in one]


def test_nothing_is_ejected_where_that_is_off(rig, four):
    proxy = rig.proxy({"all": pool(*four, retry=RETRY)})
    four[0].play = resets
    assert statuses(proxy, 60) == [200] * 60
    assert len(four[0].heads) >= 12
