"""An upstream that does what the path says, and knows what it did: /status/503, /wait/200, /bytes/9, /cut/9, /reset ..."""

import contextlib
import itertools
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

import kernel
from upstreams import Buffered, Upstream, read_head

REASONS = {200: "OK", 204: "No Content", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}
BLOCK = bytes(range(256)) * 256


class Length:
    """Takes a body, and knows its length alone."""

    def __init__(self):
        self.length = 0

    def add(self, piece):
        self.length += len(piece)


@dataclass
class Seen:
    """A request as it came, and what was done."""

    address: str
    method: str
    target: str
    headers: list
    at: float = field(default_factory=time.monotonic)
    body: int = 0
    did: str = ""
    over: float = None

    def values(self, name):
        return [value for found, value in self.headers if found == name.lower()]

    def one(self, name):
        [value] = self.values(name)
        return value

    @property
    def words(self):
        """The path's words: what to do, and with what."""
        return self.target.partition("?")[0].strip("/").split("/")


class Rig(Upstream):
    """`shared` is a list of requests for several that know of each other's. `prelude` are bytes before all others."""

    def __init__(self, context=None, shared=None, prelude=0):
        self.context, self.prelude = context, prelude
        self.seen = [] if shared is None else shared
        self.sockets, self.gone = [], kernel.Moved()
        self.lock = threading.Lock()

    def __enter__(self):
        super().__enter__()
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        if self.context:
            self.url = f"https://{self.address}"
        return self

    def serve(self, connection):
        if self.prelude:
            assert len(connection.recv(self.prelude, socket.MSG_WAITALL)) == self.prelude
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True)
            self.connections.append(connection)
        self.sockets.append(connection)
        while self.request(connection):
            pass

    def moved(self):
        """What has moved on all connections, those that are gone among them."""
        with self.lock:
            return sum((kernel.moved(one) for one in self.sockets), self.gone)

    def end(self, connection, *, reset=False):
        """Ends a connection, whose counters are kept."""
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.shutdown(socket.SHUT_WR)
        with self.lock:
            self.sockets.remove(connection)
            self.gone += kernel.moved(connection)
        connection.close()
        return False

    def request(self, connection):
        """Serves one request; whether more may follow."""
        head, rest = read_head(connection)
        if not head:
            return False
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        fields = (line.partition(":") for line in lines[1:])
        seen = Seen(self.address, method, target, [(name.lower(), value.strip()) for name, _, value in fields])
        self.seen.append(seen)
        seen.did = seen.words[0]
        if seen.did != "unread":
            seen.body = body_length(connection, seen, rest)
        more = getattr(self, f"do_{seen.did}", self.do_ok)(connection, seen, *seen.words[1:])
        seen.over = time.monotonic()
        return more

    def of(self, mark):
        """The requests whose target holds a text, in their order."""
        return [seen for seen in list(self.seen) if mark in seen.target]

    def answer(self, connection, seen, body=b"ok", status=200, *fields):
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}", *fields]
        lines += [] if status in (204, 304) else [f"Content-Length: {len(body)}"]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        connection.sendall(head + (b"" if seen.method == "HEAD" or status in (204, 304) else body))
        seen.did = f"answered {status}"
        return True

    def do_ok(self, connection, seen, *_):
        return self.answer(connection, seen)

    def do_status(self, connection, seen, status, *_):
        return self.answer(connection, seen, b"as asked", int(status))

    def do_echo(self, connection, seen, *_):
        return self.answer(connection, seen, json.dumps(seen.headers).encode(), 200, "Content-Type: application/json")

    def do_wait(self, connection, seen, milliseconds, *_):
        threading.Event().wait(int(milliseconds) / 1000)
        return self.answer(connection, seen)

    def do_bytes(self, connection, seen, length, *_):
        left = int(length)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n".encode())
        while left > 0:
            connection.sendall(BLOCK[:left])
            left -= len(BLOCK)
        return True

    def do_hang(self, connection, seen, *_):
        """Says nothing until the other end leaves."""
        while connection.recv(65_536):
            pass
        seen.did = "was left"
        return False

    do_unread = do_hang

    def do_reset(self, connection, seen, *_):
        return self.end(connection, reset=True)

    def do_close(self, connection, seen, *_):
        return self.end(connection)

    def do_garbage(self, connection, seen, *_):
        connection.sendall(b"this is no HTTP\r\n\r\n")
        return self.end(connection)

    def do_cut(self, connection, seen, length, *_):
        """Promises more than it sends."""
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {int(length) + 1000}\r\n\r\n"
        connection.sendall(head.encode() + b"c" * int(length))
        return self.end(connection)

    def do_stall(self, connection, seen, *_):
        """Begins to answer, and says no more."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"s" * 1000)
        return self.do_hang(connection, seen)

    def do_first(self, connection, seen, *how):
        """Does so with the first attempt of a request, and answers the next one."""
        if len(self.of(seen.target)) == 1:
            return getattr(self, f"do_{how[0]}")(connection, seen, *how[1:])
        return self.answer(connection, seen)

    def do_notgzip(self, connection, seen, *_):
        fields = ("Content-Type: text/plain", "Content-Encoding: gzip")
        return self.answer(connection, seen, b"this is no gzip", 200, *fields)

    def do_upgrade(self, connection, seen, *_):
        """Opens a tunnel, and sends back what comes."""
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while piece := connection.recv(65_536):
            connection.sendall(piece)
        return self.end(connection)


def body_length(connection, seen, rest):
    """Reads the body of a request: its length."""
    reader, taken = Buffered(connection, rest), Length()
    if seen.values("transfer-encoding"):
        while size := int(reader.line(), 16):
            reader.copy(size, taken)
            reader.line()
        reader.line()
    elif length := seen.values("content-length"):
        reader.copy(int(length[0]), taken)
    return taken.length


class Full:
    """A server whose queue of connections is full: nobody is let in, nobody is refused."""

    def __enter__(self):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        self.url = f"http://{self.address}"
        self.waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(self.server.getsockname())
            self.waiting.append(one)
        return self

    def __exit__(self, *_):
        for one in [*self.waiting, self.server]:
            one.close()


MARKS = itertools.count(1)


def mark(word="m"):
    """A text that no other request of the tests has."""
    return f"{re.sub(r'[^a-z]', '', word)}{next(MARKS)}x"
