"""Redis that is away, slow or refuses: what passes is as declared, nobody waits, and all is well again by itself."""

import itertools
import time

import pytest

from processes import free_port, wait_until

MODES = {"open": 200, "closed": 503, "local": 200}
AWAY, BACK = "does not answer; it is asked", "the Redis server answers"


def limit(url, fail="local", requests=1000, **more):
    redis = {"url": url, "database": 1, "deadline": "3s", "fail": fail} | more
    return {"requests": requests, "window": "900s", "redis": redis}


def quickest(gate, tries=10):
    """The status, and the shortest time of some requests: the machine may be busy for a while."""
    times, statuses = [], set()
    for _ in range(tries):
        began = time.monotonic()
        statuses.add(gate.get().status_code)
        times.append(time.monotonic() - began)
    [status] = statuses
    return status, min(times)


def told_once(gate):
    """Each time that it is away is told by one line: it is back before the next one."""
    told = [AWAY in line for line in gate.log.read_text().splitlines() if AWAY in line or BACK in line]
    assert True in told and all(one != other for one, other in itertools.pairwise(told)), told


@pytest.mark.parametrize("fail", MODES)
def test_a_server_that_is_killed_and_comes_back(gate, start_redis, fail):
    redis = start_redis()
    gate = gate(limit=limit(redis.url, fail))
    gate.store_is(True)
    wait_until(lambda: gate.status() == 200 and redis.client.dbsize() == 2, what="it counts in Redis")
    redis.kill()
    gate.store_is(False)
    status, took = quickest(gate)
    assert status == MODES[fail]
    assert took < 1, "nobody waits for a server that is not there"
    redis.again()
    gate.store_is(True)
    assert gate.status() == 200
    wait_until(lambda: gate.status() == 200 and redis.client.dbsize() == 2, what="it counts in Redis again")
    wait_until(lambda: gate.logged(BACK), what="it is told that it answers again")
    told_once(gate)
    errors = gate.metric("pylon_ratelimit_store_errors_total")
    assert errors >= 10
    if fail == "closed":
        assert gate.metric("pylon_ratelimit_rejected_total") >= 10


@pytest.mark.parametrize("fail", MODES)
def test_a_server_that_hangs(gate, start_redis, fail):
    redis = start_redis()
    gate = gate(limit=limit(redis.url, fail))
    gate.store_is(True)
    assert gate.status() == 200
    with redis.hung():
        began = time.monotonic()
        assert gate.status() == MODES[fail]
        assert time.monotonic() - began < 25, "a request waits for the deadline at most"
        wait_until(lambda: gate.get().status_code == MODES[fail] and gate.logged(AWAY), what="it is seen to hang")
        gate.store_is(False)
        status, took = quickest(gate)
        assert status == MODES[fail]
        assert took < 1, "soon nobody waits any more"
    gate.store_is(True)
    assert gate.status() == 200
    told_once(gate)


def test_the_limit_holds_on_each_instance_while_redis_is_away(gate):
    gates = [gate(limit=limit(f"redis://127.0.0.1:{free_port()}", "local", requests=3)) for _ in range(2)]
    for one in gates:
        assert [one.status() for _ in range(4)] == [200, 200, 200, 429]


def test_a_server_that_comes_late(gate, start_redis):
    port = free_port()
    gate = gate(limit=limit(f"redis://127.0.0.1:{port}", "closed"))
    assert gate.get().headers["Retry-After"] == "1"
    start_redis(port=port)
    gate.store_is(True)
    assert gate.status() == 200


def test_a_wrong_password_is_told_without_it(gate, start_redis):
    redis = start_redis(password="right-password")
    gate = gate(limit=limit(redis.url, "closed", password="wrong-password"))
    wait_until(lambda: gate.logged(AWAY), what="the wrong password is told")
    assert gate.status() == 503
    assert not gate.logged("wrong-password")
    gate.reload(limit=limit(redis.url, "closed", password="right-password"))
    gate.store_is(True)
    assert gate.status() == 200


def test_a_server_that_is_full(gate, start_redis):
    redis = start_redis("--maxmemory-policy", "noeviction")
    gate = gate(limit=limit(redis.url, "closed"))
    gate.store_is(True)
    assert gate.status() == 200
    redis.client.config_set("maxmemory", "1")
    assert [gate.status() for _ in range(5)] == [503] * 5
    gate.store_is(False)
    wait_until(lambda: gate.logged("answers with errors"), what="it is told")
    assert len(gate.logged("answers with errors")) == 1
    redis.client.config_set("maxmemory", "0")
    assert gate.status() == 200
    gate.store_is(True)


def test_a_server_that_may_only_be_read(gate, start_redis):
    redis = start_redis("--replica-serve-stale-data", "yes")
    gate = gate(limit=limit(redis.url, "open"))
    gate.store_is(True)
    redis.client.replicaof("127.0.0.1", str(free_port()))
    assert gate.status() == 200
    # In the words of the client, which names the code READONLY so; logs are written a moment later.
    wait_until(lambda: gate.logged("read only replica"), what="it is told")
    redis.client.replicaof("NO", "ONE")
    assert gate.status() == 200
    gate.store_is(True)


def test_all_that_is_counted_is_lost(gate, start_redis):
    redis = start_redis()
    gate = gate(limit=limit(redis.url, "closed", requests=1))
    gate.store_is(True)
    assert [gate.status(), gate.status()] == [200, 429]
    redis.client.flushall()
    assert [gate.status(), gate.status()] == [200, 429]
    assert gate.metric("pylon_ratelimit_store_errors_total") == 0
