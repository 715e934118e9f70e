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


def test_what_is_asked_is_explained_without_secrets(tmp_path):
    (tmp_path / "users").write_text("")
    secret = "a-secret-that-nobody-may-see-at-all"
    cookies = {"name": "sess", "fields": ["user", "sig"], "signed": "user", "signature": "sig"}
    told = {"X-User": "{user}", "X-Groups": {"each_group": "CN={group}", "separator": ";"}}
    route = {
        "auth": [
            {"jwt": {"issuer": "https://id.test", "audience": "pylon", "secret": secret, "from": ["bearer", "cookie.t"]}},
            {"basic": {"file": "users", "realm": "the lab"}},
            {"signed_cookie": {"secret": secret, "cookies": cookies, "user": "{sess.user}"}},
            {"forward": {"url": "http://127.0.0.1:9/check?token=hidden"}},
            {"trusted_headers": {"from": ["10.0.0.5", "10.0.0.6"]}},
        ],
        "require": {"groups": ["staff", "admins"], "claims": {"level": "3"}},
        "identity": told,
    }
    with Gated(tmp_path, {"/in/**": route, "/open/**": {}}) as gated:
        def ask(path):
            url = urllib.parse.quote(f"http://site{path}")
            with urllib.request.urlopen(f"http://{gated.edge.admin}/api/explain?url={url}", timeout=60) as answer:
                return answer.read().decode()

        done = subprocess.run(
            [BINARY, "explain", "-c", gated.edge.file, "GET", "http://site/in/x"], capture_output=True, text=True, timeout=60
        )
        assert json.loads(ask("/open/x"))["auth"] is None
        text, explained = done.stdout, ask("/in/x")
        # What is told is what happens.
        refused = gated.ask("/in/x", "Authorization: Bearer x")
    assert secret not in text + explained and "hidden" not in text + explained
    auth = json.loads(explained)["auth"]
    assert auth["ways"] == [
        {"way": "jwt", "about": "tokens (bearer, cookie.t) of https://id.test for pylon, by a secret"},
        {"way": "basic", "about": "user names and passwords of the file users"},
        {"way": "signed_cookie", "about": "the cookies sess, signed with a secret"},
        {"way": "forward", "about": "what http://127.0.0.1:9/check?token=*** says; its refusals and redirects go to the client"},
        {"way": "trusted_headers", "about": "the header REMOTE_USER and others, from 10.0.0.5, 10.0.0.6 alone"},
    ]
    assert auth["require"] == ["the group staff or admins", "the claim level 3"]
    assert [[name.lower(), text] for name, text in auth["tells"]] == [["x-groups", "CN={group}"], ["x-user", "{user}"]]
    assert auth["others"] == {"status": 401, "challenges": ['Bearer realm="pylon"', 'Basic realm="the lab", charset="UTF-8"']}
    assert refused.status == 401
    for line in [
        "auth      jwt: tokens (bearer, cookie.t)",
        "          required: the group staff or admins",
        "          upstream is told x-user: {user}",
        "          others get 401 Unauthorized, Bearer realm=",
    ]:
        assert line in text, text


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
            with urllib.request.urlopen(f"http://{gated.edge.admin}/api/requests", timeout=60) as answer:
                return answer.read().decode()

        wait_until(lambda: "http://127.0.0.1:9/check?token=***" in recorded(), what="it is recorded")
        assert secret not in recorded()
        wait_until(lambda: "http://127.0.0.1:9/keys?apikey=***" in gated.edge.text(), what="it is logged")
        assert secret not in gated.edge.text()
