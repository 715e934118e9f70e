"""Origins that speak HTTP/2: single streams and whole connections that fail."""

import threading

import pytest

from client import BODY, FORMS, call, forms, together
from h2origin import H2Origin, ok
from origins import executions, resets, sends
from proxies import pool

RETRY = {"attempts": 3, "budget": "100%"}
H2 = {"protocol": "h2", "retry": RETRY}
HASTY = H2 | {"timeouts": {"first_byte": "2s", "idle": "2s"}}  # for origins that say nothing
REFUSED, INTERNAL, ENHANCE_YOUR_CALM = 7, 2, 11
UNREPEATABLE = [form for form in FORMS if not form.repeatable]


@pytest.fixture
def two(rig):
    return rig.origin(kind=H2Origin), rig.origin(kind=H2Origin)


@pytest.fixture
def proxy(rig, two):
    return rig.proxy({"one": pool(two[0], **H2), "hasty": pool(two[0], **HASTY), "both": pool(*two, **H2)})


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_requests_arrive_whole(proxy, two, form):
    answer = call(proxy, "/one/x?y=z", fields=[("X-Id", "1")], **form.sends)
    assert (answer.status, answer.complete) == (200, True), answer
    [stream] = two[0].executed
    assert (stream.method, stream.target, stream.body) == (form.method, "/one/x?y=z", form.body)


def test_many_share_a_connection(proxy, two):
    answers = together(8, lambda _: [call(proxy, "/one/x").status for _ in range(20)])
    assert answers == [[200] * 20] * 8
    assert two[0].accepted < 20


def test_large_bodies_pass_both_ways(proxy, two):
    def play(connection, stream):
        connection.answer(stream, b"%d" % len(stream.body))

    two[0].play = play
    body = BODY * 3000
    assert call(proxy, "/one/x", "POST", body=body, timeout=60).body == b"%d" % len(body)
    assert two[0].executed[0].body == body


