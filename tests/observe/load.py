"""Clients of every kind, in threads, until they are told to stop: those that behave and those that do not."""

import contextlib
import ssl
import threading

import httpx
import requests
from websockets.sync.client import connect

import peers
from fleet import KEY
from peers import Peer
from processes import PATIENCE

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]
PACE = 0.05  # seconds between the rounds of a client, so that the machine is not busy


def plain(edge):
    with requests.Session() as session:
        for method in METHODS:
            body = b"y" * 1000 if method in ("POST", "PUT", "PATCH") else None
            answer = session.request(method, f"http://{edge.authority('http')}/good/x", data=body, timeout=PATIENCE)
            assert answer.status_code == 200, answer
            yield
        for path, status in {"/answer": 200, "/redirect": 307, "/nowhere": 404}.items():
            answer = session.get(f"http://{edge.authority('http')}{path}", timeout=PATIENCE, allow_redirects=False)
            assert answer.status_code == status, answer
            yield


def failing(edge):
    """Routes whose servers fail; `mixed` succeeds on another endpoint."""
    with requests.Session() as session:
        for name, statuses in {
            "mixed": (200,),
            "gone": (502, 503),
            "fails": (503,),
            "breaks": (502, 503),
            "empty": (502, 503),
            "strange": (502, 504),
        }.items():
            answer = session.get(f"http://{edge.authority('http')}/{name}/x", timeout=PATIENCE)
            assert answer.status_code in statuses, (name, answer)
            yield


def narrow(edge):
    answer = requests.get(f"http://{edge.authority('http')}/narrow/slow", timeout=PATIENCE)
    assert answer.status_code in (200, 503), answer
    yield


def admitted(edge):
    """Routes that ask who comes, and how often, and one that leads to an instance."""
    asked = [
        ("keys", {"X-API-Key": KEY}, {200}),
        ("keys", {"X-API-Key": "wrong"}, {401, 403}),
        ("keys", {}, {401, 403}),
        ("asked", {}, {503}),
        *[("few", {}, {200, 429})] * 4,
        *[("few-of-all", {}, {200, 429})] * 4,
        ("many", {}, {200}),
        ("i/one", {}, {200}),
        ("i/none", {}, {404}),
    ]
    with requests.Session() as session:
        for path, headers, statuses in asked:
            answer = session.get(f"http://{edge.authority('http')}/{path}/x", headers=headers, timeout=PATIENCE)
            assert answer.status_code in statuses, (path, headers, answer)
            yield


def http2(edge):
    with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
        for _ in range(5):
            answer = client.get(f"http://{edge.authority('http')}/good/x")
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
            yield


def https(edge):
    for version in ("HTTP/1.1", "HTTP/2"):
        with httpx.Client(http2=version == "HTTP/2", verify=False, timeout=PATIENCE) as client:
            answer = client.get(f"https://{edge.authority('https')}/good/x")
            assert (answer.status_code, answer.http_version) == (200, version)
            yield


def resuming(edge):
    """TLS 1.2, and again with the session of the first connection."""
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for _ in range(2):
        with Peer(edge.ports["https"], context=context, session=session) as peer:
            assert peer.ask("/answer").status == 200
            session = peer.socket.session
            yield


def websocket(edge):
    with connect(f"ws://{edge.authority('http')}/sockets/", open_timeout=PATIENCE) as socket:
        for _ in range(20):
            socket.send("hello")
            assert socket.recv(timeout=PATIENCE) == "hello"
            yield


def wrong(edge):
    """Requests that are turned away."""
    for line in ("Bad Header: x", "Transfer-Encoding: gzip", "Content-Length: 5, 5"):
        with Peer(edge.ports["http"]) as peer:
            assert peer.ask("/answer", line).status in (400, 501), line
            yield
    with Peer(edge.ports["http"]) as peer:
        assert peer.ask("/small/x", "Content-Length: 99", method="POST").status == 413
        yield
    with Peer(edge.ports["https"]) as peer:
        peer.send(b"\x16\x03\x01\x00\x05hello")  # a record of TLS with no message in it
        with contextlib.suppress(OSError):
            peer.file.read()
        yield


def leaving(edge):
    """A client that does not wait for its answer."""
    with Peer(edge.ports["http"]) as peer:
        peer.send(peers.request("/good/slow"))
        yield


CLIENTS = [plain, failing, admitted, narrow, narrow, narrow, http2, https, resuming, websocket, wrong, leaving]


class Load:
    """Runs all clients against all instances, within a `with`."""

    def __init__(self, edges):
        self.stopped = threading.Event()
        self.done = {client.__name__: 0 for client in CLIENTS}
        self.failed = []
        self.threads = [threading.Thread(target=self.run, args=(client, edges), daemon=True) for client in CLIENTS]

    def run(self, client, edges):
        while not self.stopped.is_set():
            for edge in edges:
                try:
                    for _ in client(edge):
                        if self.stopped.wait(PACE):
                            return
                    self.done[client.__name__] += 1
                except Exception as error:  # even that the environment changes while `requests` reads it
                    self.failed.append(f"{client.__name__}: {error!r}")
                    self.stopped.wait(PACE)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(20)

    def goes_on(self):
        """Whether every client has got through several times."""
        return all(count >= 4 for count in self.done.values())
