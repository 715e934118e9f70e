"""What the access log says of requests of every fate, against what their client and their upstream know."""

import collections
import re
import time

import pytest

from fate import Fates, fates, names
from instance import TRUSTED
from processes import wait_until
from rig import mark

KEYS = """time id trace_id client user method host path query protocol tls route upstream endpoint attempts status upstream_status
    outcome reason request_bytes response_bytes seconds connect_seconds first_byte_seconds""".split()
NAMES = names()


@pytest.fixture(scope="module")
def at(stack):
    return Fates(stack)


@pytest.fixture(scope="module")
def instance(start, at):
    instance = start(resolver=at.resolver, trusted_proxies=[TRUSTED], upstreams=at.upstreams(), routes=at.routes())
    instance.fates = at
    return instance


@pytest.mark.parametrize("name", NAMES)
def test_fates(instance, at, name):
    [fate] = [one for one in fates(at) if one.name == name]
    begin = time.time()
    text = fate.meet(instance)
    line = instance.entry(text)
    assert list(line) == KEYS
    assert {key: line[key] for key in fate.expected} == fate.expected
    assert (line["path"], line["query"], line["client"], line["host"]) == (fate.target, text, "127.0.0.1", "localhost")
    assert (line["protocol"], line["tls"], line["user"]) == ("HTTP/1.1", None, None)
    assert re.fullmatch(r"[0-9a-f]{32}", line["id"]) and line["trace_id"] == line["id"]
    assert begin - 0.01 <= line["time"] <= time.time() and line["time"] + line["seconds"] <= time.time() + 0.01
    steps = [line["first_byte_seconds"] or 0, line["seconds"]]
    assert steps == sorted(steps) and (line["connect_seconds"] or 0) <= line["seconds"]
    if seen := at.rig.of(text):
        assert line["attempts"] == len(seen) and line["endpoint"] == seen[-1].address
        assert {one.one("x-request-id") for one in seen} == {line["id"]}
    assert (line["reason"] is None) == (line["outcome"] in ("forwarded", "answered", "upgraded")), line["reason"]


def test_an_attempt_at_an_endpoint_that_is_down_is_followed_by_another(instance, at):
    texts = [mark("mixed") for _ in range(4)]
    assert [instance.ask(f"/mixed/?{text}").status for text in texts] == [200] * 4
    lines = [instance.entry(text) for text in texts]
    assert {line["endpoint"] for line in lines} == {at.rig.address}
    assert {2} <= {line["attempts"] for line in lines} <= {1, 2}
    assert {line["outcome"] for line in lines} == {"forwarded"}


def test_durations(instance, at):
    """Each within the next; on a busy machine whoever takes the time may be late, so that one of several has to be so."""

    def are_nested():
        text = mark("slowly")
        begin = time.monotonic()
        instance.ask(f"/rig/wait/300?{text}")
        whole = time.monotonic() - begin
        line, [seen] = instance.entry(text), at.rig.of(text)
        assert line["first_byte_seconds"] >= 0.29 and line["seconds"] >= 0.29
        return 0.3 <= seen.over - seen.at <= line["first_byte_seconds"] + 0.01 <= line["seconds"] + 0.02 <= whole + 0.04

    wait_until(are_nested, what="durations agree")


def test_connections_that_are_used_again_take_no_time_to_connect(instance):
    first, second = mark("new"), mark("again")
    with instance.peer() as peer:
        # The first of them may find a connection that others have left, which is closed with its answer.
        peer.ask(f"/rig/close?{mark()}")
        peer.__exit__()
    with instance.peer() as peer:
        peer.ask(f"/rig/?{first}")
        peer.ask(f"/rig/?{second}")
    assert instance.entry(second)["connect_seconds"] is None


def test_the_client_is_the_one_that_a_trusted_proxy_tells(instance):
    text, forged = mark("told"), mark("forged")
    instance.ask(f"/rig/?{text}", "X-Forwarded-For: 203.0.113.9", "X-Request-Id: of-the-balancer-1", source=TRUSTED)
    line = instance.entry(text)
    assert (line["client"], line["id"]) == ("203.0.113.9", "of-the-balancer-1")
    assert re.fullmatch(r"[0-9a-f]{32}", line["trace_id"])
    instance.ask(f"/rig/?{forged}", "X-Forwarded-For: 203.0.113.9", "X-Request-Id: forged")
    line = instance.entry(forged)
    assert line["client"] == "127.0.0.1" and line["id"] != "forged"


def test_the_host_is_that_of_the_request(instance):
    text = mark("host")
    instance.ask(f"/rig/?{text}", host="Some.Host.example:8080")
    assert instance.entry(text)["host"] == "Some.Host.example:8080"


def test_requests_that_break_http_are_told_of(instance):
    """They have no line in the access log, as they are none; the error log has their reason."""
    with instance.peer() as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n")
        answer = peer.answer()
    assert answer.status == 400
    line = instance.entry(answer.headers["x-request-id"], "error.log")
    assert (line["reason"], line["status"]) == ("header_name", 400) and line["client"].startswith("127.0.0.1:")


def test_the_id_of_an_error_page_is_that_of_the_line(instance):
    answer = instance.ask(f"/gone/?{mark()}")
    line = instance.entry(answer.headers["x-request-id"])
    assert line["outcome"] == "connect_failed" and line["id"].encode() in answer.body
    complaint = instance.entry(line["id"], "error.log")
    assert {key: complaint[key] for key in ("outcome", "reason", "status", "endpoint", "attempts", "route")} == {
        key: line[key] for key in ("outcome", "reason", "status", "endpoint", "attempts", "route")
    }


def test_lines_and_metrics_agree(instance):
    """All that was logged until now is what was counted."""

    def counted(name, *labels):
        found = collections.Counter()
        for one in instance.samples():
            if one.name == name and one.value:
                found[tuple(one.labels[label] for label in labels)] += int(one.value)
        return found

    def logged(*keys, of=None):
        found = collections.Counter()
        for line in instance.lines():
            found[tuple(str(line[key]) if line[key] is not None else "(none)" for key in keys)] += line[of] if of else 1
        return +found

    instance.settled()
    for name, labels, keys, of in [
        ("pylon_http_outcomes_total", ("route", "outcome"), ("route", "outcome"), None),
        ("pylon_http_requests_total", ("route", "method", "code"), ("route", "method", "status"), None),
        ("pylon_http_request_bytes_total", ("route",), ("route",), "request_bytes"),
    ]:
        wait_until(lambda: len(instance.lines()) >= sum(counted("pylon_http_outcomes_total", "route").values()), what="lines")
        assert logged(*keys, of=of) == counted(name, *labels), name
    sent, told = logged("route", of="response_bytes"), counted("pylon_http_response_bytes_total", "route")
    assert all(told[route] == sent[route] for route in sent if route != ("rig",))
    # What was on its way to a client that left is counted as well.
    assert 0 <= told["rig",] - sent["rig",] < 1 << 20
    wait_until(lambda: instance.total("pylon_log_lines_total", channel="access") >= len(instance.lines()), what="lines")
    assert instance.total("pylon_log_lines_total", channel="access") == len(instance.lines())
    assert instance.total("pylon_log_dropped_total") == 0
