"""Traces at a collector: spans that nest, in time; a collector that is down harms nobody."""

import time

import pytest

from collector import Collector
from crowd import Crowd, flood
from fate import Fates, fates, names
from instance import TRUSTED, Instance, forward
from processes import free_port, wait_until
from rig import mark

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OWN = [{"name": "own", "path": "/own", "answer": {"body": "x"}}]


@pytest.fixture(scope="module")
def at(stack):
    return Fates(stack)


@pytest.fixture(scope="module")
def collector(stack):
    return stack.enter_context(Collector())


@pytest.fixture(scope="module")
def instance(start, at, collector):
    tracing = {"otlp": f"{collector.url}/", "sample": "100%", "service": "the edge", "authorization": "Bearer s3cret"}
    instance = start(
        tracing=tracing, resolver=at.resolver, trusted_proxies=[TRUSTED], upstreams=at.upstreams(), routes=at.routes()
    )
    instance.fates = at
    return instance


@pytest.fixture(scope="module")
def met(instance, at):
    """The marks of requests of all fates."""
    begin = time.time_ns()
    return {fate.name: (fate, fate.meet(instance)) for fate in fates(at)}, begin


@pytest.mark.parametrize("name", names())
def test_spans_of_all_fates(instance, at, collector, met, name):
    found, begin = met
    fate, text = found[name]
    server, clients = collector.trace(text)
    line = instance.entry(text)
    assert (server.trace_id, server.parent_span_id) == (line["trace_id"], "")
    assert server.name == (f"{line['method']} {line['route']}" if line["route"] else line["method"])
    expected = {
        "http.request.method": line["method"],
        "http.route": line["route"],
        "http.response.status_code": line["status"],
        "url.path": line["path"],
        "url.query": line["query"],
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "http.request.body.size": line["request_bytes"],
        "http.response.body.size": line["response_bytes"],
        "pylon.request_id": line["id"],
        "pylon.outcome": line["outcome"],
    }
    assert {key: server[key] for key in expected} == expected
    failed = line["status"] >= 500 or line["outcome"] == "upstream_cut"
    assert server.status == (2 if failed else 0)
    assert abs(server.start / 1e9 - line["time"]) < 0.001 and abs((server.end - server.start) / 1e9 - line["seconds"]) < 0.001
    assert len(clients) == line["attempts"]
    nest(server, clients, begin)
    seen = [one.one("traceparent").split("-") for one in at.rig.of(text)]
    assert all(one[1] == server.trace_id and one[3] == "01" for one in seen)
    assert {one[2] for one in seen} <= {one.span_id for one in clients}
    if clients:
        last = clients[-1]
        assert f"{last['server.address']}:{last['server.port']}" == line["endpoint"]


def nest(server, clients, begin):
    """Attempts come one after the other, within the request."""
    assert server.kind == 2 and all(one.kind == 3 for one in clients)
    assert len({server.span_id, *(one.span_id for one in clients)}) == 1 + len(clients)
    assert {one.trace_id for one in clients} <= {server.trace_id}
    times = [server.start, *(moment for one in clients for moment in (one.start, one.end)), server.end]
    assert times == sorted(times) and begin - 10_000_000 < server.start and server.end < time.time_ns() + 10_000_000


def test_attempts_are_numbered(collector, met, at):
    _, [first, second] = collector.trace(met[0]["retried"][1])
    assert (first["http.request.resend_count"], second["http.request.resend_count"]) == (None, 1)
    assert (first["http.response.status_code"], second["http.response.status_code"]) == (503, 200)
    assert (first["pylon.result"], second["pylon.result"]) == ("retried", "answered")


def test_resource_and_credentials(collector, met):
    [resource] = {str(one.resource) for message in collector.messages for one in message.resource_spans}
    assert "service.name" in resource and "the edge" in resource and "service.version" in resource
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer s3cret"}


def test_secrets_are_not_exported(instance, collector):
    text, secret = mark("secret"), "hunter2" + mark()
    instance.ask(f"/rig/?token={secret}&{text}")
    server, _ = collector.trace(text)
    assert server["url.query"] == f"token=***&{text}"
    assert not any(secret in str(message) for message in collector.messages)


