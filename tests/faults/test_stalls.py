"""Origins that go silent at some stage: the client gets 504 or a broken answer in time, never a hang."""

import threading
import time

import pytest

from client import BODY, FEW, Caller, call, forms
from origins import KEEP, holds, ok, ok_close
from proxies import pool

BRIEF = {"connect": "2s", "first_byte": "2s", "idle": "2s"}
STEP = 0.3  # seconds: ten of them are more than what is brief
HEAD = "HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def bench(shared):
    return shared.bench(timeouts=BRIEF, retry={"attempts": 1})


def stays(wire, _=None):
    wire.until_left()
    return True


@pytest.mark.parametrize("form", FEW, ids=str)
def test_silence_from_the_start_is_504(bench, form):
    bench.play(accept=stays)
    answer = bench.call(**form.sends)
    assert (answer.status, answer.complete) == (504, True), answer
    bench.is_sound()


@pytest.mark.parametrize("form", forms("PUT-length", "POST-chunked"), ids=str)
def test_silence_before_the_body_is_read_is_504(bench, form):
    bench.play(at_head=stays)
    answer = bench.call(**form.sends)
    assert (answer.status, answer.complete) == (504, True), answer
    bench.is_sound()


STALLED_HEADS = {
    "nothing": "",
    "in-the-version": "HTT",
    "in-the-status": "HTTP/1.1 20",
    "after-the-status-line": HEAD,
    "in-a-name": HEAD + "Content-Le",
    "in-a-value": HEAD + "Content-Length: 1",
    "before-the-empty-line": HEAD + "Content-Length: 0\r\n",
    "within-the-empty-line": HEAD + "Content-Length: 0\r\n\r",
    "after-100": "HTTP/1.1 100 Continue\r\n\r\n",
    "after-103": "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
}


@pytest.mark.parametrize("stage", STALLED_HEADS)
@pytest.mark.parametrize("form", forms("GET", "POST-length"), ids=str)
def test_silence_in_the_head_is_504(bench, stage, form):
    bench.play(holds(STALLED_HEADS[stage]))
    answer = bench.call(**form.sends)
    assert (answer.status, answer.complete) == (504, True), answer
    assert len(bench.origin.executed) == 1
    bench.is_sound()


CHUNKED = HEAD + "Transfer-Encoding: chunked\r\n\r\n"
STALLED_BODIES = {
    "length-nothing": HEAD + "Content-Length: 100\r\n\r\n",
    "length-some": HEAD + "Content-Length: 100\r\n\r\nsome",
    "length-all-but-one": HEAD + "Content-Length: 5\r\n\r\nsome",
    "chunked-nothing": CHUNKED,
    "chunked-in-the-size": CHUNKED + "1",
    "chunked-in-a-chunk": CHUNKED + "10\r\nsome",
    "chunked-after-a-chunk": CHUNKED + "4\r\nsome\r\n",
    "chunked-in-the-last-size": CHUNKED + "4\r\nsome\r\n0",
    "to-the-end": HEAD + "Connection: close\r\n\r\nsome",
}


@pytest.mark.parametrize("stage", STALLED_BODIES)
def test_silence_in_the_body_never_looks_whole(bench, stage):
    bench.play(holds(STALLED_BODIES[stage]))
    answer = bench.call()
    assert answer.cut or answer.status == 504, answer
    bench.is_sound()


def test_silence_after_a_large_part_never_looks_whole(bench):
    part = b"x" * 3_000_000
    bench.play(holds(HEAD, f"Content-Length: {len(part) + 1}\r\n\r\n", part))
    answer = bench.call()
    assert answer.cut, answer
    assert answer.body == part[: len(answer.body)]
    bench.is_sound()


@pytest.mark.parametrize("chunked", [False, True])
def test_an_origin_that_does_not_take_the_body_is_given_up(bench, chunked):
    bench.play(at_head=stays)
    answer = bench.call(method="POST", body=b"x" * 20_000_000, chunked=chunked, timeout=60)
    assert answer.status in (502, 504) or answer.status is None, answer
    assert not bench.origin.executed
    bench.is_sound()


