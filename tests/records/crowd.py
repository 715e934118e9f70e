"""Clients in threads, each with a connection that it keeps, until they are told to stop."""

import threading
import time

from processes import wait_until


class Crowd:
    """Asks for a target over and over; `statuses` has what they got, `failed` what went wrong, `slowest` the longest wait."""

    def __init__(self, instance, *targets, threads=2, most=None, lines=()):
        self.instance, self.targets, self.lines = instance, targets, lines
        self.count, self.most = threads, most
        self.statuses, self.failed, self.slowest = {}, [], 0.0
        self.over = threading.Event()

    def __enter__(self):
        self.threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(self.count)]
        for one in self.threads:
            one.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.wait()

    def wait(self):
        for one in self.threads:
            one.join(60)

    @property
    def done(self):
        return sum(list(self.statuses.values()))

    def comes_to(self, count):
        """Waits until so many more are answered."""
        target = self.done + count
        wait_until(lambda: self.done >= target or self.failed, what=f"{count} answers")
        assert not self.failed, self.failed[:3]

    def _ask(self, number):
        try:
            while not self.over.is_set():
                with self.instance.peer() as peer:
                    self._ask_on(peer, number)
                if self.most and self.done >= self.most:
                    return
        except Exception as error:
            self.failed.append(repr(error))

    def _ask_on(self, peer, number):
        """Asks on one connection, for as long as it is kept."""
        for turn in range(200):
            if self.over.is_set() or (self.most and self.done >= self.most):
                return
            begin = time.monotonic()
            answer = peer.ask(self.targets[(turn + number) % len(self.targets)], *self.lines)
            self.slowest = max(self.slowest, time.monotonic() - begin)
            self.statuses[answer.status, number] = self.statuses.get((answer.status, number), 0) + 1
            if answer.headers.get("connection") == "close":
                return

    def by_status(self):
        found = {}
        for (status, _), count in self.statuses.items():
            found[status] = found.get(status, 0) + count
        return found


def flood(instance, target, count, status=200, *lines, batch=200):
    """Asks so often on one connection, many requests at a time; each must be answered with this status."""
    fields = "".join(f"{line}\r\n" for line in lines)
    asked = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()
    begin = b"HTTP/1.1 %d " % status
    with instance.peer() as peer:
        for at in range(0, count, batch):
            wanted, data = min(batch, count - at), bytearray()
            peer.send(asked * wanted)
            while data.count(begin) < wanted:
                piece = peer.socket.recv(1 << 18)
                assert piece, bytes(data[-300:])
                data += piece
            assert data.count(b"HTTP/1.1 ") == wanted, bytes(data[:300])
