"""Two instances of Pylon before servers that serve, are slow, break off, or are not there."""

import contextlib
import http.server
import socket
import threading

import requests
from websockets import ConnectionClosed
from websockets.sync.server import serve

from peers import Edge
from processes import PATIENCE, Program, free_port
from site_files import Site
from upstreams import Upstream, read_head

BODY = b"x" * 20_000
KEY = "k3y-" + "0123456789abcdef" * 3


class Server(Upstream):
    """Answers by the path: `/slow` late, `/never` and `/breaks` not at all, `/status/NNN` so, `/fails` with 503, all else
    with a body."""

    def serve(self, connection):
        leave = threading.Event()
        while head := self.request(connection):
            method, path = head.split(b" ", 2)[:2]
            if path == b"/breaks":
                connection.shutdown(socket.SHUT_RDWR)
                return
            if path == b"/never":
                while connection.recv(65_536):
                    pass
                return
            if path == b"/slow":
                leave.wait(0.15)
            status = path.removeprefix(b"/status/") if path.startswith(b"/status/") else b"503" if path == b"/fails" else b"200"
            body = b"" if status == b"204" else BODY
            length = b"Content-Length: %d\r\n" % len(body) if body else b""
            connection.sendall(b"HTTP/1.1 %b Status\r\n%b\r\n" % (status, length))
            if method != b"HEAD":
                connection.sendall(body)

    @staticmethod
    def request(connection):
        """The head of a request, whose body is read too."""
        head, rest = read_head(connection)
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                left = int(value) - len(rest)
                while left > 0 and (piece := connection.recv(65_536)):
                    left -= len(piece)
        return head


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes traces (OTLP over HTTP)."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def echo(peer):
    with contextlib.suppress(ConnectionClosed):
        for message in peer:
            peer.send(message)


@contextlib.contextmanager
def running(server):
    """A server that runs in a thread: its address."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield "http://127.0.0.1:%d" % server.socket.getsockname()[1]
    server.shutdown()


class Redis(Program):
    """`redis-server`, which keeps nothing."""

    def __init__(self, directory):
        self.port = free_port()
        arguments = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", "."]
        super().__init__(arguments, directory, ready=self.listens)

    def listens(self):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True
        return False

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


def upstreams(server, websockets):
    gone = f"http://127.0.0.1:{free_port()}"
    return {
        "good": {"endpoints": [server], "health": {"http": "/", "interval": "200ms"}},
        "sockets": {"endpoints": [websockets]},
        "mixed": {"endpoints": [server, gone], "balance": "round_robin", "ejection": {"failures": 2, "time": "1s"}},
        "gone": {"endpoints": [gone], "health": {"tcp": True, "interval": "200ms", "fall": 1}},
        "breaks": {"endpoints": [server], "breaker": {"minimum_requests": 5, "window": "5s", "open": "1s"}},
        "narrow": {"endpoints": [server], "limits": {"requests": 1, "queue": 20, "queue_timeout": "20s"}},
        "empty": {"endpoints": ["http://nowhere.invalid:80"]},
        "strange": {"endpoints": [server.replace("http:", "https:")], "timeouts": {"tls": "200ms"}},
    }


def forward(name, upstream, rewrite="/{**}", **more):
    return {"name": name, "path": f"/{name}/**", "upstream": upstream, "rewrite": rewrite} | more


def admitting(store):
    """Routes that ask who comes, and how often; what some of them ask is not there."""
    gone = f"127.0.0.1:{free_port()}"
    few = {"requests": 2, "window": "5s", "by": "route"}
    return [
        forward("keys", "good", auth={"api_key": {"file": "keys"}}),
        forward("asked", "good", auth={"forward": {"url": f"http://{gone}/", "timeout": "200ms"}}),
        forward("few", "good", limit=few),
        forward("few-of-all", "good", limit=few | {"name": "shared", "redis": {"url": store, "fail": "closed", "deadline": "5s"}}),
        forward("many", "good", limit={"rate": "100/s", "redis": {"url": f"redis://{gone}", "fail": "open"}}),
        {"name": "instance", "path": "/i/{name}/**", "rewrite": "/{**}", "instance": {"name": "{name}", "enter": "anyone"}},
    ]


def routes(store):
    pools = ["good", "sockets", "mixed", "gone", "narrow", "empty", "strange"]
    return [
        *(forward(name, name) for name in pools),
        forward("breaks", "breaks", "/breaks"),
        forward("fails", "good", "/fails"),
        forward("small", "good", limits={"body": "10B"}),
        {"name": "answer", "path": "/answer", "answer": {"body": "hello"}},
        {"name": "redirect", "path": "/redirect", "redirect": {"to": "/answer", "status": 307}},
        *admitting(store),
    ]


class Fleet:
    """The instances, alike but for their addresses."""

    def __init__(self, directories, stack):
        self.site = Site(directories.mktemp("site"))
        self.site.issue("fine", "localhost", days=90)
        self.site.issue("old", "old.test", days=2)
        server = stack.enter_context(Server()).url
        websockets = stack.enter_context(running(serve(echo, "127.0.0.1", 0)))
        collector = stack.enter_context(running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)))
        redis = Redis(directories.mktemp("redis"))
        stack.callback(redis.stop)
        pools, ways = upstreams(server, websockets), routes(redis.url)
        self.edges = []
        for name in ("first", "second"):
            directory = directories.mktemp(name)
            (directory / "keys").write_text(f"program:{KEY}\n")
            edge = Edge(
                directory,
                {"http": {}, "https": self.site.tls("fine", "old")},
                # Nobody answers there, so that no name resolves.
                resolver={"servers": [f"127.0.0.1:{free_port()}"], "timeout": "200ms"},
                log={"access": {"to": "./access.log"}},
                tracing={"otlp": collector, "sample": "100%"},
                instances={"file": "./instances.json", "allow": ["127.0.0.0/8"]},
                upstreams=pools,
                routes=ways,
            )
            stack.callback(edge.stop)
            url = f"http://{edge.admin}/api/instances/one"
            assert requests.put(url, json={"address": server}, timeout=PATIENCE).ok
            self.edges.append(edge)

    def metrics(self, **headers):
        """What the first instance says: the answer."""
        return requests.get(f"http://{self.edges[0].admin}/metrics", headers=headers, timeout=PATIENCE)

    def reload(self):
        """A new configuration, a wrong one and an unchanged one, on each instance."""
        for edge in self.edges:
            good = edge.config["routes"]
            edge.write(routes=[*good, {"name": "new", "path": "/new", "answer": {"body": "new"}}])
            assert edge.reload()[0]
            edge.write(routes=[{"name": "wrong", "paht": "/"}])
            assert not edge.reload()[0]
            edge.write(routes=good)
            assert edge.reload()[0]
            assert edge.reload()[0]
