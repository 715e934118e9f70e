"""Series: those of what is removed disappear, those of what stays go on, and none is made by what clients or servers send."""

import string

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from crowd import flood
from instance import forward
from peers import request
from processes import wait_until
from rig import Rig, mark

OWN = {"name": "own", "path": "/own", "answer": {"body": "x"}}


@pytest.fixture
def rigs(stack):
    return stack.enter_context(Rig()), stack.enter_context(Rig())


@pytest.fixture
def instance(start, rigs):
    pools = {"pool": {"endpoints": [rig.url for rig in rigs]}, "other": {"endpoints": [rigs[0].url]}}
    return start(upstreams=pools, routes=[forward("first", "pool"), forward("second", "other"), OWN])


def series(instance, **labels):
    """Name and labels of all samples with these labels."""
    wanted = labels.items()
    return {(one.name, *sorted(one.labels.items())) for one in instance.samples() if wanted <= one.labels.items()}


def values(instance, **labels):
    """All counters with these labels, by name and labels."""
    wanted = labels.items()
    told = instance.samples()
    return {
        (one.name, *sorted(one.labels.items())): one.value
        for one in told
        if wanted <= one.labels.items() and one.name.endswith(("_total", "_count", "_bucket"))
    }


def reloads(instance, **changes):
    instance.write(**changes)
    done, said = instance.reload()
    assert done, said


def no_less(before, after):
    """Whether no counter has gone back or away."""
    return all(after.get(key, -1) >= value for key, value in before.items())


def test_removed_endpoints_take_their_series_with_them(instance, rigs):
    for _ in range(8):
        assert instance.ask("/first/").status == 200
    instance.settled()
    kept, removed = (rig.address for rig in rigs)
    assert len(series(instance, endpoint=removed)) >= 5
    before = values(instance, upstream="pool", endpoint=kept)
    assert before["pylon_upstream_requests_total", ("code", "200"), ("endpoint", kept), ("upstream", "pool")] == 4
    reloads(instance, upstreams=instance.config["upstreams"] | {"pool": {"endpoints": [rigs[0].url]}})
    wait_until(lambda: not series(instance, endpoint=removed), what="its series are gone")
    assert values(instance, upstream="pool", endpoint=kept) == before
    assert instance.ask("/first/").status == 200
    instance.settled()
    assert no_less(before, values(instance, upstream="pool", endpoint=kept))
    assert instance.total("pylon_upstream_requests_total", endpoint=kept, upstream="pool") == 5


def test_removed_routes_and_pools_take_their_series_with_them(instance):
    for target in ("/first/", "/second/", "/own", "/none"):
        instance.ask(target)
    instance.settled()
    staying = values(instance, route="first") | values(instance, upstream="pool") | values(instance, route="(none)")
    assert series(instance, route="second") and series(instance, upstream="other")
    pools = {name: pool for name, pool in instance.config["upstreams"].items() if name == "pool"}
    reloads(instance, upstreams=pools, routes=[route for route in instance.config["routes"] if route["name"] == "first"])
    for labels in ({"route": "second"}, {"route": "own"}, {"upstream": "other"}):
        wait_until(lambda labels=labels: not series(instance, **labels), what=f"{labels} are gone")
    assert values(instance, route="first") | values(instance, upstream="pool") | values(instance, route="(none)") == staying


def test_counters_go_on_over_reloads(instance):
    flood(instance, "/own", 500)
    for _ in range(10):
        instance.ask("/first/")
        instance.ask("/none")
    instance.settled()
    assert instance.total("pylon_http_requests_total") == 520
    before = values(instance)
    first = instance.config["routes"][0]
    # The route is another one, of the same name; so is the pool's way to choose.
    pool = instance.config["upstreams"]["pool"] | {"balance": "least_requests"}
    changed = [first | {"headers": {"response": {"set": {"X-New": "1"}}}}, *instance.config["routes"][1:]]
    reloads(instance, upstreams=instance.config["upstreams"] | {"pool": pool}, routes=changed)
    assert instance.ask("/first/").headers["x-new"] == "1"
    instance.settled()
    after = values(instance)
    # But for what is counted of reloads and of the process's own time, nothing has moved by more than that request.
    assert no_less(before, after)
    assert instance.total("pylon_http_requests_total", route="own") == 500
    assert instance.total("pylon_http_requests_total", route="first") == 11
    assert instance.total("pylon_upstream_requests_total", upstream="pool") == 11
    assert instance.total("pylon_config_generation") == 2


