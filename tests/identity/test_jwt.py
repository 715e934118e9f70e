"""`auth: { jwt: … }`: tokens of an issuer whose keys change, and which is away at times."""

import base64
import json
import time

import pytest
from issuer import Issuer, bearer
from jwcrypto import jwk
from peers import Peer
from processes import wait_until
from rig import Gate, told

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def issuer(stack):
    issuer = stack.enter_context(Issuer())
    issuer.key("ec")
    issuer.key("rsa", kty="RSA", size=2048)
    issuer.key("ed", kty="OKP", crv="Ed25519")
    return issuer


GROUPS = {"each_group": "{group}", "separator": ";"}


def step(issuer, **more):
    return {"jwt": {"issuer": "https://id.test", "audience": "pylon", "jwks": issuer.url} | more}


@pytest.fixture(scope="module")
def gate(start, issuer):
    staff = {"require": {"groups": "staff"}}
    roles = step(issuer, hide=True, claims={"groups": "realm_access.roles", "user": "preferred_username"})
    routes = {
        "/**": {"auth": step(issuer)},
        "/staff/**": {"auth": roles} | staff,
        "/ws/**": {"auth": step(issuer, **{"from": ["bearer", "query.access_token"]})},
        "/told/**": {"auth": roles, "identity": {"X-User": "{user}", "X-Groups": GROUPS, "X-Roles": "{claim:roles}"}},
        "/cookie/**": {"auth": step(issuer, hide=True, **{"from": "cookie.t"})},
        "/open/**": {},
    }
    gate = start(Gate, routes)
    wait_until(lambda: gate.get("/", bearer(issuer.token("ec"))).status_code == 200, what="the keys are there")
    return gate


@pytest.mark.parametrize(("key", "algorithm"), [("ec", "ES256"), ("rsa", "RS256"), ("rsa", "PS256"), ("ed", "EdDSA")])
def test_a_good_token_passes_and_tells_who_asks(gate, issuer, key, algorithm):
    token = issuer.token(key, algorithm, name="Ann Example", email="ann@example.org", groups=["staff", "dev"])
    for _ in range(3):
        headers = told(gate.get("/x", bearer(token) | {"X-User": "root", "X_Groups": "admins"}))
        assert headers["x-user"] == "ann"
        assert (headers["x-name"], headers["x-mail"]) == ("Ann Example", "ann@example.org")
        assert headers["x-groups"] == "staff,dev"
        assert headers["authorization"] == f"Bearer {token}"
        assert "x_groups" not in headers


