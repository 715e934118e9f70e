"""`access` and `require`: what is written, and empty, is no open door."""

import json
import subprocess
import urllib.parse
import urllib.request

import pytest
from processes import BINARY, wait_until
from rig_plain import Gated, check

BASIC = {"auth": {"trusted_headers": {"from": "127.0.0.9"}}}


@pytest.mark.parametrize("empty", [None, "", [], [""], "${PYLON_TEST_UNSET:-}"])
@pytest.mark.parametrize("key", ["allow", "deny"])
def test_a_list_of_networks_that_is_empty_is_refused(tmp_path, key, empty):
    code, said = check(tmp_path, {"access": {key: empty}})
    assert code == 78 and f"access.{key}" in said, said


@pytest.mark.parametrize("require", [{"groups": None}, {"groups": []}, {"users": []}, {"groups": ""}, {"users": ["ann", ""]}, {"claims": {"a": []}}])
def test_what_is_required_is_not_empty(tmp_path, require):
    code, said = check(tmp_path, BASIC | {"require": require})
    assert code == 78 and "require" in said, said


def test_networks_are_listed(tmp_path):
    code, said = check(tmp_path, {"access": {}})
    assert code == 78 and "routes[0].access" in said, said


def test_lists_that_say_something_decide(tmp_path):
    routes = {
        "/in/**": {"access": {"allow": "127.0.0.2,127.0.0.3"}},
        "/out/**": {"access": {"deny": ["127.0.0.2/31", "::1"]}},
    }
    with Gated(tmp_path, routes) as gated:
        assert gated.passes("/in/", source="127.0.0.2") and not gated.passes("/in/", source="127.0.0.4")
        assert gated.passes("/out/", source="127.0.0.4") and not gated.passes("/out/", source="127.0.0.3")


def test_nobody_takes_the_address_of_a_trusted_proxy(tmp_path):
    proxy = "127.0.0.9"
    with Gated(tmp_path, {"/in/**": {"access": {"allow": proxy}}, "/open/**": {}}, trusted_proxies=[proxy]) as gated:
        for before in ("", "\u00e9, ", "10.0.0.1\u00e9,", "10.0.0.1, "):
            line = f"X-Forwarded-For: {before}203.0.113.5"
            assert gated.ask("/in/x", line, source=proxy).status == 403, before
            told = gated.told("/open/x", line, source=proxy)
            assert told["x-real-ip"] == ["203.0.113.5"]
            assert told["x-forwarded-for"][0].endswith(f"203.0.113.5, {proxy}")


def test_secrets_of_services_are_in_no_log(tmp_path):
    secret = "hidden-hidden-hidden-hidden-hidden"
    routes = {
        "/forward/**": {"auth": {"forward": {"url": f"http://127.0.0.1:9/check?token={secret}"}}},
        "/jwt/**": {"auth": {"jwt": {"jwks": f"http://127.0.0.1:9/keys?apikey={secret}"}}},
    }
    with Gated(tmp_path, routes) as gated:
        for target in ("/forward/x", "/jwt/x"):
            assert gated.ask(target, "Authorization: Bearer x.y.z").status == 503

        def recorded():
            with urllib.request.urlopen(f"http://{gated.edge.admin}/api/requests", timeout=10) as answer:
                return answer.read().decode()

        wait_until(lambda: "http://127.0.0.1:9/check?token=***" in recorded(), what="it is recorded")
        assert secret not in recorded()
        wait_until(lambda: "http://127.0.0.1:9/keys?apikey=***" in gated.edge.text(), what="it is logged")
        assert secret not in gated.edge.text()
