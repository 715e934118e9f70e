"""Answers of the origin: fields of its connection end at the proxy, and its framing is the proxy's own."""

import pytest
from play import connect, probe, read_answer
from strict import OF_A_HOP
from wire import Ended

OK = "HTTP/1.1 200 OK"
SHORT = ["Content-Length: 4"]

# By name: lines of the answer's head, and names of fields that must not come to the client. The body is `fine`.
HOPS = {
    "Keep-Alive": ([*SHORT, "Keep-Alive: timeout=5, max=100"], ["keep-alive"]),
    "Keep-Alive that is named": ([*SHORT, "Connection: Keep-Alive", "Keep-Alive: timeout=5"], ["keep-alive"]),
    "a secret": ([*SHORT, "Connection: X-Secret", "X-Secret: 1"], ["x-secret"]),
    "a secret before Connection": ([*SHORT, "X-Secret: 1", "Connection: X-Secret"], ["x-secret"]),
    "a secret in lower case": ([*SHORT, "connection: x-secret", "X-SECRET: 1"], ["x-secret"]),
    "a secret in a list": ([*SHORT, "Connection: keep-alive, X-Secret", "X-Secret: 1"], ["x-secret"]),
    "a secret beside close": ([*SHORT, "Connection: close, X-Secret", "X-Secret: 1"], ["x-secret"]),
    "a secret twice": ([*SHORT, "X-Secret: 1", "Connection: X-Secret", "X-Secret: 2"], ["x-secret"]),
    "a secret in a second Connection": (
        [*SHORT, "Connection: keep-alive", "Connection: X-Secret", "X-Secret: 1"],
        ["x-secret"],
    ),
    "two secrets": ([*SHORT, "Connection: X-Secret,X-Other", "X-Secret: 1", "X-Other: 1"], ["x-secret", "x-other"]),
    "Proxy-Connection": ([*SHORT, "Proxy-Connection: keep-alive"], ["proxy-connection"]),
    "Proxy-Connection: close": ([*SHORT, "Proxy-Connection: close"], ["proxy-connection"]),
    "Trailer": ([*SHORT, "Trailer: X-T"], ["trailer"]),
    "Upgrade": ([*SHORT, "Upgrade: h2c"], ["upgrade"]),
    "Upgrade that is named": ([*SHORT, "Connection: Upgrade", "Upgrade: h2c, websocket"], ["upgrade"]),
    "TE": ([*SHORT, "TE: trailers"], ["te"]),
    "HTTP2-Settings": ([*SHORT, "HTTP2-Settings: AAMAAABk"], ["http2-settings"]),
    "Connection: close": ([*SHORT, "Connection: close"], []),
    "Connection without a value": ([*SHORT, "Connection:"], []),
    "everything": (
        [
            *SHORT,
            "Connection: X-Secret, TE",
            "X-Secret: 1",
            "TE: x",
            "Trailer: X-T",
            "Upgrade: x",
            "Keep-Alive: 5",
            "Proxy-Connection: x",
        ],
        ["x-secret", "te", "trailer", "upgrade", "keep-alive", "proxy-connection"],
    ),
}
# What a server may not take away from an answer by naming it.
KEPT = ["Content-Length", "Content-Type", "Set-Cookie", "Cache-Control", "Location", "Strict-Transport-Security"]
# Answers that can be read in two ways, or in none: the client gets 502.
BAD = {
    "length and coding": ["Content-Length: 4", "Transfer-Encoding: chunked"],
    "two lengths": ["Content-Length: 4", "Content-Length: 5"],
    "a list of lengths": ["Content-Length: 4, 5"],
    "a length that is none": ["Content-Length: x"],
    "a negative length": ["Content-Length: -4"],
    "a length with a sign": ["Content-Length: +4"],
    "two codings": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "an unknown coding": ["Transfer-Encoding: xchunked"],
    "a blank before the colon": ["Content-Length : 4"],
    "NUL in a value": [*SHORT, "X-A: a\0b"],
    "a CR in a value": [*SHORT, "X-A: a\rb"],
    "a line without a colon": [*SHORT, "no colon"],
}
FRAMING = {"content-length", "transfer-encoding"}


def ask(lane, lines, body="fine"):
    """The origin answers so once; what comes to the client, and how its connection is afterwards."""
    target = "/scripted"
    lane.origin.scripts[target] = "\r\n".join([OK, *lines, "", body]).encode("latin-1")
    wire = connect(lane.port)
    try:
        wire.send(f"GET {target} HTTP/1.1\r\nHost: edge.test\r\n\r\n")
        answer = read_answer(wire, "GET")
        wire.send("GET /next HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n")
        try:
            after = read_answer(wire, "GET").target
        except Ended as ended:
            after = ended.how
    finally:
        wire.sock.close()
        del lane.origin.scripts[target]
    lane.origin.take()
    return answer, after, probe(lane)


def names(answer):
    return [name for name, _ in answer.fields]


@pytest.mark.parametrize("name", HOPS)
def test_fields_of_a_hop_are_not_passed_on(lanes, name):
    lines, gone = HOPS[name]
    answer, after, late = lanes.start(ask, lines).result(300)
    assert (answer.status, answer.body, after, late) == (200, b"fine", "/next", ""), answer
    found = set(names(answer)) & {*gone, *OF_A_HOP}
    assert not found, f"sent: {lines}; these come to the client: {found}; {answer}"
    options = {option.strip().lower() for value in (answer["connection"] or "").split(",") for option in [value]}
    assert options <= {"", "close", "keep-alive"}, answer
    assert len([one for one in names(answer) if one in FRAMING]) == 1, answer


@pytest.mark.parametrize("name", KEPT)
def test_connection_cannot_take_away_what_counts(lanes, name):
    own = [] if name == "Content-Length" else [f"{name}: x"]
    answer, after, late = lanes.start(ask, [*SHORT, f"Connection: {name}", *own]).result(300)
    assert (answer.status, answer.body, late) == (200, b"fine", ""), answer
    assert after in ("/next", "eof"), after
    assert answer["content-length"] == "4" or answer["transfer-encoding"], answer
    if own:
        assert answer[name.lower()] == "x", answer


@pytest.mark.parametrize("name", BAD)
def test_an_answer_that_can_be_read_in_two_ways_is_refused(lanes, name):
    answer, _, late = lanes.start(ask, BAD[name]).result(300)
    assert answer.status == 502, answer
    assert not late, late
