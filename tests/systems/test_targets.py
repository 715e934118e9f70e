"""Where requests go that depends on who asks and on what is registered: instances by host name, claims, https peers."""

import contextlib
import http.client
import json
import socket
import ssl
import threading

import pytest
import trustme

from dns_server import NXDOMAIN, SERVFAIL, SILENT, Names
from peers import Edge, Peer
from processes import free_port, wait_until
from router import HERE, THERE, Origin

WHO = {"trusted_headers": {"from": ["127.0.0.1"], "user": "X-Who", "groups": "X-Of", "groups_form": "names"}}


def put(edge, name, **instance):
    """Registers an instance at the admin port."""
    host, _, port = edge.admin.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    connection.request("PUT", f"/api/instances/{name}", json.dumps(instance), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status in (200, 201), body
    connection.close()


def desk(**steps):
    path = {"host": "desk-{name}.example.org", "path": "/**"}
    return {"name": "desk", "instance": {"name": "{name}"}} | path | steps


def ask(edge, host, target="/x", *lines, listener="http"):
    with Peer(edge.ports[listener]) as peer:
        return peer.ask(target, *lines, host=host)


@pytest.fixture
def origin():
    with Origin("desk") as origin:
        yield origin


def started(start, *routes, **config):
    return start(Edge, {"http": {}}, routes=list(routes), instances={"allow": "127.0.0.0/8"}, **config)


def test_instances_by_the_name_in_the_host(start, origin):
    edge = started(start, desk(auth=WHO, require={}), {"name": "rest", "path": "/**", "answer": {"body": "rest"}})
    put(edge, "ann-1", address=f"http://127.0.0.1:{origin.port}/base", owner="ann", groups=["staff"])
    host = "Desk-Ann-1.Example.org:80"
    ok = ask(edge, host, "/x/y?q=1", "X-Who: ann")
    assert json.loads(ok.body) == {"name": "desk", "target": "/base/x/y?q=1"}
    for who, of, status in [("ann", "", 200), ("bob", "staff", 200), ("bob", "", 403), ("eve", "other", 403)]:
        lines = [f"X-Who: {who}", *([f"X-Of: {of}"] if of else [])]
        assert ask(edge, host, "/x", *lines).status == status, (who, of)
    assert ask(edge, host).status == 403, "nobody"
    assert ask(edge, "desk-none.example.org", "/x", "X-Who: ann").status == 404
    assert ask(edge, "example.org").body == b"rest"
    assert ask(edge, "desk-a.b.example.org").body == b"rest"
    # What is registered anew counts at once.
    put(edge, "none", address=f"http://127.0.0.1:{origin.port}", owner="ann")
    assert ask(edge, "desk-none.example.org", "/x", "X-Who: ann").status == 200
    assert ask(edge, "desk-none.example.org", "/x", "X-Who: bob", "X-Of: staff").status == 403


@pytest.mark.parametrize(
    ("enter", "expected"),
    [("owner_only", [200, 403, 403]), ("signed_in", [200, 200, 403]), ("anyone", [200, 200, 200])],
)
def test_who_may_enter(start, origin, enter, expected):
    auth = {} if enter == "anyone" else {"auth": WHO}
    edge = started(start, desk(instance={"name": "{name}", "enter": enter}, **auth))
    put(edge, "a", address=f"http://127.0.0.1:{origin.port}", owner="ann", groups=["staff"])
    asked = [["X-Who: ann"], ["X-Who: bob", "X-Of: staff"], []]
    assert [ask(edge, "desk-a.example.org", "/x", *lines).status for lines in asked] == expected


def test_an_instance_does_not_lead_back_into_the_process(start, origin):
    edge = started(start, desk(instance={"name": "{name}", "enter": "anyone"}))
    for name, port in [("self", edge.ports["http"]), ("admin", int(edge.admin.rpartition(":")[2]))]:
        put(edge, name, address=f"http://127.0.0.1:{port}")
        assert ask(edge, f"desk-{name}.example.org").status == 403


def test_an_instance_that_is_registered_before_it_opens(start):
    edge, later = started(start, desk(instance={"name": "{name}", "enter": "anyone"}, wait_for="60s")), Origin("later")
    put(edge, "a", address=f"http://127.0.0.1:{later.port}")
    answers = []
    with Peer(edge.ports["http"]) as peer:
        peer.socket.settimeout(60)
        asking = threading.Thread(target=lambda: answers.append(peer.ask("/x", host="desk-a.example.org")))
        asking.start()
        with later:
            asking.join()
    assert [answer.status for answer in answers] == [200]


def own_address():
    """An address of this machine besides loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.77", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return one.getsockname()[0]


def test_no_address_of_this_machine_leads_back_into_the_process(start):
    own, port = own_address(), free_port()
    dynamic = {"host": "{host}", "port": "{port}", "allow": [f"{own}:1024-65535"]}
    path = {"path": "/{host}:{port:digits}/**", "rewrite": "/{**}"}
    edge = start(Edge, {"http": {"address": f"0.0.0.0:{port}"}}, routes=[{"name": "r", "dynamic": dynamic} | path])
    with Origin("beside", host=own) as beside, Peer(port) as peer:
        assert json.loads(peer.ask(f"/{own}:{beside.port}/x", host="h").body)["name"] == "beside"
        assert peer.ask(f"/{own}:{port}/{own}:{beside.port}/x", host="h").status == 403
        assert beside.asked("/x") == 1
    wait_until(lambda: "is an address of this very process" in edge.text(), what="the log says why")


@pytest.fixture
def authority():
    return trustme.CA()


def over_tls(origin, authority, *names):
    """Puts a server behind TLS, with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    origin.server.socket = context.wrap_socket(origin.server.socket, server_side=True)


@pytest.mark.parametrize(
    ("names", "tls", "status"),
    [
        ([THERE], {"ca": "ca.pem"}, 200),
        ([THERE], {}, 502),
        (["127.0.0.9"], {"ca": "ca.pem"}, 502),
        (["peer.test"], {"ca": "ca.pem", "server_name": "peer.test"}, 200),
        (["peer.test"], {"verify": False}, 200),
    ],
)
def test_the_same_scheme_and_port_as_the_request_came_in_on(start, tmp_path, authority, names, tls, status):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    own = authority.issue_cert("localhost")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    certificate = {"cert": str(tmp_path / "own.pem"), "key": str(tmp_path / "own.pem")}
    listeners = {"http": {}, "https": {"tls": {"certificates": [certificate]}}}
    tls = {name: str(tmp_path / value) if name == "ca" else value for name, value in tls.items()}
    dynamic = {"host": "{host}", "port": "same", "scheme": "same", "allow": ["127.0.0.0/8"], "tls": tls}
    dynamic["local"] = {"port": 1}
    edge = start(Edge, listeners, routes=[{"name": "peer", "path": "/{host}/**", "dynamic": dynamic}])
    with Origin("plain", edge.ports["http"], THERE), Origin("secure", edge.ports["https"], THERE) as secure:
        over_tls(secure, authority, *names)
        answer = ask(edge, "localhost", f"/{THERE}/x")
        assert json.loads(answer.body) == {"name": "plain", "target": f"/{THERE}/x"}
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        for _ in range(2):
            with Peer(edge.ports["https"], context=context) as peer:
                answer = peer.ask(f"/{THERE}/x")
                assert answer.status == status, answer.body
                assert status != 200 or json.loads(answer.body)["name"] == "secure"


def test_this_machine_by_each_of_its_names(start, origin):
    dynamic = {"host": "{host}", "port": 1, "allow": ["127.0.0.0/8", "upstreams"]}
    dynamic["local"] = {"port": origin.port, "names": "me,192.0.2.99", "rewrite": "/here{**}"}
    edge = start(Edge, {"http": {}}, routes=[{"name": "r", "path": "/{host}/**", "dynamic": dynamic}])
    for name in ["localhost", "127.0.0.1", "[::1]", "ME", "192.0.2.99", socket.gethostname()]:
        answer = ask(edge, "h", f"/{name}/x")
        assert json.loads(answer.body)["target"] == "/here/x", name
    assert ask(edge, "h", "/192.0.2.98/x").status == 403


def test_a_look_up_that_is_away(start, origin):
    lookup = {"url": f"http://127.0.0.1:{free_port()}/", "key": "{k}", "fallback": [HERE], "timeout": "2s"}
    dynamic = {"lookup": lookup, "port": origin.port, "allow": ["127.0.0.1"]}
    edge = start(Edge, {"http": {}}, routes=[{"name": "r", "path": "/{k}/**", "dynamic": dynamic}])
    assert json.loads(ask(edge, "h", "/a/x").body)["target"] == "/a/x"


def test_a_look_up_keeps_what_it_knew(start, origin):
    class Service(Origin):
        def answer(self, asked):
            return self.says

    service = Service("service")
    service.says = 200, json.dumps({"a": [HERE]}).encode()
    lookup = {"url": f"http://127.0.0.1:{service.port}/", "key": "{k}", "refresh": "1s"}
    dynamic = {"lookup": lookup, "port": origin.port, "allow": ["127.0.0.1"]}
    edge = start(Edge, {"http": {}}, routes=[{"name": "r", "path": "/{k}/**", "dynamic": dynamic}])
    with service:
        # It was away when the process started; whoever comes first waits for it.
        wait_until(lambda: ask(edge, "h", "/a/x").status == 200, what="it is known")
        assert ask(edge, "h", "/b/x").status == 403, "nobody has it"
        for says in [(200, b"not json"), (500, b"{}"), (200, b'{"a": 1}'), (200, b"[" * 2_000_000)]:
            seen, service.says = len(service.seen), says
            wait_until(lambda: len(service.seen) > seen + 1, what="it is asked again")
            assert ask(edge, "h", "/a/x").status == 200, says
        service.says = 200, json.dumps({"b": [HERE]}).encode()
        wait_until(lambda: ask(edge, "h", "/b/x").status == 200, what="what is new is known")
        assert ask(edge, "h", "/a/x").status == 403
    assert ask(edge, "h", "/b/x").status == 200


def test_a_name_that_nobody_tells_is_not_one_that_leads_nowhere(start, origin):
    names = Names()
    allow = [f"127.0.0.0/8:{origin.port}"]
    dynamic = {"host": ["{cookie:first}", "{cookie:second}"], "port": str(origin.port), "allow": allow}
    resolver = {"servers": [f"127.0.0.1:{names.port}"], "timeout": "3s", "min_ttl": "0s"}
    edge = started(start, {"name": "desk", "path": "/**", "dynamic": dynamic}, resolver=resolver)

    def status(says, second):
        host = f"{len(names.says)}.test"
        names.says[host] = says
        return ask(edge, "desk", "/x", f"Cookie: first={host}; second={second}").status

    try:
        assert status(["127.0.0.1"], "127.0.0.1") == 200
        assert status(["127.0.0.1"], "10.0.0.1") == 200
        assert status(NXDOMAIN, "127.0.0.1") == 200
        assert status(["10.0.0.1"], "127.0.0.1") == 200
        assert status(["10.0.0.1"], "10.0.0.1") == 403
        for nothing in (SERVFAIL, SILENT):
            assert status(nothing, "127.0.0.1") == 502
    finally:
        names.stop()


def test_what_stands_in_fails_in_its_own_name(start):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up():
            with contextlib.suppress(OSError):
                while True:
                    listening.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        dynamic = {"host": "{cookie:host}", "port": "9", "allow": ["127.0.0.9:9"]}
        pools = {"broken": {"endpoints": [f"http://127.0.0.1:{listening.getsockname()[1]}"]}}
        route = {"name": "desk", "path": "/**", "dynamic": dynamic, "fallback": "broken"}
        edge = started(start, route, upstreams=pools)
        assert ask(edge, "desk", "/x", "Cookie: host=localhost").status == 502
        listening.shutdown(socket.SHUT_RDWR)
