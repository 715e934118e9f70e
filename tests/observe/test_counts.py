"""What is counted about requests and connections, to the number."""

import ssl

import pytest
import requests

import peers
from counts import Counted
from fleet import BODY, Server, forward
from gated import Gated
from peers import Http2, Peer
from processes import PATIENCE, wait_until
from site_files import Site

REQUESTS, OUTCOMES = "pylon_http_requests_total", "pylon_http_outcomes_total"
DURATIONS = "pylon_http_request_duration_seconds_count"
RECEIVED, SENT = "pylon_network_receive_bytes_total", "pylon_network_transmit_bytes_total"
NO_HELLO = b"\x16\x03\x01\x00\x05hello"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    site.issue("fine", "localhost")
    return site


@pytest.fixture
def gated():
    with Gated() as server:
        yield server


@pytest.fixture
def edge(start, site, gated):
    with Server() as server:
        yield start(
            Counted,
            {
                "http": {},
                "https": site.tls("fine") | {"timeouts": {"handshake": "60s"}},
                "hasty": site.tls("fine") | {"timeouts": {"handshake": "300ms"}},
            },
            upstreams={
                "good": {"endpoints": [server.url]},
                "gated": {"endpoints": [gated.url], "limits": {"requests": 2, "queue": 5, "queue_timeout": "60s"}},
            },
            routes=[
                forward("good", "good"),
                forward("gated", "gated"),
                forward("small", "good", limits={"body": "10B"}),
                {"name": "answer", "path": "/answer", "answer": {"body": "hello"}},
            ],
        )


def test_nothing_has_happened_yet(edge):
    for name in (REQUESTS, OUTCOMES, DURATIONS):
        assert not edge.value(name, route="good"), name
    assert edge.value("pylon_http_requests_in_flight", route="good") == 0
    # What rates are made of begins at zero, so that the first time counts.
    for channel in ("access", "error", "audit"):
        assert edge.value("pylon_log_dropped_total", channel=channel) == 0
        assert edge.value("pylon_log_write_errors_total", channel=channel) == 0
    for result in ("changed", "unchanged", "refused"):
        assert edge.value("pylon_config_reloads_total", result=result) == 0
    assert edge.value("pylon_upstream_retries_total", upstream="good") == 0


def test_requests_by_method_and_status(edge):
    with requests.Session() as session:
        for method, times in {"GET": 3, "POST": 2, "HEAD": 1, "BREW": 2}.items():
            for _ in range(times):
                session.request(method, f"{edge.url}/good/x", data=b"y" * 1000 if method == "POST" else None, timeout=PATIENCE)
    for method, times in {"GET": 3, "POST": 2, "HEAD": 1, "other": 2}.items():
        edge.becomes(times, REQUESTS, route="good", method=method, code="200")
    edge.becomes(8, OUTCOMES, route="good", outcome="forwarded")
    edge.becomes(8, OUTCOMES, route="good")
    edge.becomes(8, DURATIONS, route="good")
    edge.becomes(8, "pylon_upstream_requests_total", upstream="good", code="200")
    edge.becomes(2000, "pylon_http_request_bytes_total", route="good")
    edge.becomes(7 * len(BODY), "pylon_http_response_bytes_total", route="good")
    assert edge.value(REQUESTS, route="(none)") in (None, 0)


@pytest.mark.parametrize("status, code", [(204, "204"), (299, "2xx"), (404, "404"), (503, "503"), (599, "5xx")])
def test_statuses_that_nobody_knows_are_one(edge, status, code):
    assert requests.get(f"{edge.url}/good/status/{status}", timeout=PATIENCE).status_code == status
    edge.becomes(1, REQUESTS, route="good", code=code)
    edge.becomes(1, OUTCOMES, route="good", outcome="forwarded")


def test_what_pylon_answers_itself(edge):
    assert requests.get(f"{edge.url}/answer", timeout=PATIENCE).text == "hello"
    assert requests.get(f"{edge.url}/nowhere", timeout=PATIENCE).status_code == 404
    assert requests.post(f"{edge.url}/small/x", data=b"x" * 99, timeout=PATIENCE).status_code == 413
    edge.becomes(1, OUTCOMES, route="answer", outcome="answered")
    edge.becomes(1, OUTCOMES, route="(none)", outcome="refused")
    edge.becomes(1, REQUESTS, route="(none)", code="404")
    edge.becomes(1, OUTCOMES, route="small", outcome="rejected")
    edge.becomes(1, REQUESTS, route="small", code="413")
    edge.becomes(1, "pylon_rejected_total", reason="body_too_large")


def test_a_client_that_leaves(edge, gated):
    with Peer(edge.ports["http"]) as peer:
        peer.send(peers.request("/gated/hold/leaves"))
        wait_until(gated.is_waiting("leaves"))
    edge.becomes(1, OUTCOMES, route="gated", outcome="client_gone")
    edge.becomes(1, REQUESTS, route="gated", code="499")


def test_requests_under_way_and_those_that_wait(edge, gated):
    with Peer(edge.ports["http"]) as a, Peer(edge.ports["http"]) as b, Peer(edge.ports["http"]) as c:
        for peer, name in ((a, "a"), (b, "b"), (c, "c")):
            peer.send(peers.request(f"/gated/hold/{name}"))
            edge.becomes({"a": 1, "b": 2, "c": 3}[name], "pylon_http_requests_in_flight", route="gated")
        edge.becomes(2, "pylon_upstream_requests_in_flight", upstream="gated")
        edge.becomes(2, "pylon_upstream_connections", upstream="gated")
        edge.becomes(1, "pylon_upstream_queued_requests", upstream="gated")
        assert not edge.value(REQUESTS, route="gated")
        for peer, name in ((a, "a"), (b, "b"), (c, "c")):
            gated.gate(name).set()
            assert peer.answer().status == 200
    edge.becomes(0, "pylon_http_requests_in_flight", route="gated")
    edge.becomes(0, "pylon_upstream_requests_in_flight", upstream="gated")
    edge.becomes(0, "pylon_upstream_queued_requests", upstream="gated")
    edge.becomes(3, DURATIONS, route="gated")


