"""What `/metrics` says, in both of its formats: valid, as the README has it, and bounded."""

import re
import subprocess
from collections import Counter

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import boards
import manual
from load import METHODS
from processes import wait_until

# As Prometheus 2 asks.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
MEDIA_TYPE = r"application/openmetrics-text; ?version=1\.0\.0; ?charset=utf-8"
OUTCOMES = set(
    """forwarded upgraded answered refused bad_request rejected unauthenticated forbidden auth_unavailable limited no_server
    overloaded breaker_open unresolved address_refused connect_failed connect_timeout tls_failed upstream_timeout
    request_timeout upstream_broken upstream_cut adapt_failed file_failed client_gone internal""".split()
)
BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, float("inf")]
VALUES = {
    ("pylon_http_requests_total", "method"): {*METHODS[:-1], "other"},
    ("pylon_http_outcomes_total", "outcome"): OUTCOMES,
    ("pylon_rejected_total", "reason"): manual.reasons(),
    ("pylon_connections", "protocol"): {"opening", "http1", "http1_tls", "http2", "http2_tls"},
    ("pylon_connections_accepted_total", "protocol"): {"http1", "http1_tls", "http2", "http2_tls"},
    ("pylon_network_receive_bytes_total", "side"): {"client", "upstream"},
    ("pylon_network_transmit_bytes_total", "side"): {"client", "upstream"},
    ("pylon_tls_handshakes_total", "version"): {"TLSv1.2", "TLSv1.3"},
    ("pylon_tls_handshakes_total", "kind"): {"full", "resumed"},
    ("pylon_tls_handshake_failures_total", "reason"): {"handshake", "timeout"},
    ("pylon_upstream_failures_total", "reason"): set(
        "connect_failed connect_timeout tls_failed upstream_timeout request_timeout upstream_broken upstream_cut".split()
    ),
    ("pylon_auth_requests_total", "step"): {"api_key", "forward"},
    ("pylon_auth_requests_total", "result"): {"proven", "wrong", "absent", "forbidden", "unavailable", "answered"},
    ("pylon_ratelimit_rejected_total", "limit"): {"rate", "window", "shared"},
    ("pylon_config_reloads_total", "result"): {"changed", "unchanged", "refused"},
    ("pylon_log_lines_total", "channel"): {"access", "error", "audit"},
    ("pylon_log_dropped_total", "channel"): {"access", "error", "audit"},
    ("pylon_log_write_errors_total", "channel"): {"access", "error", "audit"},
}


@pytest.fixture(scope="module")
def text(fleet):
    answer = fleet.metrics()
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return answer.text


@pytest.fixture(scope="module")
def samples(text):
    return [sample for family in parse_text(text) for sample in family.samples]


@pytest.fixture(scope="module")
def opened(fleet):
    answer = fleet.metrics(Accept=ACCEPT)
    assert re.fullmatch(MEDIA_TYPE, answer.headers["Content-Type"])
    return answer.text


def names(families):
    """The names that samples have in Prometheus, and their types; a counter is its total."""
    return {f"{one.name}_total" if one.type == "counter" else one.name: one.type for one in families}


def kind(name):
    if name.endswith("_total"):
        return "counter"
    return "histogram" if name.endswith("_duration_seconds") else "gauge"


def test_the_text_is_clean(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_metric_is_there_with_its_type(text):
    assert names(parse_text(text)) == {name: kind(name) for name in manual.metrics()}


def test_openmetrics_is_valid_and_says_the_same(text, opened):
    assert opened.endswith("# EOF\n")
    assert names(parse_openmetrics(opened)) == names(parse_text(text))
    plain = {(one.name, *sorted(one.labels)) for family in parse_text(text) for one in family.samples}
    assert {(one.name, *sorted(one.labels)) for family in parse_openmetrics(opened) for one in family.samples} == plain


def test_every_metric_says_what_it_is(text, opened):
    for families in (parse_text(text), parse_openmetrics(opened)):
        assert [one.name for one in families if not one.documentation.endswith(".")] == []


@pytest.mark.parametrize("name", manual.metrics())
def test_labels_are_those_of_the_readme(samples, name):
    wanted = manual.metrics()[name]
    found = [one for one in samples if boards.family(one.name) == name or one.name == name]
    assert found
    for one in found:
        assert set(one.labels) - {"le"} == wanted


@pytest.mark.parametrize("name, label", VALUES)
def test_labels_have_no_other_values(samples, name, label):
    found = {one.labels[label] for one in samples if one.name == name}
    assert found and found <= VALUES[name, label]


def test_routes_pools_and_statuses_are_known_ones(fleet, samples):
    edge = fleet.edges[0]
    routes = {route["name"] for route in edge.config["routes"]} | {"new", "healthz", "(none)"}
    assert {one.labels["route"] for one in samples if "route" in one.labels} <= routes
    assert {one.labels["upstream"] for one in samples if "upstream" in one.labels} == set(edge.config["upstreams"])
    for one in samples:
        assert re.fullmatch(r"[1-5](\d\d|xx)|none", one.labels.get("code", "200")), one
        assert re.fullmatch(r"127\.0\.0\.1:\d+", one.labels.get("endpoint", "127.0.0.1:1")), one
        assert re.fullmatch(r"127\.0\.0\.1:\d+/0", one.labels.get("store", "127.0.0.1:1/0")), one


def test_buckets(samples):
    buckets = [one for one in samples if one.name == "pylon_http_request_duration_seconds_bucket"]
    buckets = [one for one in buckets if one.labels["route"] == "good"]
    assert [float(one.labels["le"]) for one in buckets] == BUCKETS
    values = [one.value for one in buckets]
    assert values == sorted(values) and values[-1] > 0


def test_names_from_clients_make_no_series(fleet):
    edge = fleet.edges[0]

    def asks(number):
        url = f"http://{edge.authority('http')}/nowhere/{number}"
        curl = ["curl", "-s", "-o/dev/null", "-X", f"METHOD{number}", "-H", f"Host: h{number}.test", url]
        return subprocess.run(curl, timeout=60).returncode

    assert [asks(number) for number in range(20)] == [0] * 20
    assert not re.search(r"METHOD\d|h\d+\.test|nowhere/", fleet.metrics().text)


def test_every_request_has_one_outcome_and_one_status(fleet):
    """Counted at the same end: the numbers are equal whenever nothing ends between them."""

    def sums(metric):
        counts = Counter()
        for family in parse_text(fleet.metrics().text):
            for one in family.samples:
                if one.name == metric:
                    counts[one.labels["route"]] += one.value
        return counts

    def equal():
        before, outcomes, after = (sums(f"pylon_http_{what}_total") for what in ("requests", "outcomes", "requests"))
        return all(before[route] <= outcomes[route] <= after[route] for route in {*before, *outcomes, *after})

    wait_until(equal, 60, "requests by outcome are requests by status")
