"""Both directions at once, with more than the buffers on the way hold: nobody may wait for somebody who waits for him."""

import contextlib
import socket
import threading
import time
import urllib.request

import pytest

from client import Caller, together
from processes import wait_until
from wire import Ended

BODY = bytes(range(256)) * (24 << 12)
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "bytes")]


@pytest.fixture(scope="module")
def bench(shared):
    return shared.bench(timeouts={"first_byte": "20s", "idle": "120s"})


class Sender:
    """Sends from a thread of its own and tells how far it is."""

    def __init__(self, wire, data):
        self.sent, self.ended = 0, False
        self.thread = threading.Thread(target=self._run, args=(wire, data), daemon=True)
        self.thread.start()

    def _run(self, wire, data):
        with contextlib.suppress(OSError, Ended):
            while self.sent < len(data):
                self.sent += wire.sock.send(data[self.sent : self.sent + 65_536])
            self.ended = True

    def until_it_stands(self):
        """Until nothing has moved for a second: one that is only slow makes a test easier, and no more."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 1:
            if seen != self.sent:
                seen, since = self.sent, time.monotonic()
            time.sleep(0.05)


def echoes(wire, request):
    """Sends back what it has, and reads no further before that has been taken."""
    wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    left = int(request["content-length"])
    while left:
        if not wire.data:
            wire.more()
        part, wire.data = wire.data, b""
        wire.send(b"%x\r\n" % len(part), part, "\r\n")
        left -= len(part)
    wire.send("0\r\n\r\n")
    return True


def echoes_in_a_tunnel(wire, _):
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n")
    while True:
        wire.send(wire.data)
        wire.data = b""
        wire.more()


def says_all_first(wire, request):
    """Answers, and does not read before all of that has been taken."""
    length = len(BODY)
    wire.send(f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n", BODY)
    wire.copy(length, bytearray())
    return True


def says_all_first_in_a_tunnel(wire, _):
    wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n", BODY)
    wire.copy(len(BODY), bytearray())
    wire.until_left()
    return True


def begin(caller, *fields):
    caller.wire.send("\r\n".join(["POST /one/x HTTP/1.1", "Host: faults.test", *fields, "", ""]))


LATE = pytest.mark.parametrize("late", [False, True], ids=["at-once", "late"])


@LATE
@pytest.mark.parametrize("origin", [echoes, says_all_first], ids=lambda origin: origin.__name__)
def test_an_answer_arrives_while_the_upload_goes_on(bench, origin, late):
    bench.play(at_head=origin)
    with Caller(bench.proxy, timeout=60) as caller:
        begin(caller, f"Content-Length: {len(BODY)}")
        sender = Sender(caller.wire, BODY)
        if late:
            sender.until_it_stands()
            assert not sender.ended, "nothing has filled up"
        answer = caller.answer("POST")
    assert (answer.status, answer.complete, answer.body == BODY) == (200, True, True), (answer.why, len(answer.body))
    bench.is_sound()


@LATE
@pytest.mark.parametrize("origin", [echoes_in_a_tunnel, says_all_first_in_a_tunnel], ids=lambda origin: origin.__name__)
def test_a_tunnel_carries_both_ways_at_once(bench, origin, late):
    bench.play(at_head=origin)
    with Caller(bench.proxy, timeout=60) as caller:
        caller.ask("/one/x", fields=UPGRADE)
        assert caller.answer().status == 101
        sender = Sender(caller.wire, BODY)
        if late:
            sender.until_it_stands()
            assert not sender.ended, "nothing has filled up"
        back = bytearray()
        caller.wire.copy(len(BODY), back)
        sender.thread.join(60)
    assert (back == BODY, sender.ended) == (True, True)
    bench.is_sound()


def test_an_upload_waits_for_a_server_that_answers_and_does_not_read(bench):
    """What it has not taken is not heaped up, and arrives when it takes it."""
    go, got = threading.Event(), bytearray()

    def at_head(wire, request):
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nearly\r\n")
        go.wait(60)
        wire.copy(int(request["content-length"]), got)
        wire.send("0\r\n\r\n")
        return True

    bench.play(at_head=at_head)
    before = bench.proxy.memory("VmRSS")
    with Caller(bench.proxy, timeout=60) as caller:
        begin(caller, f"Content-Length: {len(BODY)}")
        sender = Sender(caller.wire, BODY)
        sender.until_it_stands()
        assert not sender.ended, "nothing has filled up"
        grown = bench.proxy.memory("VmRSS") - before
        go.set()
        answer = caller.answer("POST")
    assert (answer.status, answer.body, answer.complete) == (200, b"early", True), answer
    assert got == BODY
    assert grown < 3 << 20, grown


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
def test_an_upload_that_nobody_takes_ends(shared, leaves):
    """The server answers when it has been sent all that buffers hold, and takes no more; the client sends on, or leaves."""
    bench = shared.bench(timeouts={"idle": "6s"})
    stands, went = threading.Event(), threading.Event()

    def at_head(wire, _):
        stands.wait(60)
        wire.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
        went.wait(90)
        return True

    bench.play(at_head=at_head)
    try:
        with Caller(bench.proxy, timeout=60) as caller:
            begin(caller, f"Content-Length: {len(BODY)}")
            sender = Sender(caller.wire, BODY)
            sender.until_it_stands()
            stands.set()
            answer = caller.answer("POST")
            assert (answer.status, answer.body, answer.complete) == (413, b"too much", True), answer
            if not leaves:
                wait_until(lambda: under_way(bench) == 0, 60, "it has ended")
        wait_until(lambda: under_way(bench) == 0, 60, "it has ended")
    finally:
        went.set()
    bench.is_sound()


@pytest.mark.parametrize("close", [False, True], ids=["kept", "close"])
def test_what_follows_an_answer_still_arrives(bench, close):
    """The whole answer comes when the server has not taken the whole request; it takes the rest later."""
    go, got = threading.Event(), {}

    def at_head(wire, request):
        length = int(request["content-length"])
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "Connection: close\r\n" * close, "\r\n")
        for _ in range(150):
            wire.send("2\r\nok\r\n")
            time.sleep(0.01)
        wire.send("0\r\n\r\n")
        go.wait(240)
        got[length] = bytearray()
        with contextlib.suppress(Ended):
            wire.copy(length, got[length])
        return True

    def upload(length):
        with Caller(bench.proxy, timeout=240) as caller:
            begin(caller, f"Content-Length: {length}")
            sender = Sender(caller.wire, BODY[:length])
            answer = caller.answer("POST")
            assert (answer.status, answer.complete) == (200, True), answer
            answers.wait(240)
            go.set()
            sender.thread.join(240)
            return sender.ended

    bench.origin.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    # What buffers hold is for the system to know. Of some of these they hold all but the end, and Pylon alone has that.
    lengths = range(2_000_000, 5_000_000, 160_000)
    answers = threading.Barrier(len(lengths))
    bench.play(at_head=at_head)
    assert all(together(len(lengths), lambda number: upload(lengths[number])))
    wait_until(lambda: len(got) == len(lengths) and not bench.origin.wires, what="the server has all that it gets")
    assert {length: len(body) for length, body in got.items()} == {length: length for length in lengths}
    assert all(BODY.startswith(body) for body in got.values())


def under_way(bench):
    return metric(bench, "pylon_http_requests_in_flight{")


def metric(bench, begin):
    """The sum of the series that begin so."""
    with urllib.request.urlopen(f"http://{bench.proxy.admin}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(begin))


def test_the_last_words_of_a_tunnel_arrive(bench):
    """The client goes before the server, which speaks as well, has taken what it said."""
    quiet, go, got, said = threading.Event(), threading.Event(), bytearray(), []

    def at_head(wire, _):
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: bytes\r\n\r\n")
        while not quiet.is_set():
            wire.send(b"." * 1000)
            said.append(1000)
        go.wait(60)
        with contextlib.suppress(EOFError):
            wire.to_the_end(got)
        return True

    bench.play(at_head=at_head)
    with Caller(bench.proxy, timeout=60) as caller:
        caller.ask("/one/x", fields=UPGRADE)
        assert caller.answer().status == 101
        heard = []
        threading.Thread(target=listens, args=(caller.wire, heard), daemon=True).start()
        sender = Sender(caller.wire, BODY)
        sender.until_it_stands()
        quiet.set()
        # What is unread when a connection is closed would take what is sent with it.
        wait_until(lambda: sum(heard) == sum(said), 30)
        sent = sender.sent
        caller.wire.sock.shutdown(socket.SHUT_WR)
        go.set()
        wait_until(lambda: not bench.origin.wires, 60)
    assert sent and got == BODY[: len(got)] and len(got) >= sent, (len(got), sent)


def listens(wire, heard):
    with contextlib.suppress(Ended):
        while True:
            heard.append(len(wire.data))
            wire.data = b""
            wire.more()
