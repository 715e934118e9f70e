"""Origins that answer before they have the whole request."""

import pytest

from client import Caller, together
from origins import KEEP, ok, reply

LARGE = bytes(range(256)) * 40_000
CHUNKED = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
REFUSAL = reply(b"too much", status="413 Content Too Large", close=True)


@pytest.fixture(scope="module")
def bench(shared):
    return shared.bench(timeouts={"first_byte": "4s", "idle": "4s"}, retry={"attempts": 3, "budget": "100%"})


def refuses(wire, _):
    """Answers and ends its side; it reads on for a moment."""
    wire.send(REFUSAL)
    return True


def refuses_and_resets(wire, _):
    wire.send(REFUSAL)
    wire.reset()
    return True


def refuses_and_stays(wire, _):
    """Announces no end, and does not read any further."""
    wire.send(reply(b"too much", status="413 Content Too Large"))
    wire.until_left()
    return True


def leaves(wire, _):
    return True


def is_an_end(answer, status):
    """The origin's answer, Pylon's 502, or a connection that ends: no hang, and nothing that looks well."""
    assert answer.why != "timeout", "the client hangs"
    assert answer.status in (status, 502, 504) or answer.status is None and answer.why in ("eof", "reset"), answer


@CHUNKED
@pytest.mark.parametrize("size", [1000, len(LARGE)])
@pytest.mark.parametrize("how", [refuses, refuses_and_resets, refuses_and_stays, leaves], ids=lambda how: how.__name__)
def test_an_upload_that_is_refused_early_ends(bench, how, size, chunked):
    bench.play(at_head=how)
    answer = bench.call(method="POST", body=LARGE[:size], chunked=chunked, timeout=60)
    is_an_end(answer, 413)
    assert not bench.origin.executed
    bench.is_sound()


@CHUNKED
def test_a_small_upload_sees_why_it_was_refused(bench, chunked):
    bench.play(at_head=refuses)
    for _ in range(10):
        answer = bench.call(method="POST", body=LARGE[:1000], chunked=chunked)
        assert (answer.status, answer.body, answer.complete) == (413, b"too much", True), answer


def test_a_client_that_waits_for_the_refusal_sees_it(bench):
    # It sends a part, and no more until it has the answer.
    bench.play(at_head=refuses)
    with Caller(bench.proxy) as caller:
        caller.wire.send("POST /one/x HTTP/1.1\r\nHost: faults.test\r\nContent-Length: 1000000\r\n\r\n", LARGE[:1000])
        answer = caller.answer("POST")
    assert (answer.status, answer.body, answer.complete) == (413, b"too much", True), answer
    bench.is_sound()


@CHUNKED
def test_an_answer_before_the_upload_is_read_arrives(bench, chunked):
    """The origin answers at once, and reads all the same."""

    def at_head(wire, request):
        wire.send(reply(b"early"))
        bench.origin.body(wire, request)
        bench.origin.executed.append(request)
        return True

    bench.play(at_head=at_head)
    answer = bench.call(method="POST", body=LARGE[:500_000], chunked=chunked, timeout=60)
    assert (answer.status, answer.body) == (200, b"early") or answer.status == 502, answer
    assert len(bench.origin.executed) <= 1
    bench.is_sound()


def test_what_is_left_of_a_refused_upload_reaches_nobody_else(bench):
    """The rest of a body is not taken for a request, by the origin or by the proxy."""
    hidden = b"GET /one/hidden HTTP/1.1\r\nHost: faults.test\r\n\r\n"

    def at_head(wire, request):
        if request["content-length"] and request.method == "POST":
            wire.send(reply(b"early"))
            return True
        return None

    bench.play(ok, at_head=at_head)

    def work(number):
        return bench.call(method="POST", body=hidden * 5000) if number % 2 else bench.call()

    answers = together(12, work)
    assert {answer.status for answer in answers} <= {200, 502, None}
    assert all(answer.body == bench.origin.name.encode() for answer in answers[::2])
    assert not [head for head in bench.origin.heads if head.target == "/one/hidden"]


def test_refused_uploads_do_not_wear_the_proxy_down(bench):
    bench.play(at_head=lambda wire, request: refuses(wire, request) if request.method == "POST" else None)
    for _ in range(5):
        for answer in together(8, lambda _: bench.call(method="POST", body=LARGE[:200_000], timeout=60)):
            is_an_end(answer, 413)
    bench.play(lambda wire, request: ok(wire, request) and KEEP)
    assert [bench.call().status for _ in range(20)] == [200] * 20
