"""What one instance counts by itself."""

import concurrent.futures
import select
import socket
import time

import pytest
import requests

from processes import wait_until


def statuses(gate, number, **options):
    with requests.Session() as session:
        return [session.get(gate.url, timeout=60, **options).status_code for _ in range(number)]


def test_a_window_lets_exactly_so_many_pass(gate):
    gate = gate(limit={"requests": 5, "window": "1h", "headers": "window"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = [status for part in pool.map(lambda _: statuses(gate, 5), range(8)) for status in part]
    assert (found.count(200), found.count(429)) == (5, 35)
    answer = gate.get()
    told = {name: answer.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Window")}
    assert told == {"Limit": "5", "Remaining": "0", "Window": "3600"}
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600
    assert gate.metric("pylon_ratelimit_rejected_total", route="all", limit="window") == 36


def test_a_window_opens_when_its_requests_leave_it(gate):
    gate = gate(limit={"requests": 2, "window": "2s"})
    began = time.monotonic()
    assert statuses(gate, 2) == [200, 200]
    done = time.monotonic()
    status = gate.get().status_code
    assert status == 429 or time.monotonic() - began >= 2.0, f"a third one passes after {time.monotonic() - began} s"
    wait_until(lambda: gate.get().status_code == 200, what="a place in the window")
    assert time.monotonic() - began >= 2.0, f"the first was done after {done - began} s"


def test_a_bucket_fills_at_its_rate(gate):
    gate = gate(limit={"rate": "10/s", "burst": 5})
    began = time.monotonic()
    passed = 0
    while (took := time.monotonic() - began) < 3 or (passed < 10 and took < 60):
        passed += gate.get().status_code == 200
    took = time.monotonic() - began
    assert 10 <= passed <= 5 + 10 * took + 1


@pytest.mark.parametrize("turned", [False, True])
def test_two_rates_count_by_themselves(gate, turned):
    """Many in a second, few in an hour: one bucket for both would be filled by the faster."""
    limits = [{"rate": "1000/s"}, {"rate": "5/h"}]
    gate = gate(limit=limits[::-1] if turned else limits)
    assert statuses(gate, 10) == [200] * 5 + [429] * 5


def test_what_a_client_is_told_by_default(gate):
    gate = gate(limit={"rate": "60/m"})
    headers = gate.get().headers
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"], headers["X-RateLimit-Reset"]) == (
        "60",
        "59",
        "1",
    )


def test_the_answer_is_the_routes_page_or_the_limits_own(gate):
    gate = gate(
        {"name": "a", "path": "/a", "limit": {"rate": "1/h"}},
        {"name": "b", "path": "/b", "limit": {"rate": "1/h", "answer": {"status": 503, "body": "{}", "type": "a/b"}}},
    )
    assert [gate.status("/a"), gate.status("/b")] == [200, 200]
    page, own = gate.get("/a", headers={"Accept": "application/json"}), gate.get("/b")
    assert (page.status_code, page.headers["Content-Type"]) == (429, "application/problem+json")
    assert page.json()["status"] == 429 and "Retry-After" in page.headers
    assert (own.status_code, own.text, own.headers["Content-Type"]) == (503, "{}", "a/b")
    assert own.headers["Cache-Control"] == "no-store"


def test_keys_have_budgets_of_their_own(gate):
    gate = gate(limit={"by": "header.X-Key", "rate": "1/h"})
    assert [gate.status(**{"X-Key": key}) for key in ("a", "b", "a")] == [200, 200, 429]
    assert [gate.status(), gate.status()] == [200, 429], "without a key it counts by address"


def test_limits_of_one_name_are_one_on_all_routes(gate):
    limit = {"name": "both", "requests": 2, "window": "1h"}
    gate = gate({"name": "a", "path": "/a", "limit": limit}, {"name": "b", "path": "/b", "limit": limit})
    assert [gate.status("/a"), gate.status("/b"), gate.status("/a"), gate.status("/b")] == [200, 200, 429, 429]


def test_counts_outlive_a_reload(gate):
    gate = gate(limit={"requests": 2, "window": "1h"})
    assert statuses(gate, 2) == [200, 200]
    gate.reload(limit={"requests": 3, "window": "1h"}, methods=["GET"])
    assert statuses(gate, 2) == [200, 429]


def test_a_limit_that_is_raised_holds_at_once(gate):
    gate = gate(limit={"rate": "2/h"})
    assert statuses(gate, 3) == [200, 200, 429]
    gate.reload(limit={"rate": "100/s"})
    wait_until(lambda: gate.get().status_code == 200, what="the new rate")
    assert int(gate.get().headers["X-RateLimit-Reset"]) <= 1


class Waiting:
    """Clients whose requests are under way until they are dropped."""

    def __init__(self, gate, origin):
        self.gate, self.origin, self.sockets = gate, origin, []
        origin.released.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.origin.released.set()
        for sock in self.sockets:
            sock.close()

    def begin(self, head=""):
        host, port = self.gate.authority.split(":")
        sock = socket.create_connection((host, int(port)), timeout=60)
        sock.sendall(f"GET /wait HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        self.sockets.append(sock)
        return sock

    def enter(self):
        """Begins until one is let in: the place of a request comes back a moment after its answer."""

        def is_in():
            sock = self.begin()
            while not (inside := self.origin.waiting.acquire(timeout=0.05)) and not select.select([sock], [], [], 0)[0]:
                pass
            return inside

        wait_until(is_in, what="a place")


def test_places_come_back_when_clients_vanish(gate, origin):
    gate = gate(limit={"concurrent": 3})
    with Waiting(gate, origin) as clients:
        for _ in range(3):
            clients.begin()
            assert origin.waiting.acquire(timeout=60)
        answer = gate.get()
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        clients.sockets.pop().close()
        wait_until(lambda: gate.get().status_code == 200, what="the place of a client that vanished")
        clients.enter()
        assert gate.get().status_code == 429
    wait_until(lambda: gate.get().status_code == 200, what="the places of requests that ended")


def test_a_tunnel_has_its_place_until_it_ends(gate, origin):
    gate = gate(limit={"concurrent": 1})
    origin.released.set()
    host, port = gate.authority.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as tunnel:
        tunnel.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        assert tunnel.recv(1000).startswith(b"HTTP/1.1 101")
        tunnel.sendall(b"hello")
        assert tunnel.recv(100) == b"hello"
        for _ in range(5):
            assert gate.get().status_code == 429
    wait_until(lambda: gate.get().status_code == 200, what="the place of the tunnel")


def send_twice(gate, name, values):
    """The status of a request that has a header more than once."""
    host, port = gate.authority.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        lines = "".join(f"{name}: {value}\r\n" for value in values)
        sock.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
        return int(sock.makefile("rb").readline().split()[1])


def test_a_good_key_does_not_lend_itself_to_another(gate):
    """The upstream may take another of two keys than Pylon."""
    gate = gate(limit={"by": "header.X-Key", "requests": 1, "window": "1h", "count": "accepted"})
    for values in (["victim", "mine"], ["mine", "victim"], ["victim", ""]):
        assert send_twice(gate, "X-Key", values) == 400
    assert [gate.status(**{"X-Key": "victim"}) for _ in range(2)] == [200, 429]


def test_who_brings_a_forged_key_is_not_told_of_its_owner(gate):
    gate = gate(limit={"by": "header.X-Key", "requests": 9, "window": "1h", "count": "accepted"})
    good, bad = ({"X-Key": "k"} | more for more in ({}, {"Authorization": "x:bad"}))
    assert gate.get(headers=good).headers["X-RateLimit-Remaining"] == "8"
    # Whether it is the upstream that answers, or Pylon.
    for path, status, headers in (("/", 401, bad), ("/status/777", 502, good)):
        answer = gate.get(path, headers=headers)
        assert answer.status_code == status and not [name for name in answer.headers if "ratelimit" in name.lower()]


def test_whoever_brings_a_key_is_told_of_limits_that_have_no_part_in_it(gate):
    all_of_it = {"by": "route", "requests": 100, "window": "1h"}
    gate = gate(limit=[all_of_it, {"by": "header.X-Key", "requests": 9, "window": "1h", "count": "accepted"}])
    for path, status, limit, left in (
        ("/status/401", 401, "100", "99"),
        ("/status/777", 502, "100", "98"),
        ("/", 200, "9", "8"),
        ("/status/403", 403, "100", "96"),
    ):
        answer = gate.get(path, headers={"X-Key": "k"})
        told = [answer.headers.get(f"X-RateLimit-{name}") for name in ("Limit", "Remaining")]
        assert (answer.status_code, *told) == (status, limit, left)


@pytest.mark.parametrize("status", [400, 401])
def test_a_key_that_the_upstream_refuses_spends_nothing(gate, status):
    limit = {"by": "header.X-Key", "requests": 2, "window": "1h", "count": "accepted", "refused": [400, 401]}
    gate = gate(limit=limit)
    assert {gate.status(f"/status/{status}", **{"X-Key": "victim"}) for _ in range(10)} == {status}
    assert [gate.status(**{"X-Key": "victim"}) for _ in range(3)] == [200, 200, 429]