def test_a_route_that_comes_back_begins_anew(instance):
    instance.ask("/second/")
    routes = instance.config["routes"]
    reloads(instance, routes=[routes[0], routes[2]])
    wait_until(lambda: not series(instance, route="second"), what="its series are gone")
    reloads(instance, routes=routes)
    assert instance.total("pylon_http_requests_total", route="second") == 0
    instance.ask("/second/")
    wait_until(lambda: instance.total("pylon_http_requests_total", route="second") == 1)


def test_a_removed_route_counts_until_its_last_request_is_over(instance, rigs):
    """A request that is under way when its route is removed neither disturbs nor brings its series back."""
    text = mark("long")
    with instance.peer() as peer:
        peer.send(request(f"/second/upgrade?{text}", "Connection: Upgrade", "Upgrade: websocket"))
        assert peer.answer().status == 101
        assert instance.total("pylon_http_requests_in_flight", route="second") == 1
        reloads(instance, routes=[instance.config["routes"][0]])
        peer.send(b"ping")
        assert peer.file.read(4) == b"ping"
        assert instance.total("pylon_http_requests_in_flight", route="second") == 1
    wait_until(lambda: not series(instance, route="second"), what="its series are gone")


def test_nothing_that_clients_or_servers_send_makes_series(instance):
    methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
    for method in methods:
        instance.ask("/first/", "Content-Length: 0", method=method)
    instance.ask("/none", method="BREW")
    instance.ask("/first/", method="BREW")
    instance.settled()
    before = series(instance)
    with instance.peer() as peer:
        for number in range(200):
            letters = "".join(string.ascii_uppercase[number // 26**place % 26] for place in range(2))
            peer.ask(f"/first/path{number}?q={number}", method=f"X{letters}", host=f"host{number}.test")
            peer.ask(f"/none/{number}", method=f"X{letters}", host=f"host{number}.test")
    for status in range(200, 600, 2):
        if status not in (204, 304):
            instance.ask(f"/first/status/{status}")
    instance.settled()
    new = series(instance) - before
    codes = {dict(one[1:])["code"] for one in new}
    assert {one[0] for one in new} == {"pylon_http_requests_total", "pylon_upstream_requests_total"}
    assert {code for code in codes if not code.isdigit()} == {"2xx", "3xx", "4xx", "5xx"} and len(codes) <= 67
    methods_told = {dict(one[1:])["method"] for one in series(instance) if one[0] == "pylon_http_requests_total"}
    assert methods_told == {*methods, "other"}
    assert instance.total("pylon_http_requests_total", route="first", method="other") >= 200


def test_both_formats_tell_the_same(instance):
    for target in ("/first/", "/own", "/none", "/first/reset"):
        instance.ask(target)
    instance.settled()
    assert instance.total("pylon_http_requests_total") == 4
    text = httpx.get(f"http://{instance.admin}/metrics", headers={"Accept": "application/openmetrics-text"}, timeout=60).text
    open_ones = {
        (s.name, *sorted(s.labels.items())): s.value for family in text_string_to_metric_families(text) for s in family.samples
    }
    plain = {(s.name, *sorted(s.labels.items())): s.value for s in instance.samples()}
    # The one writes numbers such as 0.005 as the other does, though buckets may be 1 or 1.0.
    same = lambda told: {tuple(("le", float(p[1])) if p[0] == "le" else p for p in key): value for key, value in told.items()}  # noqa: E731
    assert same(open_ones).keys() == same(plain).keys()
    assert all(
        value == same(plain)[key]
        for key, value in same(open_ones).items()
        if key[0].startswith(("pylon_http_", "pylon_upstream_r"))
    )


def test_histograms_are_whole(instance):
    for target in ("/first/wait/30", "/own", "/first/"):
        instance.ask(target)
    instance.settled()
    assert instance.total("pylon_http_requests_total") == 3
    buckets = {
        float(one.labels["le"]): one.value
        for one in instance.samples()
        if one.name == "pylon_http_request_duration_seconds_bucket" and one.labels["route"] == "first"
    }
    assert list(buckets) == sorted(buckets) and list(buckets.values()) == sorted(buckets.values())
    assert list(buckets)[:-1] == [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
    assert buckets[float("inf")] == instance.total("pylon_http_request_duration_seconds_count", route="first") == 2
    assert buckets[0.025] <= 1
    assert instance.total("pylon_http_request_duration_seconds_sum", route="first") >= 0.03
