"""Instances in etcd: the same on all Pylons, and served on whatever happens to etcd."""

import itertools
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import trustme

from etcd import Etcd, Gate
from processes import wait_until
from registry import within

PATIENCE = 60


def settings(*endpoints, **more):
    return {"etcd": {"endpoints": [getattr(one, "url", one) for one in endpoints], "deadline": "10s"} | more}


@pytest.fixture
def pair(start, etcd):
    return start(instances=settings(etcd)), start(instances=settings(etcd))


def reread(pylon):
    """How often it has read etcd anew, or failed otherwise."""
    return pylon.metric("pylon_instances_store_errors_total")


def test_a_change_is_everywhere_within_a_second(pair, etcd):
    """In the best of some rounds: the machine may be busy."""
    one, other = pair

    def one_round():
        made = one.put("a", owner="ann", groups=["x"])
        assert (made.status_code, made.json()["durable"]) == (201, True)
        assert one.get("a").json()["owner"] == "ann"
        yield within(PATIENCE, other.knows("a"))
        assert other.get("a").json() == one.get("a").json()
        assert other.get("a").headers["ETag"] == made.headers["ETag"]
        changed = other.put("a", "10.0.0.6:1", headers={"If-Match": made.headers["ETag"]})
        assert changed.status_code == 200 and other.known() == {"a": "http://10.0.0.6:1"}
        yield within(PATIENCE, one.knows("a", "http://10.0.0.6:1"))
        assert one.put("a", headers={"If-Match": made.headers["ETag"]}).status_code == 412
        assert one.delete("a").status_code == 200 and one.known() == {}
        yield within(PATIENCE, lambda: other.known() == {})
        assert other.delete("a").status_code == 404 and etcd.known() == {}

    rounds = [list(one_round()) for _ in range(5)]
    assert max(map(min, zip(*rounds))) < 1, rounds


def test_a_lease_that_ends_removes_it_everywhere(pair, etcd):
    one, other = pair
    etcd.put("strange", "not an instance")
    one.put("short", ttl="5s")
    other.put("kept")
    alive_until = time.monotonic() + 7
    while time.monotonic() < alive_until:  # whoever gets the heartbeat
        assert other.put("short", ttl="5s").status_code == 200, "it was forgotten in spite of heartbeats"
        time.sleep(0.2)
    assert etcd.leases() == 1, "a heartbeat needs no new lease"
    for pylon in pair:
        wait_until(lambda pylon=pylon: list(pylon.known()) == ["kept"], PATIENCE, "it is forgotten")
    assert one.put("short", ttl="20s").status_code == 201
    assert one.put("short", ttl="1h").status_code == 200
    wait_until(lambda: etcd.leases() == 1, PATIENCE, "the lease before is given back")
    one.put("short")
    wait_until(lambda: etcd.leases() == 0, PATIENCE, "no lease is left")
    one.put("short", ttl="1h")
    one.delete("short")
    wait_until(lambda: etcd.leases() == 0, PATIENCE, "no lease is left")
    # In all that time, nothing looked as if the watch had missed something.
    assert reread(one) == reread(other) == 0


def test_a_burst_arrives_whole(pair, etcd):
    one, other = pair
    sessions = threading.local()

    def put(number):
        if not hasattr(sessions, "own"):
            sessions.own = requests.Session()
        body = {"address": f"10.0.{number % 250}.1:{number}"} | ({"ttl": "1h"} if number % 4 == 0 else {})
        url = (one if number % 2 else other).url
        return sessions.own.put(f"{url}/api/instances/i{number}", json=body, timeout=PATIENCE).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(put, range(1, 1001))) == {201}
    expected = {f"i{n}": f"http://10.0.{n % 250}.1:{n}" for n in range(1, 1001)}
    for pylon in pair:
        wait_until(lambda pylon=pylon: pylon.known() == expected, PATIENCE, "all of them")
        assert pylon.metric("pylon_instances") == 1000
    assert len(etcd.known()) == 1000 and reread(one) == reread(other) == 0


