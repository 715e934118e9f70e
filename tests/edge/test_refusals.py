"""What a client is told that was refused, and what the log says of it."""

import re

import pytest
from corpus import FAMILIES
from play import connect, read_answer
from processes import wait_until

# One refusal of each kind that a client can meet.
KINDS = {
    "a bad request line": ("request lines", "the version 'HTTP/1.1x'"),
    "an old request line": ("request lines", "HTTP/0.9: a line and an empty one"),
    "CONNECT": ("request lines", "CONNECT edge.test:80"),
    "a bad field": ("fields", "the line 'X-A 1'"),
    "NUL in a field": ("fields", "0x00 in a value"),
    "a folded field": ("fields", "a value that goes on after a blank"),
    "no Host": ("hosts", "no Host in HTTP/1.1"),
    "two Hosts": ("hosts", "the Hosts 'edge.test' and 'other.test'"),
    "a Host that is none": ("hosts", "the Host 'user@edge.test'"),
    "another Host in the target": ("targets", "http://other.test for the Host edge.test, normalised"),
    "a bad target": ("targets", "the target 'x'"),
    "a path above the root": ("targets", "/.. climbs above the root"),
    "a fragment": ("targets", "# in a target, normalised"),
    "length and coding": ("transfer codings", "Content-Length of the whole, then Transfer-Encoding"),
    "an unknown coding": ("transfer codings", "coding 'gzip'"),
    "two lengths": ("lengths", "length '5' and length '5'"),
    "a length that is none": ("lengths", "length '+5'"),
    "an end of line that is none": ("ends of lines", "LF after a field"),
    "too large a section": ("sizes", "10 fields of 7168 bytes"),
    "too many fields": ("sizes", "201 fields in all"),
    "too long a target": ("sizes", "a path of 20480"),
    "a bad chunk": ("chunks", "the size '0x5'"),
    "an expectation": ("bodies", "Expect: x"),
}
REASON = re.compile(r'\breason="?[^"\s]')


def refusal(lane, case):
    wire = connect(lane.port)
    try:
        for piece in case.pieces:
            wire.send(piece)
        return read_answer(wire, "GET")
    finally:
        wire.sock.close()
        lane.origin.take()


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_says_why(lanes, kind):
    family, name = KINDS[kind]
    case = next(one for one in FAMILIES[family] if one.name == name)
    answer = lanes.start(refusal, case).result(300)
    shown = f"sent: {case.raw[:400]!r}; {answer}"
    assert 400 <= answer.status <= 505 and answer.status not in (404, 502, 503, 504), shown
    assert (answer["connection"] or "").lower() == "close", shown
    assert "pingora" not in (answer["server"] or "").lower(), shown
    media = (answer["content-type"] or "").split(";")[0]
    assert media in ("text/plain", "text/html", "application/json", "application/problem+json"), shown
    assert len(answer.body) > 10 and answer["content-length"] == str(len(answer.body)), shown
    assert b"ingora" not in answer.body, shown
    wait_until(lambda: logged(lanes.gateway, answer["x-request-id"]), what=f"a line with a reason in the log; {shown}")


def logged(gateway, request_id):
    """Whether a line of the log has this id and a reason."""
    return request_id and any(request_id in line and REASON.search(line) for line in gateway.lines())
