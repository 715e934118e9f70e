"""What a pool takes at once, and what it does with the rest: queue, 503, and an open breaker."""

import threading

import pytest

from client import Caller, call, together
from origins import ok, resets, says
from processes import wait_until
from proxies import pool


class Gate:
    """A play that answers when it is opened."""

    def __init__(self):
        self.opened = threading.Event()

    def __call__(self, wire, request):
        self.opened.wait(60)
        return ok(wire, request)


class Waiting:
    """Clients that wait for their answers, until the end of the `with` block."""

    def __init__(self, proxy, origin, count):
        self.callers = [Caller(proxy).ask("/one/x") for _ in range(count)]
        self.origin = origin

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.origin.play.opened.set()
        self.answers = [caller.answer() for caller in self.callers]
        for caller in self.callers:
            caller.wire.sock.close()


def limited(rig, **limits):
    """A proxy before an origin whose gate is shut."""
    origin = rig.origin(Gate())
    timeouts = {"first_byte": "60s", "idle": "60s"}
    return rig.proxy({"one": pool(origin, limits=limits, retry={"attempts": 1}, timeouts=timeouts)}), origin


def busy(origin, count):
    wait_until(lambda: origin.busy == count, 5, f"{count} requests at the origin")


def is_turned_away(answer):
    assert (answer.status, answer.complete) == (503, True), answer
    assert answer["retry-after"] and answer["retry-after"].isdigit(), answer


@pytest.mark.parametrize("key", ["requests", "connections"])
@pytest.mark.parametrize("count", [1, 3])
def test_more_than_the_limit_are_503_at_once(rig, key, count):
    proxy, origin = limited(rig, **{key: count, "queue": 0})
    with Waiting(proxy, origin, count) as waiting:
        busy(origin, count)
        for _ in range(5):
            is_turned_away(call(proxy, "/one/x"))
    assert [answer.status for answer in waiting.answers] == [200] * count
    assert (origin.busiest, len(origin.executed)) == (count, count)
    wait_until(lambda: call(proxy, "/one/x").status == 200, what="there is room again")


def test_without_a_queue_more_than_the_limit_are_503(rig):
    proxy, origin = limited(rig, requests=2)
    with Waiting(proxy, origin, 2):
        busy(origin, 2)
        is_turned_away(call(proxy, "/one/x"))


@pytest.mark.parametrize("key", ["requests", "connections"])
def test_who_queues_is_served(rig, key):
    proxy, origin = limited(rig, **{key: 2}, queue=20, queue_timeout="60s")
    with Waiting(proxy, origin, 12) as waiting:
        busy(origin, 2)
    assert [answer.status for answer in waiting.answers] == [200] * 12
    assert origin.busiest == 2


def test_who_queues_for_too_long_is_503(rig):
    proxy, origin = limited(rig, requests=1, queue=5, queue_timeout="300ms")
    with Waiting(proxy, origin, 1):
        busy(origin, 1)
        is_turned_away(call(proxy, "/one/x"))
    assert len(origin.executed) == 1


def test_more_than_the_queue_are_503_at_once(rig):
    proxy, origin = limited(rig, requests=1, queue=2, queue_timeout="60s")
    with Waiting(proxy, origin, 1) as first:
        busy(origin, 1)
        answers = []

        def work(_):
            answers.append(call(proxy, "/one/x", timeout=60))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        # Two wait; the others have their answers before the gate opens.
        wait_until(lambda: len(answers) == 6, 5, "six are turned away")
        for answer in list(answers):
            is_turned_away(answer)
        origin.play.opened.set()
        for thread in threads:
            thread.join()
    assert sorted(answer.status for answer in answers) == [200] * 2 + [503] * 6
    assert first.answers[0].status == 200


def test_who_leaves_the_queue_leaves_its_place(rig):
    proxy, origin = limited(rig, requests=1, queue=1, queue_timeout="60s")
    with Waiting(proxy, origin, 1):
        busy(origin, 1)
        for _ in range(5):
            with Caller(proxy) as gone:
                gone.ask("/one/gone")
                wait_until(lambda: proxy.waiting("one") == 1, what="it queues")
                gone.wire.reset()
            wait_until(lambda: proxy.waiting("one") == 0, what="its place is free")
        with Caller(proxy) as caller:
            caller.ask("/one/x")
            wait_until(lambda: proxy.waiting("one") == 1, what="it queues")
            origin.play.opened.set()
            assert caller.answer().status == 200
    assert not [request for request in origin.executed if request.target == "/one/gone"]


