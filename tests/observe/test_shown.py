"""The dashboards before a real Prometheus and a real fleet: every query of every panel shows something."""

import re

import pytest
import requests

import boards
import manual
from processes import wait_until

BOARDS = boards.boards()
QUERIES = boards.all_queries()
LEGENDS = {
    (board["uid"], panel["title"], target["refId"]): (panel, target)
    for board in BOARDS
    for panel in boards.panels(board)
    for target in panel["targets"]
}


@pytest.fixture(scope="module")
def offered(prometheus):
    """What each variable offers, by its query."""
    found = {}
    for board in BOARDS:
        for name, variable in boards.variables(board).items():
            if variable["type"] == "query":
                ask = boards.substitute(variable["definition"], {"job": "pylon", "instance": boards.ALL})
                found[name] = wait_until(lambda ask=ask: prometheus.label_values(ask), 20, ask)
    return found


@pytest.fixture(scope="module", params=["all", "chosen"])
def values(request, offered):
    """What stands for variables: `All`, or a choice of everything by its name."""
    by_name = {name: boards.chosen(found) for name, found in offered.items()}
    return by_name if request.param == "chosen" else dict.fromkeys(by_name, boards.ALL) | {"job": "pylon"}


def test_variables_offer_what_there_is(fleet, offered):
    edge = fleet.edges[0]
    assert offered["job"] == ["pylon"]
    assert offered["instance"] == sorted(edge.admin for edge in fleet.edges)
    assert set(offered["upstream"]) == set(edge.config["upstreams"])
    assert {"(none)", *(route["name"] for route in edge.config["routes"])} <= set(offered["route"])


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_every_query_shows_something(prometheus, values, query):
    text = query.with_values(values)
    found = wait_until(lambda: prometheus.query(text, instant=query.instant), 60, text)
    if (query.board, query.panel, query.ref) not in LEGENDS:
        return
    panel, target = LEGENDS[query.board, query.panel, query.ref]
    addresses = [one["url"] for one in panel["fieldConfig"]["defaults"].get("links", [])]
    named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    named |= {label for address in addresses for label in re.findall(r"__field\.labels\.(\w+)", address)}
    for labels, _ in found:
        assert named <= set(labels), labels


def test_the_choice_of_one_pool_shows_no_other(prometheus):
    [query] = [one for one in QUERIES if one.board == "pylon-upstreams" and one.panel == "Endpoints known"]
    text = query.with_values({"job": "pylon", "instance": boards.ALL, "upstream": boards.chosen(["good"])})
    found = wait_until(lambda: prometheus.query(text, instant=False), 20, text)
    assert [labels for labels, _ in found] == [{"upstream": "good"}]


def test_no_other_job_is_shown(prometheus, offered):
    assert {one["metric"]["job"] for one in prometheus.get("query", query="up")["result"]} == {"pylon", "prometheus"}
    [query] = [one for one in QUERIES if one.board == "pylon-instance" and one.panel == "File descriptors"]
    text = query.with_values({"job": boards.chosen(offered["job"]), "instance": boards.ALL})
    found = wait_until(lambda: prometheus.query(text), what=text)
    assert {labels["job"] for labels, _ in found} == {"pylon"}


def test_prometheus_scrapes_without_fault(prometheus):
    def health():
        targets = [one for one in prometheus.get("targets")["activeTargets"] if one["labels"]["job"] == "pylon"]
        return [(one["health"], one["lastError"]) for one in targets]

    # A busy machine may have been too late for one scrape; not for all.
    wait_until(lambda: health() == [("up", "")] * 2, 60, "both are up")
    known = prometheus.get("metadata")
    for name in manual.metrics():
        # By OpenMetrics a counter is known by its name without the end.
        assert known.get(name) or known.get(name.removesuffix("_total")), name