def test_without_a_token_nothing_passes(gate):
    answer = gate.get("/", {"X-User": "root"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="pylon"'
    assert "x-user" not in told(gate.get("/open/", {"X-User": "root"}))


def wrong_tokens(issuer):
    good = issuer.token("ec")
    head, payload, signature = good.split(".")

    def encode(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    stranger = Issuer()
    stranger.key("ec")
    stranger.key("other")
    now = int(time.time())
    public = issuer.keys["rsa"].export_to_pem()
    confused = Issuer()
    confused.keys["rsa"] = jwk.JWK(kty="oct", kid="rsa", k=base64.urlsafe_b64encode(public).decode().rstrip("="))
    return {
        "expired": issuer.token("ec", exp=now - 60),
        "not yet": issuer.token("ec", nbf=now + 250, exp=now + 300),
        "for ever": issuer.token("ec", exp=None),
        "text as time": issuer.token("ec", exp=str(now + 60)),
        "text as begin": issuer.token("ec", nbf=str(now - 60)),
        "other issuer": issuer.token("ec", iss="https://evil.test"),
        "no issuer": issuer.token("ec", iss=None),
        "other audience": issuer.token("ec", aud=["other"]),
        "number as audience": issuer.token("ec", aud=1),
        "no audience": issuer.token("ec", aud=None),
        "no user": issuer.token("ec", sub=None),
        "line break": issuer.token("ec", sub="ann\r\nX-Admin: 1"),
        "stranger": stranger.token("ec"),
        "unknown key": stranger.token("other"),
        "none": f"{encode({'alg': 'none'})}.{payload}.",
        "none, signed": f"{encode({'alg': 'none', 'kid': 'ec'})}.{payload}.{signature}",
        "public key as a secret": confused.token("rsa", "HS256"),
        "cut": good[:-1],
        "two parts": f"{head}.{payload}",
        "four parts": f"{good}.x",
        "junk": "x",
        "long": issuer.token("ec", pad="x" * 17_000),
    }


def test_wrong_tokens_do_not_pass(gate, issuer):
    for what, token in wrong_tokens(issuer).items():
        answer = gate.get("/", bearer(token))
        assert answer.status_code == 401, what
        assert answer.headers["www-authenticate"] == 'Bearer realm="pylon", error="invalid_token"', what
    assert gate.get("/", bearer(issuer.token("ec"))).status_code == 200


def test_claims_decide_and_the_token_stays_here(gate, issuer):
    def token(*roles):
        return bearer(issuer.token("rsa", "RS256", preferred_username="bob", realm_access={"roles": roles}))

    headers = told(gate.get("/staff/", token("staff", "dev")))
    assert (headers["x-user"], headers["x-groups"]) == ("bob", "staff,dev")
    assert "authorization" not in headers
    assert gate.get("/staff/", token("dev")).status_code == 403
    assert gate.get("/staff/", bearer(issuer.token("rsa", "RS256"))).status_code == 401


def test_a_token_can_be_in_a_cookie_or_in_the_address_of_a_websocket(gate, issuer):
    token = issuer.token("ec")
    assert gate.get("/cookie/", bearer(token)).status_code == 401
    headers = told(gate.get("/cookie/", {"Cookie": f"a=1; t={token}; b=2"}))
    assert (headers["x-user"], headers["cookie"]) == ("ann", "a=1; b=2")
    assert gate.get(f"/ws/?access_token={token}").status_code == 401
    upgrade = ("Connection: Upgrade", "Upgrade: websocket")
    for value, status in [(token, 200), (token[:-1], 401)]:
        with Peer(gate.ports["http"]) as peer:
            assert peer.ask(f"/ws/?x=1&access_token={value}", *upgrade).status == status


def test_nobody_passes_for_another_by_blanks_and_commas(gate, issuer):
    def ask(**claims):
        return gate.get("/told/", bearer(issuer.token("ec", **claims)))

    # What is around a value is no part of a header (RFC 9110 §5.5), and not of an item of a list either.
    for user in (" ann", "ann ", "\u00a0ann", "ann\u2003", "\tann"):
        assert ask(preferred_username=user).status_code == 401, repr(user)
    roles = ["dev", " staff", "staff ", "\u00a0staff", "x,staff", "x;staff", "a b"]
    headers = told(ask(preferred_username="ann", realm_access={"roles": roles}, roles=roles))
    assert headers["x-groups"].split(";") == ["dev", "x,staff", "a b"]
    assert headers["x-roles"].split(",") == ["dev", "x;staff", "a b"]
    headers = told(ask(preferred_username="ann", roles=" staff"))
    assert "x-roles" not in headers


@pytest.mark.parametrize("other", [b"\xe4=\xf6", b"a=\xff", "ä=ö".encode()])
def test_cookies_of_others_are_in_nobodys_way(gate, issuer, other):
    token = issuer.token("ec").encode()
    for cookie in (other + b"; t=" + token, b"t=" + token + b"; " + other):
        headers = told(gate.get("/cookie/", {b"Cookie": cookie}))
        assert headers["x-user"] == "ann"
        assert headers["cookie"].encode("latin-1") == other


def test_keys_change_and_an_issuer_may_be_away(start):
    with Issuer() as issuer:
        issuer.key("old")
        issuer.key("new", shown=False)
        old, new = bearer(issuer.token("old")), bearer(issuer.token("new"))
        issuer.leave()
        gate = start(Gate, {"/**": {"auth": step(issuer)}})
        assert gate.get("/", old).status_code == 503
        assert gate.get("/").status_code == 401
        issuer.come()
        wait_until(lambda: gate.get("/", old).status_code == 200, what="the issuer is back")
        assert gate.get("/", new).status_code == 401
        issuer.shown = ["new"]
        wait_until(lambda: gate.get("/", new).status_code == 200, what="the new key is known")
        assert gate.get("/", old).status_code == 401
        issuer.leave()
        for _ in range(3):
            assert gate.get("/", bearer(issuer.token("new"))).status_code == 200
            assert gate.get("/", old).status_code == 401


def test_strangers_cause_few_questions(start):
    with Issuer() as issuer:
        issuer.key("known")
        issuer.key("stranger", shown=False)
        gate = start(Gate, {"/**": {"auth": step(issuer)}})
        wait_until(lambda: gate.get("/", bearer(issuer.token("known"))).status_code == 200, what="the keys are there")
        before, begin = issuer.asked, time.monotonic()
        for _ in range(100):
            assert gate.get("/", bearer(issuer.token("stranger"))).status_code == 401
        assert issuer.asked - before <= 1 + (time.monotonic() - begin) / 5


def test_a_new_secret_counts_from_the_reload_on(start):
    with Issuer() as issuer:
        gate = start(Gate, {"/**": {"auth": {"jwt": {"secret": SECRET, "audience": "pylon"}}}})
        for secret in [SECRET, SECRET[::-1]]:
            raw = base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
            issuer.keys[secret] = jwk.JWK(kty="oct", k=raw)
        first, second = (bearer(issuer.token(secret, "HS256")) for secret in issuer.keys)
        assert [gate.get("/", one).status_code for one in (first, second)] == [200, 401]
        route = gate.route("/**", {"auth": {"jwt": {"secret": SECRET[::-1], "audience": "pylon"}}})
        gate.write(routes=[route])
        wait_until(lambda: gate.get("/", second).status_code == 200, what="the new secret counts")
        assert gate.get("/", first).status_code == 401
