"""Upstreams on bare sockets, in threads of the test: they see and send exact bytes."""

import contextlib
import re
import socket
import threading


class Upstream:
    """Serves each connection by `serve(connection)`, until the end of the `with` block."""

    def __enter__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        # A shutdown wakes who waits on it; a close alone does not.
        for one in [self.server, *self.connections]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        # Whoever goes away in the middle is a matter for the test, not for this thread.
        with contextlib.suppress(OSError):
            self.serve(connection)

    def serve(self, connection):
        raise NotImplementedError


def read_head(connection):
    """The head of a request, and what came with it; both empty at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65_536)):
            return b"", b""
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


class Recorder(Upstream):
    """Answers `ok` to requests with chunked bodies, and keeps what it received, up to the next answer."""

    def __init__(self):
        self.received = []

    def serve(self, connection):
        data = b""
        while piece := connection.recv(65_536):
            data += piece
            if data.endswith(b"\r\n0\r\n\r\n"):
                # Whatever else is sent comes now or with the next request.
                connection.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    data += connection.recv(65_536)
                connection.settimeout(None)
                self.received.append(data)
                data = b""
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Source(Upstream):
    """Answers every request with `total` bytes of `block` over and over, in chunks of `piece` bytes."""

    def __init__(self, block, total, *, piece=65_521, media_type="text/html"):
        self.block, self.total, self.piece = block, total, piece
        self.media_type = media_type
        self.sent = 0

    def serve(self, connection):
        endless = memoryview(self.block + (self.block * (self.piece // len(self.block) + 1))[: self.piece])
        while read_head(connection)[0]:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {self.media_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head.encode())
            at = 0
            while at < self.total:
                size = min(self.piece, self.total - at)
                begin = at % len(self.block)
                connection.sendall(b"%x\r\n" % size)
                connection.sendall(endless[begin : begin + size])
                connection.sendall(b"\r\n")
                at += size
                self.sent = at
            connection.sendall(b"0\r\n\r\n")


class Sink(Upstream):
    """Takes bodies that repeat `block`, checks every byte, and answers with their length."""

    def __init__(self, block):
        self.block = block

    def serve(self, connection):
        while True:
            head, rest = read_head(connection)
            if not head:
                return
            reader = Buffered(connection, rest)
            check = Repeats(self.block)
            length = re.search(rb"(?i)^content-length: (\d+)", head, re.M)
            if length:
                reader.copy(int(length[1]), check)
            else:
                while size := int(reader.line(), 16):
                    reader.copy(size, check)
                    reader.line()
                reader.line()
            text = str(check.length if check.right else f"wrong near {check.length}")
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


class Buffered:
    """Reads lines and lengths from a socket."""

    def __init__(self, connection, first):
        self.connection, self.data = connection, first

    def more(self):
        piece = self.connection.recv(1 << 20)
        if not piece:
            raise ConnectionError("ended in the middle")
        return piece

    def line(self):
        while b"\r\n" not in self.data:
            self.data += self.more()
        line, _, self.data = self.data.partition(b"\r\n")
        return line

    def copy(self, length, check):
        taken, self.data = self.data[:length], self.data[length:]
        check.add(taken)
        length -= len(taken)
        while length:
            piece = self.connection.recv(min(length, 1 << 20))
            if not piece:
                raise ConnectionError("ended in the middle")
            check.add(piece)
            length -= len(piece)


class Repeats:
    """Whether the pieces added are `block` over and over."""

    def __init__(self, block):
        self.block, self.endless = block, memoryview(block + block)
        self.length, self.right = 0, True

    def add(self, piece):
        piece = memoryview(piece)
        while piece:
            begin = self.length % len(self.block)
            part = piece[: len(self.block)]
            self.right = self.right and part == self.endless[begin : begin + len(part)]
            self.length += len(part)
            piece = piece[len(part) :]
