"""Endpoints by name, looked up at a DNS server that changes its mind, errs, or says nothing."""

import contextlib
import json
import os
import socket
import threading
import time
import types
import urllib.request

import pytest

from client import BODY, Caller, call
from dns_server import A, AAAA, EMPTY, NXDOMAIN, REFUSED, SERVFAIL, SILENT, Names
from origins import KEEP, Origin, ok
from processes import free_port, wait_until
from proxies import Proxy, pool

FAILURES = {"silent": SILENT, "empty": EMPTY, "servfail": SERVFAIL, "nxdomain": NXDOMAIN, "refused": REFUSED}
FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


class At(Origin):
    """An origin at a host of its own."""

    def __init__(self, host, port, *arguments, **options):
        self.place = (host, port)
        super().__init__(*arguments, name=host, **options)

    def _listen(self, sock):
        sock.close()
        host, self.port = self.place
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        super()._listen(socket.create_server(self.place, family=socket.AF_INET6 if ":" in host else socket.AF_INET))


class Named(Proxy):
    """Pylon with a DNS server of the test."""

    def __init__(self, directory, names, pools, routes=None, **resolver):
        self.resolver = {"servers": [f"127.0.0.1:{names.port}"], "timeout": "1s", "min_ttl": "100ms"} | resolver
        super().__init__(directory, pools, routes)

    def write(self, pools, routes=None):
        file, self.file = self.file, self.file.with_suffix(".part")
        super().write(pools, routes)
        self.file.write_text(json.dumps(json.loads(self.file.read_text()) | {"resolver": self.resolver}))
        os.replace(self.file, file)
        self.file = file

    def admin_says(self, path, method="GET"):
        request = urllib.request.Request(f"http://{self.admin}{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def hosts(self, name="one"):
        """The hosts of a pool's endpoints, in order."""
        [found] = [one for one in self.admin_says("/api/upstreams")["upstreams"] if one["name"] == name]
        return sorted(one["address"].rpartition(":")[0].strip("[]") for one in found["endpoints"])

    def until(self, *hosts, name="one"):
        wait_until(lambda: self.hosts(name) == sorted(hosts), 60, f"{name} has {hosts}")

    def served_by(self, count=40, path="/one/x"):
        answers = [call(self, path) for _ in range(count)]
        assert {answer.status for answer in answers} == {200}, answers
        return {answer.body.decode() for answer in answers}


class Scene:
    """Origins on one port, the DNS server, and Pylon before them."""

    def __init__(self, rig):
        self.rig, self.names, self.port = rig, rig.keep(Names()), free_port()

    def at(self, *hosts, **options):
        return [self.rig.keep(At(host, self.port, **options)) for host in hosts]

    def pool(self, *hosts, **keys):
        return pool(*(types.SimpleNamespace(url=f"http://{host}:{self.port}") for host in hosts), **keys)

    def proxy(self, *hosts, more=None, routes=None, **resolver):
        pools = {"one": self.pool(*hosts)} if hosts else {}
        return self.rig.keep(Named(self.rig.directory(), self.names, pools | (more or {}), routes, **resolver))

    def times(self, name):
        return sum(asked[0] == name for asked in self.names.asked)

    def until_asked(self, name, times=3):
        """Some more times from now on."""
        enough = self.times(name) + times
        wait_until(lambda: self.times(name) >= enough, 20, f"{name} is asked for")


def has_ipv6():
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.fixture
def scene(rig):
    return Scene(rig)


def test_all_addresses_become_endpoints(scene):
    hosts = [FIRST, SECOND, THIRD, "::1"][: 4 if has_ipv6() else 3]
    scene.at(*hosts)
    scene.names.says["one.test"] = hosts
    proxy = scene.proxy("one.test")
    proxy.until(*hosts)
    assert proxy.served_by() == set(hosts)


def test_an_answer_too_long_for_udp_comes_by_tcp(scene):
    hosts = [f"127.0.1.{at}" for at in range(1, 200)]
    scene.names.says["one.test"], scene.names.cuts = hosts, True
    scene.proxy("one.test").until(*hosts)
    assert ("one.test", A, "tcp") in scene.names.asked


def test_a_change_is_taken_over(scene):
    first, second, third = scene.at(FIRST, SECOND, THIRD)
    scene.names.ttl, scene.names.says["one.test"] = 1, [FIRST, SECOND]
    proxy = scene.proxy("one.test")
    for hosts in ([SECOND, THIRD], [FIRST], [FIRST, SECOND, THIRD]):
        scene.names.says["one.test"] = hosts
        proxy.until(*hosts)
        assert proxy.served_by() == set(hosts)


@pytest.mark.parametrize("kind", ["ttl", "min_ttl"])
def test_no_name_is_looked_up_before_its_time(scene, kind):
    scene.at(FIRST, SECOND)
    scene.names.says |= {"one.test": [FIRST], "often.test": [SECOND]}
    if kind == "ttl":
        scene.names.ttls["one.test"] = 600
        proxy = scene.proxy("one.test", more={"often": scene.pool("often.test")}, timeout="20s")
    else:
        proxy = scene.proxy("one.test", more={"often": scene.pool("localhost")}, min_ttl="10m", max_ttl="10m", timeout="20s")
    before = scene.times("one.test")
    scene.names.says["one.test"] = [SECOND]
    if kind == "ttl":
        scene.until_asked("often.test", 20)
    assert proxy.served_by(200) == {FIRST}
    assert scene.times("one.test") == before == 2


def test_no_answer_is_good_for_longer_than_max_ttl(scene):
    scene.at(FIRST, SECOND)
    scene.names.ttl, scene.names.says["one.test"] = 600, [FIRST]
    proxy = scene.proxy("one.test", max_ttl="300ms")
    proxy.until(FIRST)
    scene.names.says["one.test"] = [SECOND]
    proxy.until(SECOND)


@pytest.mark.parametrize("kind", FAILURES)
def test_a_lookup_that_fails_keeps_what_was_known(scene, kind):
    scene.at(FIRST, SECOND, THIRD)
    scene.names.says["one.test"] = [FIRST, SECOND]
    proxy = scene.proxy("one.test")
    proxy.until(FIRST, SECOND)
    scene.names.says["one.test"] = FAILURES[kind]
    scene.until_asked("one.test", 5)
    wait_until(lambda: "does not resolve" in proxy.log.read_text(), 20, "it is said")
    assert proxy.served_by() == {FIRST, SECOND}
    assert proxy.hosts() == [FIRST, SECOND]
    scene.names.says["one.test"] = [THIRD]
    proxy.until(THIRD)
    assert proxy.served_by() == {THIRD}


@pytest.mark.parametrize("kind", FAILURES)
def test_one_family_is_enough(scene, kind):
    scene.at(FIRST)
    scene.names.says["one.test"] = {A: [FIRST], AAAA: FAILURES[kind]}
    proxy = scene.proxy("one.test")
    proxy.until(FIRST)
    assert proxy.served_by() == {FIRST}


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("family", [A, AAAA], ids=["a", "aaaa"])
def test_half_an_answer_takes_nothing_away(scene, family):
    """An error says nothing of the addresses that were known; those of the other family do not make up for them."""
    hosts = {A: [FIRST], AAAA: ["::1"]}
    scene.at(FIRST, "::1")
    scene.names.says["one.test"] = hosts
    proxy = scene.proxy("one.test")
    proxy.until(FIRST, "::1")
    scene.names.says["one.test"] = hosts | {family: SERVFAIL}
    scene.until_asked("one.test", 6)
    assert proxy.hosts() == sorted([FIRST, "::1"])


@pytest.mark.parametrize("kind", FAILURES)
def test_a_name_that_has_never_resolved_is_503_until_it_does(scene, kind):
    scene.at(FIRST)
    scene.names.says["one.test"] = FAILURES[kind]
    proxy = scene.proxy("one.test")
    answer = call(proxy, "/one/x", "POST", body=BODY)
    assert (answer.status, answer.complete) == (503, True), answer
    assert int(answer["retry-after"]) > 0
    scene.names.says["one.test"] = [FIRST]
    wait_until(lambda: call(proxy, "/one/x").status == 200, 20, "it resolves")


@pytest.mark.parametrize("kind", ["silent", "closed"])
def test_a_dead_dns_server_does_not_hold_up_the_start(scene, kind):
    scene.at("127.0.0.1")
    names = [f"{at}.test" for at in range(100)]
    scene.names.says |= {name: SILENT for name in names} | {f"pool-{at}.test": SILENT for at in range(100)}
    if kind == "closed":
        scene.names.stop()
    more = {f"pool-{at}": scene.pool(f"pool-{at}.test") for at in range(100)} | {"two": scene.pool("127.0.0.1")}
    begun = time.monotonic()
    proxy = scene.proxy(*names, more=more)
    assert time.monotonic() - begun < 60  # one after the other they would take minutes
    assert call(proxy, "/one/x").status == 503
    assert proxy.served_by(path="/two/x") == {"127.0.0.1"}


@pytest.mark.parametrize("kind", FAILURES)
def test_one_broken_name_of_several(scene, kind):
    scene.at(FIRST, SECOND, THIRD)
    scene.names.says |= {"one.test": [FIRST], "broken.test": FAILURES[kind]}
    proxy = scene.proxy("one.test", "broken.test")
    proxy.until(FIRST)
    scene.names.says["one.test"] = [SECOND]
    proxy.until(SECOND)
    assert proxy.served_by() == {SECOND}
    scene.names.says["broken.test"] = [THIRD]
    proxy.until(SECOND, THIRD)


def test_an_address_of_two_names_is_one_endpoint(scene):
    scene.at(FIRST, SECOND)
    scene.names.says |= {"one.test": [FIRST, SECOND], "two.test": [FIRST, SECOND]}
    proxy = scene.proxy("one.test", "two.test")
    proxy.until(FIRST, SECOND)
    scene.names.says["one.test"] = [FIRST]
    scene.until_asked("one.test", 6)
    assert proxy.hosts() == [FIRST, SECOND]
    scene.names.says["two.test"] = [FIRST]
    proxy.until(FIRST)


@pytest.mark.parametrize("kind", FAILURES)
def test_a_reload_keeps_what_was_known(scene, kind):
    scene.at(FIRST, SECOND)
    scene.names.says["one.test"] = [FIRST, SECOND]
    proxy = scene.proxy("one.test")
    proxy.until(FIRST, SECOND)
    scene.names.says["one.test"] = FAILURES[kind]
    scene.until_asked("one.test", 5)
    for balance in ("least_requests", "round_robin", "peak_ewma"):
        proxy.write({"one": scene.pool("one.test", balance=balance)})
        proxy.admin_says("/api/reload", "POST")
        assert proxy.admin_says("/api/upstreams")["upstreams"][0]["balance"] == balance
        assert proxy.hosts() == [FIRST, SECOND]
        assert proxy.served_by(20) <= {FIRST, SECOND}


DYNAMIC = {"path": "/a/{host}:{port:digits}/**", "rewrite": "/{**}"}


def dynamic(*allow):
    return {"a": DYNAMIC | {"dynamic": {"host": "{host}", "port": "{port}", "allow": list(allow)}}}


def test_a_silent_dns_server_holds_up_nobody_else(scene):
    scene.at("127.0.0.1", FIRST)
    scene.names.says |= {"one.test": SILENT, "two.test": [FIRST]}
    scene.names.says |= {f"{at}.test": SILENT for at in range(30)}
    others = {"two": scene.pool("two.test"), "three": scene.pool("127.0.0.1")}
    proxy = scene.proxy("one.test", more=others, routes=dynamic("127.0.0.0/8"))
    proxy.until(FIRST, name="two")
    scene.names.says["two.test"] = SILENT
    waiting = [Caller(proxy, 90).ask(f"/a/{at}.test:{scene.port}/x") for at in range(30)]
    wait_until(lambda: scene.times("29.test"), 5, "all wait")
    # None takes as long as a look-up, which is given up after 5 s.
    assert call(proxy, "/one/x", timeout=4).status == 503
    for path in ("/two/x", "/three/x", f"/a/127.0.0.2:{scene.port}/x") * 10:
        assert call(proxy, path, timeout=4).status == 200
    for caller in waiting:
        with caller:
            answer = caller.answer()
            assert (answer.status, answer.complete) in ((502, True), (504, True)), answer


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_dynamic_target_is_any_address_that_accepts(scene, method):
    [origin] = scene.at(THIRD)
    scene.names.says["any.test"] = [FIRST, SECOND, THIRD]
    proxy = scene.proxy(routes=dynamic("127.0.0.0/8"))
    for _ in range(20):
        answer = call(proxy, f"/a/any.test:{scene.port}/x", method, body=BODY if method == "POST" else None)
        assert (answer.status, answer.body) == (200, THIRD.encode()), answer
    assert len(origin.executed) == 20 and {request.target for request in origin.executed} == {"/x"}


def test_the_allow_list_is_asked_for_the_address(scene):
    first, second = scene.at(FIRST, SECOND)
    proxy = scene.proxy(routes=dynamic(f"{FIRST}:{scene.port}", "*.test"))
    path = f"/a/any.test:{scene.port}/x"
    allowed, not_allowed = ([FIRST], [FIRST, SECOND]), ([SECOND], [SECOND, "::1"], ["::ffff:127.0.0.3"])
    for hosts, status in [(one, 200) for one in allowed] + [(one, 403) for one in not_allowed]:
        scene.names.says["any.test"] = hosts
        wait_until(lambda: call(proxy, path).status == status, 5, f"{hosts} is {status}")
        assert {call(proxy, path).status for _ in range(20)} == {status}
    assert not second.heads


def test_a_dynamic_target_without_an_address_is_502(scene):
    proxy = scene.proxy(routes=dynamic("127.0.0.0/8"))
    for name in ("nxdomain", "servfail", "empty"):
        scene.names.says[f"{name}.test"] = FAILURES[name]
        assert call(proxy, f"/a/{name}.test:{scene.port}/x").status == 502


def test_a_request_under_way_outlives_its_address(scene):
    gate = threading.Event()

    def play(wire, request):
        if request.target != "/one/held":
            return ok(wire, request)
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        gate.wait(60)
        wire.send("half")
        return KEEP

    [old], [new] = scene.at(FIRST, play=play), scene.at(SECOND)
    scene.names.says["one.test"] = [FIRST]
    proxy = scene.proxy(more={"one": scene.pool("one.test", timeouts={"first_byte": "60s", "idle": "60s"})})
    with Caller(proxy, 60) as caller:
        caller.ask("/one/held")
        wait_until(lambda: old.executed, 5, "it is under way")
        scene.names.says["one.test"] = [SECOND]
        proxy.until(SECOND)
        assert proxy.served_by() == {new.name}
        gate.set()
        answer = caller.answer()
    assert (answer.status, answer.body, answer.complete) == (200, b"halfhalf", True), answer


@pytest.mark.parametrize("kind", FAILURES)
def test_names_of_the_hosts_file_resolve(scene, kind):
    scene.at("127.0.0.1")
    scene.names.says["localhost"] = FAILURES[kind]
    proxy = scene.proxy("localhost", routes=dynamic("127.0.0.1"))
    wait_until(lambda: "127.0.0.1" in proxy.hosts(), what="it resolves")
    assert proxy.served_by() == {"127.0.0.1"}
    assert proxy.served_by(path=f"/a/localhost:{scene.port}/x") == {"127.0.0.1"}
