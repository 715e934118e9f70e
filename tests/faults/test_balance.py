"""Who of several gets a request: weights, hashes, cookies, load."""

import collections
import itertools
import threading
import time

import pytest

from client import call, together
from origins import KEEP, ok, reply
from proxies import pool

KEYS = [f"key-{number}" for number in range(60)]
BALANCES = {
    "round_robin": "round_robin",
    "least_requests": "least_requests",
    "peak_ewma": "peak_ewma",
    "hash": {"hash": "header.X-Key"},
}


def spread(proxy, count, path="/all/x", **request):
    """How many each origin answered."""
    return collections.Counter(served(proxy, path, **request) for _ in range(count))


def served(proxy, path="/all/x", **request):
    answer = call(proxy, path, **request)
    assert (answer.status, answer.complete) == (200, True), answer
    return answer["x-origin"]


def with_key(proxy, key, path="/all/x"):
    return served(proxy, path, fields=[("X-Key", key)])


@pytest.fixture(scope="module")
def three(shared):
    return [shared.origin(name=f"origin-{number}") for number in range(3)]


def test_round_robin_is_even(rig, three):
    assert sorted(spread(rig.proxy({"all": pool(*three)}), 90).values()) == [30, 30, 30]


@pytest.mark.parametrize("weights", [(1, 2, 3), (1, 1, 8), (5, 0, 5), (100, 200, 300)], ids=str)
def test_weights_are_shares(rig, three, weights):
    counts = spread(rig.proxy({"all": pool(*zip(three, weights))}), 240)
    for origin, weight in zip(three, weights):
        assert abs(counts[origin.name] - 240 * weight / sum(weights)) <= 4, counts


def test_weights_are_smooth(rig, three):
    """A heavy one does not get its share in a row."""
    proxy = rig.proxy({"all": pool((three[0], 3), (three[1], 3))})
    names = [served(proxy) for _ in range(60)]
    runs = max(len(list(run)) for _, run in itertools.groupby(names))
    assert runs <= 4, names


@pytest.mark.parametrize("kind", BALANCES)
def test_weight_0_gets_nothing(rig, three, kind):
    proxy = rig.proxy({"all": pool((three[0], 1), (three[1], 0), (three[2], 2), balance=BALANCES[kind])})
    counts = collections.Counter(with_key(proxy, key) for key in KEYS)
    counts.update(sum(together(6, lambda _: [served(proxy) for _ in range(10)]), []))
    assert three[1].name not in counts
    if kind != "peak_ewma":
        assert len(counts) == 2, counts


def test_weight_0_gets_nothing_when_the_others_fail(rig, three):
    refusing = rig.silent()
    proxy = rig.proxy({"all": pool(refusing, (three[0], 0))})
    assert {call(proxy, "/all/x").status for _ in range(10)} <= {502, 503}


@pytest.mark.parametrize("kind", BALANCES)
def test_whoever_is_asked_refused_requests_go_elsewhere(rig, three, kind):
    retry = {"attempts": 3, "budget": "100%"}
    proxy = rig.proxy({"all": pool(rig.silent(), *three, balance=BALANCES[kind], retry=retry)})
    names = {with_key(proxy, key) for key in KEYS}
    assert names <= {origin.name for origin in three}


def test_a_hash_is_consistent(rig, three):
    proxy = rig.proxy({"all": pool(*three, balance={"hash": "header.X-Key"})})
    first = {key: with_key(proxy, key) for key in KEYS}
    assert {key: with_key(proxy, key) for key in reversed(KEYS)} == first
    counts = collections.Counter(first.values())
    assert len(counts) == 3 and min(counts.values()) >= 5, counts


