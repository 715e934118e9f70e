"""How connections of clients are kept, bounded and ended, byte by byte."""

import base64
import contextlib
import json
import socket
import struct
import threading
import time

import pytest
from hyperframe.frame import DataFrame
from websockets.sync.client import connect
from websockets.sync.server import serve

import peers
from peers import Answer, Edge, Http2, Peer, Teller
from processes import wait_until
from upstreams import Upstream, read_head

KIB = 1024
BODY = 32 * KIB  # the limit of /body


class Rough(Upstream):
    """Breaks off and holds on, by the path."""

    def __init__(self):
        self.waiting, self.ended, self.gate, self.bodies = 0, 0, threading.Event(), []

    def serve(self, connection):
        while (received := read_head(connection))[0]:
            target = received[0].split()[1]
            if target == b"/rough/body":
                return self.keep(connection, received[1])
            if target == b"/rough/chunks":
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
                return reset(connection)
            if target == b"/rough/length":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                return reset(connection)
            if target == b"/rough/upgrade":
                connection.sendall(peers.SWITCHING + b"\x81\x05hello")
                connection.recv(1)
                return reset(connection)
            if target == b"/rough/endless":
                self.flood(connection)
            if target.startswith((b"/hold", b"/busy")):
                self.waiting += 1
                self.gate.wait(peers.PATIENCE)
                self.waiting -= 1
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    def keep(self, connection, body):
        """Keeps what comes of a body until the connection ends."""
        try:
            while piece := connection.recv(65_536):
                body += piece
        finally:
            self.bodies.append(body)

    def flood(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                connection.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")
        finally:
            self.ended += 1


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture(scope="module")
def rough():
    with Rough() as rough:
        yield rough


@pytest.fixture(scope="module")
def echo():
    """The address of a WebSocket server that says what it is told."""
    with serve(lambda websocket: [*map(websocket.send, websocket)], "127.0.0.1", 0, ping_interval=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def edge(start, rough, echo):
    limits = {
        "/rough/**": {"drain_rate": "64KiB", "drain_time": "1s"},
        "/hold/**": {},
        "/busy/**": {"requests": 2},
        "/body/**": {"body": f"{BODY // KIB}KiB"},
        "/idle/**": {"body_idle": "1s"},
        "/ws/**": {"body_idle": "1s", "drain_time": "1s"},
    }
    upstreams = {"/body/**": "teller", "/idle/**": "teller", "/ws/**": "echo"}
    routes = [
        {"name": path[1:-3], "path": path, "upstream": upstreams.get(path, "rough"), "limits": given}
        for path, given in limits.items()
    ]
    routes.append({"name": "all", "path": "/**", "upstream": "teller"})
    with Teller() as teller:
        yield start(
            Edge,
            {"http": {}, "hasty": {"timeouts": {"keep_alive": "3s", "header": "3s"}}},
            upstreams={
                "teller": {"endpoints": [teller.url]},
                "rough": {"endpoints": [rough.url], "ejection": {"enabled": False}},
                "echo": {"endpoints": [echo]},
            },
            routes=routes,
        )


@pytest.fixture
def peer(edge):
    with Peer(edge.ports["http"]) as peer:
        yield peer


# Times.


def test_an_idle_connection_is_closed(edge):
    with Peer(edge.ports["hasty"]) as peer:
        assert peer.is_over()  # nothing was asked: nothing is said
    with Peer(edge.ports["hasty"]) as peer:
        for _ in range(2):
            begin = time.monotonic()
            assert peer.ask("/").status == 200
        assert peer.is_over()
        assert time.monotonic() - begin > 2.9


def test_a_header_section_has_its_time(edge):
    for before in [0, 1]:
        with edge.rejects("header_timeout"), Peer(edge.ports["hasty"]) as peer:
            for _ in range(before):
                assert peer.ask("/").status == 200
            begin = time.monotonic()
            peer.send(b"GET / HTTP/1.1\r\nHost: loc")
            assert peer.answer().status == 408
            assert peer.is_over()
            assert time.monotonic() - begin > 2.9


def test_a_body_that_stops_is_given_up(edge, peer):
    with edge.rejects("body_timeout"):
        peer.send(peers.request("/idle/x", "Content-Length: 10", method="POST") + b"half")
        assert peer.answer().status == 408
        assert peer.is_over()


# Requests in a row.


def test_requests_in_one_packet_are_answered_in_order(peer):
    wanted = [("GET", "/one", b""), ("POST", "/two", b"body of two"), ("GET", "/three", b"")]
    packet = b""
    for method, target, body in wanted:
        packet += peers.request(target, *([f"Content-Length: {len(body)}"] if body else []), method=method) + body
    peer.send(packet)
    for method, target, body in wanted:
        seen = peer.answer().json()
        assert (seen["line"], seen["body"].encode()) == (f"{method} {target} HTTP/1.1", body)
    assert peer.ask("/four").json()["line"] == "GET /four HTTP/1.1"


def test_a_slow_answer_comes_before_later_ones(edge, peer, rough):
    rough.gate.clear()
    peer.send(peers.request("/hold/1") + peers.request("/hold/2") + peers.request("/three"))
    wait_until(lambda: rough.waiting == 1)
    rough.gate.set()
    assert [peer.answer().body for _ in range(2)] == [b"/hold/1", b"/hold/2"]
    assert peer.answer().json()["line"] == "GET /three HTTP/1.1"


def test_what_follows_the_last_request_is_not_answered(peer):
    peer.send(peers.request("/one", "Connection: close") + peers.request("/two"))
    answer = peer.answer()
    assert (answer.json()["line"], answer.headers["connection"]) == ("GET /one HTTP/1.1", "close")
    assert peer.is_over()


# Bodies.


@pytest.mark.parametrize("framed", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_body_that_breaks_off_never_looks_whole(edge, rough, framed):
    rough.bodies.clear()
    with Peer(edge.ports["http"]) as peer:
        peer.send(peers.request("/rough/body", framed, method="POST"))
        peer.send(b"4\r\nhalf\r\n" if "chunked" in framed else b"half")
        peer.socket.shutdown(socket.SHUT_WR)
        wait_until(lambda: rough.bodies, what="the upstream's connection ends")
        assert len(rough.bodies) == 1 and not rough.bodies[0].endswith(b"0\r\n\r\n"), rough.bodies
        with contextlib.suppress(ConnectionError):  # no answer is as good
            assert peer.answer().status >= 400


def chunks(body):
    pieces = [body[at : at + 4000] for at in range(0, len(body), 4000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, BODY - 1, BODY, BODY + 1, 4 * BODY])
@pytest.mark.parametrize("way", ["length", "chunks"])
def test_a_body_has_its_size(edge, peer, way, size):
    body, fits = (bytes(range(1, 128)) * (size // 127 + 1))[:size], size <= BODY
    with edge.rejects("body_too_large", times=int(not fits)):
        if way == "length":
            peer.send(peers.request("/body/x", f"Content-Length: {size}", method="POST"))
            peer.send(body if fits else body[:1000])  # refused at once: the rest is not waited for
        else:
            peer.send(peers.request("/body/x", "Transfer-Encoding: chunked", method="POST"))
            peer.send(chunks(body))
        answer = peer.answer()
        assert answer.status == (200 if fits else 413)
        assert not fits or answer.json()["body"].encode() == body


@pytest.mark.parametrize("size", [1, BODY, BODY + 1])
@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
@pytest.mark.parametrize("ends", ["with the last piece", "by itself"])
def test_a_body_has_its_size_over_http2(edge, length, ends, size):
    fits, fields = size <= BODY, [("content-length", str(size))] if length else []
    pieces = [DataFrame(1, b"x" * min(8 * KIB, size - at)) for at in range(0, size, 8 * KIB)]
    pieces += [DataFrame(1)] if ends == "by itself" else []
    pieces[-1].flags.add("END_STREAM")
    with edge.rejects("body_too_large", times=int(not fits)), Http2(edge.ports["http"]) as peer:
        peer.ask(1, "/body/x", *fields, method="POST", end=False)
        if fits or not length:
            peer.send(b"".join(piece.serialize() for piece in pieces))
        status, body = peer.answered(1)
        assert status == (200 if fits else 413)
        assert not fits or len(json.loads(body)["body"]) == size
        peer.ask(3, "/x")
        assert peer.answered(3)[0] == 200


def test_a_client_that_waits_is_told_to_go_on(edge, peer):
    peer.send(peers.request("/body/x", "Content-Length: 4", "Expect: 100-continue", method="POST"))
    assert peer.answer().status == 100
    peer.send(b"body")
    seen = peer.answer().json()
    assert seen["body"] == "body"
    assert peers.values(seen, "Expect") == []
    with edge.rejects("body_too_large"), Peer(edge.ports["http"]) as large:
        large.send(peers.request("/body/x", f"Content-Length: {BODY + 1}", "Expect: 100-continue", method="POST"))
        assert large.answer().status == 413  # at once, without a 100
    with edge.rejects("expectation"), Peer(edge.ports["http"]) as other:
        assert other.ask("/body/x", "Content-Length: 4", "Expect: a-miracle", method="POST").status == 417


# Requests at a time, and clients that do not read.


def test_a_route_has_its_number_of_requests(edge, rough):
    rough.gate.clear()
    with Peer(edge.ports["http"]) as one, Peer(edge.ports["http"]) as two, Peer(edge.ports["http"]) as three:
        for peer in (one, two):
            peer.send(peers.request("/busy/x"))
        wait_until(lambda: rough.waiting == 2)
        with edge.rejects("route_busy"):
            refused = three.ask("/busy/x")
        assert refused.status == 503 and int(refused.headers["retry-after"]) >= 1
        rough.gate.set()
        assert [peer.answer().body for peer in (one, two)] == [b"/busy/x"] * 2
    with Peer(edge.ports["http"]) as again:
        assert again.ask("/busy/x").status == 200


def test_a_client_that_does_not_read_is_cut(edge, rough):
    ended = rough.ended
    with edge.rejects("slow_reader"), Peer(edge.ports["http"], size=4096) as peer:
        peer.send(peers.request("/rough/endless"))
        wait_until(lambda: rough.ended > ended, what="the upstream is let go")
        with pytest.raises(ConnectionResetError):
            while peer.socket.recv(65_536):
                pass


# Answers and streams that break off.


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("framed", ["chunks", "length"])
def test_an_answer_that_breaks_off_never_looks_whole(edge, version, framed):
    with Peer(edge.ports["http"]) as peer:
        peer.send(f"GET /rough/{framed} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
        got = b""
        try:
            while piece := peer.socket.recv(65_536):
                got += piece
            ended = "closed"
        except ConnectionResetError:
            ended = "reset"
    assert b"\r\n0\r\n" not in got
    if version == "1.0" and b"content-length" not in got.lower():  # only the end of the connection ends the answer
        assert ended == "reset", got
    assert b" 200 " in got or b" 502 " in got


def test_no_http_in_the_stream_of_a_websocket_that_breaks_off(edge):
    key = base64.b64encode(bytes(16)).decode()
    lines = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    with Peer(edge.ports["http"]) as peer:
        peer.send(peers.request("/rough/upgrade", *lines))
        assert Answer(peer.file).status == 101
        assert peer.file.read(7) == b"\x81\x05hello"
        peer.send(b"\x81\x80\0\0\0\0")
        assert peer.is_over()  # without another byte


def test_a_websocket_may_be_silent(edge):
    with connect(f"ws://{edge.authority('http')}/ws/x", open_timeout=60, ping_interval=None) as websocket:
        websocket.send("before")
        assert websocket.recv(timeout=60) == "before"
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=3)  # the silence: three times what the route gives a body
        websocket.send("after")
        assert websocket.recv(timeout=60) == "after"
