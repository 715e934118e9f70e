"""What several instances count together in Redis, in the form that others write too."""

import concurrent.futures
import time

import pytest
import requests

from processes import wait_until

ORIGINAL = {"prefix": "", "counter": "__request_id", "keys": "raw"}
PATTERN = r"^Scheme credential=([^:,]+):\w+$"


def rolling(server, requests_, **more):
    """The rolling window of 900 s, by a key in `Authorization`."""
    limit = {
        "by": {"header": "Authorization", "pattern": PATTERN},
        "otherwise": "pass",
        "requests": requests_,
        "window": "900s",
        "rejected": "counted",
        "headers": "window",
        "redis": ORIGINAL | {"url": server.url, "database": 1, "deadline": "5s", "fail": "closed"},
    }
    limit["redis"] |= more.pop("redis", {})
    return limit | more


def bearing(key, signature="good"):
    return {"Authorization": f"Scheme credential={key}:{signature}"}


class Manager:
    """Who else counts in that database: number, drop what is 900 s old, add, keep for 900 s, count."""

    SCRIPT = """
    local n = redis.call('INCR', '__request_id')
    if n >= 1000000000000 then redis.call('SET', '__request_id', '1') end
    redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, tonumber(ARGV[1]) - 900)
    redis.call('ZADD', KEYS[1], ARGV[1], tostring(n))
    redis.call('EXPIRE', KEYS[1], 900)
    return redis.call('ZCARD', KEYS[1])
    """

    def __init__(self, redis):
        self.run = redis.client.register_script(self.SCRIPT)

    def count(self, key):
        return self.run(keys=[key], args=[f"{time.time():.3f}"])


def hammer(gates, number, headers):
    """The statuses of so many requests at each of the instances, all at once."""

    def one(gate):
        with requests.Session() as session:
            return [session.get(gate.url, headers=headers, timeout=60).status_code for _ in range(number)]

    with concurrent.futures.ThreadPoolExecutor(2 * len(gates)) as pool:
        return [status for part in pool.map(one, gates * 2) for status in part]


@pytest.mark.parametrize("kind", ["window", "window, rejected free", "rate"])
def test_four_instances_admit_exactly_the_limit(gate, redis, kind):
    redis.client.flushall()
    limit = rolling(redis, 100)
    if kind == "rate":
        for key in ("requests", "window", "rejected"):
            del limit[key]
        limit |= {"rate": "1/h", "burst": 100}
    elif kind != "window":
        limit["rejected"] = "free"
    gates = [gate(limit=limit) for _ in range(4)]
    found = hammer(gates, 25, bearing("AKIAFLEET"))
    assert (found.count(200), found.count(429), len(found)) == (100, 100, 200)
    if kind == "window":
        assert redis.client.zcard("AKIAFLEET") == 200, "those over the limit are counted too"
    elif kind != "rate":
        assert redis.client.zcard("AKIAFLEET") == 100
    assert sum(one.metric("pylon_ratelimit_rejected_total") for one in gates) == 100
    assert sum(one.metric("pylon_ratelimit_store_errors_total") for one in gates) == 0