@pytest.mark.parametrize("flags", ["00", "01"])
def test_trusted_callers_decide(instance, collector, at, flags):
    text, other = mark("decided"), mark("begun")
    instance.ask(f"/rig/?{text}", f"traceparent: 00-{TRACE}-{PARENT}-{flags}", source=TRUSTED)
    instance.ask(f"/rig/?{other}")
    collector.trace(other)
    if flags == "01":
        server, [client] = collector.trace(text)
        assert (server.trace_id, server.parent_span_id) == (TRACE, PARENT)
        assert at.rig.of(text)[0].one("traceparent") == f"00-{TRACE}-{client.span_id}-01"
    else:
        # It came first, and what comes later was exported.
        assert not [one for one in list(collector.spans) if text in str(one["url.query"])]
        assert at.rig.of(text)[0].one("traceparent").endswith("-00")


def test_clients_cannot_have_their_traces_recorded(start, collector, rig):
    instance = start(
        tracing={"otlp": collector.url, "sample": "0%"},
        upstreams={"rig": {"endpoints": [rig.url]}},
        routes=[forward("rig")],
        trusted_proxies=[TRUSTED],
    )
    texts = [mark("unasked") for _ in range(20)]
    for text in texts:
        instance.ask(f"/rig/?{text}", f"traceparent: 00-{TRACE}-{PARENT}-01")
    last = mark("asked")
    instance.ask(f"/rig/?{last}", f"traceparent: 00-{TRACE}-{PARENT}-01", source=TRUSTED)
    collector.trace(last)
    spans = list(collector.spans)
    assert not any(text in str(one["url.query"]) for one in spans for text in texts)
    assert {rig.of(text)[0].one("traceparent")[-2:] for text in texts} == {"00"}
    exported = lambda: instance.total("pylon_traces_exported_total")  # noqa: E731
    wait_until(exported, what="it is counted")
    assert exported() == 1


def test_a_share_of_traces(start, collector):
    instance = start(tracing={"otlp": collector.url, "sample": "25%"}, routes=OWN)
    flood(instance, "/own", 4000)
    wait_until(lambda: instance.total("pylon_traces_exported_total") > 800, what="traces are exported")
    assert instance.total("pylon_traces_exported_total") + instance.total("pylon_traces_dropped_total") < 1200


@pytest.mark.parametrize(("fault", "asked"), [("down", 2000), ("refuses", 2000), ("hangs", 6000)])
def test_a_collector_that_fails_harms_no_request(start, stack, fault, asked):
    own = stack.enter_context(Collector())
    if fault == "hangs":
        own.open.clear()
    own.status = 503 if fault == "refuses" else 200
    otlp = f"http://127.0.0.1:{free_port()}" if fault == "down" else own.url
    instance = start(tracing={"otlp": otlp, "sample": "100%"}, routes=OWN)
    with instance.grows_less_than(64 << 20):
        flood(instance, "/own", asked)
        dropped = lambda: instance.total("pylon_traces_dropped_total")  # noqa: E731
        wait_until(lambda: dropped() > 1000, what="spans are dropped")
    assert instance.ask("/own").status == 200 and instance.total("pylon_traces_exported_total") == 0
    assert instance.total("pylon_log_dropped_total") == 0
    if fault == "down":
        return
    wait_until(lambda: own.asked, what="it is asked")
    own.status = 200
    own.open.set()
    text = mark("recovered")
    # What waits may still be dropped, until there is room.
    recovered = lambda: (
        instance.ask(f"/own?{text}").status == 200 and any(text in str(one["url.query"]) for one in list(own.spans))
    )  # noqa: E731
    wait_until(recovered, what="spans are exported again")
    told = lambda: instance.total("pylon_traces_exported_total") + dropped()  # noqa: E731
    wait_until(lambda: instance.total("pylon_http_requests_total", route="own") == told(), what="all are accounted for")
    assert own.requests == instance.total("pylon_traces_exported_total")


def test_the_last_spans_are_sent_before_the_end(tmp_path, stack):
    own = stack.enter_context(Collector())
    instance = Instance(tmp_path, tracing={"otlp": own.url, "sample": "100%"}, routes=OWN)
    try:
        with Crowd(instance, "/own", most=50) as crowd:
            crowd.wait()
        instance.process.terminate()
        assert instance.process.wait(60) == 0
    finally:
        instance.stop()
    wait_until(lambda: len(own.spans) >= crowd.done, what="the last spans")
    assert len(own.spans) == crowd.done


def test_nothing_is_counted_without_a_collector(start):
    instance = start(routes=OWN)
    assert not [one for one in instance.samples() if one.name.startswith("pylon_traces")]
