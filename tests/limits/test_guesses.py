"""`count: refused`: what is refused uses a budget up, what is not does not."""

import base64
import concurrent.futures
import hashlib
import hmac
import json
import subprocess

import pytest

from processes import wait_until

KEY = "k3y-" + "0123456789abcdef" * 3


@pytest.fixture
def guarded(gate, tmp_path):
    """A Pylon whose route asks for a key and takes so many wrong ones."""
    (tmp_path / "keys").write_text(f"backup:{KEY}\n")

    def launch(**more):
        limit = {"requests": 3, "window": "1h", "count": "refused"} | more
        return gate(auth={"api_key": {"file": str(tmp_path / "keys")}}, limit=limit)

    return launch


def asks(gate, *keys, path="/"):
    return [gate.status(path, **({"X-API-Key": key} if key else {})) for key in keys]


def test_who_guesses_is_kept_from_guessing_further(guarded):
    gate = guarded()
    assert asks(gate, *[KEY] * 5) == [200] * 5
    assert asks(gate, *[None] * 5) == [403] * 5, "who says nothing does not guess"
    assert asks(gate, "wrong", KEY, "wrong", KEY, "wrong") == [403, 200, 403, 200, 403]
    # Not even the right key passes now, nor is it looked at.
    assert asks(gate, "wrong", KEY, None) == [429] * 3
    answer = gate.get(headers={"X-API-Key": KEY})
    assert 3500 < int(answer.headers["Retry-After"]) <= 3600
    assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]
    assert gate.metric("pylon_auth_requests_total", step="api_key", result="wrong") == 3


def test_passwords_are_guessed_and_tokens_are_not(gate, tmp_path):
    users = tmp_path / "users"
    subprocess.run(["htpasswd", "-cbB", users, "ann", "a long secret"], check=True, capture_output=True)
    token = {"jwt": {"issuer": "https://id.test", "audience": "pylon", "secret": "a secret of thirty-two bytes or so"}}
    limit = {"requests": 2, "window": "1h", "count": "refused"}
    gate = gate(auth=[token, {"basic": {"file": str(users)}}], limit=limit)
    claims = {"iss": "https://id.test", "aud": "pylon", "sub": "ann", "exp": 1_000_000_000}
    old = signed(claims, token["jwt"]["secret"])
    new = signed(claims | {"exp": 4_000_000_000}, token["jwt"]["secret"])
    assert gate.status(Authorization=f"Bearer {new}") == 200
    assert [gate.status(Authorization=f"Bearer {old}") for _ in range(5)] == [401] * 5
    assert [gate.status(Authorization=basic("ann", "guess")) for _ in range(3)] == [401, 401, 429]
    assert gate.status(Authorization=basic("ann", "a long secret")) == 429


def signed(claims, secret):
    """A token by HS256 (RFC 7515)."""
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    proof = hmac.digest(secret.encode(), text, hashlib.sha256)
    return (text + b"." + base64.urlsafe_b64encode(proof).rstrip(b"=")).decode()


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_of_guesses_at_the_same_time_no_more_get_an_answer(guarded):
    gate = guarded()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: asks(gate, f"wrong-{number}")[0], range(60)))
    assert (found.count(403), found.count(429)) == (3, 57)
    assert asks(gate, KEY) == [429]


def test_what_the_upstream_refuses_counts_where_it_is_said(guarded):
    gate = guarded(refused=[401])
    assert asks(gate, *[KEY] * 5, path="/status/403") == [403] * 5
    assert asks(gate, *[KEY] * 3, path="/status/401") == [401] * 3
    assert asks(gate, KEY) == [429]
    gate = guarded()
    assert asks(gate, *[KEY] * 5, path="/status/401") == [401] * 5


def test_what_a_service_refuses_counts(gate, origin):
    service = {"forward": {"url": f"{origin.url}/status/401"}}
    gate = gate(auth=service, limit=[{"requests": 2, "window": "1h", "count": "refused"}])
    assert [gate.status() for _ in range(4)] == [401] * 4, "who says nothing does not guess"
    assert [gate.status(Authorization="Basic eDp5") for _ in range(4)] == [401, 401, 429, 429]


def test_a_route_without_auth_leaves_it_to_the_upstream(gate):
    refused = {"requests": 2, "window": "1h", "count": "refused", "refused": [401, 403]}
    gate = gate(limit=[refused, {"requests": 100, "window": "1h"}])
    assert [gate.status("/status/401"), gate.status("/status/403")] == [401, 403]
    answer = gate.get()
    assert answer.status_code == 429 and 3500 < int(answer.headers["Retry-After"]) <= 3600
    assert gate.metric("pylon_ratelimit_rejected_total", route="all", limit="window") == 1


@pytest.mark.parametrize("turned", [False, True])
def test_limits_beside_each_other_count_by_themselves(guarded, gate, turned, tmp_path):
    (tmp_path / "keys").write_text(f"backup:{KEY}\n")
    limits = [{"requests": 100, "window": "1h"}, {"requests": 3, "window": "1h", "count": "refused"}]
    limits = limits[::-1] if turned else limits
    gate = gate(auth={"api_key": {"file": str(tmp_path / "keys")}}, limit=limits)
    assert asks(gate, *[KEY] * 10) == [200] * 10
    assert asks(gate, *["wrong"] * 4) == [403, 403, 403, 429]


def test_others_are_told_of_other_limits_alone(gate):
    gate = gate(limit=[{"requests": 2, "window": "1h", "count": "refused"}, {"requests": 100, "window": "1h"}])
    headers = gate.get().headers
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("100", "99")


def test_a_fleet_counts_guesses_together(guarded, redis):
    redis.client.flushall()
    shared = {"url": redis.url, "deadline": "5s", "fail": "closed"}
    one, other = guarded(redis=shared), guarded(redis=shared)
    assert asks(one, KEY, "wrong", "wrong") == [200, 403, 403]
    assert asks(other, KEY, "wrong") == [200, 403]
    wait_until(lambda: asks(one, KEY) == [429], 30, "the third guess is counted")
    wait_until(lambda: asks(other, KEY) == [429], 30, "the third guess is counted")
