"""The origin: it records every byte and on which connection it came, reads strictly, and answers with what it saw."""

import contextlib
import json
import re
import select
import socket
import threading
from dataclasses import dataclass, field

import strict
from processes import bound, wait_until


# The address of a client that has one for itself, in what the proxy says of it.
OWN = re.compile(rb"^x-forwarded-for: (127\.77\.[\d.]+)\r$", re.MULTILINE | re.IGNORECASE)


@dataclass
class Record:
    """What has come since the last time that was asked."""

    requests: list = field(default_factory=list)
    faults: list = field(default_factory=list)
    partial: list = field(default_factory=list)  # bytes on a connection that are no whole request

    def __bool__(self):
        return bool(self.requests or self.faults or self.partial)

    def keep(self, address):
        """Leaves out parts of requests of clients with another address: of a client that is gone, the proxy may still be
        about to ask for something."""
        found = [(part, OWN.search(part)) for part in self.partial]
        self.partial = [part for part, own in found if not own or own[1] == address.encode()]

    def __str__(self):
        requests = [f"{one.method} {one.target} {one.fields} {one.body[:200]!r}" for one in self.requests]
        parts = [f"whole: {requests}", f"faults: {self.faults}", f"not whole: {[part[:600] for part in self.partial]}"]
        return "; ".join(parts)


def readable(sock, seconds=None):
    """Whether something can be read, or accepted; or waits for that."""
    poll = select.poll()
    try:
        poll.register(sock, select.POLLIN)
    except ValueError:  # it is closed
        return False
    return bool(poll.poll(seconds))


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.busy = False  # with what it has read
        self.pending = b""
        self.told = 0  # how much of it was given out before
        self.head = None


class Recorder:
    """Serves on a port of its own. `scripts` holds whole answers by target, for those who want another one."""

    def __init__(self):
        self.changed = threading.Condition()
        self.record = Record()
        self.heads = 0
        self.connections = []
        self.scripts = {}
        self.server = bound()
        self.server.listen(64)
        self.port = self.server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        for sock in [self.server, *(one.sock for one in self.connections)]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def take(self):
        """What has come since the last call, to the last byte that the system holds."""
        with contextlib.suppress(TimeoutError):
            wait_until(self._has_all, 2)
        with self.changed:
            record, self.record, self.heads = self.record, Record(), 0
            for one in self.connections:
                if len(one.pending) > one.told:
                    record.partial.append(one.pending)
                    one.told = len(one.pending)
            self.connections = [one for one in self.connections if one.sock.fileno() >= 0]
            return record

    def _has_all(self):
        with self.changed:
            return not any(one.busy or readable(one.sock, 0) for one in self.connections) and not readable(self.server, 0)

    def wait_for_head(self, seconds):
        """Whether a head has come since the last `take`, or comes in this time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.heads, seconds)

    def _accept(self):
        with contextlib.suppress(OSError):
            while readable(self.server):
                with self.changed:
                    sock, _ = self.server.accept()
                    one = Connection(sock)
                    self.connections.append(one)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one):
        with contextlib.suppress(OSError):
            while self._read(one):
                try:
                    while one.pending and self._step(one):
                        pass
                except strict.Fault as fault:
                    with self.changed:
                        self.record.faults.append(f"{fault} in {one.pending[:600]!r}")
                    one.sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    break
                one.busy = False
        one.sock.close()
        one.busy = False

    def _read(self, one):
        """Adds what has come to the bytes of a connection; false at its end."""
        readable(one.sock)
        with self.changed:
            piece = one.sock.recv(262_144)
            one.pending += piece
            one.busy = True
        return piece

    def _step(self, one):
        """Takes one request off the bytes of a connection, and answers it; false while it is not whole."""
        if one.head is None:
            one.head = strict.head(one.pending)
            if one.head is None:
                return False
            with self.changed:
                self.heads += 1
                self.changed.notify_all()
            if one.head[0].all("expect"):
                one.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        request, at = one.head
        found = strict.body(request, one.pending[at:])
        if found is None:
            return False
        request.body, request.trailers, length = found
        with self.changed:
            self.record.requests.append(request)
            one.pending, one.told, one.head = one.pending[at + length :], 0, None
        one.sock.sendall(self.scripts.get(request.target) or answer(request))
        return True


def answer(request):
    saw = {"method": request.method, "target": request.target, "fields": request.fields}
    body = json.dumps(saw | {"body": request.body[:4096].decode("latin-1")}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return head if request.method == "HEAD" else head + body