@pytest.mark.parametrize("how", ["resets", "leaves", "garbage", "client-leaves", "silence"])
def test_failures_give_their_places_back(rig, how):
    origin = rig.origin()
    brief = "200ms" if how == "silence" else "20s"
    timeouts, limits = {"first_byte": brief, "idle": brief}, {"requests": 2, "queue": 0}
    proxy = rig.proxy({"one": pool(origin, limits=limits, retry={"attempts": 1}, timeouts=timeouts)})
    origin.play = {
        "resets": resets,
        "leaves": lambda wire, _: None,
        "garbage": lambda wire, _: wire.send("garbage\r\n\r\n"),
    }.get(how, lambda wire, _: wire.until_left())
    for _ in range(8):
        with Caller(proxy) as caller:
            caller.ask("/one/x")
            if how == "client-leaves":
                wait_until(lambda: origin.busy, 5, "the origin is asked")
                caller.wire.reset()
            else:
                assert caller.answer().status in (502, 504)
        wait_until(lambda: not origin.busy, 5, "the origin is left")
    origin.play = ok

    def serves_two():
        return [answer.status for answer in together(2, lambda _: call(proxy, "/one/x"))] == [200, 200]

    wait_until(serves_two, 5, "both places are free")


def test_a_limited_pool_does_not_limit_others(rig):
    slow, quick = rig.origin(Gate()), rig.origin()
    limits = {"requests": 1, "queue": 0}
    proxy = rig.proxy({"one": pool(slow, limits=limits), "other": pool(quick, limits=limits)})
    with Waiting(proxy, slow, 1):
        busy(slow, 1)
        assert [call(proxy, "/other/x").status for _ in range(10)] == [200] * 10


BREAKER = {"failure_share": "50%", "minimum_requests": 10, "window": "10m", "open": "5m"}


def broken(rig, **keys):
    """A proxy whose breaker has opened, and its origin."""
    origin = rig.origin(lambda wire, _: None)
    proxy = rig.proxy({"one": pool(origin, breaker=BREAKER | keys, retry={"attempts": 1}), "other": pool(origin)})
    statuses = [call(proxy, "/one/x").status for _ in range(40)]
    assert statuses[:9] == [502] * 9
    assert 503 in statuses, statuses
    return proxy, origin


def test_an_open_breaker_is_503_and_spares_the_origin(rig):
    proxy, origin = broken(rig)
    assert len(origin.executed) < 30
    is_turned_away(call(proxy, "/one/x"))


def test_an_open_breaker_is_one_of_its_pool(rig):
    proxy, origin = broken(rig)
    origin.play = ok
    assert call(proxy, "/other/x").status == 200


def test_a_breaker_closes_when_the_origin_works_again(rig):
    proxy, origin = broken(rig, open="700ms")
    origin.play = ok
    wait_until(lambda: call(proxy, "/one/x").status == 200, what="the breaker lets one through")
    wait_until(lambda: call(proxy, "/one/x").status == 200, what="the breaker is closed")
    assert [call(proxy, "/one/x").status for _ in range(30)] == [200] * 30


def test_a_breaker_stays_open_when_the_origin_still_fails(rig):
    proxy, origin = broken(rig, open="3s")
    wait_until(lambda: call(proxy, "/one/x").status == 502, what="the breaker lets one through")
    origin.forget()
    statuses = [call(proxy, "/one/x").status for _ in range(20)]
    assert statuses.count(503) > 10, statuses
    assert len(origin.executed) < 10


def test_a_breaker_that_is_half_open_lets_few_through(rig):
    proxy, origin = broken(rig, open="3s")
    origin.play = gate = Gate()
    origin.forget()

    def knock():
        with Caller(proxy) as caller:
            caller.ask("/one/x")
            wait_until(lambda: origin.busy or caller.wire.readable(), what="it is let through, or turned away")
            return origin.busy

    wait_until(knock, what="the breaker lets one through")
    answers = together(10, lambda _: Caller(proxy, 5).ask("/one/x").answer())
    gate.opened.set()
    assert sum(answer.status == 503 for answer in answers) >= 5, answers


@pytest.mark.parametrize("play", [ok, says("404 Not Found")], ids=["200", "404"])
def test_a_breaker_stays_closed_without_failures(rig, play):
    origin = rig.origin(play)
    proxy = rig.proxy({"one": pool(origin, breaker=BREAKER)})
    assert 503 not in [call(proxy, "/one/x").status for _ in range(60)]
    assert len(origin.executed) == 60


def test_few_failures_open_no_breaker(rig):
    origin = rig.origin()
    # It breaks off in its head: a kept connection that closes without a byte would be tried again.
    origin.play = lambda wire, request: wire.send("HTTP/1.1 2") if len(origin.executed) % 5 == 0 else ok(wire, request)
    proxy = rig.proxy({"one": pool(origin, breaker=BREAKER, retry={"attempts": 1})})
    statuses = [call(proxy, "/one/x").status for _ in range(60)]
    assert set(statuses) == {200, 502}