def test_two_pylons_that_write_the_same_agree(pair, etcd):
    one, other = pair

    def write(pylon, number):
        with requests.Session() as session:
            url = f"{pylon.url}/api/instances/same"
            for round in range(25):
                if round % 5 == 4:
                    session.delete(url, timeout=PATIENCE)
                address = f"10.{number}.{round}.1:80"
                assert session.put(url, json={"address": address}, timeout=PATIENCE).status_code in (200, 201)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, pair, (1, 2)))
    [stored] = etcd.known().values()
    for pylon in pair:
        wait_until(pylon.knows("same", json.loads(stored)["address"]), PATIENCE, "they agree")

    def create(pylon, number):
        url, only = f"{pylon.url}/api/instances/once", {"If-None-Match": "*"}
        return requests.put(url, json={"address": f"10.0.0.{number}"}, headers=only, timeout=PATIENCE).status_code

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(create, itertools.cycle(pair), range(1, 17)))
    assert sorted(results) == [201] + [412] * 15


def test_etcd_is_killed_and_comes_back(pair, etcd, start):
    one, other = pair
    one.put("a", ttl="6s")
    one.put("b")
    wait_until(other.knows("b"), PATIENCE)
    etcd.kill()
    killed = time.monotonic()
    for pylon in pair:
        wait_until(pylon.is_away, PATIENCE, "it is noticed")
        began = time.monotonic()
        answer = pylon.put("c")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert time.monotonic() - began < 8 and "nothing was changed" in answer.json()["error"]
        status, text = pylon.ready()
        assert (status, "degraded: instances: etcd at http://127.0.0.1" in text) == (200, True)
        assert "127.0.0.1" in pylon.list()["trouble"]
    wait_until(lambda: time.monotonic() > killed + 7.5, PATIENCE, "the time of `a` is over")
    assert set(one.known()) == set(other.known()) == {"a", "b"}
    back = start(Etcd, directory=etcd.directory, like=etcd)
    for pylon in pair:
        wait_until(pylon.is_up, PATIENCE, "it is used again")
        pylon.said("are followed in etcd", times=2)
        pylon.said("etcd is away")
    wait_until(lambda: one.put("c").status_code in (200, 201), PATIENCE)
    for pylon in pair:
        wait_until(lambda pylon=pylon: set(pylon.known()) == {"b", "c"}, PATIENCE, "`a` had no heartbeats")
    assert set(back.known()) == {"b", "c"}


def test_etcd_stands_still(start, etcd):
    one, _ = pair = [start(instances=settings(etcd, deadline="3s")) for _ in range(2)]
    one.put("a")
    etcd.pause()
    began = time.monotonic()
    answer = one.put("b")
    assert (answer.status_code, "no answer within 3s" in answer.json()["error"]) == (503, True)
    assert 2.9 < time.monotonic() - began < 30
    wait_until(one.is_away, PATIENCE, "it is noticed")
    began = time.monotonic()
    assert one.put("b").status_code == 503
    assert time.monotonic() - began < 2.5, "it is known by now"
    assert list(one.known()) == ["a"]
    etcd.resume()
    wait_until(one.is_up, PATIENCE, "it is used again")
    assert one.put("b").status_code in (200, 201)
    for pylon in pair:
        wait_until(lambda pylon=pylon: set(pylon.known()) == {"a", "b"}, PATIENCE)


def test_what_was_compacted_meanwhile_is_not_missed(start, etcd, gate):
    pylon = start(instances=settings(gate))
    for name in ("stays", "changes", "goes"):
        pylon.put(name)
    gate.shut()
    wait_until(pylon.is_away, PATIENCE, "it is noticed")
    etcd.delete("goes")
    for number in range(10):
        etcd.put("changes", json.dumps({"address": f"10.9.9.{number}"}))
    etcd.put("comes", json.dumps({"address": "10.9.9.99"}))
    etcd.compact()
    assert set(pylon.known()) == {"stays", "changes", "goes"}
    gate.open()
    expected = {"stays": "http://10.0.0.5:8787", "changes": "http://10.9.9.9", "comes": "http://10.9.9.99"}
    wait_until(lambda: pylon.known() == expected, PATIENCE, "all is as in etcd")


