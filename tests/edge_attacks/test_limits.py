"""Limits of connections, of a client and of all; and a process that runs out of file descriptors."""

import contextlib
import os
import time

import pytest

from attackers import Plain, Secure, cut_within, source
from conftest import attacked
from edge import KEEP_ALIVE, SLACK
from healthy import KEPT
from processes import wait_until
from slow_http1 import HEAD

ASK = HEAD.replace(b"?slow", b"?limits") + b"\r\n"
ALL, EACH = 200, 50
WAITING = os.cpu_count() or 1  # each worker may have accepted one more, which waits for its place
FEW = {"connections": ALL, "connections_per_client": EACH}


@pytest.fixture(scope="module")
def narrow(ground):
    return ground.keep(ground.proxy(limits=FEW))


@pytest.fixture(scope="module")
def patient(ground):
    """It is narrow as well, and closes nothing but what is too much."""
    return ground.keep(ground.proxy(limits=FEW, patient=True))


def opened(edge, count, address=None, **options):
    """Connections, with those that were refused at once."""
    made = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            made.append(Plain(edge, address=address or source(), **options))
    return made


def asks(one, seconds=SLACK):
    """Whether it is served; its end is one, too."""
    one.push(ASK)
    one.until(lambda: b"fine" in one.got, seconds)
    return b"fine" in one.got


def is_served(edge, address=None):
    with contextlib.suppress(OSError):
        one = Plain(edge, address=address or source())
        served = asks(one)
        one.close()
        return served
    return False


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_a_client_has_so_many_connections(patient, kind, request):
    own = source()
    with attacked(patient, request.node.name):
        made = opened(patient, EACH + 10, own, kind=kind)
        wait_until(lambda: closed(made) >= 10, what="the surplus is closed")
        assert closed(made) == 10, f"{closed(made)} of {len(made)} were closed"
        assert is_served(patient), "another client is not served"
        if kind == "plain":
            assert all(asks(one) for one in made if not one.ended), "those within are served"
        for one in made:
            one.close()
        wait_until(lambda: is_served(patient, own), what="the client is served again")


def closed(made):
    for one in made:
        one.look()
    return sum(bool(one.ended) for one in made)


def test_a_client_behind_a_proxy_is_counted_by_itself(patient, request):
    """Connections of one load balancer for many clients are no connections of one client."""
    own = source()
    with attacked(patient, request.node.name):
        made = opened(patient, EACH + 10, own, kind="proxied")
        for number, one in enumerate(made):
            one.push(b"PROXY TCP4 127.88.0.%d 127.0.0.1 4242 80\r\n" % (number + 1))
        assert all(asks(one) for one in made)
        for one in made:
            one.close()
        wait_until(lambda: len(patient.clients()) < 10, what="they are gone")
        many = opened(patient, EACH + 10, kind="proxied")
        for one in many:
            one.push(b"PROXY TCP4 127.89.0.1 127.0.0.1 4242 80\r\n")
        wait_until(lambda: closed(many) >= 10, what="the surplus of one client is closed")
        assert closed(many) == 10, f"{closed(many)} of {len(many)} were closed"


def test_all_clients_have_so_many_connections(narrow, request):
    """Those beyond wait or are closed; those within are served, and their places are taken again."""
    with attacked(narrow, request.node.name, kinds=KEPT):
        before = len(narrow.clients())
        made = opened(narrow, ALL + 100)
        time_of_peak = time.monotonic()
        for one in made:
            one.push(ASK)
        # Which ones is open: idle ones make room for those that wait.
        wait_until(lambda: served(made) >= ALL - before - 10, what="so many are served")
        held = len(held_on(narrow, "plain"))
        if time.monotonic() < time_of_peak + KEEP_ALIVE:  # later, one may be closed while the next has its place
            assert held <= ALL + WAITING, f"{held} connections are held"
        for one in made:
            one.close()
        wait_until(lambda: is_served(narrow), what="new clients are served again")


def served(made):
    for one in made:
        one.look()
    return sum(b"fine" in one.got for one in made)


def held_on(edge, kind):
    return [pair for pair in edge.clients() if pair[0][1] == edge.ports[kind]]


def test_idle_connections_far_beyond_the_limit(narrow, request):
    """Idle ones make room after their time, so that a new client gets its turn."""
    sources = [source() for _ in range(100)]
    with attacked(narrow, request.node.name, kinds=KEPT):
        made = []
        for number in range(500):
            made += opened(narrow, 1, sources[number % 100])
        assert len(held_on(narrow, "plain")) <= ALL + WAITING
        cut_within(made, 4 * KEEP_ALIVE)
        wait_until(lambda: is_served(narrow), what="a new client is served")


def test_without_file_descriptors(ground, request):
    """Established clients go on, there is no spinning, and it recovers."""
    edge = ground.proxy(limits={"connections": 5000, "connections_per_client": 1000}, files=256)
    try:
        with attacked(edge, request.node.name, kinds=("plain, kept", "tls, kept")):
            own = source()
            made = opened(edge, 400, own)
            for one in made[:20]:
                one.push(HEAD)
            used, began = edge.cpu(), time.monotonic()
            wait_until(lambda: time.monotonic() > began + 1)
            spent = (edge.cpu() - used) / (time.monotonic() - began)
            print(f"{spent:.2f} s of processor time in a second, {edge.files()} files")
            assert edge.files() <= 256
            assert spent < 0.6, f"it spins: {spent:.2f} s of processor time in a second"
            for one in made:
                one.close()
            wait_until(lambda: is_served(edge), what="new clients are served again")
            secure = Secure(edge)
            secure.push(ASK)
            assert secure.status() == 200
    finally:
        edge.stop()
