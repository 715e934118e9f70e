"""Connections to origins that are kept: what an origin does to one must not touch the next request."""

import random
import threading
import time

import pytest

from client import BODY, Caller, call, together
from origins import KEEP, executions, ok, reply
from processes import wait_until
from proxies import pool

POISON = "HTTP/1.1 200 OK\r\nX: poison\r\nContent-Length: 6\r\n\r\npoison"
RETRY = {"attempts": 3, "budget": "100%"}


@pytest.fixture(scope="module")
def bench(shared):
    return shared.bench(retry=RETRY)


def wholes(answers, body):
    """All of them 200 with this body."""
    wrong = [answer for answer in answers if (answer.status, answer.body, answer.complete) != (200, body, True)]
    assert not wrong, f"{len(wrong)} of {len(answers)}: {wrong[0]}"


def test_connections_are_reused(bench):
    bench.play(ok)
    wholes([bench.call() for _ in range(60)], bench.origin.name.encode())
    assert bench.origin.accepted < 30


ENDS = {
    "length": lambda name: reply(name),
    "chunked": lambda name: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(name), name),
    "empty": lambda name: reply(b""),
    "204": lambda name: b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": lambda name: b"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n",
}
EXTRAS = {"answer": POISON, "text": "poison", "line-ends": "\r\n\r\n" + POISON, "408": POISON.replace("200 OK", "408 Request Timeout")}


@pytest.mark.parametrize("pause", [0, 0.05], ids=["at-once", "later"])
@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("end", ENDS)
def test_what_follows_an_answer_is_nobodys(bench, end, extra, pause):
    left = threading.Event()

    def play(wire, request):
        if request.target.endswith("/clean"):
            return ok(wire, request)
        answer = ENDS[end](b"first")
        if not pause:
            wire.send(answer + EXTRAS[extra].encode())
            return KEEP
        wire.send(answer)
        time.sleep(pause)
        wire.send(EXTRAS[extra])
        wire.until_left(30)
        left.set()

    bench.play(play)
    clean = []
    with Caller(bench.proxy) as caller:
        for _ in range(3):
            left.clear()
            answer = call(bench.proxy, "/one/spoils")
            assert not answer.holds("poison"), answer
            if pause:  # who asks in the very moment in which it is sent cannot know
                assert left.wait(30), "the proxy stays"
            clean += [caller.ask("/one/clean").answer(), bench.call("/one/clean")]
    wholes(clean, bench.origin.name.encode())


def test_an_idle_connection_that_is_told_408_is_not_used(bench):
    """Many servers say so before they close one that idles."""

    def play(wire, request):
        ok(wire, request)
        time.sleep(0.002)
        wire.send(reply(b"too slow", status="408 Request Timeout", close=True))

    bench.play(play)
    for _ in range(20):
        wholes([bench.call()], bench.origin.name.encode())
        wait_until(lambda: not bench.origin.open(), 10, "the proxy leaves it")


def test_a_connection_that_is_to_be_closed_is_not_used(bench):
    def play(wire, request):
        wire.send(reply(b"last", close=True))
        wire.until_left(0.3)  # it stays open a little longer; what comes on it is not answered

    bench.play(play)
    wholes([bench.call() for _ in range(10)], b"last")
    assert len(bench.origin.executed) == 10


@pytest.mark.parametrize("fields", [[], [("Connection", "keep-alive")]], ids=["plain", "keep-alive"])
def test_answers_of_http_1_0_arrive(bench, fields):
    def play(wire, _):
        wire.send(reply(b"old", fields=fields).replace(b"HTTP/1.1", b"HTTP/1.0"))
        return KEEP if fields else None

    bench.play(play)
    wholes([bench.call() for _ in range(20)], b"old")


def moody(wire, request):
    """Answers, and then closes, resets or keeps the connection, now or a little later, without saying so."""
    ok(wire, request)
    mood = random.random()
    if mood < 0.5:
        return KEEP
    time.sleep(random.choice([0, 0, 0.0005, 0.002, 0.01]))
    if mood < 0.6:
        wire.reset()
    return None


def test_no_get_fails_while_idle_connections_are_closed(bench):
    bench.play(moody)
    answers = together(4, lambda _: [bench.call() for _ in range(375)])
    wholes(sum(answers, []), bench.origin.name.encode())
    assert bench.origin.accepted < 1500


def test_no_post_is_executed_twice_while_idle_connections_are_closed(bench):
    bench.play(moody)

    def post(number):
        name = f"{number}"
        answer = bench.call(method="POST", body=BODY, chunked=number % 2 == 1, fields=[("X-Id", name)])
        return name, answer

    done = sum(together(4, lambda thread: [post(thread * 1000 + at) for at in range(200)]), [])
    counts = executions(bench.origin)
    assert {name: count for name, count in counts.items() if count > 1} == {}
    assert {answer.status for _, answer in done} <= {200, 502}
    assert [name for name, answer in done if answer.status == 200 and name not in counts] == []
    assert sum(answer.status == 200 for _, answer in done) > 400
    assert all(request.body == BODY for request in bench.origin.executed)


def test_answers_are_not_mixed_up(bench):
    """Each client gets the answer to its own request, with connections shared and closed at random."""

    def play(wire, request):
        wire.send(reply(request["x-id"].encode()))
        return KEEP if random.random() < 0.8 else None

    bench.play(play)

    def work(thread):
        for at in range(150):
            name = f"{thread}-{at}"
            answer = bench.call(fields=[("X-Id", name)])
            assert (answer.status, answer.body) == (200, name.encode()), answer

    together(6, work)


def test_a_client_that_leaves_early_spoils_no_connection(bench):
    """The rest of an answer nobody waits for must not be the beginning of another."""

    def play(wire, request):
        if request.target.endswith("/clean"):
            return ok(wire, request)
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", "poison" * 5000)
        time.sleep(0.02)
        wire.send("poison" * 28_333 + "po")
        return KEEP

    bench.play(play)
    for _ in range(20):
        with Caller(bench.proxy) as caller:
            caller.ask("/one/large").wire.more()
        answer = bench.call("/one/clean")
        assert (answer.status, answer.body) == (200, bench.origin.name.encode()), answer


def test_connections_are_not_shared_between_pools(rig):
    first, second = rig.origins(2)
    proxy = rig.proxy({"first": pool(first), "second": pool(second)})

    def work(number):
        for _ in range(100):
            path, origin = [("/first/x", first), ("/second/x", second)][number % 2]
            assert call(proxy, path).body == origin.name.encode()

    together(4, work)