def test_every_rule_is_computed(prometheus):
    rules = prometheus.rules()
    assert {one["name"] for one in rules} == set(manual.alerts()) | set(manual.records())
    wait_until(lambda: all(one["health"] == "ok" for one in prometheus.rules()), 20, "all rules are computed")
    for record in manual.records():
        wait_until(lambda record=record: prometheus.query(record), 30, record)


def state(prometheus, alert):
    [found] = [one for one in prometheus.rules() if one["name"] == alert]
    return found["state"]


WRONG = ["PylonCertificateExpires", "PylonPoolEmpty", "PylonPoolPanic", "PylonPoolDegraded", "PylonAuthUnavailable", "PylonLimitStoreAway"]
RIGHT = ["PylonAbsent", "PylonInstanceDown", "PylonDraining", "PylonReloadFails", "PylonLogDropped", "PylonInstanceStoreAway"]


@pytest.mark.parametrize("alert", WRONG)
def test_what_is_wrong_is_noticed(prometheus, alert):
    wait_until(lambda: state(prometheus, alert) in ("pending", "firing"), what=alert)


@pytest.mark.parametrize("alert", RIGHT)
def test_what_is_right_is_not_alerted_on(prometheus, alert):
    wait_until(lambda: state(prometheus, alert) == "inactive", 60, alert)


def test_an_alert_of_two_days_left_names_the_certificate(prometheus):
    text = 'ALERTS{alertname="PylonCertificateExpires",alertstate="firing"}'
    firing = wait_until(lambda: prometheus.query(text), 20, "it fires")
    assert {labels["name"] for labels, _ in firing} == {"old.test"}


def test_the_endpoint_that_is_down_is_the_one_that_is_shown(fleet, prometheus):
    down = fleet.edges[0].config["upstreams"]["gone"]["endpoints"][0].removeprefix("http://")
    text, shown = 'max by (endpoint) (pylon_upstream_healthy{upstream="gone"})', [({"endpoint": down}, [0.0])]
    wait_until(lambda: prometheus.query(text) == shown, what="it is shown as down")
    listed = requests.get(f"http://{fleet.edges[0].admin}/api/upstreams", timeout=10).json()
    assert down in str(listed)


def test_of_two_stores_the_one_that_is_away_is_shown(fleet, prometheus):
    routes = {route["name"]: route for route in fleet.edges[0].config["routes"]}
    there, gone = (routes[name]["limit"]["redis"]["url"].removeprefix("redis://") + "/0" for name in ("few-of-all", "many"))
    [query] = [one for one in QUERIES if one.board == "pylon-routes" and one.panel == "Stores of limits that answer"]
    text = query.with_values({"job": "pylon", "instance": boards.ALL})

    def shown():
        return {labels["store"]: numbers[-1] for labels, numbers in prometheus.query(text, instant=False)}

    wait_until(lambda: shown() == {there: 1.0, gone: 0.0}, what="one answers, one does not")
    alert = 'ALERTS{alertname="PylonLimitStoreAway"}'
    noticed = wait_until(lambda: prometheus.query(alert), 20, alert)
    assert {labels["store"] for labels, _ in noticed} == {gone}


def test_what_limits_and_identity_did_is_shown_by_name(prometheus):
    def shown(panel):
        [query] = [one for one in QUERIES if one.board == "pylon-routes" and one.panel == panel]
        text = query.with_values({"job": "pylon", "instance": boards.ALL, "route": boards.ALL})
        return [labels for labels, numbers in prometheus.query(text, instant=False) if max(numbers) > 0]

    limits = [{"route": "few", "limit": "window"}, {"route": "few-of-all", "limit": "shared"}]
    found = [("api_key", "proven"), ("api_key", "wrong"), ("api_key", "absent"), ("forward", "unavailable")]
    for panel, wanted in {
        "Refused by limits": limits,
        "Who asks: what was found out": [{"step": step, "result": result} for step, result in found],
        "Who asks: could not be found out": [{"step": "forward"}],
    }.items():
        wait_until(lambda panel=panel, wanted=wanted: all(one in shown(panel) for one in wanted), 30, panel)
