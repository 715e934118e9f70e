"""What is counted about pools and their endpoints, to the number."""

import pytest
import requests

from counts import Counted
from fleet import Server, forward
from processes import PATIENCE, free_port, wait_until

ATTEMPTS, FAILURES = "pylon_upstream_requests_total", "pylon_upstream_failures_total"
HEALTHY, CONNECTS = "pylon_upstream_healthy", "pylon_upstream_connect_duration_seconds_count"


@pytest.fixture
def server():
    with Server() as server:
        yield server


@pytest.fixture
def dead():
    """An address that refuses."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def launch(start):
    """A Pylon with this pool, and a route to it."""

    def launch(*endpoints, **pool):
        pool = {"endpoints": list(endpoints)} | pool
        return start(Counted, upstreams={"pool": pool}, routes=[forward("pool", "pool")])

    return launch


def ask(edge, path="/pool/x", times=1):
    with requests.Session() as session:
        return [session.get(f"{edge.url}{path}", timeout=PATIENCE).status_code for _ in range(times)]


def test_attempts_and_new_connections(launch, server):
    edge = launch(server.url)
    address = server.url.removeprefix("http://")
    assert edge.value("pylon_upstream_endpoints", upstream="pool") == 1
    assert edge.value(HEALTHY, upstream="pool", endpoint=address) == 1
    assert ask(edge, times=5) == [200] * 5
    edge.becomes(5, ATTEMPTS, upstream="pool", endpoint=address, code="200")
    # As many as came: now and then a connection is made although one has just become free.
    edge.becomes(len(server.connections), CONNECTS, upstream="pool")
    assert len(server.connections) < 5
    edge.becomes(1, "pylon_upstream_connections", upstream="pool", endpoint=address)
    edge.becomes(0, "pylon_upstream_requests_in_flight", upstream="pool", endpoint=address)
    assert 0 < edge.value("pylon_upstream_latency_seconds", upstream="pool", endpoint=address) < 60
    assert not edge.value(FAILURES) and not edge.value("pylon_upstream_retries_total")


def test_slow_answers_show_in_the_latency(launch, server):
    edge = launch(server.url)
    assert ask(edge, "/pool/slow", 3) == [200] * 3
    assert 0.1 < edge.value("pylon_upstream_latency_seconds", upstream="pool") < 60


def test_an_attempt_elsewhere(launch, server, dead):
    edge = launch(server.url, f"http://{dead}", ejection={"failures": 3, "time": "5m", "max_time": "5m"})
    assert ask(edge, times=10) == [200] * 10
    edge.becomes(3, FAILURES, upstream="pool", endpoint=dead, reason="connect_failed")
    edge.becomes(3, ATTEMPTS, upstream="pool", endpoint=dead, code="none")
    edge.becomes(10, ATTEMPTS, upstream="pool", code="200")
    edge.becomes(3, "pylon_upstream_retries_total", upstream="pool")
    edge.becomes(1, "pylon_upstream_ejections_total", upstream="pool", endpoint=dead)
    edge.becomes(0, HEALTHY, upstream="pool", endpoint=dead)
    edge.becomes(1, HEALTHY, upstream="pool", endpoint=server.url.removeprefix("http://"))
    assert edge.value("pylon_upstream_panic", upstream="pool") == 0
    assert edge.value("pylon_upstream_endpoints", upstream="pool") == 2
    edge.becomes(10, "pylon_http_requests_total", route="pool", code="200")


@pytest.mark.parametrize(
    "path, pool, status, reason",
    [
        ("/pool/breaks", {}, 502, "upstream_broken"),
        ("/pool/never", {"timeouts": {"first_byte": "50ms"}}, 504, "upstream_timeout"),
        ("/pool/never", {"timeouts": {"request": "50ms"}}, 504, "request_timeout"),
    ],
)
def test_failures_by_reason(launch, server, path, pool, status, reason):
    edge = launch(server.url, retry={"attempts": 1}, **pool)
    assert ask(edge, path) == [status]
    edge.becomes(1, FAILURES, upstream="pool", reason=reason)
    edge.becomes(1, ATTEMPTS, upstream="pool", code="none")
    edge.becomes(1, "pylon_http_outcomes_total", route="pool", outcome=reason)


def test_a_server_whose_tls_fails(launch, server):
    edge = launch(server.url.replace("http:", "https:"), timeouts={"tls": "100ms"}, retry={"attempts": 1})
    [status] = ask(edge)
    assert status in (502, 504)
    [failure] = wait_until(lambda: [one for one in edge.samples(FAILURES, upstream="pool") if one.value], what="a failure")
    assert failure.labels["reason"] in ("tls_failed", "connect_timeout")
    edge.becomes(1, "pylon_http_outcomes_total", route="pool", outcome=failure.labels["reason"])


def test_statuses_of_servers_are_not_failures_to_reach_them(launch, server):
    edge = launch(server.url)
    assert ask(edge, "/pool/fails") == [503]
    edge.becomes(1, ATTEMPTS, upstream="pool", code="503")
    assert not edge.value(FAILURES)


def test_a_pool_without_a_usable_endpoint(launch, dead):
    edge = launch(f"http://{dead}", health={"tcp": True, "interval": "100ms", "fall": 1})
    edge.becomes(0, HEALTHY, upstream="pool", endpoint=dead)
    edge.becomes(1, "pylon_upstream_panic", upstream="pool")
    assert edge.value("pylon_upstream_endpoints", upstream="pool") == 1


def test_an_empty_pool(start, server):
    edge = start(
        Counted,
        resolver={"servers": [f"127.0.0.1:{free_port()}"], "timeout": "100ms"},
        upstreams={"empty": {"endpoints": ["http://nowhere.invalid"]}, "pool": {"endpoints": [server.url]}},
        routes=[forward("empty", "empty"), forward("pool", "pool")],
    )
    edge.becomes(0, "pylon_upstream_endpoints", upstream="empty")
    assert ask(edge, "/empty/x") == [503]
    edge.becomes(1, "pylon_http_outcomes_total", route="empty", outcome="no_server")
    assert edge.samples(HEALTHY, upstream="empty") == []


def test_a_breaker(launch, server):
    breaker = {"minimum_requests": 3, "window": "10m", "open": "5m"}
    edge = launch(server.url, breaker=breaker, ejection={"enabled": False})
    edge.becomes(0, "pylon_upstream_breaker_open", upstream="pool")
    assert ask(edge, "/pool/breaks", 5)[-1] == 503
    edge.becomes(1, "pylon_upstream_breaker_open", upstream="pool")
    turned_away = {"route": "pool", "outcome": "breaker_open"}
    wait_until(lambda: edge.value("pylon_http_outcomes_total", **turned_away), what="requests that were turned away")


def test_a_pool_without_a_breaker_has_none(launch, server):
    assert launch(server.url).samples("pylon_upstream_breaker_open") == []


def test_an_endpoint_that_is_removed_takes_its_series_with_it(launch, server, dead):
    edge = launch(server.url, f"http://{dead}")
    assert ask(edge, times=3) == [200] * 3
    edge.becomes(3, ATTEMPTS, upstream="pool", code="200")
    assert edge.samples(HEALTHY, endpoint=dead) and edge.samples(FAILURES, endpoint=dead)
    edge.write(upstreams={"pool": {"endpoints": [server.url]}})
    assert edge.reload()[0]
    for name in (HEALTHY, FAILURES, ATTEMPTS, "pylon_upstream_connections", "pylon_upstream_ejections_total"):
        wait_until(lambda name=name: not edge.samples(name, endpoint=dead), what=f"{name} goes")
    edge.becomes(1, "pylon_upstream_endpoints", upstream="pool")
    kept = edge.value(ATTEMPTS, upstream="pool", code="200")
    assert kept == 3, "what the other endpoint has counted goes on"


def test_a_pool_that_is_removed_takes_its_series_with_it(launch, server):
    edge = launch(server.url)
    assert ask(edge) == [200]
    edge.write(upstreams={}, routes=[])
    assert edge.reload()[0]
    names = ("endpoints", "healthy", "panic", "queued_requests", "requests_total", "retries_total")
    for name in names:
        wait_until(lambda name=name: not edge.samples(f"pylon_upstream_{name}", upstream="pool"), what=f"{name} goes")
