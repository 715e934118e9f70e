"""Levels that are changed live, and the audit log of what operators do."""

import json
import os
import signal

import httpx
import pytest

from instance import LOGS, Instance, forward
from peers import Peer
from processes import wait_until
from rig import mark


@pytest.fixture
def instance(start, rig, site):
    listeners = {"http": {}, "https": site.tls("default")}
    return start(listeners=listeners, upstreams={"rig": {"endpoints": [rig.url]}}, routes=[forward("rig")])


def levels(instance):
    return {one["channel"]: one["level"] for one in instance.api("/api/log-level").json()["channels"]}


def sets(instance, channel, level):
    answer = instance.post("/api/log-level", {"channel": channel, "level": level})
    assert answer.status_code == 200, answer.text
    assert answer.json() == instance.api("/api/log-level").json()


def fails(instance):
    """A request of which the error log tells: its id."""
    return instance.ask(f"/rig/reset?{mark()}").headers["x-request-id"]


def bad_handshake(instance):
    """A client of which the error log tells at `debug`: what it is known by there. All has been told when it is counted."""
    with instance.rejects("tls_handshake"), Peer(instance.ports["https"]) as peer:
        peer.send(b"\x16\x03\x01\x00\x05hello")
        peer.file.read()
    return f"{peer.address[0]}:{peer.address[1]}"


def test_what_is_told(instance):
    [access, error, audit] = instance.api("/api/log-level").json()["channels"]
    assert access == {
        "channel": "access",
        "target": access["target"],
        "level": "info",
        "levels": ["off", "error", "warn", "info"],
    } and access["target"].endswith("access.log")
    assert (error["level"], error["levels"]) == ("info", ["off", "error", "warn", "info", "debug", "trace"])
    assert (audit["channel"], audit["level"]) == ("audit", "info")


def test_the_error_log_to_debug_and_back(instance):
    told = lambda client: [one for one in instance.entries(client, "error.log") if one["level"] == "DEBUG"]  # noqa: E731
    first = bad_handshake(instance)
    sets(instance, "error", "debug")
    second = bad_handshake(instance)
    wait_until(lambda: told(second), what="a line at debug")
    sets(instance, "error", "info")
    third, last = bad_handshake(instance), fails(instance)
    instance.entry(last, "error.log")
    assert not told(first) and not told(third) and levels(instance)["error"] == "info"


def test_the_error_log_off_and_on(instance):
    for level, expected in (("off", False), ("error", False), ("warn", True), ("info,pylon=off", False), ("info", True)):
        sets(instance, "error", level)
        assert levels(instance)["error"] == level
        identity = fails(instance)
        instance.entry(identity)
        if expected:
            instance.entry(identity, "error.log")
        else:  # a second one shows that the first would be there by now
            instance.entry(fails(instance))
            assert not instance.entries(identity, "error.log")


def test_the_access_log_off_and_on(instance):
    texts = [mark("on"), mark("off"), mark("failed"), mark("again")]
    instance.ask(f"/rig/?{texts[0]}")
    instance.entry(texts[0])
    sets(instance, "access", "off")
    instance.ask(f"/rig/?{texts[1]}")
    identity = fails(instance)
    instance.entry(identity, "error.log")
    instance.entry(fails(instance), "error.log")  # a second one shows that nothing more will be said of the first
    sets(instance, "access", "error")
    instance.ask(f"/rig/?{texts[2]}")
    logged = instance.entry(fails(instance))
    assert logged["outcome"] == "upstream_broken"
    sets(instance, "access", "info")
    instance.ask(f"/rig/?{texts[3]}")
    instance.entry(texts[3])
    assert not any(instance.entries(text) for text in (texts[1], texts[2], identity))


def test_on_the_command_line(instance):
    code, said, _ = instance.cli("log-level", "access=warn")
    assert code == 0 and levels(instance)["access"] == "warn" and "warn" in said
    code, said, _ = instance.cli("log-level", "--json")
    assert (code, json.loads(said)) == (0, instance.api("/api/log-level").json())
    assert instance.cli("log-level", "access=loud")[0] == 1
    assert instance.cli("log-level", "access")[0] == 2


