"""The flight recorder keeps what it was told to, and no more memory than that."""

import pytest

from crowd import flood
from instance import LOGS, forward
from processes import free_port, wait_until

MIB = 1 << 20
OWN = {"name": "own", "path": "/own/**", "answer": {"body": "x"}}


@pytest.fixture(scope="module")
def launch(start, rig):
    def launch(recorder, **options):
        pools = {"rig": {"endpoints": [rig.url]}, "gone": {"endpoints": [f"http://127.0.0.1:{free_port()}"]}}
        routes = [OWN, forward("rig"), forward("gone", "gone")]
        return start(recorder=recorder, upstreams=pools, routes=routes, **options)

    return launch


def listed(instance, **query):
    answer = instance.api("/api/requests", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["requests"]


def failures(instance, count, target="/gone/"):
    """The ids of requests that fail, one after the other."""
    ids = []
    for number in range(count):
        ids.append(instance.ask(f"{target}{number}").headers["x-request-id"])
        instance.entry(ids[-1])
    return ids


def test_failures_outlive_a_flood(launch):
    instance = launch({"requests": 50, "failures": 20})
    ids = failures(instance, 25)
    flood(instance, "/own/x", 2000)
    flood(instance, "/none", 500, 404)
    instance.settled()
    kept = listed(instance, failed="true", limit=500)
    assert [one["id"] for one in kept] == ids[:4:-1]
    assert all(one["failed"] and one["outcome"] == "connect_failed" for one in kept)
    assert [instance.api(f"/api/why/{identity}").status_code for identity in ids] == [404] * 5 + [200] * 20
    last = listed(instance, limit=500)
    assert len(last) == 50 and {one["outcome"] for one in last} == {"refused"}
    assert instance.cli("why", ids[0])[0] == 1 and instance.cli("why", ids[-1])[0] == 0


def test_the_last_come_first(launch):
    instance = launch({"requests": 100})
    with instance.peer() as peer:  # on one connection they end in their order
        for number in range(30):
            assert peer.ask(f"/own/{number}").status == 200
            peer.ask(f"/rig/status/{200 if number % 2 else 500}")
    wait_until(lambda: len(listed(instance, limit=500)) == 60, what="all are recorded")
    newest = listed(instance)
    assert len(newest) == 50
    assert [one["time"] for one in newest] == sorted((one["time"] for one in newest), reverse=True)
    assert [one["path"] for one in listed(instance, route="own", limit=3)] == ["/own/29", "/own/28", "/own/27"]
    assert {one["status"] for one in listed(instance, route="rig", failed="true", limit=500)} == {500}
    assert len(listed(instance, failed="true")) == 15 and len(listed(instance, failed="false", limit=500)) == 60
    assert listed(instance, route="nobody") == []
    [first] = listed(instance, limit=1)
    assert instance.api(f"/api/why/{first['id']}").json() == first


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "failed=maybe", "what=ever"])
def test_questions_that_make_no_sense_are_refused(launch, query):
    answer = launch({}).api(f"/api/requests?{query}")
    assert answer.status_code == 400 and query.partition("=")[0] in answer.json()["error"]


@pytest.mark.parametrize(
    ("recorder", "fine", "failed"),
    [({"requests": 0, "failures": 0}, 0, 0), ({"requests": 0}, 0, 3), ({"failures": 0, "requests": 5}, 5, 0)],
)
def test_nothing_is_kept_where_nothing_is_to_be(launch, recorder, fine, failed):
    instance = launch(recorder)
    ids = failures(instance, 3)
    for number in range(5):
        instance.ask(f"/own/{number}")
    instance.settled()
    assert (len(listed(instance, limit=500)), len(listed(instance, failed="true", limit=500))) == (fine, failed)
    assert instance.api(f"/api/why/{ids[0]}").status_code == (200 if failed else 404)


def test_memory_is_bounded(launch):
    """As many long requests as are kept, of which there are fewer, and many more."""
    instance = launch({"requests": 1024, "failures": 1024}, log=LOGS | {"level": "off", "access": False})
    flood(instance, "/own/x", 100)
    long = "f" * 8000
    with instance.grows_less_than(64 * MIB):
        flood(instance, f"/own/{long}?q={long[:7000]}", 6000, batch=100)
        wait_until(lambda: 100 <= len(listed(instance, limit=500)) < 500)
    instance.settled()
    assert instance.total("pylon_http_requests_total", route="own") == 6100


def test_small_requests_take_about_a_kibibyte(launch):
    instance = launch({"requests": 50_000, "failures": 0}, log=LOGS | {"level": "off", "access": False})
    flood(instance, "/own/x", 8192)  # what waits to be recorded takes memory once
    with instance.grows_less_than(40_000 * 1300):
        flood(instance, "/own/x", 40_000)