def test_bytes_count_while_they_flow(edge, gated):
    with Peer(edge.ports["http"]) as peer:
        peer.send(peers.request("/gated/flow/f"))
        # Little, which fits into the buffers between.
        edge.grows("pylon_http_response_bytes_total", route="gated")
        edge.grows(SENT, side="client")
        edge.grows(RECEIVED, side="upstream")
        assert edge.value("pylon_http_requests_in_flight", route="gated") == 1
        gated.gate("f").set()
        assert peer.answer().body.endswith(b"end")


def on_the_wire(edge):
    """All bytes, by metric and side."""
    return {(name, side): edge.value(name, side=side) for name in (RECEIVED, SENT) for side in ("client", "upstream")}


def test_websockets(edge, gated):
    with Peer(edge.ports["http"]) as peer:
        assert peer.ask("/gated/ws", "Connection: Upgrade", "Upgrade: websocket").status == 101
        edge.becomes(1, "pylon_http_requests_in_flight", route="gated")
        before = on_the_wire(edge)
        for _ in range(10):
            peer.send(b"x" * 1000)
            assert len(peer.file.read(1000)) == 1000
        wait_until(
            lambda: all(now >= before[which] + 10_000 for which, now in on_the_wire(edge).items()),
            what="the bytes of a WebSocket are counted while it is open",
        )
    edge.becomes(1, OUTCOMES, route="gated", outcome="upgraded")
    edge.becomes(1, REQUESTS, route="gated", code="101")
    edge.becomes(0, "pylon_http_requests_in_flight", route="gated")
    assert not edge.value(DURATIONS, route="gated")


def test_bytes_on_the_wire(edge):
    before = on_the_wire(edge)
    requests.post(f"{edge.url}/good/x", data=b"y" * 50_000, timeout=PATIENCE)
    for (name, side), value in before.items():
        body = 50_000 if (name, side) in ((RECEIVED, "client"), (SENT, "upstream")) else len(BODY)
        wait_until(lambda which=(name, side), least=value + body: on_the_wire(edge)[which] > least, what=f"{name} {side}")
        assert edge.value(name, side=side) < value + body + 3000


def test_connections_by_protocol(edge, site):
    def now(protocol):
        return edge.value("pylon_connections", protocol=protocol)

    with Peer(edge.ports["http"]) as plain, Http2(edge.ports["http"]) as h2:
        assert plain.ask("/answer").status == 200
        h2.ask(1, "/answer")
        assert h2.answered(1)[0] == 200
        context = site.context()
        with Peer(edge.ports["https"], context=context) as tls:
            assert tls.ask("/answer").status == 200
            edge.becomes(1, "pylon_connections", protocol="http1_tls")
            edge.becomes(1, "pylon_connections", protocol="http1")
            edge.becomes(1, "pylon_connections", protocol="http2")
            assert now("http2_tls") == now("opening") == 0
    for protocol in ("http1", "http1_tls", "http2"):
        edge.becomes(0, "pylon_connections", protocol=protocol)
        assert edge.value("pylon_connections_accepted_total", protocol=protocol) == 1
    limit = edge.value("pylon_connections_limit")
    assert 0.7 * edge.value("process_max_fds") <= limit <= 0.76 * edge.value("process_max_fds")


def test_handshakes_by_version_and_kind(edge):
    name = "pylon_tls_handshakes_total"
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Peer(edge.ports["https"], context=context) as peer:
        assert peer.ask("/answer").status == 200
        session = peer.socket.session
    edge.becomes(1, name, version="TLSv1.2", kind="full")
    with Peer(edge.ports["https"], context=context, session=session) as peer:
        assert peer.ask("/answer").status == 200 and peer.socket.session_reused
    edge.becomes(1, name, version="TLSv1.2", kind="resumed")
    with Peer(edge.ports["https"], context=ssl._create_unverified_context()) as peer:
        assert peer.ask("/answer").status == 200
    edge.becomes(1, name, version="TLSv1.3", kind="full")
    edge.becomes(1, name, version="TLSv1.2", kind="full")


def test_handshakes_that_fail(edge):
    with Peer(edge.ports["https"]) as peer:
        peer.send(NO_HELLO)
        peer.file.read()
    edge.becomes(1, "pylon_tls_handshake_failures_total", reason="handshake")
    with Peer(edge.ports["hasty"]) as peer:
        edge.becomes(1, "pylon_tls_handshake_failures_total", reason="timeout")
        assert peer.is_over()
    assert edge.value("pylon_rejected_total", reason="tls_handshake") == 1
    assert edge.value("pylon_rejected_total", reason="tls_handshake_timeout") == 1
    assert not edge.value("pylon_tls_handshakes_total")


def test_a_handshake_that_has_failed_is_not_one_that_took_too_long(edge):
    """The client is told, and stays."""
    with Peer(edge.ports["https"]) as peer:
        peer.send(NO_HELLO)
        edge.becomes(1, "pylon_tls_handshake_failures_total", reason="handshake")
    assert not edge.value("pylon_tls_handshake_failures_total", reason="timeout")


def test_a_connection_that_opens(start, site):
    edge = start(Counted, {"https": site.tls("fine") | {"timeouts": {"handshake": "60s"}}}, routes=[])
    with Peer(edge.ports["https"]):
        edge.becomes(1, "pylon_connections", protocol="opening")
    edge.becomes(0, "pylon_connections", protocol="opening")
