"""`conf/backend-ai.yaml` with a Redis: the managers' rate limit, before them; without one it is left out."""

import json
import subprocess
import time

import pytest
import requests

from processes import BINARY, Program, answers, free_port, wait_until
from signed_requests import ACCESS, CONFIG, Manager, Signer, differences
from test_fleet import Manager as Counter

TARGET = "/v4/x?a=1"


class Site(Program):
    def __init__(self, directory, manager, **variables):
        self.authority, self.admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.environment = {
            "BACKENDAI_MANAGER_URI": manager,
            "PYLON_LISTEN": self.authority,
            "PYLON_ADMIN_LISTEN": self.admin,
            "SSL_ENABLE": "false",
        } | variables
        arguments = [BINARY, "run", "-c", CONFIG]
        ready = answers(f"http://{self.authority}/healthz")
        super().__init__(arguments, directory, ready=ready, environment=self.environment)

    def send(self, signer=None, target=TARGET, **more):
        headers = (signer or Signer()).headers("GET", target, self.authority) | more
        return requests.get(f"http://{self.authority}{target}", headers=headers, timeout=60)


class CountingManager(Manager):
    """Counts by itself, as the managers do: whose signature it has checked, or whose token it has taken. All its answers
    but errors tell of the limit, also those for which it looked at no signature."""

    def __init__(self, redis, limit):
        super().__init__()
        self.counter, self.limit = Counter(redis), limit

    def verdict(self, request):
        remaining = 1000
        if request.target != "/open":
            token = request.one("X-BackendAI-Token")
            if not token and differences(request):
                return super().verdict(request)
            count = self.counter.count("AKIATOKEN" if token else ACCESS)
            if count > self.limit:
                return b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
            remaining = self.limit - count
        if request.target == "/broken":
            return b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        told = {"Limit": self.limit, "Remaining": remaining, "Window": 900}
        lines = "".join(f"X-RateLimit-{name}: {value}\r\n" for name, value in told.items())
        return f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n".encode()


@pytest.fixture(scope="module")
def manager(stack):
    return stack.enter_context(Manager())


@pytest.fixture
def site(manager, tmp_path_factory):
    sites = []

    def launch(**variables):
        sites.append(Site(tmp_path_factory.mktemp("site"), manager.url, **variables))
        return sites[-1]

    yield launch
    for one in sites:
        one.stop()


def with_redis(redis, limit):
    return {
        "BACKENDAI_REDIS_URL": redis.url,
        "BACKENDAI_RATE_LIMIT": str(limit),
        "BACKENDAI_REDIS_DEADLINE": "5s",
        "BACKENDAI_REDIS_FAIL": "closed",
    }


def test_a_key_passes_so_often_and_then_is_told_as_the_managers_do(site, redis):
    redis.client.flushall()
    sites = [site(**with_redis(redis, 4)) for _ in range(2)]
    for n in range(4):
        # The other route, of streams, has the same budget.
        answer = sites[n % 2].send(target="/v4/stream/x" if n == 3 else TARGET)
        told = [answer.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Window")]
        assert (answer.status_code, told) == (200, ["4", str(3 - n), "900"])
        wait_until(lambda n=n: redis.client.zcard(ACCESS) == n + 1, what="it is counted")
    assert sorted(redis.client.keys()) == [ACCESS, "__request_id"]
    answer = sites[0].send()
    assert (answer.status_code, answer.headers["Content-Type"]) == (429, "application/problem+json")
    assert answer.json() == {
        "type": "https://api.backend.ai/probs/rate-limit-exceeded",
        "title": "You have reached your API query rate limit.",
    }
    assert 890 <= int(answer.headers["Retry-After"]) <= 900
    assert answer.headers["X-RateLimit-Window"] == "900"


def test_forged_and_unsigned_requests_spend_nothing(site, redis):
    redis.client.flushall()
    site = site(**with_redis(redis, 2))
    for _ in range(5):
        assert site.send(Signer(secret="forged-forged-forged")).status_code == 401
    credential = Signer().headers("GET", TARGET, site.authority)["Authorization"].split("credential=")[1]
    for forged in (
        f"BackendAI signMethod=HMAC-SHA256, credential={ACCESS}:00, credential={credential}",
        f"BackendAI signMethod=HMAC-SHA256, credential={credential}, x={ACCESS}",
        f"Other signMethod=HMAC-SHA256, credential={credential}",
    ):
        site.send(Authorization=forged)
    requests.get(f"http://{site.authority}/", timeout=60)
    assert redis.client.dbsize() == 0
    assert site.send().status_code == 200


@pytest.mark.parametrize("count", ["accepted", "upstream"])
def test_managers_that_count_in_that_redis_count_alone(redis, tmp_path, count):
    redis.client.flushall()
    with CountingManager(redis, 6) as manager:
        site = Site(tmp_path, manager.url, **with_redis(redis, 5), BACKENDAI_RATE_COUNT=count)
        try:
            for n in range(1, 6):
                answer = site.send(target="/broken" if n == 3 else TARGET)
                assert answer.status_code == (500 if n == 3 else 200)
                if n != 3:
                    # What the managers tell of their own limit.
                    told = [answer.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Window")]
                    assert told == ["6", str(6 - n), "900"]
                assert redis.client.zcard(ACCESS) == n
            begun = len(manager.begun)
            assert site.send().status_code == 429
            assert (len(manager.begun), redis.client.zcard(ACCESS)) == (begun, 5), "it did not come to the managers"
            # A quarter of an hour later.
            redis.client.zadd(ACCESS, {member: time.time() - 901 for member in redis.client.zrange(ACCESS, 0, -1)})
            assert site.send().status_code == 200
            assert redis.client.zcard(ACCESS) == 1
        finally:
            site.stop()


def test_a_key_that_the_managers_did_not_look_at_spends_nothing(redis, tmp_path):
    redis.client.flushall()
    with CountingManager(redis, 100) as manager:
        site = Site(tmp_path, manager.url, **with_redis(redis, 2))
        try:
            for _ in range(5):
                assert site.send(Signer(secret="forged-forged-forged"), target="/open").status_code == 200
                # Who has a token of his own is known by that.
                forged = Signer(secret="forged-forged-forged")
                assert site.send(forged, **{"X-BackendAI-Token": "mine"}).status_code == 200
            assert redis.client.zcard("AKIATOKEN") == 5
            assert [site.send().status_code for _ in range(3)] == [200, 200, 429]
            assert redis.client.zcard(ACCESS) == 2
        finally:
            site.stop()


def test_nobody_says_which_address_was_signed(site, manager):
    site = site()
    begun = len(manager.begun)
    assert site.send(**{"X-Forwarded-URL": f"http://{site.authority}/v4/other"}).status_code == 200
    assert manager.begun[begun].all("X-Forwarded-URL") == []


def test_without_a_redis_the_limit_is_left_out(manager, tmp_path):
    environment = {"BACKENDAI_MANAGER_URI": manager.url, "SSL_ENABLE": "false"}
    done = subprocess.run(
        [BINARY, "check", CONFIG], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "access-key" in done.stdout and "BACKENDAI_REDIS_URL is not set" in done.stdout
    printed = subprocess.run(
        [BINARY, "check", "--json", CONFIG], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert json.loads(printed.stdout)


def test_without_a_redis_all_passes(site):
    site = site()
    answer = site.send()
    assert answer.status_code == 200 and not [name for name in answer.headers if "ratelimit" in name.lower()]
