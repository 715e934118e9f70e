"""Connections that end too early, at either side: a part never looks like the whole."""

import pytest

from client import BODY, Caller, forms
from origins import reply, sends
from processes import wait_until

GOOD = "HTTP/1.1 200 OK\r\n"
CHUNKED = GOOD + "Transfer-Encoding: chunked\r\n\r\n"
ENDS = pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])


@pytest.fixture(scope="module")
def bench(shared):
    return shared.bench(retry={"attempts": 2})


HEADS = {
    "nothing": "",
    "in-the-version": "HTT",
    "in-the-status": "HTTP/1.1 20",
    "after-the-status-line": GOOD,
    "in-a-name": GOOD + "Content-Le",
    "in-a-value": GOOD + "Content-Length: 1",
    "before-the-empty-line": GOOD + "Content-Length: 0\r\n",
    "within-the-empty-line": GOOD + "Content-Length: 0\r\n\r",
    "after-100": "HTTP/1.1 100 Continue\r\n\r\n",
    "after-103": "HTTP/1.1 103 Early Hints\r\n\r\n",
}


@ENDS
@pytest.mark.parametrize("stage", HEADS)
def test_an_end_in_the_head_is_502(bench, stage, reset):
    bench.play(sends(HEADS[stage], reset=reset))
    answer = bench.call()
    assert (answer.status, answer.complete) == (502, True), answer
    assert len(bench.origin.executed) <= 2
    bench.is_sound()


@ENDS
@pytest.mark.parametrize("stage", ["nothing", "in-the-status", "in-a-value"])
@pytest.mark.parametrize("form", forms("POST", "POST-length", "POST-chunked", "PATCH-length"), ids=str)
def test_an_end_in_the_head_of_what_is_not_repeatable_is_502_and_executed_once(bench, stage, form, reset):
    bench.play(sends(HEADS[stage], reset=reset))
    answer = bench.call(**form.sends)
    assert (answer.status, answer.complete) == (502, True), answer
    assert [request.body for request in bench.origin.executed] == [form.body]


BODIES = {
    "length-nothing": GOOD + "Content-Length: 100\r\n\r\n",
    "length-some": GOOD + "Content-Length: 100\r\n\r\nsome",
    "length-all-but-one": GOOD + "Content-Length: 5\r\n\r\nsome",
    "length-large": GOOD + "Content-Length: 5000000\r\n\r\n" + "x" * 4_999_999,
    "chunked-nothing": CHUNKED,
    "chunked-in-the-size": CHUNKED + "1",
    "chunked-after-the-size": CHUNKED + "10\r\n",
    "chunked-in-a-chunk": CHUNKED + "10\r\nsome",
    "chunked-before-the-line-end": CHUNKED + "4\r\nsome",
    "chunked-after-a-chunk": CHUNKED + "4\r\nsome\r\n",
    "chunked-in-the-last-size": CHUNKED + "4\r\nsome\r\n0",
    "chunked-large": CHUNKED + "2dc6c0\r\n" + "x" * 3_000_000 + "\r\n",
}


@ENDS
@pytest.mark.parametrize("stage", BODIES)
@pytest.mark.parametrize("form", forms("GET", "POST-length"), ids=str)
def test_an_end_in_the_body_never_looks_whole(bench, stage, form, reset):
    bench.play(sends(BODIES[stage], reset=reset))
    answer = bench.call(**form.sends)
    assert answer.cut or answer.status == 502, answer
    assert len(bench.origin.executed) == 1 or answer.status == 502 and form.repeatable
    bench.is_sound()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_reset_of_a_body_that_lasts_to_the_end_never_looks_whole(bench, version):
    bench.play(sends(f"HTTP/{version} 200 OK\r\nConnection: close\r\n\r\n", "x" * 100_000, reset=True))
    answer = bench.call()
    assert answer.cut or answer.status == 502, answer
    bench.is_sound()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_a_body_that_lasts_to_the_end_is_whole(bench, version, size):
    bench.play(sends(f"HTTP/{version} 200 OK\r\nConnection: close\r\n\r\n", "x" * size))
    answer = bench.call()
    assert (answer.status, len(answer.body), answer.complete) == (200, size, True), answer.why


@ENDS
@pytest.mark.parametrize("form", ["length", "chunked"])
@pytest.mark.parametrize("at", ["head", "body", "end"])
def test_a_client_that_leaves_in_its_upload_has_nothing_executed(bench, form, at, reset):
    bench.play()
    coding = "Transfer-Encoding: chunked" if form == "chunked" else f"Content-Length: {len(BODY)}"
    whole = b"%x\r\n%b\r\n" % (len(BODY), BODY) if form == "chunked" else BODY
    part = {"head": b"", "body": whole[:500], "end": whole if form == "chunked" else whole[:-1]}[at]
    with Caller(bench.proxy) as caller:
        caller.wire.send(f"POST /one/x HTTP/1.1\r\nHost: faults.test\r\n{coding}\r\n\r\n", part)
        if reset:
            caller.wire.reset()
    bench.is_sound()
    wait_until(lambda: not bench.origin.open(), 5, "the proxy leaves the origin")
    assert [request.method for request in bench.origin.executed] == ["GET"]


def test_a_client_that_leaves_frees_the_origin(bench):
    def play(wire, _):
        wire.send(GOOD, "Content-Length: 1000000000\r\n\r\n")
        while True:
            wire.send(b"x" * 65_536)

    bench.play(play)
    with Caller(bench.proxy) as caller:
        caller.ask("/one/x").wire.more()
    wait_until(lambda: not bench.origin.open(), 8, "the proxy leaves the origin")
    bench.is_sound()


def test_what_is_whole_is_not_taken_for_cut(bench):
    bench.play(sends(reply(BODY, close=True), reset=True))
    answer = bench.call()
    assert (answer.status, answer.body == BODY, answer.complete) == (200, True, True), answer
