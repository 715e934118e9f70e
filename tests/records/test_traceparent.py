"""To which trace a request belongs: what upstreams are told, and whom Pylon believes."""

import re

import pytest

from instance import TRUSTED, forward
from rig import Rig, mark

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{PARENT}-01"
VALID = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-0[01]")
# By https://www.w3.org/TR/trace-context/#traceparent-header and the tests of that working group.
MALFORMED = [
    "",
    "nonsense",
    f"00-{TRACE}-{PARENT}",
    f"00-{TRACE}-{PARENT}-",
    f"00-{TRACE}-{PARENT}-1",
    f"00-{TRACE}-{PARENT}-01-",
    f"00-{TRACE}-{PARENT}-01-more",
    f"00-{TRACE}-{PARENT}-0x",
    f"00-{TRACE.upper()}-{PARENT}-01",
    f"00-{TRACE}-{PARENT.upper()}-01",
    f"00-{TRACE[:-1]}.-{PARENT}-01",
    f"00-{'0' * 32}-{PARENT}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}0-{PARENT}-01",
    f"0-{TRACE}-{PARENT}-01",
    f"ff-{TRACE}-{PARENT}-01",
    f".0-{TRACE}-{PARENT}-01",
    f"cc-{TRACE}-{PARENT}-01.what",
    f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01",
]


@pytest.fixture(scope="module")
def instance(stack, start, rig):
    other = stack.enter_context(Rig(shared=rig.seen))
    two = {"endpoints": [rig.url, other.url], "retry": {"statuses": ["503"], "budget": "100%"}, "ejection": {"enabled": False}}
    routes = [forward("rig"), forward("two", "two"), {"name": "own", "path": "/own", "answer": {"body": "x"}}]
    return start(trusted_proxies=[TRUSTED], upstreams={"rig": {"endpoints": [rig.url]}, "two": two}, routes=routes)


def told(instance, rig, *lines, source="127.0.0.1", target="/rig/"):
    """What the upstream and the log are told of a request: trace, span, flags; the request to the upstream; the line."""
    text = mark("trace")
    assert instance.ask(f"{target}?{text}", *lines, source=source).status == 200
    [seen] = rig.of(text)
    header = seen.one("traceparent")
    assert VALID.fullmatch(header), header
    line = instance.entry(text)
    _, trace, span, flags = header.split("-")
    assert line["trace_id"] == trace
    return (trace, span, flags), seen, line


def test_each_request_begins_a_trace(instance, rig):
    seen = [told(instance, rig) for _ in range(5)]
    assert len({trace for (trace, _, _), _, _ in seen}) == len({span for (_, span, _), _, _ in seen}) == 5
    # Nobody exports them; many services behind would drop what is marked as not sampled.
    assert {flags for (_, _, flags), _, _ in seen} == {"01"}
    assert all(request.one("x-request-id") == line["id"] == trace for (trace, _, _), request, line in seen)


def test_clients_are_not_believed(instance, rig):
    (trace, span, flags), seen, _ = told(instance, rig, f"traceparent: {GOOD}", "tracestate: vendor=1,other=2")
    assert trace != TRACE and span != PARENT and flags == "01"
    assert not seen.values("tracestate")


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_trusted_proxys_trace_goes_on(instance, rig, flags):
    lines = f"traceparent: 00-{TRACE}-{PARENT}-{flags}", "tracestate: vendor=1,other=2", "X-Request-Id: mine-1"
    (trace, span, told_flags), seen, line = told(instance, rig, *lines, source=TRUSTED)
    assert (trace, told_flags) == (TRACE, flags) and span != PARENT
    assert ",".join(seen.values("tracestate")).replace(" ", "") == "vendor=1,other=2"
    assert seen.one("x-request-id") == line["id"] == "mine-1"


def test_tracestate_in_several_lines_keeps_its_order(instance, rig):
    _, seen, _ = told(instance, rig, f"traceparent: {GOOD}", "tracestate: a=1", "tracestate: b=2,c=3", source=TRUSTED)
    assert ",".join(seen.values("tracestate")).replace(" ", "") == "a=1,b=2,c=3"


@pytest.mark.parametrize("flags", ["03", "ff", "02"])
def test_flags_that_are_not_known_are_not_passed_on(instance, rig, flags):
    (trace, _, told_flags), _, _ = told(instance, rig, f"traceparent: 00-{TRACE}-{PARENT}-{flags}", source=TRUSTED)
    assert (trace, int(told_flags, 16)) == (TRACE, int(flags, 16) & 1)


def test_later_versions_are_read_as_far_as_they_are_known(instance, rig):
    for header in (f"cc-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what-ever"):
        (trace, _, flags), seen, _ = told(instance, rig, f"traceparent: {header}", source=TRUSTED)
        assert (trace, flags) == (TRACE, "01")


@pytest.mark.parametrize("header", MALFORMED)
def test_what_is_malformed_is_replaced(instance, rig, header):
    (trace, span, _), seen, _ = told(instance, rig, f"traceparent: {header}", "tracestate: vendor=1", source=TRUSTED)
    assert trace != TRACE and span != PARENT
    assert not seen.values("tracestate")


def test_two_headers_are_malformed(instance, rig):
    other = f"00-{'1' * 32}-{'2' * 16}-01"
    (trace, _, _), seen, _ = told(instance, rig, f"traceparent: {GOOD}", f"traceparent: {other}", source=TRUSTED)
    assert trace not in (TRACE, "1" * 32)


def test_a_tracestate_without_a_traceparent_goes_no_further(instance, rig):
    _, seen, _ = told(instance, rig, "tracestate: vendor=1", source=TRUSTED)
    assert not seen.values("tracestate")


@pytest.mark.parametrize("source", ["127.0.0.1", TRUSTED])
def test_a_second_attempt_is_another_span_of_the_same_trace(instance, rig, source):
    text = mark("retry")
    assert instance.ask(f"/two/first/status/503?{text}", f"traceparent: {GOOD}", source=source).status == 200
    headers = [seen.one("traceparent").split("-") for seen in rig.of(text)]
    assert len(headers) == 2 and len({one[2] for one in headers}) == 2
    assert {one[1] for one in headers} == {instance.entry(text)["trace_id"]}
    assert (headers[0][1] == TRACE) == (source == TRUSTED)


def test_upgrades_are_traced(instance, rig):
    text = mark("up")
    with instance.peer() as peer:
        assert peer.ask(f"/rig/upgrade?{text}", "Connection: Upgrade", "Upgrade: websocket").status == 101
    [seen] = rig.of(text)
    assert VALID.fullmatch(seen.one("traceparent")) and seen.one("traceparent")[3:35] == instance.entry(text)["trace_id"]
