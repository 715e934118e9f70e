"""Bytes on the wire, by the metrics and by the kernel's counters of the sockets at both sides of Pylon."""

import contextlib
import os
import socket
import ssl

import httpx
import pytest

import kernel
from h2rig import H2Rig
from instance import forward
from peers import v1
from processes import wait_until
from rig import BLOCK, Rig

MIB = 1 << 20


@pytest.fixture(scope="module")
def rigs(stack, site):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.file("local"))
    kinds = {"plain": Rig(), "tls": Rig(context), "h2": H2Rig(), "told": Rig(prelude=28)}
    return {name: stack.enter_context(rig) for name, rig in kinds.items()}


@pytest.fixture(scope="module")
def instance(start, site, rigs):
    upstreams = {
        "plain": {"endpoints": [rigs["plain"].url]},
        "tls": {"endpoints": [rigs["tls"].url], "tls": {"ca": str(site.trusted)}},
        "h2": {"endpoints": [rigs["h2"].url], "protocol": "h2"},
        "told": {"endpoints": [rigs["told"].url], "proxy_protocol": "v2"},
    }
    dynamic = {"host": "{host}", "port": "{port}", "allow": ["127.0.0.0/8"]}
    routes = [
        *(forward(name, name) for name in upstreams),
        {"name": "own", "path": "/own", "answer": {"body": "o" * 999}},
        {"name": "named", "path": "/named/{host}:{port:digits}/**", "dynamic": dynamic, "rewrite": "/{**}"},
    ]
    proxied = {"proxy_protocol": {"trusted": ["127.0.0.0/8"], "required": True}}
    listeners = {"http": {}, "https": site.tls("default"), "proxied": proxied}
    return start(listeners=listeners, upstreams=upstreams, routes=routes)


class Counted:
    """Within it, the client's sockets are watched: what moves on them and on the rigs' is what the metrics count."""

    def __init__(self, instance, rigs):
        self.instance, self.rigs, self.sockets = instance, rigs.values(), []

    def watch(self, one):
        """Keeps a socket, and its connection, open beyond its own end."""
        self.sockets.append(socket.socket(fileno=os.dup(one.fileno())))

    def __enter__(self):
        self.instance.left()  # what goes to clients of the test before, as they leave, is none of this one's
        self.before = self.told(), self.at_rigs()
        return self

    def __exit__(self, kind, *_):
        try:
            # The kernel counts the begin and the end of a connection as a byte each.
            most = 2 * (len(self.sockets) + sum(len(rig.connections) for rig in self.rigs))
            if kind is None:
                wait_until(lambda: max(map(abs, self.off())) <= most, what="the metrics agree with the kernel")
        finally:
            for one in self.sockets:
                one.close()

    def told(self):
        return [self.instance.network(side) for side in ("client", "upstream")]

    def at_rigs(self):
        return sum((rig.moved() for rig in self.rigs), kernel.Moved())

    def off(self):
        """By how many bytes the metrics differ from the kernel's counters."""
        clients = sum(map(kernel.moved, self.sockets), kernel.Moved()).turned()
        truth = clients, (self.at_rigs() - self.before[1]).turned()
        told = [now - before for now, before in zip(self.told(), self.before[0], strict=True)]
        print(f"of clients and upstreams, by the kernel {truth}, by the metrics {told}")
        return [d for a, b in zip(told, truth, strict=True) for d in (a.sent - b.sent, a.received - b.received)]


def http1(instance, site, listener):
    context = site.context("http/1.1") if listener == "https" else None
    return instance.peer(listener, context=context, name="default.test")


@pytest.mark.parametrize("upstream", ["plain", "tls"])
@pytest.mark.parametrize("listener", ["http", "https"])
class TestHttp1:
    def test_many_small_requests(self, instance, rigs, site, listener, upstream):
        with Counted(instance, rigs) as counted, http1(instance, site, listener) as peer:
            for _ in range(200):
                assert peer.ask(f"/{upstream}/", "X-Filler: " + "f" * 100).body == b"ok"
            counted.watch(peer.socket)

    def test_downloads(self, instance, rigs, site, listener, upstream):
        with Counted(instance, rigs) as counted, http1(instance, site, listener) as peer:
            assert len(peer.ask(f"/{upstream}/bytes/{4 * MIB}").body) == 4 * MIB
            counted.watch(peer.socket)

    def test_uploads(self, instance, rigs, site, listener, upstream):
        with Counted(instance, rigs) as counted, http1(instance, site, listener) as peer:
            body = BLOCK * 64
            assert peer.ask(f"/{upstream}/", f"Content-Length: {len(body)}", method="POST", body=body).status == 200
            chunked = b"".join(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) for _ in range(16)) + b"0\r\n\r\n"
            assert peer.ask(f"/{upstream}/", "Transfer-Encoding: chunked", method="POST", body=chunked).status == 200
            counted.watch(peer.socket)

    def test_a_tunnel_is_counted_while_it_is_open(self, instance, rigs, site, listener, upstream):
        with Counted(instance, rigs) as counted, http1(instance, site, listener) as peer:
            assert peer.ask(f"/{upstream}/upgrade", "Connection: Upgrade", "Upgrade: websocket").status == 101
            counted.watch(peer.socket)
            told = lambda: [now - then for now, then in zip(counted.told(), counted.before[0], strict=True)]  # noqa: E731
            least = lambda: min(count for one in told() for count in (one.sent, one.received))  # noqa: E731
            for count in range(4, 16, 4):
                for _ in range(4):
                    peer.send(BLOCK)
                    assert peer.file.read(len(BLOCK)) == BLOCK
                wait_until(lambda count=count: least() >= count * len(BLOCK), what="what has moved is counted")
        # It is open still where the counters are compared.


