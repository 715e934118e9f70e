"""Origins that do as they are told, in threads of the test. They count what they have executed: read to its end."""

import contextlib
import socket
import threading
import time

from processes import bound
from wire import Ended, Wire, fields_of, value_of

KEEP = "keep"  # what a play gives back to go on with the connection


class Request:
    def __init__(self, lines):
        self.line = lines[0]
        self.method, self.target = lines[0].split(" ")[:2]
        self.fields = fields_of(lines[1:])
        self.body = b""
        self.at = time.monotonic()

    def __getitem__(self, name):
        return value_of(self.fields, name.lower())


def reply(body=b"ok", *, status="200 OK", fields=(), close=False):
    """An answer with a length."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields)]
    lines += [f"Content-Length: {len(body)}"] + ["Connection: close"] * close
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ok(wire, request):
    """Says which origin it is, and keeps the connection."""
    body = wire.origin.name.encode()
    wire.send(reply(b"" if request.method == "HEAD" else body, fields=[("X-Origin", wire.origin.name)]))
    return KEEP


def ok_close(wire, request):
    wire.send(reply(b"" if request.method == "HEAD" else b"fine", close=True))


def sends(*parts, reset=False):
    """A play that sends these bytes, and ends the connection by a FIN or a RST."""

    def play(wire, _):
        wire.send(*parts)
        if reset:
            time.sleep(0.05)  # what was sent should be read before the RST throws it away
            wire.reset()

    return play


def holds(*parts):
    """A play that sends these bytes, and nothing more until the proxy leaves."""

    def play(wire, _):
        wire.send(*parts)
        wire.until_left()

    return play


def resets(wire, _=None):
    wire.reset()
    return True


def leaves(wire, _=None):
    return None


def says(status, body=b"no", **options):
    """A play that answers so every time, on a connection that is kept."""

    def play(wire, _):
        wire.send(reply(body, status=status, **options))
        return KEEP

    return play


class Origin:
    """Serves each connection by hooks that can be changed at any time.

    `accept` sees a connection before a byte is read, `at_head` a request before its body; what they return ends the
    connection if it is true. `play` answers. Health checks (`/healthz`) go to `probe` and are not counted as requests."""

    def __init__(self, play=ok, *, accept=None, at_head=None, probe=ok, name=None):
        self.play, self.accept, self.at_head, self.probe = play, accept, at_head, probe
        self.heads, self.executed, self.probes, self.wires = [], [], [], []
        self.accepted = 0
        self.lock = threading.Lock()
        self.busy = self.busiest = 0
        sock = bound()
        self.port = sock.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.name = name or str(self.port)
        self._listen(sock)

    @property
    def url(self):
        return f"http://{self.address}"

    def _listen(self, sock):
        sock.listen(512)
        self.server = sock
        threading.Thread(target=self._accept, args=(sock,), daemon=True).start()

    def _accept(self, server):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = server.accept()
                wire = self.wrap(sock)
                wire.origin = self
                self.wires.append(wire)
                self.accepted += 1
                threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def wrap(self, sock):
        return Wire(sock, 30.0)

    def _serve(self, wire):
        # Whoever goes away in the middle is a matter for the test, not for this thread.
        with contextlib.suppress(Ended, OSError):
            self.serve(wire)
        wire.finish()
        with contextlib.suppress(ValueError):
            self.wires.remove(wire)

    def serve(self, wire):
        if self.accept and self.accept(wire):
            return
        while True:
            request = Request(wire.head())
            if not (self.probing(wire, request) if request.target == "/healthz" else self.serving(wire, request)):
                return

    def probing(self, wire, request):
        self.probes.append(request)
        return self.probe(wire, request)

    def serving(self, wire, request):
        self.heads.append(request)
        if self.at_head and self.at_head(wire, request):
            return False
        self.body(wire, request)
        self.executed.append(request)
        with self.lock:
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            return self.play(wire, request)
        finally:
            with self.lock:
                self.busy -= 1

    def body(self, wire, request):
        body = bytearray()
        if (request["expect"] or "").lower() == "100-continue":
            wire.send("HTTP/1.1 100 Continue\r\n\r\n")
        if request["transfer-encoding"]:
            wire.chunks(body)
        else:
            wire.copy(int(request["content-length"] or 0), body)
        request.body = bytes(body)

    def forget(self):
        self.heads, self.executed, self.probes = [], [], []
        self.accepted = self.busiest = 0

    def open(self):
        """How many connections there are."""
        return len(self.wires)

    def let_go(self, seconds=3):
        """Ends all connections, and waits until the proxy has left them. Where what it sent is not read, its end is not seen:
        those are broken off."""
        for how in (socket.SHUT_WR, socket.SHUT_RDWR):
            for wire in list(self.wires):
                with contextlib.suppress(OSError):
                    wire.sock.shutdown(how)
            late = time.monotonic() + seconds
            while self.wires and time.monotonic() < late:
                time.sleep(0.01)

    def down(self):
        """Refuses from now on, and breaks off all connections."""
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for wire in list(self.wires):
            # A close alone would not wake the thread that reads.
            with contextlib.suppress(OSError):
                wire.sock.shutdown(socket.SHUT_RDWR)

    def up(self):
        """Serves again on its port."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", self.port))
        self._listen(sock)

    stop = down


class Silent:
    """An address nobody serves: it refuses, or with `full` does not accept any more connections."""

    def __init__(self, full=False):
        self.sock = bound()
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self.waiting = []
        if full:
            self.sock.listen(0)
            for _ in range(8):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(self.sock.getsockname())
                self.waiting.append(one)
            time.sleep(0.05)  # the kernel lines them up

    def stop(self):
        for one in [self.sock, *self.waiting]:
            one.close()


def executions(*origins):
    """How often each request was executed, by its X-Id."""
    counts = {}
    for origin in origins:
        for request in origin.executed:
            counts[request["x-id"]] = counts.get(request["x-id"], 0) + 1
    return counts