@pytest.mark.parametrize(
    "body",
    [
        {"channel": "access", "level": "debug"},
        {"channel": "access", "level": ""},
        {"channel": "access", "level": "INFO "},
        {"channel": "error", "level": "loud"},
        {"channel": "error", "level": ""},
        {"channel": "error", "level": "pylon=loud"},
        {"channel": "audit", "level": "trace"},
        {"channel": "nobody", "level": "info"},
        {"channel": "error"},
        {"level": "info"},
        {"channel": "error", "level": 3},
        {"channel": "error", "level": "info", "more": 1},
        ["error", "debug"],
    ],
    ids=str,
)
def test_levels_that_are_none_are_refused(instance, body):
    before = levels(instance)
    answer = instance.post("/api/log-level", body)
    assert answer.status_code == 400 and answer.json()["error"], answer.text
    assert levels(instance) == before
    identity = fails(instance)
    instance.entry(identity, "error.log")


def audits(instance, action):
    """The audit lines of an action; there is one at least."""
    return wait_until(
        lambda: [one for one in instance.lines("audit.log") if one["action"] == action], what=f"audit of {action}"
    )


def test_what_operators_do_is_on_record(instance):
    instance.post("/api/log-level", {"channel": "access", "level": "warn"})
    instance.post("/api/log-level", {"channel": "access", "level": "loud"})
    assert any("access=warn" in one["outcome"] for one in audits(instance, "log level"))
    wait_until(lambda: any("refused" in one["outcome"] and "loud" in one["outcome"] for one in audits(instance, "log level")))
    instance.write(routes=[{"name": "own", "path": "/own", "answer": {"body": "x"}}])
    assert instance.reload()[0]
    wait_until(lambda: any("generation 2" in one["outcome"] for one in audits(instance, "reload")))
    instance.write(routes=[{"name": "own", "paht": "/own"}])
    assert not instance.reload()[0]
    wait_until(lambda: any("refused" in one["outcome"] for one in audits(instance, "reload")))
    instance.post("/api/drain", {"drain": True})
    instance.post("/api/drain", {"drain": False})
    assert audits(instance, "drain")[0]["outcome"] == "draining" and audits(instance, "undo drain")[0]["outcome"] == "ready"
    lines = instance.lines("audit.log")
    assert all(one["client"].startswith("127.0.0.1:") and one["level"] == "INFO" and one["timestamp"] for one in lines)
    assert not any('"action"' in one for one in instance.text_of("error.log").splitlines())


def test_looking_is_not_on_record(instance):
    for path in ("/metrics", "/api/status", "/api/requests", "/api/log-level", "/api/drain", "/livez"):
        instance.api(path)
    instance.post("/api/drain", {"drain": False})
    audits(instance, "undo drain")
    assert {one["action"] for one in instance.lines("audit.log")} == {"undo drain"}


def test_an_audit_log_cannot_be_silenced_in_silence(instance):
    sets(instance, "audit", "off")
    instance.post("/api/drain", {"drain": True})
    sets(instance, "audit", "info")
    for said in ("audit=info", "audit=off"):
        wait_until(lambda: any(said in one["outcome"] for one in audits(instance, "log level")))  # noqa: B023
    assert not [one for one in instance.lines("audit.log") if one["action"] == "drain"]


def test_strangers_are_on_record(tmp_path):
    token = "a-token-of-32-characters-at-least"
    options = {"log": LOGS, "routes": [{"name": "own", "path": "/own", "answer": {"body": "x"}}]}
    instance = with_token(tmp_path, token, **options)
    try:
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {token}"}):
            answer = httpx.get(f"http://{instance.admin}/api/status", headers=wrong, timeout=60)
            assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer")
        right = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"http://{instance.admin}/api/status", headers=right, timeout=60).status_code == 200
        told = audits(instance, "sign-in")
        assert all(one["level"] == "WARN" and one["client"].startswith("127.0.0.1:") for one in told)
        assert token not in instance.text_of("audit.log") and token not in instance.text_of("error.log")
    finally:
        instance.stop()


def with_token(directory, token, **options):
    """One whose admin port has a token."""

    class Guarded(Instance):
        def write(self, **changes):
            self.config["admin"] = {"address": self.admin, "token": token}
            super().write(**changes)

    return Guarded(directory, **options)


def test_levels_are_those_of_the_file_after_a_start(instance):
    """A change lasts until the next start, and is not undone by a reload."""
    sets(instance, "access", "warn")
    instance.write(routes=[{"name": "own", "path": "/own", "answer": {"body": "x"}}])
    assert instance.reload()[0]
    assert levels(instance)["access"] == "warn"
    os.kill(instance.pid, signal.SIGUSR1)
    assert levels(instance)["access"] == "warn"