@pytest.mark.parametrize("form", forms("GET", "POST", "POST-length", "PUT-chunked"), ids=str)
def test_a_refused_stream_was_not_processed_and_goes_elsewhere(proxy, two, form):
    """Whatever the method."""
    two[0].at_head = lambda connection, stream: connection.reset_stream(stream, REFUSED) or True
    answers = [call(proxy, "/both/x", **form.sends) for _ in range(6)]
    if form.body:  # a body of which a part was sent need not be there any more
        assert {answer.status for answer in answers} <= {200, 502}
    else:
        assert [answer.status for answer in answers] == [200] * 6
    assert len(two[1].executed) == sum(answer.status == 200 for answer in answers) > 0
    assert {stream.body for stream in two[1].executed} == {form.body}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stream_behind_the_last_of_a_goaway_goes_elsewhere(proxy, two, method):
    two[0].at_head = lambda connection, stream: connection.go_away(last=0) or connection.wire.finish() or True
    answers = [call(proxy, "/both/x", method) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 6
    assert len(two[1].executed) == 6


@pytest.mark.parametrize("code", [INTERNAL, ENHANCE_YOUR_CALM])
@pytest.mark.parametrize("form", UNREPEATABLE, ids=str)
def test_a_stream_that_is_reset_may_have_been_executed(proxy, two, form, code):
    two[0].play = lambda connection, stream: connection.reset_stream(stream, code)
    statuses = [call(proxy, "/both/x", fields=[("X-Id", str(at))], **form.sends).status for at in range(6)]
    assert executions(*two) == {str(at): 1 for at in range(6)}
    assert sorted(statuses) == [200] * len(two[1].executed) + [502] * len(two[0].executed)


def test_a_get_whose_stream_is_reset_goes_elsewhere(proxy, two):
    two[0].play = lambda connection, stream: connection.reset_stream(stream, INTERNAL)
    assert [call(proxy, "/both/x").status for _ in range(6)] == [200] * 6


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_connection_that_ends_is_502_and_executed_once(proxy, two, how):
    two[0].play = lambda connection, _: connection.wire.reset() if how == "rst" else connection.wire.finish()
    answer = call(proxy, "/one/x", "POST", body=BODY)
    assert (answer.status, answer.complete) == (502, True), answer
    assert len(two[0].executed) == 1


@pytest.mark.parametrize("how", ["stream", "connection", "silence"])
def test_a_body_that_breaks_off_never_looks_whole(proxy, two, how):
    def play(connection, stream):
        connection.answer(stream, b"some", end=False)
        if how == "stream":
            connection.reset_stream(stream, INTERNAL)
        elif how == "connection":
            connection.wire.reset()

    two[0].play = play
    answer = call(proxy, "/hasty/x")
    assert answer.cut or answer.status in (502, 504), answer


@pytest.mark.parametrize("declared", [3, 100])
def test_a_body_of_another_length_than_declared_never_looks_whole(proxy, two, declared):
    two[0].play = lambda connection, stream: connection.answer(stream, b"some", fields=[("content-length", str(declared))])
    answer = call(proxy, "/one/x")
    assert answer.cut or answer.status == 502, answer


def test_silence_is_504_and_others_go_on(proxy, two):
    two[0].play = lambda connection, stream: None if "silent" in stream.target else ok(connection, stream)
    waiting = threading.Thread(target=call, args=(proxy, "/hasty/other-silent"))
    waiting.start()
    assert [call(proxy, "/one/x").status for _ in range(20)] == [200] * 20
    waiting.join()
    answer = call(proxy, "/hasty/silent", "POST", body=BODY)
    assert (answer.status, answer.complete) == (504, True), answer


GARBAGE = {
    "http1": sends("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    "text": sends("leaked leaked leaked leaked\r\n\r\n"),
    "zeros": sends("\0" * 100),
    "a-frame-of-16-mb": sends(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 1000),
    "data-on-stream-0": sends(b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x04\0\x01\0\0\0\0leak"),
    "resets": resets,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_what_is_not_http_2_is_502(proxy, two, kind):
    two[0].accept = lambda wire: GARBAGE[kind](wire, None) or True
    answer = call(proxy, "/one/x", "POST", body=BODY)
    assert (answer.status, answer.complete) == (502, True), answer
    assert not answer.holds("leak")
    two[0].accept = None
    assert call(proxy, "/both/x").status == 200


@pytest.mark.parametrize("status", ["99", "600", "abc", "", "101"])
def test_a_status_that_is_none_is_502(proxy, two, status):
    two[0].play = lambda connection, stream: connection.answer(stream, b"leaked", status=status)
    answer = call(proxy, "/one/x")
    assert (answer.status, answer.complete) == (502, True), answer
    assert not answer.holds("leaked")


def test_no_more_streams_than_the_origin_takes(rig):
    gate = threading.Event()
    origin = rig.origin(kind=H2Origin)
    origin.streams_at_once = 3
    origin.play = lambda connection, stream: gate.wait(30) and ok(connection, stream)
    timeouts = {"first_byte": "40s", "idle": "40s"}
    proxy = rig.proxy({"one": pool(origin, protocol="h2", timeouts=timeouts)})
    threading.Timer(0.5, gate.set).start()
    answers = together(9, lambda _: call(proxy, "/one/x", timeout=40))
    assert [answer.status for answer in answers] == [200] * 9


def test_idempotent_requests_survive_connections_that_are_shut_down(proxy, two):
    """GOAWAY after every few requests, as servers do that are replaced."""

    def play(connection, stream):
        ok(connection, stream)
        if stream.number > 9:
            connection.go_away(last=stream.number)

    for origin in two:
        origin.play = play
    statuses = together(4, lambda _: [call(proxy, "/both/x").status for _ in range(50)])
    assert statuses == [[200] * 50] * 4