def test_keys_scores_members_and_times_are_those_of_the_original(gate, redis):
    redis.client.flushall()
    redis.client.set("__request_id", 41)
    gate = gate(limit=rolling(redis, 3))
    before = time.time()
    answers = [gate.get(headers=bearing("AKIAFORM")) for _ in range(4)]
    after = time.time()
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    told = [[answer.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Window")] for answer in answers]
    assert told == [["3", "2", "900"], ["3", "1", "900"], ["3", "0", "900"], ["3", "0", "900"]]
    assert 890 <= int(answers[3].headers["Retry-After"]) <= 900
    assert sorted(redis.client.keys()) == ["AKIAFORM", "__request_id"]
    assert redis.client.get("__request_id") == "45"
    entries = redis.client.zrange("AKIAFORM", 0, -1, withscores=True)
    assert [member for member, _ in entries] == ["42", "43", "44", "45"]
    for _, score in entries:
        assert before - 0.01 <= score <= after + 0.01
        assert round(score, 3) == score, "to the millisecond"
    assert 890 < redis.client.ttl("AKIAFORM") <= 900
    others = [redis.client.__class__(port=redis.port, db=number).dbsize() for number in (0, 2)]
    assert others == [0, 0]


def test_the_counter_begins_again(gate, redis):
    redis.client.flushall()
    redis.client.set("__request_id", 10**12 - 2)
    gate = gate(limit=rolling(redis, 10))
    assert [gate.status(**bearing("AKIAWRAP")) for _ in range(3)] == [200, 200, 200]
    assert set(redis.client.zrange("AKIAWRAP", 0, -1)) == {str(10**12 - 1), str(10**12), "2"}


def test_what_is_900_seconds_old_has_left(gate, redis):
    redis.client.flushall()
    gate = gate(limit=rolling(redis, 2))
    now = time.time()
    redis.client.zadd("AKIAOLD", {"gone": now - 900.001, "there": now - 870})
    assert [gate.status(**bearing("AKIAOLD")) for _ in range(2)] == [200, 429]
    assert redis.client.zscore("AKIAOLD", "gone") is None
    answer = gate.get(headers=bearing("AKIAOLD"))
    # Two have to leave: the one of the original, and then its own.
    assert int(answer.headers["Retry-After"]) > 30


def test_pylon_and_a_manager_count_together(gate, redis):
    redis.client.flushall()
    gate, manager = gate(limit=rolling(redis, 6)), Manager(redis)
    passed = []
    for turn in range(10):
        passed.append(manager.count("AKIABOTH") <= 6 if turn % 2 else gate.status(**bearing("AKIABOTH")) == 200)
    assert passed == [True] * 6 + [False] * 4
    assert redis.client.zcard("AKIABOTH") == 10


def test_what_the_upstream_counts_is_only_looked_at(gate, redis):
    redis.client.flushall()
    gate, manager = gate(limit=rolling(redis, 2, count="upstream")), Manager(redis)
    for expected in (200, 200, 200):
        assert gate.status(**bearing("AKIALOOK")) == expected
    assert redis.client.dbsize() == 0
    manager.count("AKIALOOK")
    assert gate.get(headers=bearing("AKIALOOK")).headers["X-RateLimit-Remaining"] == "0"
    manager.count("AKIALOOK")
    assert gate.status(**bearing("AKIALOOK")) == 429
    assert redis.client.zcard("AKIALOOK") == 2


def test_forged_keys_spend_nobodys_budget(gate, redis):
    redis.client.flushall()
    gates = [gate(limit=rolling(redis, 5, count="accepted")) for _ in range(2)]
    assert set(hammer(gates, 20, bearing("AKIAVICTIM", "bad"))) == {401}
    assert redis.client.dbsize() == 0
    for counted in range(1, 6):
        answer = gates[counted % 2].get(headers=bearing("AKIAVICTIM"))
        assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (200, str(5 - counted))
        wait_until(lambda counted=counted: redis.client.zcard("AKIAVICTIM") == counted, what=f"{counted} are counted")
    assert [gate.status(**bearing("AKIAVICTIM")) for gate in gates] == [429, 429]
    assert redis.client.zcard("AKIAVICTIM") == 5


def test_a_name_that_is_taken_harms_nobody(gate, redis):
    """Keys that clients choose may be those of something else in that database."""
    redis.client.flushall()
    redis.client.set("other", "x")
    gate = gate(limit=rolling(redis, 5, redis={"fail": "open"}))
    assert [gate.status(**bearing("AKIAFINE")) for _ in range(2)] == [200, 200]
    for name in ("other", "__request_id"):
        assert gate.status(**bearing(name)) == 200
    assert (redis.client.get("other"), redis.client.type("__request_id")) == ("x", "string")
    assert gate.metric("pylon_ratelimit_store_up") == 1
    assert not gate.logged("answers with errors")


def test_secrets_are_not_seen_in_redis(gate, redis):
    redis.client.flushall()
    gate = gate(
        limit=[
            {"by": "header.X-Token", "requests": 2, "window": "60s", "redis": {"url": redis.url, "database": 1, "deadline": "5s"}},
            {"by": "client_ip", "rate": "9/m", "redis": {"url": redis.url, "database": 1, "deadline": "5s"}},
        ]
    )
    assert [gate.status(**{"X-Token": "hidden"}) for _ in range(3)] == [200, 200, 429]
    names = redis.client.keys()
    assert any("sha256:" in name for name in names) and not any("hidden" in name for name in names)
    assert "pylon:route:all:rate:client_ip:127.0.0.1" in names


def test_a_script_that_was_forgotten_is_sent_again(gate, redis):
    redis.client.flushall()
    gate = gate(limit=rolling(redis, 3))
    assert gate.status(**bearing("AKIASCRIPT")) == 200
    redis.client.script_flush()
    redis.client.flushall()
    assert [gate.status(**bearing("AKIASCRIPT")) for _ in range(4)] == [200, 200, 200, 429]
    assert gate.metric("pylon_ratelimit_store_errors_total") == 0


def test_a_rate_that_is_raised_holds_at_once(gate, redis):
    redis.client.flushall()
    where = {"url": redis.url, "database": 1, "deadline": "5s", "fail": "closed"}
    gate = gate(limit={"rate": "2/h", "redis": where})
    assert [gate.status() for _ in range(3)] == [200, 200, 429]
    gate.reload(limit={"rate": "100/s", "redis": where})
    wait_until(lambda: gate.status() == 200, what="the new rate")


def test_a_key_that_looks_like_an_address_is_not_one(gate, redis):
    redis.client.flushall()
    where = {"url": redis.url, "database": 1, "deadline": "5s", "keys": "raw"}
    gate = gate(limit={"by": "header.X-Key", "rate": "1/h", "redis": where})
    assert gate.status(**{"X-Key": "client_ip:127.0.0.1"}) == 200
    assert [gate.status(), gate.status()] == [200, 429]
