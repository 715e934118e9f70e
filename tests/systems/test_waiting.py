"""Servers that are not open yet are waited for, by many with one probe, and no longer than somebody waits."""

import contextlib
import json
import socket
import subprocess
import threading
import time
import urllib.request

import pytest

from peers import Edge, Http2, Peer
from processes import BINARY, free_port, wait_until
from router import Origin, Router, THERE, cookies, port


def route(**steps):
    """A route to one port of this machine, which its path names."""
    dynamic = {"host": "127.0.0.1", "port": "{port}", "allow": ["127.0.0.1"]}
    return {"name": "port", "path": "/{port:digits}/**", "rewrite": "/{**}", "dynamic": dynamic} | steps


def edge(start, **steps):
    return start(Edge, {"http": {}}, routes=[route(**steps)])


class Closing:
    """Takes connections and closes them, as a port of a container does before its server is there. It counts them."""

    def __init__(self):
        self.times, self.port = [], free_port()

    def __enter__(self):
        self.server = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        try:
            while True:
                connection, _ = self.server.accept()
                self.times.append(time.monotonic())
                connection.close()
        except OSError:
            pass

    def __exit__(self, *_):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


class Waiting(threading.Thread):
    """A request under way."""

    def __init__(self, port, target, *lines):
        super().__init__(daemon=True)
        self.peer, self.target, self.lines, self.answer = Peer(port), target, lines, None
        self.peer.socket.settimeout(60)
        self.start()

    def run(self):
        try:
            self.answer = self.peer.ask(self.target, *self.lines)
        except OSError as error:
            self.answer = error

    def status(self):
        self.join(60)
        assert not self.is_alive(), "no answer"
        return getattr(self.answer, "status", self.answer)

    def leave(self):
        self.peer.socket.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("wait", ["60s", {"time": "60s", "http": "/"}], ids=["tcp", "http"])
def test_a_server_that_opens_later(start, wait):
    pylon, later = edge(start, wait_for=wait), Origin("later")
    waiting = [Waiting(pylon.ports["http"], f"/{later.port}/{number}") for number in range(20)]
    flight = lambda: in_flight(pylon) >= 20  # noqa: E731
    wait_until(flight, what="all wait")
    assert all(one.is_alive() for one in waiting)
    with later:
        assert [one.status() for one in waiting] == [200] * 20
        # It is remembered: nobody looks at it again.
        before = later.asked("/")
        with Peer(pylon.ports["http"]) as peer:
            assert peer.ask(f"/{later.port}/again").status == 200
        assert later.asked("/") == before


def in_flight(pylon):
    with urllib.request.urlopen(f"http://{pylon.admin}/api/drain", timeout=60) as answer:
        return json.load(answer)["requests_in_flight"]


def test_many_share_one_probe_which_ends_with_the_last(start):
    pylon = edge(start, wait_for={"time": "200s", "http": "/up"})
    with Closing() as closing:
        waiting = [Waiting(pylon.ports["http"], f"/{closing.port}/") for _ in range(30)]
        wait_until(lambda: in_flight(pylon) >= 30 and len(closing.times) >= 3, what="all wait")
        # 100 ms at first, then longer: 30 probes would have made hundreds.
        assert len(closing.times) <= 3 + (time.monotonic() - closing.times[0]) / 0.1
        for one in waiting[1:]:
            one.leave()
        wait_until(lambda: in_flight(pylon) == 1, what="one is left")
        seen = len(closing.times)
        wait_until(lambda: len(closing.times) > seen, what="the last one is still served")
        waiting[0].leave()
        wait_until(lambda: in_flight(pylon) == 0, what="nobody is left")
        last = len(closing.times)
        # Between two tries of one probe there is 1 s at most.
        wait_until(lambda: time.monotonic() > closing.times[-1] + 2.5, what="the probe ends")
        assert len(closing.times) <= last + 1


def test_a_server_that_is_slow_to_answer_is_open(start):
    class Slow(Origin):
        def answer(self, asked):
            time.sleep(1.5 if asked.path == "/" else 0)
            return super().answer(asked)

    pylon = edge(start, wait_for={"time": "60s", "http": "/"})
    with Slow("slow") as slow, Peer(pylon.ports["http"]) as peer:
        peer.socket.settimeout(60)
        assert peer.ask(f"/{slow.port}/x").status == 200


def test_a_host_that_drops_connections_is_soon_tried_anew(start):
    pylon = edge(start, wait_for={"time": "60s", "http": "/", "tries": 3})
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        with contextlib.suppress(TimeoutError):
            while True:  # until there is no room
                stack.enter_context(socket.create_connection(full.getsockname(), timeout=0.5))
        with Peer(pylon.ports["http"]) as peer:
            peer.socket.settimeout(60)
            assert peer.ask(f"/{full.getsockname()[1]}/").status == 504
    # Whoever comes while a host boots is dropped: the third try takes as long as the first.
    wait_until(lambda: "no connection within 1s" in pylon.text(), what="the log says why")


def test_time_over(start):
    pylon = edge(start, wait_for="300ms", errors={"504": {"body": "too late", "type": "text/plain"}})
    with Peer(pylon.ports["http"]) as peer:
        began = time.monotonic()
        answer = peer.ask(f"/{free_port()}/")
        assert (answer.status, answer.body) == (504, b"too late")
        assert time.monotonic() - began >= 0.3


