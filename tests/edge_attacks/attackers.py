"""Connections of attackers, each from an address of its own choice: what they send, what they see, when they are cut."""

import contextlib
import itertools
import select
import socket
import ssl
import struct
import time

from edge import SLACK, Sockets
from processes import PATIENCE

IP_BIND_ADDRESS_NO_PORT = 24
_sources = itertools.count(1)


def source():
    """A loopback address that nobody has used yet."""
    number = next(_sources)
    return f"127.{10 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"


def connected(port, address, receive=None, timeout=PATIENCE):
    sock = socket.socket()
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        sock.bind((address, 0))
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return sock


def vanish(sock):
    """Goes away by a RST: it leaves nothing behind in the system."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Plain:
    """A TCP connection. It never waits for long: what cannot be sent stays in `out`, what came is in `got`.

    A `deaf` one reads nothing; that it is cut shows at the proxy, which no longer holds it."""

    def __init__(self, edge, kind="plain", *, address=None, receive=None, deaf=False):
        self.edge, self.deaf = edge, deaf
        self.sock = connected(edge.ports[kind], address or source(), receive)
        self.sock.setblocking(False)
        self.pair = (("127.0.0.1", edge.ports[kind]), self.sock.getsockname())
        self.out, self.got = bytearray(), bytearray()
        self.sent = 0
        self.held = False
        self.ended = self.after = None
        self.begin()
        edge.attackers.append(self)

    def begin(self):
        """From now on its time counts."""
        self.began = time.monotonic()

    def over(self, how):
        if not self.ended:
            self.ended, self.after = how, time.monotonic() - self.began

    def push(self, data, seconds=0.0):
        """Sends, for at most so long, and reads meanwhile; whether all has gone."""
        self.out += self.wrapped(data)
        deadline = time.monotonic() + seconds
        while not self.flush() and time.monotonic() < deadline:
            self.wait(0.02, writing=True)
            self.look()
        return not self.out

    def flush(self):
        with contextlib.suppress(BlockingIOError):
            try:
                while self.out and not self.ended:
                    count = self.sock.send(self.out)
                    self.sent += count
                    del self.out[:count]
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    raise
                self.look()  # what came before it was cut
                self.over("reset")
        return not self.out or bool(self.ended)

    def wait(self, seconds, writing=False):
        poll = select.poll()
        poll.register(self.sock, (select.POLLOUT if writing else 0) | (0 if self.deaf else select.POLLIN))
        poll.poll(seconds * 1000)

    def look(self):
        """Reads what is there, and sees whether this is the end."""
        if self.deaf:
            return self.seen_among(Sockets().pairs)
        with contextlib.suppress(BlockingIOError):
            while not self.ended:
                try:
                    piece = self.sock.recv(262_144)
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    return self.over("reset")
                if not piece:
                    return self.over("eof")
                self.took(piece)

    def seen_among(self, pairs):
        """Whether the proxy still holds it. At first it may not have accepted it yet."""
        if self.pair in pairs:
            self.held = True
        elif self.held or time.monotonic() > self.began + 1:
            self.over("cut")

    def took(self, piece):
        self.got += piece[: max(0, 1_000_000 - len(self.got))]

    def sip(self, count):
        """A deaf one takes a little all the same."""
        with contextlib.suppress(OSError):
            self.sock.recv(count)

    def wrapped(self, data):
        return data

    def until(self, condition, seconds=PATIENCE):
        """Reads until something holds, or the end comes; whether it holds."""
        deadline = time.monotonic() + seconds
        while not (held := condition()) and not self.ended and time.monotonic() < deadline:
            self.wait(0.02)
            self.look()
        return held or bool(condition())

    def status(self, seconds=PATIENCE):
        """The status of the (first) answer; None when the connection ends without one."""
        self.until(lambda: b"\r\n" in self.got, seconds)
        return int(self.got.split(b" ")[1]) if self.got.startswith(b"HTTP/1.") else None

    def close(self):
        vanish(self.sock)


class Secure(Plain):
    """A TLS connection, with the records in hand."""

    def __init__(self, edge, kind="tls", *, protocols=("http/1.1",), first=b"", handshake=True, **options):
        deaf = options.pop("deaf", False)
        super().__init__(edge, kind, **options)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = edge.certificate.trusted(*protocols)
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.ready = False
        self.raw(first)
        if handshake:
            self.shake()
            self.deaf = deaf

    def hello(self):
        """The bytes of a ClientHello, not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def shake(self):
        deadline = time.monotonic() + PATIENCE
        while not self.ready:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                self.ready = True
            self.raw(self.outgoing.read())
            if not self.ready:
                if self.ended or time.monotonic() > deadline:
                    raise ConnectionError(f"no handshake: {self.ended}")
                self.wait(0.05)
                self.look()
        self.begin()
        self.took(b"")  # what came with the end of the handshake

    def raw(self, data):
        """Sends bytes as they are."""
        self.out += data
        self.flush()

    def wrapped(self, data):
        for at in range(0, len(data), 16_384):
            self.tls.write(data[at : at + 16_384])
        return self.outgoing.read()

    def took(self, piece):
        self.incoming.write(piece)
        if not self.ready:
            return
        try:
            while plain := self.tls.read(262_144):
                self.understood(plain)
            self.over("eof")
        except (ssl.SSLWantReadError, ssl.SSLSyscallError):
            pass
        except ssl.SSLError as error:
            self.over("eof" if "EOF" in str(error) or "CLOSE" in str(error) else f"alert: {error.reason}")

    def understood(self, plain):
        super().took(plain)


def cut_within(attackers, seconds, *, soonest=0.0, drip=None, every=0.3, over=None):
    """Keeps connections until each is cut or `over`, and does `drip(one)` to them in a rhythm. All must be in time."""
    over = over or (lambda one: False)
    live = list(attackers)
    rhythm = time.monotonic()
    late = False
    while live and not late:
        late = time.monotonic() > max(one.began for one in live) + seconds + SLACK  # even then they get one last look
        look_all(live)
        live = [one for one in live if not one.ended and not over(one)]
        if drip and time.monotonic() >= rhythm:
            rhythm += every
            for one in live:
                drip(one)
        time.sleep(0.03)
    assert not live, f"{len(live)} of {len(attackers)} were not cut within {seconds}+{SLACK} s; saw {saw(live[0])}"
    times = [one.after for one in attackers if one.after is not None]
    assert not times or min(times) >= soonest, f"cut after {min(times):.2f} s, not before {soonest} s; {saw(attackers[0])}"


def saw(one):
    return getattr(one, "seen", None) or bytes(one.got[:200])


def look_all(live):
    if any(one.deaf for one in live):
        held = Sockets().pairs
        for one in live:
            if one.deaf:
                one.seen_among(held)
    for one in live:
        if not one.deaf:
            one.flush()
            one.look()


def flood(one, pieces, seconds, over=lambda: False):
    """Sends pieces as fast as they go until the other end has enough of it, or the time is over; how many went. Then it
    waits for the end, or until it is `over` otherwise."""
    deadline = one.began + seconds + SLACK
    count = 0
    for piece in pieces:
        if one.deaf:
            one.look()
        left = deadline - time.monotonic()
        if one.ended or left <= 0 or not one.push(piece, left):
            break
        one.look()
        count += 1
    one.until(over, max(0.0, deadline - time.monotonic()))
    return count