def drips(head, parts):
    def play(wire, _):
        wire.send(head)
        for part in parts:
            time.sleep(STEP)
            wire.send(part)
        return KEEP if "Connection: close" not in head else None

    return play


CLOSE = HEAD + "Connection: close\r\n"
SLOW = {
    "length": drips(CLOSE + "Content-Length: 40\r\n\r\n", ["four"] * 10),
    "chunked": drips(CLOSE + "Transfer-Encoding: chunked\r\n\r\n", ["4\r\nfour\r\n"] * 10 + ["0\r\n\r\n"]),
    "chunked-by-bytes": drips(CLOSE + "Transfer-Encoding: chunked\r\n\r\n24\r\n" + "four" * 9, "\r\n4\r\nfour\r\n0\r\n\r\n"),
    "to-the-end": drips(CLOSE + "\r\n", ["four"] * 10),
}


@pytest.mark.parametrize("form", SLOW)
def test_what_is_slow_but_moves_lives_longer_than_the_idle_timeout(bench, form):
    bench.play(SLOW[form])
    answer = bench.call()
    assert (answer.status, answer.body, answer.complete) == (200, b"four" * 10, True), answer


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_is_slow_but_moves_arrives(bench, chunked):
    bench.play()
    with Caller(bench.proxy) as caller:
        form = "Transfer-Encoding: chunked" if chunked else "Content-Length: 40"
        caller.wire.send(f"POST /one/x HTTP/1.1\r\nHost: faults.test\r\n{form}\r\n\r\n")
        for _ in range(10):
            time.sleep(STEP)
            caller.wire.send("4\r\nfour\r\n" if chunked else "four")
        caller.wire.send("0\r\n\r\n" if chunked else "")
        answer = caller.answer("POST")
    assert (answer.status, answer.complete) == (200, True), answer
    assert [request.body for request in bench.origin.executed] == [b"four" * 10]


def test_a_client_that_reads_slowly_gets_all(bench):
    body = BODY * 8000
    bench.play(lambda wire, _: wire.send(HEAD, f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n", body))
    with Caller(bench.proxy) as caller:
        caller.ask("/one/x")
        for _ in range(10):
            time.sleep(STEP)
            caller.wire.more()
        answer = caller.answer()
    assert (answer.complete, answer.body == body) == (True, True), answer.why


def test_those_who_wait_do_not_hold_up_others(rig):
    silent, quick = rig.origin(holds()), rig.origin(ok)
    proxy = rig.proxy({"silent": pool(silent, retry={"attempts": 1}, timeouts=BRIEF), "quick": pool(quick)})
    waiting = [threading.Thread(target=call, args=(proxy, "/silent/x")) for _ in range(30)]
    for one in waiting:
        one.start()
    assert [call(proxy, "/quick/x").status for _ in range(50)] == [200] * 50
    for one in waiting:
        one.join()


@pytest.fixture(scope="module")
def timed(shared):
    """A pool with a limit on the whole request."""
    origin = shared.origin()
    return shared.proxy({"all": pool(origin, timeouts={"request": "2s"}, retry={"attempts": 1})}), origin


def test_a_request_that_takes_too_long_is_504(timed):
    proxy, origin = timed
    origin.play = holds()
    answer = call(proxy, "/all/x")
    assert (answer.status, answer.complete) == (504, True), answer


def test_a_body_that_takes_too_long_is_cut(timed):
    proxy, origin = timed
    origin.play = drips(CLOSE + "Content-Length: 400\r\n\r\n", ["four"] * 100)
    answer = call(proxy, "/all/x")
    assert answer.cut, answer
    origin.play = ok_close
    assert call(proxy, "/all/x").status == 200


def test_a_route_waits_less_than_its_pool(shared):
    origin = shared.origin(holds())
    pools = {"patient": pool(origin, timeouts={"first_byte": "60s", "idle": "60s"}, retry={"attempts": 1})}
    routes = {"hasty": {"upstream": "patient", "timeouts": {"first_byte": "300ms", "idle": "300ms"}}}
    answer = call(shared.proxy(pools, routes), "/hasty/x")
    assert (answer.status, answer.complete) == (504, True), answer