def test_http2_waits_as_well_and_its_client_may_leave(start):
    pylon, later = edge(start, wait_for="60s"), Origin("later")
    with Http2(pylon.ports["http"]) as client:
        client.ask(1, f"/{later.port}/x")
        wait_until(lambda: in_flight(pylon) == 1, what="it waits")
        with later:
            status, body = client.answered(1)
            assert (status, json.loads(body)["target"]) == (200, "/x")
    with Http2(pylon.ports["http"]) as client:
        client.ask(1, f"/{free_port()}/x")
        wait_until(lambda: in_flight(pylon) == 1, what="it waits")
    wait_until(lambda: in_flight(pylon) == 0, what="it has left")


def test_a_body_comes_whole_after_the_wait(start):
    pylon, later = edge(start, wait_for="60s"), Origin("later")
    with Peer(pylon.ports["http"]) as peer:
        peer.socket.settimeout(60)
        body = b"x" * 300_000
        head = f"POST /{later.port}/up HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        threading.Thread(target=peer.send, args=(head.encode() + body,), daemon=True).start()
        wait_until(lambda: in_flight(pylon) == 1, what="it waits")
        with later:
            assert peer.answer().status == 200
            assert [seen["body"] for seen in later.seen if seen["method"] == "POST"] == [len(body)]


def test_a_server_that_was_remembered_and_went_is_waited_for_again(start):
    pylon, server = edge(start, wait_for="60s"), Origin("server")
    with server:
        with Peer(pylon.ports["http"]) as peer:
            assert peer.ask(f"/{server.port}/x", "Connection: close").status == 200
    waiting = Waiting(pylon.ports["http"], f"/{server.port}/x")
    wait_until(lambda: in_flight(pylon) == 1, what="it waits")
    with server:
        assert waiting.status() == 200


@pytest.mark.parametrize("leave", ["shutdown", "close"])
def test_a_client_whose_body_nobody_has_read_may_leave(start, leave):
    pylon = edge(start, wait_for="60s")
    with Peer(pylon.ports["http"]) as peer:
        head = f"POST /{free_port()}/up HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n"
        peer.send(head.encode() + b"x" * 20_000)
        wait_until(lambda: in_flight(pylon) == 1, what="it waits")
        if leave == "shutdown":
            peer.socket.shutdown(socket.SHUT_RDWR)
            wait_until(lambda: in_flight(pylon) == 0, what="it has left")
    wait_until(lambda: in_flight(pylon) == 0, what="it has left")


def test_a_place_on_the_route_is_kept_while_waiting(start):
    pylon, later = edge(start, wait_for="60s", limits={"requests": 1}), Origin("later")
    waiting = Waiting(pylon.ports["http"], f"/{later.port}/x")
    wait_until(lambda: in_flight(pylon) == 1, what="it waits")
    with Peer(pylon.ports["http"]) as peer:
        assert peer.ask(f"/{later.port}/y").status == 503
    waiting.leave()
    wait_until(lambda: in_flight(pylon) == 0, what="it has left")
    with later:

        def is_let_in():
            with Peer(pylon.ports["http"]) as peer:
                return peer.ask(f"/{later.port}/y").status == 200

        wait_until(is_let_in, what="the place is free")


def test_nobody_waits_longer_than_the_process_serves(start):
    pylon = edge(start, wait_for="60s")
    waiting = Waiting(pylon.ports["http"], f"/{free_port()}/x")
    wait_until(lambda: in_flight(pylon) == 1, what="it waits")
    subprocess.run([BINARY, "drain", "--admin", pylon.admin], check=True, timeout=60, capture_output=True)
    assert waiting.status() == 503
    assert waiting.answer.headers["retry-after"] == "1"


def test_a_reload_forgets_nobody_who_waits(start):
    pylon, later = edge(start, wait_for="60s"), Origin("later")
    waiting = Waiting(pylon.ports["http"], f"/{later.port}/x")
    wait_until(lambda: in_flight(pylon) == 1, what="it waits")
    pylon.write(routes=[route(wait_for="61s")])
    assert pylon.reload()[0]
    with later:
        assert waiting.status() == 200


def test_sign_ins_go_here_while_their_machine_is_away(tmp_path):
    with Router(tmp_path) as router:
        router.far_manager.__exit__()
        assert router.leads("/?a=b", {"jb_iid": THERE}) == "manager /?a=b"
        assert router.leads("/jboxauth/x", {"jb_iid": THERE}) == "manager /jboxauth/x"
        answer = router.ask("/jboxcors/x", {"jb_iid": THERE})
        assert (answer.status, answer.body) == (502, b"<html>timed out</html>")
        with router.far_manager:
            assert router.leads("/", {"jb_iid": THERE}) == "far manager /"
        # It was remembered, and is away again.
        assert router.leads("/", {"jb_iid": THERE}) == "manager /"
        router.far_manager.__enter__()


def test_a_notebook_that_was_just_started(tmp_path):
    with Router(tmp_path) as router:
        made, late = cookies(router), Origin("late")
        made["jp_late"] = port("late", late.port, made["jb_sess"], made["jb_auth"])
        pairs = "; ".join(f"{name}={value}" for name, value in made.items())
        waiting = Waiting(router.port, "/jci_late/tree?x=1", f"Cookie: {pairs}")
        wait_until(lambda: in_flight(router) == 1, what="it waits")
        with late:
            assert waiting.status() == 200
            assert late.asked("/tree?x=1") == 1
