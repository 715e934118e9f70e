"""A socket with a buffer, which reads HTTP/1 as either end sees it and says how a connection ended."""

import contextlib
import select
import socket
import struct


class Ended(Exception):
    """The connection can give no more: `eof`, `reset`, `timeout`, or what was wrong with what came."""

    def __init__(self, how):
        super().__init__(how)
        self.how = how


class Wire:
    def __init__(self, sock, timeout=15.0):
        self.sock = sock
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.open = True

    def more(self):
        try:
            piece = self.sock.recv(262_144)
        except TimeoutError:
            raise Ended("timeout") from None
        except OSError:
            raise Ended("reset") from None
        if not piece:
            raise Ended("eof")
        self.data += piece

    def line(self):
        while b"\r\n" not in self.data:
            self.more()
        line, _, self.data = self.data.partition(b"\r\n")
        return line

    def head(self):
        """The lines of a head."""
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        return head.decode("latin-1").split("\r\n")

    def copy(self, length, body):
        """Moves `length` bytes to `body`; what there is of them, if they are cut."""
        while length:
            if not self.data:
                self.more()
            taken, self.data = self.data[:length], self.data[length:]
            body += taken
            length -= len(taken)

    def chunks(self, body):
        while size := self.size():
            self.copy(size, body)
            if self.line():
                raise Ended("a chunk is longer than it says")
        while self.line():
            pass

    def size(self):
        line = self.line().split(b";")[0]
        try:
            return int(line, 16)
        except ValueError:
            raise Ended(f"not the size of a chunk: {line!r}") from None

    def to_the_end(self, body):
        """Everything up to a clean end."""
        with contextlib.suppress(EOFError):
            while True:
                body += self.data
                self.data = b""
                try:
                    self.more()
                except Ended as ended:
                    if ended.how == "eof":
                        raise EOFError from None
                    raise

    def send(self, *pieces):
        for piece in pieces:
            try:
                self.sock.sendall(piece.encode("latin-1") if isinstance(piece, str) else piece)
            except TimeoutError:
                raise Ended("timeout") from None
            except OSError:
                raise Ended("reset") from None

    def readable(self):
        return bool(select.select([self.sock], [], [], 0)[0])

    def until_left(self, seconds=15.0):
        """Waits until the other end goes away, without reading what it sends."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        poll.poll(seconds * 1000)

    def reset(self):
        """Ends it by a RST."""
        self.open = False
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def finish(self):
        """Ends it by a FIN; who still sends to it is listened to for a moment, so that no RST overtakes the answer."""
        if not self.open:
            return
        self.open = False
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(2)
            while self.sock.recv(262_144):
                pass
        self.sock.close()


def fields_of(lines):
    """The fields of a head, with names in lower case."""
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def value_of(fields, name):
    return next((value for found, value in fields if found == name), None)
