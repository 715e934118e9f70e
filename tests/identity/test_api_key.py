"""`auth: { api_key: … }`."""

import hashlib
import urllib.request

import pytest
from rig_plain import Gated, check
from processes import wait_until

KEY = "k3y-" + "0123456789abcdef" * 3


def line(name, key, groups=""):
    return f"{name}:sha256:{hashlib.sha256(key.encode()).hexdigest()}{groups}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    (folder / "keys").write_text("# keys\n" + line("backup", KEY, ":operators,staff") + f"plain:{KEY}-plain\n")
    return folder


@pytest.fixture(scope="module")
def gated(folder):
    def keys(**more):
        return {"auth": {"api_key": {"file": "keys"} | more}}

    routes = {
        "/in/**": keys(),
        "/bearer/**": keys(scheme="Bearer"),
        "/query/**": keys(query="api_key"),
        "/odd/**": keys(query="x.kéy"),
        "/kept/**": keys(header="X-Key", forward_credentials=True),
        "/operators/**": keys() | {"require": {"groups": ["operators"]}},
    }
    with Gated(folder, routes) as gated:
        yield gated


def test_keys_pass_where_they_are_looked_for_and_no_further(gated):
    told = gated.told("/in/x", f"X-API-Key: {KEY}")
    assert (told["x-user"], told["x-groups"]) == (["backup"], ["operators,staff"])
    assert "x-api-key" not in told
    told = gated.told("/bearer/x", f"Authorization: Bearer {KEY}")
    assert told["x-user"] == ["backup"] and "authorization" not in told
    assert gated.told(f"/query/x?a=1&api_key={KEY}")["x-user"] == ["backup"]
    told = gated.told("/kept/x", f"X-Key: {KEY}-plain")
    assert told["x-user"] == ["plain"] and told["x-key"] == [f"{KEY}-plain"]
    assert gated.ask("/operators/x", f"X-API-Key: {KEY}-plain").status == 403


def test_a_key_in_the_query_is_in_no_log(gated):
    assert gated.told(f"/odd/x?a=1&x.k%C3%A9y={KEY}")["x-user"] == ["backup"]
    with urllib.request.urlopen(f"http://{gated.edge.admin}/api/requests", timeout=60) as answer:
        assert KEY not in answer.read().decode()
    wait_until(lambda: "/odd/x" in gated.edge.text(), what="it is logged")
    assert KEY not in gated.edge.text()


def test_nothing_else_passes(gated):
    for target, lines in [
        ("/in/x", []),
        (f"/in/x?api_key={KEY}", [f"Authorization: Bearer {KEY}"]),
        ("/in/x", [f"X-API-Key: {KEY}x"]),
        ("/in/x", [f"X-API-Key: {hashlib.sha256(KEY.encode()).hexdigest()}"]),
        ("/in/x", [f"X-API-Key: {KEY}", f"X-API-Key: {KEY}"]),
        ("/query/x", [f"X-API-Key: {KEY}"]),
    ]:
        assert gated.ask(target, *lines).status == 403, (target, lines)
    answer = gated.ask("/bearer/x", "Authorization: Bearer x")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="Pylon"')


def test_the_file_is_taken_over_without_a_reload(gated, folder):
    keys = folder / "keys"
    keys.write_text(keys.read_text() + line("fresh", "fresh"))
    gated.soon("/in/x", "X-API-Key: fresh")
    keys.write_text(line("fresh", "fresh"))
    gated.soon("/in/x", f"X-API-Key: {KEY}", passes=False)
    keys.write_text(line("fresh", "fresh") + "short:key\n")
    wait_until(lambda: "line 2: the key is shorter than 32 bytes" in gated.edge.text(), what="the line is named")
    assert gated.passes("/in/x", "X-API-Key: fresh")
    assert not gated.passes("/in/x", "X-API-Key: key")


def test_a_file_that_is_not_good_is_refused_when_it_is_loaded(tmp_path):
    (tmp_path / "keys").write_text("ann:guessable\n")
    code, said = check(tmp_path, {"auth": {"api_key": {"file": "keys"}}})
    assert code == 78 and "line 1: the key is shorter than 32 bytes" in said and "guessable" not in said, said
