"""The API of instances at the admin port, with what it keeps in memory."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest
import requests

from processes import wait_until

TOKEN = "correct-horse-battery-staple"
INSTANCES = {"allow": ["10.0.0.0/8", "*.cluster.test"]}


@pytest.fixture
def pylon(start):
    return start()


def test_an_instance_comes_and_goes(pylon):
    made = pylon.put("one", "10.0.0.5:8787", owner="ann", groups=["staff", "guests"], ttl="60s")
    assert made.status_code == 201
    body = made.json()
    assert abs(body.pop("expires") - time.time() - 60) < 30
    assert body == {
        "name": "one",
        "address": "http://10.0.0.5:8787",
        "owner": "ann",
        "groups": ["staff", "guests"],
        "ttl": "1m",
        "durable": False,
    }
    assert pylon.get("one").json() == made.json() and pylon.get("one").headers["ETag"] == made.headers["ETag"]
    pylon.put("two", owner="bob")
    everything = pylon.list()
    assert (everything["store"], everything["durable"], everything["trouble"]) == ("memory", False, None)
    assert [one["name"] for one in everything["instances"]] == ["one", "two"]
    assert [one["name"] for one in pylon.list(owner="ann")["instances"]] == ["one"]
    assert [one["name"] for one in pylon.list(group="guests")["instances"]] == ["one"]
    assert pylon.list(owner="nobody")["instances"] == []
    assert pylon.metric("pylon_instances") == 2
    changed = pylon.put("one", "10.0.0.6:8787")
    assert (changed.status_code, pylon.known()["one"]) == (200, "http://10.0.0.6:8787")
    gone = pylon.delete("one")
    assert (gone.status_code, gone.json()["address"]) == (200, "http://10.0.0.6:8787")
    assert (pylon.get("one").status_code, pylon.delete("one").status_code) == (404, 404)
    assert pylon.known() == {"two": "http://10.0.0.5:8787"}


def test_answers_are_as_described(pylon):
    document = pylon.ask("GET", "/api/openapi.json").json()

    def check(answer, name):
        jsonschema.validate(answer.json(), document["components"]["schemas"][name] | {"components": document["components"]})

    check(pylon.put("one", ttl="60s"), "Instance")
    check(pylon.put("one"), "Instance")
    check(pylon.get("one"), "Instance")
    check(pylon.ask("GET", "/api/instances"), "Instances")
    check(pylon.put("one", ""), "Error")
    check(pylon.delete("one"), "Instance")
    check(pylon.delete("one"), "Error")
    with pytest.raises(jsonschema.ValidationError):
        check(pylon.ask("GET", "/api/instances"), "Instance")


def test_an_instance_is_forgotten_without_heartbeats(pylon):
    assert pylon.put("short", ttl="5s").status_code == 201
    pylon.put("kept")
    alive_until = time.monotonic() + 6
    while time.monotonic() < alive_until:
        beat = pylon.put("short", ttl="5s")
        assert beat.status_code == 200, "it was forgotten in spite of heartbeats"
        time.sleep(0.2)
    last = beat.json()["expires"]
    wait_until(lambda: pylon.get("short").status_code == 404, 20, "it is forgotten")
    assert time.time() >= last
    assert list(pylon.known()) == ["kept"]
    wait_until(lambda: pylon.metric("pylon_instances") == 1, 20, "it is not counted any more")
    assert pylon.put("short", ttl="2s", headers={"If-None-Match": "*"}).status_code == 201


def test_conditions_hold(pylon):
    absent, present = {"If-None-Match": "*"}, {"If-Match": "*"}
    assert pylon.put("one", headers=present).status_code == 412
    tag = pylon.put("one", headers=absent).headers["ETag"]
    refused = pylon.put("one", headers=absent)
    assert (refused.status_code, refused.headers["ETag"]) == (412, tag)
    assert pylon.put("one", owner="ann", headers={"If-Match": '"other"'}).status_code == 412
    assert pylon.get("one").json()["owner"] is None
    assert pylon.put("one", owner="ann", headers={"If-Match": f'"x", {tag}'}).status_code == 200
    assert pylon.delete("one", **{"If-Match": tag}).status_code == 412
    assert pylon.put("one", headers={"If-Match": "W/" + tag}).status_code == 400
    assert pylon.put("one", headers=absent | present).status_code == 400
    assert pylon.delete("one", **present).status_code == 200


def test_one_of_many_creates(pylon):
    def create(number):
        url = f"{pylon.url}/api/instances/same"
        body = {"address": f"10.0.0.{number}:80"}
        return requests.put(url, json=body, headers={"If-None-Match": "*"}, timeout=60).status_code

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(create, range(1, 41)))
    assert sorted(results) == [201] + [412] * 39


BAD = [
    ({}, "address: "),
    ({"address": None}, "address: "),
    ({"address": 1}, "address: "),
    ({"address": "http://"}, "address: "),
    ({"address": "10.0.0.1:70000"}, "address: "),
    ({"address": "http://user:secret@10.0.0.1"}, "address: "),
    ({"address": "127.0.0.1:80"}, "address: "),
    ({"address": "localhost:80"}, None),
    ({"address": "0.0.0.0:80"}, "address: "),
    ({"address": "169.254.169.254"}, "address: "),
    ({"address": "http://[::ffff:169.254.169.254]/"}, "address: "),
    ({"address": "[fe80::1]:80"}, "address: "),
    ({"address": "10.0.0.1", "owner": 1}, "owner: "),
    ({"address": "10.0.0.1", "owner": "a\nb"}, "owner: "),
    ({"address": "10.0.0.1", "groups": "staff"}, "groups: "),
    ({"address": "10.0.0.1", "groups": [None]}, "groups: "),
    ({"address": "10.0.0.1", "ttl": 5}, "ttl: "),
    ({"address": "10.0.0.1", "ttl": "soon"}, "ttl: "),
    ({"address": "10.0.0.1", "ttl": "1s"}, "ttl: "),
    ({"address": "10.0.0.1", "adress": "x"}, "the body: unknown field `adress`"),
]


def test_bad_bodies_name_the_field(pylon):
    for body, field in BAD:
        answer = pylon.ask("PUT", "/api/instances/x", json=body)
        if field is None:
            assert answer.status_code == 201, answer.text
            pylon.delete("x")
            continue
        assert answer.status_code == 400, (body, answer.text)
        assert answer.json()["error"].startswith(field), (body, answer.text)
        assert "10.0.0.5:8787" in answer.json()["cure"] and "secret" not in answer.text
    for text in ("", "[]", '"x"', "{", '{"address":"10.0.0.1","address":"10.0.0.2"}', "\xff"):
        headers = {"Content-Type": "application/json"}
        answer = pylon.ask("PUT", "/api/instances/x", data=text.encode("latin-1"), headers=headers)
        expected = 415 if not text else 400
        assert answer.status_code in (400, expected), (text, answer.text)
    assert pylon.known() == {}


def test_bad_requests_are_refused(pylon):
    body = json.dumps({"address": "10.0.0.1"})
    for name in ("a.b", "a%20b", "%2e%2e", "a%2fb", "x" * 64, "%C3%A4", "a%00"):
        answer = pylon.put(name)
        assert (answer.status_code, answer.json()["error"][:6]) == (400, "name: "), name
    assert pylon.ask("PUT", "/api/instances/x", data=body).status_code == 415
    assert pylon.ask("PUT", "/api/instances/", json={}).status_code == 404
    assert pylon.ask("POST", "/api/instances/x", json={}).status_code == 405
    assert pylon.ask("PUT", "/api/instances/x?force=1", json={"address": "10.0.0.1"}).status_code == 400
    assert pylon.ask("DELETE", "/api/instances/x", data="{}").status_code == 400
    assert pylon.ask("GET", "/api/instances?name=x").status_code == 400
    large = pylon.put("x", owner="x" * 70_000, headers={"Connection": "close"})
    assert large.status_code == 413
    foreign = pylon.put("x", headers={"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert pylon.known() == {}


def test_the_allow_list_decides(start):
    pylon = start(instances=INSTANCES)
    for address, status in [
        ("10.1.2.3:1", 201),
        ("http://n.cluster.test:99/base", 201),
        ("https://x.example", 201),  # what it stands for is looked at when it is connected to
        ("192.168.0.1:80", 400),
        ("[fd00::1]:80", 400),
    ]:
        answer = pylon.put("x", address)
        assert answer.status_code == status, (address, answer.text)
        assert status == 201 or "`instances.allow`" in answer.json()["error"]
        pylon.delete("x")


def test_a_token_is_needed_where_there_is_one(start):
    pylon = start(admin={"token": TOKEN})
    for method in ("PUT", "GET", "DELETE"):
        for token in ({}, {"Authorization": "Bearer wrong-token-wrong"}):
            body = {"json": {"address": "10.0.0.1"}} if method == "PUT" else {}
            answer = requests.request(method, f"{pylon.url}/api/instances/x", headers=token, timeout=60, **body)
            assert answer.status_code == 401, method
    assert requests.get(f"{pylon.url}/api/instances", timeout=60).status_code == 401
    assert pylon.known() == {}
    assert (pylon.put("x").status_code, pylon.delete("x").status_code) == (201, 200)


def test_changes_are_on_record_and_heartbeats_are_not(pylon):
    pylon.put("one", owner="ann", ttl="60s")
    for _ in range(5):
        pylon.put("one", owner="ann", ttl="60s")
    pylon.put("one", "10.0.0.9:1")
    pylon.put("one", "127.0.0.1:1")
    pylon.delete("one")
    pylon.delete("one")
    wait_until(lambda: len(pylon.entries("instance", "audit.log")) == 5, 20, "five lines in the audit log")
    lines = [line["outcome"] for line in pylon.entries("instance", "audit.log")]
    assert lines[0] == "one created: http://10.0.0.5:8787, owner ann"
    assert lines[1] == "one replaced: http://10.0.0.9:1"
    assert lines[2].startswith('"one" refused: address: 127.0.0.1:1 is not allowed')
    assert lines[3:] == ["one removed: http://10.0.0.9:1", "one refused: there is no instance of this name"]


def test_the_command_line_lists(pylon):
    assert pylon.cli("instances") == (0, "no instances, kept in memory: a restart forgets them\n", "")
    pylon.put("one", owner="ann", groups=["a", "b"], ttl="90s")
    pylon.put("two", owner="bob & co")
    code, text, _ = pylon.cli("instances")
    rows = [line.split() for line in text.splitlines()]
    assert (code, rows[0]) == (0, ["NAME", "ADDRESS", "OWNER", "GROUPS", "TTL", "LEFT"])
    assert rows[1][:5] == ["one", "http://10.0.0.5:8787", "ann", "a,b", "1m30s"]
    assert rows[2][:2] == ["two", "http://10.0.0.5:8787"]
    code, text, _ = pylon.cli("instances", "--json", "--owner", "bob & co")
    assert (code, [one["name"] for one in json.loads(text)["instances"]]) == (0, ["two"])


def test_a_reload_says_that_a_change_needs_a_restart(pylon):
    pylon.put("one")
    pylon.write(instances={"file": "./instances.json"})
    answer = pylon.ask("POST", "/api/reload", json=None, headers={"Content-Type": "application/json"})
    assert answer.json()["needs_restart"] == ["instances"]
    assert (pylon.list()["store"], list(pylon.known())) == ("memory", ["one"])
    pylon.write(instances={"file": "a", "etcd": {"endpoints": []}, "allow": ["10.0.0.0/33"]})
    answer = pylon.ask("POST", "/api/reload", headers={"Content-Type": "application/json"})
    assert answer.status_code >= 400 and "instances.file" in answer.text and "instances.allow" in answer.text


def test_a_list_may_be_cut_and_says_how_many_there_are(pylon):
    for name in ("c", "a", "b"):
        pylon.put(name, owner="ann" if name == "c" else "bob")
    found = pylon.list(limit=2)
    assert ([one["name"] for one in found["instances"]], found["total"]) == (["a", "b"], 3)
    assert pylon.list(limit=0, owner="bob")["total"] == 2
    for wrong in ("-1", "x", ""):
        answer = pylon.ask("GET", "/api/instances", params={"limit": wrong})
        assert (answer.status_code, answer.json()["error"][:6]) == (400, "limit:")