def test_proxy_headers_are_counted(instance, rigs):
    with Counted(instance, rigs) as counted, instance.peer("proxied", prelude=v1(("192.0.2.7", 1234))) as peer:
        for _ in range(5):
            assert peer.ask("/told/").body == b"ok"
        counted.watch(peer.socket)
        assert len(rigs["told"].sockets) == 1


def test_dynamic_targets_are_counted(instance, rigs):
    with Counted(instance, rigs) as counted, instance.peer() as peer:
        for _ in range(5):
            assert len(peer.ask(f"/named/{rigs['plain'].address}/bytes/99999").body) == 99_999
        counted.watch(peer.socket)


def test_attempts_that_fail_are_counted(instance, rigs):
    with Counted(instance, rigs) as counted, contextlib.ExitStack() as open_ones:
        for how in ("reset", "close", "garbage", "cut/5000"):
            peer = open_ones.enter_context(instance.peer())
            with contextlib.suppress(ConnectionError):
                peer.ask(f"/plain/{how}")
            counted.watch(peer.socket)


def test_health_checks_are_counted(start, stack):
    """They are bytes on the wire as well."""
    rig = stack.enter_context(Rig())
    pool = {"endpoints": [rig.url], "health": {"http": "/bytes/50000", "interval": "100ms", "jitter": "0%"}}
    instance = start(upstreams={"pool": pool}, routes=[forward("pool", "pool")])
    wait_until(lambda: len(rig.seen) >= 10, what="probes")
    seen = rig.moved().turned()
    wait_until(lambda: instance.network("upstream").received > 0.8 * seen.received - 50_000, what="they are counted")
    assert instance.network("upstream").sent > 0


def test_answers_of_its_own_and_refusals_are_counted(instance, rigs, site):
    with Counted(instance, rigs) as counted, contextlib.ExitStack() as open_ones:
        for listener in ("http", "https"):
            peer = open_ones.enter_context(http1(instance, site, listener))
            assert len(peer.ask("/own").body) == 999
            assert peer.ask("/none").status == 404
            assert peer.ask("/own", "Bad Header: x").status == 400
            counted.watch(peer.socket)


def test_handshakes_that_fail_are_counted(instance, rigs):
    before = instance.total("pylon_tls_handshake_failures_total")
    with Counted(instance, rigs) as counted, instance.peer("https") as peer:
        peer.send(b"\x16\x03\x01\x00\x05hello")
        peer.file.read()
        counted.watch(peer.socket)
    failures = lambda: instance.total("pylon_tls_handshake_failures_total", reason="handshake")  # noqa: E731
    wait_until(lambda: failures() > before, what="it is counted")
    assert failures() == before + 1


@pytest.mark.parametrize("upstream", ["plain", "tls", "h2"])
@pytest.mark.parametrize("listener", ["http", "https"])
def test_http2(instance, rigs, site, listener, upstream):
    scheme = listener
    base = f"{scheme}://{instance.authority(listener)}/{upstream}"
    options = {"verify": site.context("h2")} if listener == "https" else {}
    with Counted(instance, rigs) as counted, httpx.Client(http1=False, http2=True, timeout=60, **options) as client:
        for _ in range(30):
            answer = client.get(f"{base}/")
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        assert len(client.get(f"{base}/bytes/{2 * MIB}").content) == 2 * MIB
        assert client.post(f"{base}/", content=BLOCK * 32).status_code == 200
        counted.watch(answer.extensions["network_stream"].get_extra_info("socket"))


def test_bulk_transfers_agree_with_the_kernel_counters_of_pylons_own_sockets(instance, rigs, site):
    """Hundreds of megabytes; `ss` tells of the ends that Pylon holds."""
    size, before = 160 * MIB, instance.network("client")
    with Counted(instance, rigs) as counted, http1(instance, site, "http") as down, http1(instance, site, "http") as up:
        down.send(f"GET /plain/bytes/{size} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        up.send(f"POST /plain/ HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n".encode())
        while down.file.readline() != b"\r\n":
            pass
        for _ in range(size // len(BLOCK)):
            up.send(BLOCK)
            assert len(down.file.read(len(BLOCK))) == len(BLOCK)
        assert up.answer().status == 200
        own = kernel.moved_at(instance.ports["http"])
        told = instance.network("client") - before
        assert own.sockets == 2
        for a, b in [(told.sent, own.sent), (told.received, own.received)]:
            assert b > size and abs(a - b) <= b / 100
        counted.watch(down.socket)
        counted.watch(up.socket)