def test_a_hash_moves_only_the_keys_of_who_is_gone(rig, three):
    keys = {"balance": {"hash": "header.X-Key"}, "retry": {"attempts": 3, "budget": "100%"}}
    proxy = rig.proxy({"all": pool(*three, **keys), "fewer": pool(*three[:2], **keys)})
    before = {key: with_key(proxy, key) for key in KEYS}
    after = {key: with_key(proxy, key, "/fewer/x") for key in KEYS}
    stayed = [key for key in KEYS if before[key] != three[2].name]
    moved = [key for key in stayed if after[key] != before[key]]
    assert len(moved) <= len(stayed) / 10, f"{len(moved)} of {len(stayed)} moved"


def test_a_hash_of_weights(rig, three):
    proxy = rig.proxy({"all": pool((three[0], 1), (three[1], 9), balance={"hash": "header.X-Key"})})
    counts = collections.Counter(with_key(proxy, f"many-{number}") for number in range(300))
    assert 0 < counts[three[0].name] < 90, counts


def test_a_hash_of_a_cookie(rig, three):
    proxy = rig.proxy({"all": pool(*three, balance={"hash": "cookie.session"})})
    first = {key: served(proxy, fields=[("Cookie", f"a=b; session={key}; c=d")]) for key in KEYS}
    assert {key: served(proxy, fields=[("Cookie", f"session={key}")]) for key in KEYS} == first
    assert len(set(first.values())) == 3


def test_a_hash_of_the_client(rig, three):
    proxy = rig.proxy({"all": pool(*three, balance={"hash": "client_ip"})})
    sources = [f"127.0.{one}.{two}" for one in range(1, 6) for two in range(1, 7)]
    first = {source: served(proxy, source=source) for source in sources}
    assert {source: served(proxy, source=source) for source in sources} == first
    assert len(set(first.values())) >= 2


def test_requests_without_the_key_of_a_hash_are_served(rig, three):
    proxy = rig.proxy({"all": pool(*three, balance={"hash": "header.X-Key"})})
    assert sum(spread(proxy, 30).values()) == 30


@pytest.mark.parametrize("balance", ["least_requests", "peak_ewma"])
def test_a_slow_one_is_avoided(rig, three, balance):
    def play(wire, request):
        time.sleep(2)
        return ok(wire, request)

    slow = rig.origin(play)
    proxy = rig.proxy({"all": pool(slow, *three[:2], balance=balance)})
    # All stop when all are done: one client alone would have nobody to be compared with.
    tickets = iter(range(240))
    together(4, lambda _: [served(proxy) for _ in tickets])
    assert len(slow.executed) < 240 / 6, f"{len(slow.executed)} of 240"


@pytest.mark.parametrize("balance", ["least_requests", "peak_ewma"])
def test_one_that_hangs_does_not_collect_requests(rig, three, balance):
    gate = threading.Event()
    stuck = rig.origin(lambda wire, request: gate.wait(30) and ok(wire, request))
    proxy = rig.proxy({"all": pool(stuck, three[0], balance=balance, timeouts={"first_byte": "40s", "idle": "40s"})})
    waiting = [threading.Thread(target=call, args=(proxy, "/all/x"), kwargs={"timeout": 40}) for _ in range(8)]
    for thread in waiting:
        thread.start()
    time.sleep(0.3)
    held = stuck.busy
    gate.set()
    for thread in waiting:
        thread.join()
    assert held <= 6, held


@pytest.mark.parametrize("balance", ["round_robin", "least_requests", "peak_ewma"])
def test_all_take_part(rig, three, balance):
    def play(wire, request):
        time.sleep(0.005)
        wire.send(reply(b"", fields=[("X-Origin", wire.origin.name)]))
        return KEEP

    alike = rig.origins(3, play)
    proxy = rig.proxy({"all": pool(*alike, balance=balance)})
    counts = collections.Counter()
    # One that was slow once, on a busy machine, is avoided for a while where latency counts.
    for _ in range(20 if balance == "peak_ewma" else 1):
        counts.update(sum(together(6, lambda _: [served(proxy) for _ in range(40)]), []))
        if len(counts) == 3 and min(counts.values()) > 240 / 20:
            return
    raise AssertionError(counts)