def test_a_watch_that_says_nothing_is_noticed(start, etcd, gate):
    pylon = start(instances=settings(gate, deadline="2s"))
    pylon.put("a")
    gate.freeze(b"/v3/watch")
    etcd.put("b", json.dumps({"address": "10.9.9.9"}))
    etcd.delete("a")
    assert within(PATIENCE, lambda: pylon.known() == {"b": "http://10.9.9.9"}) > 1, "the gate let it through"
    # Its own changes need no watch to be seen.
    assert pylon.put("c").status_code == 201 and "c" in pylon.known()
    assert pylon.delete("c").status_code == 200 and "c" not in pylon.known()
    wait_until(pylon.is_up, PATIENCE, "it is used")


def test_another_member_is_asked(start, etcd, gate, stack):
    second = Gate(etcd.ports[0])
    stack.callback(second.shut)
    pylon = start(instances=settings("http://127.0.0.1:9", gate, second))
    assert pylon.put("a").status_code == 201
    gate.shut()
    assert pylon.put("b").status_code == 201, "the other member answers"
    etcd.put("c", json.dumps({"address": "10.9.9.9"}))
    wait_until(lambda: set(pylon.known()) == {"a", "b", "c"}, PATIENCE, "the other member is followed")
    assert not pylon.entries("etcd is away")


def test_a_start_without_etcd_serves_all_else(start, etcd):
    etcd.kill()
    pylon = start(instances=settings(etcd), routes=[{"name": "r", "path": "/r", "answer": {"status": 204}}])
    assert requests.get(f"http://127.0.0.1:{pylon.port}/r", timeout=PATIENCE).status_code == 204
    assert pylon.ready()[0] == 200 and "degraded: instances" in pylon.ready()[1]
    assert (pylon.put("a").status_code, pylon.known()) == (503, {})
    start(Etcd, directory=etcd.directory, like=etcd)
    wait_until(pylon.is_up, PATIENCE, "it is used")
    assert pylon.put("a").status_code == 201


def test_a_start_without_etcd_serves_what_was_known(start, etcd, tmp_path):
    cached = settings(etcd, cache=str(tmp_path / "cache.json"))
    pylon = start(instances=cached)
    pylon.put("a", owner="ann", ttl="8s")
    pylon.put("b")
    text = tmp_path / "cache.json"
    wait_until(lambda: '"b"' in text.read_text(), PATIENCE, "the copy has it")
    before = pylon.get("a").json()
    etcd.kill()
    pylon.kill()
    again = start(instances=cached)
    assert (again.get("a").json(), set(again.known())) == (before, {"a", "b"})
    assert again.put("c").status_code == 503
    start(Etcd, directory=etcd.directory, like=etcd)
    wait_until(lambda: list(again.known()) == ["b"], PATIENCE, "etcd decides again")
    wait_until(lambda: '"a"' not in text.read_text(), PATIENCE, "the copy follows")


def test_a_copy_that_is_too_old_is_not_served(start, etcd, tmp_path):
    cached = settings(etcd, cache=str(tmp_path / "cache.json"), cache_max_age="1s")
    pylon = start(instances=cached)
    pylon.put("a")
    text = tmp_path / "cache.json"
    wait_until(lambda: '"a"' in text.read_text(), PATIENCE, "the copy has it")
    etcd.kill()
    wait_until(pylon.is_away, PATIENCE)
    fresh = text.stat().st_mtime
    wait_until(lambda: text.stat().st_mtime > fresh + 1, PATIENCE, "a Pylon that runs keeps it fresh")
    pylon.kill()
    wait_until(lambda: time.time() > text.stat().st_mtime + 1, PATIENCE)
    again = start(instances=cached)
    assert again.known() == {}
    again.said("it is not used")
    assert '"a"' in text.read_text()


def test_a_copy_with_what_is_not_allowed_any_more_does_not_stop_the_start(start, etcd, tmp_path):
    cached = settings(etcd, cache=str(tmp_path / "cache.json"))
    pylon = start(instances=cached)
    pylon.put("a", "10.0.0.1:1")
    pylon.put("b", "10.9.0.1:1")
    text = tmp_path / "cache.json"
    wait_until(lambda: '"b"' in text.read_text(), PATIENCE, "the copy has it")
    etcd.kill()
    pylon.kill()
    again = start(instances=cached | {"allow": ["10.0.0.0/16"]})
    assert list(again.known()) == ["a"]


