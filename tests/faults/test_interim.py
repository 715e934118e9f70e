"""1xx before the answer, Expect, and answers that have no body whatever their head says."""

import pytest

from client import BODY, Caller, forms
from origins import KEEP, ok, reply, sends

GOOD = "HTTP/1.1 200 OK\r\n"
INTERIM = {
    "100": "HTTP/1.1 100 Continue\r\n\r\n",
    "102": "HTTP/1.1 102 Processing\r\n\r\n",
    "103": "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
    "100-twice": "HTTP/1.1 100 Continue\r\n\r\n" * 2,
    "100-then-103": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n",
    "199": "HTTP/1.1 199 Whatever\r\n\r\n",
}


@pytest.fixture(scope="module")
def bench(shared):
    return shared.bench(timeouts={"first_byte": "10s", "idle": "10s"}, retry={"attempts": 1})


@pytest.mark.parametrize("kind", INTERIM)
@pytest.mark.parametrize("form", forms("GET", "POST-length"), ids=str)
def test_the_answer_after_1xx_arrives(bench, kind, form):
    bench.play(sends(INTERIM[kind], reply(b"final", close=True)))
    answer = bench.call(**form.sends)
    assert (answer.status, answer.body, answer.complete) == (200, b"final", True), answer
    assert len(bench.origin.executed) == 1
    bench.is_sound()


def test_a_client_of_http_1_0_gets_no_1xx(bench):
    bench.play(sends(INTERIM["103"], reply(b"final", close=True)))
    answer = bench.call(version="1.0")
    assert (answer.status, answer.body, answer.interim) == (200, b"final", []), answer


@pytest.mark.parametrize("continues", [True, False], ids=["origin-continues", "origin-is-silent"])
def test_who_expects_100_gets_it_and_the_body_arrives(bench, continues):
    bench.play()
    with Caller(bench.proxy) as caller:
        fields = f"Content-Length: {len(BODY)}\r\nExpect: 100-continue"
        caller.wire.send(f"POST /one/x HTTP/1.1\r\nHost: faults.test\r\n{fields}\r\n\r\n")
        assert caller.wire.head()[0].split(" ")[1] == "100"
        if continues:
            bench.origin.play = sends(INTERIM["100"], reply(b"fine", close=True))
        caller.wire.send(BODY)
        answer = caller.answer("POST")
    assert (answer.status, answer.body, answer.complete) == (200, b"fine", True), answer
    assert [request.body for request in bench.origin.executed] == [BODY]


def test_who_expects_100_and_does_not_wait_is_served_too(bench):
    bench.play()
    answer = bench.call(method="POST", body=BODY, fields=[("Expect", "100-continue")])
    assert (answer.status, answer.complete) == (200, True), answer
    assert [request.body for request in bench.origin.executed] == [BODY]


@pytest.mark.parametrize("status", ["417 Expectation Failed", "413 Content Too Large", "401 Unauthorized"])
def test_who_expects_100_can_be_turned_away(bench, status):
    bench.play(at_head=lambda wire, _: wire.send(reply(b"no", status=status, close=True)) or True)
    answer = bench.call(method="POST", body=BODY, fields=[("Expect", "100-continue")])
    assert str(answer.status) in (status[:3], "502"), answer
    bench.is_sound()


BODILESS = {
    "head": ("HEAD", GOOD + "Content-Length: 100\r\n"),
    "head-chunked": ("HEAD", GOOD + "Transfer-Encoding: chunked\r\n"),
    "head-no-length": ("HEAD", GOOD),
    "head-404": ("HEAD", "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n"),
    "204": ("GET", "HTTP/1.1 204 No Content\r\n"),
    "204-to-a-post": ("POST", "HTTP/1.1 204 No Content\r\n"),
    "304": ("GET", 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n'),
    "304-length": ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n"),
    "200-length-0": ("GET", GOOD + "Content-Length: 0\r\n"),
}


@pytest.mark.parametrize("kind", BODILESS)
def test_an_answer_without_a_body_ends_at_its_head(bench, kind):
    # On one connection to the client, and on kept ones to the origin: nobody waits for a body, nor takes what follows for one.
    method, head = BODILESS[kind]

    def play(wire, request):
        if request.target.endswith("/after"):
            return ok(wire, request)
        wire.send(head, "\r\n")
        return KEEP

    bench.play(play)
    with Caller(bench.proxy) as caller:
        for _ in range(3):
            answer = caller.ask("/one/x", method).answer(method)
            assert (answer.status, answer.complete, answer.body) == (int(head.split(" ")[1]), True, b""), answer
            after = caller.ask("/one/after").answer()
            assert (after.status, after.body) == (200, bench.origin.name.encode()), after


@pytest.mark.parametrize("kind", ["head", "204", "304-length"])
def test_a_body_that_must_not_be_is_not_relayed(bench, kind):
    method, head = BODILESS[kind]

    def play(wire, request):
        if request.target.endswith("/after"):
            return ok(wire, request)
        wire.send(head, "\r\n", "HTTP/1.1 200 OK\r\nX: leaked\r\nContent-Length: 6\r\n\r\nleaked")
        return KEEP

    bench.play(play)
    for _ in range(5):
        with Caller(bench.proxy) as caller:
            answer = caller.ask("/one/x", method).answer(method)
            assert answer.status == 502 or answer.complete and not answer.holds("leaked"), answer
            assert b"leaked" not in caller.surplus(0.1)
        after = bench.call("/one/after")
        assert (after.status, after.body) == (200, bench.origin.name.encode()), after


def test_205_and_an_error_with_an_empty_body_arrive(bench):
    for status in ["205 Reset Content", "500 Internal Server Error", "599 Odd"]:
        bench.play(sends(reply(b"", status=status, close=True)))
        answer = bench.call()
        assert (answer.status, answer.complete, answer.body) == (int(status[:3]), True, b""), answer
