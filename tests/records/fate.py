"""Requests of every fate: a site on which each route leads to one way to end, and what is to be recorded of it."""

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass

import trustme

from instance import forward
from processes import free_port, wait_until
from rig import Full, Rig, mark


def unknown():
    """A server's certificate of an authority that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


class Fates:
    """The upstreams, and the routes to them."""

    def __init__(self, stack):
        self.rig = stack.enter_context(Rig())
        self.other = stack.enter_context(Rig(shared=self.rig.seen))
        self.strange = stack.enter_context(Rig(unknown()))
        self.full = stack.enter_context(Full())
        self.gone = f"127.0.0.1:{free_port()}"
        # Nobody answers there, so that no name resolves.
        self.resolver = {"servers": [f"127.0.0.1:{free_port()}"], "timeout": "100ms"}

    def upstreams(self):
        one, calm = [self.rig.url], {"ejection": {"enabled": False}}
        return {
            "rig": {"endpoints": one} | calm,
            "two": {"endpoints": [self.rig.url, self.other.url], "retry": {"statuses": ["503"], "budget": "100%"}} | calm,
            "mixed": {"endpoints": [f"http://{self.gone}", self.rig.url]} | calm,
            "gone": {"endpoints": [f"http://{self.gone}"]} | calm,
            "full": {"endpoints": [self.full.url], "timeouts": {"connect": "150ms"}} | calm,
            "strange": {"endpoints": [self.strange.url]} | calm,
            "slow": {"endpoints": one, "timeouts": {"first_byte": "150ms"}} | calm,
            "late": {"endpoints": one, "timeouts": {"request": "1s"}} | calm,
            # Long enough for whoever begins to answer on a busy machine.
            "stall": {"endpoints": one, "timeouts": {"request": "3s"}} | calm,
            "empty": {"endpoints": ["http://nowhere.invalid:80"]} | calm,
            "narrow": {"endpoints": one, "limits": {"requests": 1}} | calm,
            "fuse": {"endpoints": one, "breaker": {"minimum_requests": 2, "window": "60s", "open": "60s"}} | calm,
        }

    def routes(self):
        dynamic = {"host": "{host}", "port": "{port}", "allow": ["*.invalid", "0.0.0.0/0"]}
        return [
            *(forward(name, name) for name in self.upstreams()),
            {"name": "answer", "path": "/answer", "answer": {"status": 200, "body": "hello"}},
            {"name": "redirect", "path": "/redirect", "redirect": {"to": "/answer", "status": 307}},
            {"name": "post", "path": "/post", "methods": ["POST"], "answer": {"body": "x"}},
            forward("small", "rig", limits={"body": "10B"}),
            forward("changed", "rig", substitute=[{"find": "this", "replace": "that"}]),
            {"name": "named", "path": "/named/{host}:{port:digits}/**", "dynamic": dynamic, "rewrite": "/{**}"},
        ]


@dataclass
class Fate:
    """How a request is sent, and what is to be recorded of it: keys of the log line."""

    name: str
    target: str
    expected: dict
    lines: tuple = ()
    method: str = "GET"
    body: bytes = b""
    how: object = None

    def meet(self, instance, *lines):
        """Sends the request: the mark of its target."""
        text = mark(self.name)
        target = f"{self.target}?{text}"
        if self.how:
            self.how(instance, self, target)
        else:
            instance.ask(target, *self.lines, *lines, method=self.method, body=self.body)
        return text


def leaves(instance, fate, target):
    """A client that leaves before its answer."""
    with instance.peer() as peer:
        peer.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: instance.fates.rig.of(target.partition("?")[2]), what="it is at the upstream")


def leaves_in_the_middle(instance, fate, target):
    """A client that leaves while its answer comes."""
    with instance.peer(size=4096) as peer:
        peer.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert peer.file.readline() == b"HTTP/1.1 200 OK\r\n"
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def is_cut(instance, fate, target):
    """A client whose answer is cut off."""
    with instance.peer() as peer, contextlib.suppress(ConnectionError):
        peer.ask(target)
        raise AssertionError("it came whole")


def tunnels(instance, fate, target):
    """A client that opens a tunnel, and closes it."""
    with instance.peer() as peer:
        assert peer.ask(target, "Connection: Upgrade", "Upgrade: websocket").status == 101
        peer.send(b"ping")
        assert peer.file.read(4) == b"ping"


def finds_no_place(instance, fate, target):
    """A client that comes while another one has the only place."""
    other = mark("other")
    with instance.peer() as peer:
        peer.send(f"GET /narrow/hang?{other} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: instance.fates.rig.of(other), what="the place is taken")
        assert instance.ask(target).status == 503


def finds_it_broken(instance, fate, target):
    """A client that comes when most requests have failed."""
    wait_until(lambda: instance.ask(f"/fuse/status/503?{mark('fuse')}").headers.get("retry-after"), what="it is open")
    assert instance.ask(target).status == 503


def breaks_off(instance, fate, target):
    """A client that leaves in the middle of its upload."""
    with instance.peer() as peer:
        peer.send(f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\nxyz".encode())
        wait_until(lambda: instance.fates.rig.of(target.partition("?")[2]), what="it is at the upstream")


NONE = {"upstream_status": None, "first_byte_seconds": None}
OK = {"status": 200, "upstream_status": 200, "outcome": "forwarded", "reason": None}
NOWHERE = NONE | {"endpoint": None, "attempts": 0, "connect_seconds": None}


def fates(at):
    """All of them; `at` has the addresses."""
    return [*end_well(at), *by_pylon(at), *by_upstream(at), *by_client(at)]


def of(at, name, upstream=None):
    """One attempt at the rig, on a route."""
    return {"endpoint": at.rig.address, "attempts": 1, "upstream": upstream or name, "route": name}


def end_well(at):
    rig = of(at, "rig")
    answered = rig | OK
    retried = OK | {"route": "two", "upstream": "two", "attempts": 2}
    upgraded = rig | {"status": 101, "upstream_status": 101, "outcome": "upgraded", "reason": None}
    posted = answered | {"request_bytes": 5, "method": "POST"}
    no_content = answered | {"status": 204, "upstream_status": 204, "response_bytes": 0}
    error = answered | {"status": 500, "upstream_status": 500, "response_bytes": 8}
    own = NOWHERE | {"outcome": "answered", "upstream": None}
    return [
        Fate("forwarded", "/rig/bytes/70000", answered | {"response_bytes": 70_000, "request_bytes": 0}),
        Fate("head", "/rig/status/200", answered | {"response_bytes": 0, "method": "HEAD"}, method="HEAD"),
        Fate("no_content", "/rig/status/204", no_content),
        Fate("posted", "/rig/", posted, ("Content-Length: 5",), "POST", b"12345"),
        Fate("its_own_error", "/rig/status/500", error),
        Fate("its_own_404", "/rig/status/404", answered | {"status": 404, "upstream_status": 404}),
        Fate("retried", "/two/first/status/503", retried),
        Fate("upgraded", "/rig/upgrade", upgraded, how=tunnels),
        Fate("answered", "/answer", own | {"route": "answer", "status": 200, "response_bytes": 5}),
        Fate("redirected", "/redirect", own | {"route": "redirect", "status": 307}),
    ]


def by_pylon(at):
    """Requests that get no further than Pylon."""
    port = at.rig.address.split(":")[1]
    small = {"route": "small", "status": 413, "outcome": "rejected", "upstream_status": None, "request_bytes": 0}
    refused = lambda name, status, outcome: NOWHERE | {"route": name, "status": status, "outcome": outcome}  # noqa: E731
    unavailable = lambda name, outcome: refused(name, 503, outcome) | {"upstream": name}  # noqa: E731
    return [
        Fate("refused", "/none", refused(None, 404, "refused") | {"upstream": None}),
        Fate("wrong_method", "/post", NOWHERE | {"status": 405, "outcome": "refused"}),
        Fate("not_allowed", f"/named/127.0.0.1:{port}/", refused("named", 403, "refused")),
        Fate("unresolved", "/named/nowhere.invalid:80/", refused("named", 502, "unresolved")),
        Fate("address_refused", f"/named/localhost:{port}/", refused("named", 403, "address_refused")),
        Fate("rejected", "/small/", small, ("Content-Length: 11",), "POST", b"12345678901"),
        Fate("no_server", "/empty/", unavailable("empty", "no_server")),
        Fate("overloaded", "/narrow/", unavailable("narrow", "overloaded"), how=finds_no_place),
        Fate("breaker_open", "/fuse/", unavailable("fuse", "breaker_open"), how=finds_it_broken),
    ]


def by_upstream(at):
    failed = lambda name, status, outcome, **more: NONE | of(at, name) | {"status": status, "outcome": outcome} | more  # noqa: E731
    # Another one may have followed at once: of a connection that was idle, nobody knows whether it was closed just then.
    broken = {key: value for key, value in failed("rig", 502, "upstream_broken").items() if key != "attempts"}
    cut = of(at, "rig") | {"status": 200, "upstream_status": 200, "outcome": "upstream_cut", "response_bytes": 5000}
    stalled = {"status": 200, "upstream_status": 200, "outcome": "upstream_cut", "response_bytes": 1000}
    changed = of(at, "changed", "rig") | {"status": 502, "upstream_status": 200, "outcome": "adapt_failed"}
    return [
        Fate("connect_failed", "/gone/", failed("gone", 502, "connect_failed", endpoint=at.gone)),
        Fate("connect_timeout", "/full/", failed("full", 504, "connect_timeout", endpoint=at.full.address)),
        Fate("tls_failed", "/strange/", failed("strange", 502, "tls_failed", endpoint=at.strange.address)),
        Fate("upstream_timeout", "/slow/hang", failed("slow", 504, "upstream_timeout")),
        Fate("request_timeout", "/late/hang", failed("late", 504, "request_timeout")),
        Fate("reset", "/rig/reset", broken),
        Fate("closed", "/rig/close", broken),
        Fate("garbage", "/rig/garbage", broken),
        Fate("upstream_cut", "/rig/cut/5000", cut, how=is_cut),
        Fate("stalled", "/stall/stall", of(at, "stall") | stalled, how=is_cut),
        Fate("no_status", "/rig/status/999", failed("rig", 502, "upstream_broken")),
        Fate("adapt_failed", "/changed/notgzip", changed),
    ]


def by_client(at):
    rig = of(at, "rig")
    gone = NONE | rig | {"status": 499, "outcome": "client_gone", "response_bytes": 0}
    in_the_middle = rig | {"status": 200, "upstream_status": 200, "outcome": "client_gone"}
    broken_off = gone | {"request_bytes": 3, "method": "POST"}
    return [
        Fate("client_gone", "/rig/hang", gone, how=leaves),
        Fate("left_in_the_middle", "/rig/bytes/50000000", in_the_middle, how=leaves_in_the_middle),
        Fate("broken_off", "/rig/unread", broken_off, how=breaks_off),
    ]


def names():
    """The names of all fates, for which no address is needed."""
    address = type("", (), {"address": ":"})
    at = type("", (), {"rig": address, "full": address, "strange": address, "gone": ""})
    return [fate.name for fate in fates(at)]