def test_a_copy_of_others_stops_the_start(start, etcd, tmp_path):
    (tmp_path / "cache.json").write_text("precious")
    with pytest.raises(RuntimeError, match="is left as it is"):
        start(instances=settings(etcd, cache=str(tmp_path / "cache.json")))
    assert (tmp_path / "cache.json").read_text() == "precious"


def test_what_others_wrote_is_checked(start, etcd):
    etcd.put("good", json.dumps({"address": "10.0.0.1"}))
    etcd.put("bad", "not json")
    etcd.put("evil", json.dumps({"address": "169.254.169.254"}))
    etcd.put("a b", json.dumps({"address": "10.0.0.1"}))
    pylon = start(instances=settings(etcd))
    assert pylon.known() == {"good": "http://10.0.0.1"}
    pylon.said("is passed over", times=3)
    etcd.put("good", json.dumps({"address": "127.0.0.1"}))
    wait_until(lambda: pylon.known() == {}, PATIENCE, "it is not allowed any more")
    gone = pylon.delete("good")
    assert (gone.status_code, gone.json()["address"], "good" in etcd.known()) == (200, "http://127.0.0.1", False)
    assert pylon.delete("good").status_code == 404
    assert pylon.put("bad", headers={"If-None-Match": "*"}).status_code == 412
    assert (pylon.put("bad").status_code, pylon.put("evil").status_code) == (200, 200)
    assert set(pylon.known()) == {"bad", "evil"}


def test_a_user_signs_in(start, etcd):
    etcd.call("auth/user/add", name="root", password="r00t")
    etcd.call("auth/user/add", name="pylon", password="s3cret-s3cret")
    etcd.call("auth/role/add", name="instances")
    permission = {"permType": "READWRITE", "key": "L3B5bG9uL2luc3RhbmNlcy8=", "range_end": "L3B5bG9uL2luc3RhbmNlczA="}
    etcd.call("auth/role/grant", name="instances", perm=permission)
    etcd.call("auth/user/grant", user="root", role="root")
    etcd.call("auth/user/grant", user="pylon", role="instances")
    etcd.call("auth/enable")
    pylon = start(instances=settings(etcd, user="pylon", password="s3cret-s3cret"))
    assert pylon.put("a", ttl="1h").status_code == 201
    for options in ({}, {"user": "pylon", "password": "wrong-wrong-wrong"}):
        other = start(instances=settings(etcd, **options))
        answer = other.put("b")
        assert (answer.status_code, "etcd refuses" in answer.json()["error"]) == (503, True), answer.text
        assert "wrong-wrong" not in other.text() + answer.text + other.ask("GET", "/api/config").text
        other.stop()
    etcd.kill()
    wait_until(pylon.is_away, PATIENCE)
    start(Etcd, directory=etcd.directory, like=etcd)  # which has forgotten the token
    wait_until(pylon.is_up, PATIENCE, "it signs in again")
    assert pylon.put("b").status_code == 201
    assert "s3cret" not in pylon.ask("GET", "/api/config").text + pylon.text()


def test_tls_with_an_authority_and_a_certificate_of_its_own(start, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = authority.issue_cert("127.0.0.1", "localhost")
    server.private_key_pem.write_to_path(tmp_path / "key.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ca, cert, key = (str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key"))
    etcd = start(Etcd, tls={"ca": ca, "cert": cert, "key": key, "clients": ca})
    pylon = start(instances=settings(etcd, tls={"ca": ca, "cert": cert, "key": key}))
    assert pylon.put("a").status_code == 201
    for tls in ({}, {"ca": ca}):
        other = start(instances=settings(etcd, tls=tls))
        trouble = other.put("b").json()["error"]
        assert re.search("certificate", trouble, re.IGNORECASE), trouble
    with pytest.raises(RuntimeError, match="nowhere.pem"):
        start(instances=settings(etcd, tls={"ca": f"{tmp_path}/nowhere.pem"}))
