"""Requests that end in the middle: they are told of all the same, and are not under way any more."""

import pytest

from instance import forward
from peers import Http2
from processes import wait_until
from rig import mark


@pytest.fixture(scope="module")
def instance(start, rig):
    routes = [forward("rig") | {"limits": {"body_idle": "1s"}}, {"name": "own", "path": "/own", "answer": {"body": "x"}}]
    return start(upstreams={"rig": {"endpoints": [rig.url]}}, routes=routes)


def test_a_body_that_stops_coming_over_http2(instance):
    text = mark("stops")
    with Http2(instance.ports["http"]) as peer:
        peer.ask(1, f"/rig/?{text}", ("content-length", "10"), method="POST", end=False)
        line = instance.entry(text)
        peer.ask(3, "/own")
        assert peer.answered(3)
    assert (line["status"], line["outcome"], line["route"], line["method"]) == (499, "rejected", "rig", "POST")
    assert line["protocol"] == "HTTP/2.0" and line["reason"]
    assert instance.api(f"/api/why/{line['id']}").json()["attempts"][0]["result"] == "unanswered"
    counted = {"route": "rig", "method": "POST", "code": "499"}
    wait_until(lambda: instance.total("pylon_http_requests_total", **counted) == 1)
    wait_until(lambda: instance.total("pylon_http_requests_in_flight", route="rig") == 0)


def test_an_answer_that_nobody_waits_for(instance):
    """A client that resets its stream is gone; it was not served a fault."""
    text = mark("reset")
    with Http2(instance.ports["http"]) as peer:
        for stream in range(1, 81, 2):
            peer.ask(stream, f"/own?{text}{stream}")
            peer.send(b"\0\0\4\3\0" + stream.to_bytes(4) + (8).to_bytes(4))  # RST_STREAM, CANCEL
        with Http2(instance.ports["http"]) as other:
            other.ask(1, "/own")
            assert other.answered(1)
    wait_until(lambda: instance.total("pylon_http_requests_in_flight") == 0)
    codes = {one.labels["code"] for one in instance.samples() if one.name == "pylon_http_requests_total"}
    assert codes <= {"200", "499"}
