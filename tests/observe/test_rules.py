"""The rules and their tests: valid, complete, and described."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

import boards
import manual


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_valid():
    assert manual.FILES
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", *manual.FILES)
    assert f"{len(manual.alerts())} rules found" in said
    assert f"{len(manual.records())} rules found" in said


@pytest.fixture(scope="module")
def played(request):
    """By file, what becomes of its tests: those that were asked for, on all processors, as they are of days of samples."""
    params = [item.callspec.params for item in request.session.items if "played" in item.fixturenames]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {one["file"]: pool.submit(promtool, "test", "rules", one["file"]) for one in params}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("file", manual.TESTS, ids=lambda file: file.stem)
def test_the_rules_do_as_their_tests_say(file, played):
    played[file].result()


@pytest.mark.parametrize("file", manual.TESTS, ids=lambda file: file.stem)
def test_the_tests_compute_alerts_after_what_they_use(file):
    """Without an order promtool takes any, and values come a turn late now and then."""
    order = yaml.safe_load(file.read_text())["group_eval_order"]
    assert order == [group["name"] for name in ("recording", "alerts") for group in manual.groups(name)]


def of_alert(alert):
    return [one for case in manual.cases() for one in case.get("alert_rule_test", []) if one["alertname"] == alert]


@pytest.mark.parametrize("alert", manual.alerts())
def test_an_alert_is_tested_both_ways(alert):
    fires = [one for one in of_alert(alert) if one["exp_alerts"]]
    assert fires, "no test in which it fires"
    quiet = [
        case["name"]
        for case in manual.cases()
        if any(one["alertname"] == alert for one in case.get("alert_rule_test", []))
        and not any(one["exp_alerts"] for one in case["alert_rule_test"] if one["alertname"] == alert)
    ]
    assert quiet, "no series with which it never fires"


@pytest.mark.parametrize("record", manual.records())
def test_a_recording_rule_is_tested(record):
    found = [one for case in manual.cases() for one in case.get("promql_expr_test", []) if one["expr"] == record]
    assert any(one["exp_samples"] for one in found)


@pytest.mark.parametrize("alert", manual.alerts().items(), ids=lambda alert: alert[0])
def test_an_alert_says_what_it_is_about(alert):
    name, rule = alert
    notes = rule["annotations"]
    assert name.startswith("Pylon")
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert re.search(r"\{\{ \$labels\.\w+ \}\}", notes["description"] + notes["summary"])
    assert name == "PylonAbsent" or "$value" in notes["description"]


@pytest.mark.parametrize("alert", manual.alerts())
def test_an_alert_has_a_section_in_the_runbook(alert):
    file, _, anchor = manual.alerts()[alert]["annotations"]["runbook_url"].partition("#")
    assert (file, anchor) == ("README.md", f"alert-{alert.lower()}")
    assert anchor in manual.anchors()
    text = manual.runbook()[alert]
    for part in ("**Means:**", "**Look at:**", "**Do:**"):
        assert text.count(part) == 1, part


def test_the_runbook_has_no_section_too_many():
    assert set(manual.runbook()) == set(manual.alerts())


def test_links_in_the_readme_lead_somewhere():
    wrong = [anchor for anchor in re.findall(r"\]\(#([\w-]+)\)", manual.README) if anchor not in manual.anchors()]
    assert not wrong


def test_rules_know_only_metrics_that_there_are():
    known = set(manual.metrics()) | set(manual.records()) | {"up"}
    for rule in manual.rules():
        assert {boards.family(name) for name in boards.metrics(rule["expr"])} - known == set(), rule


def test_the_series_of_the_tests_are_those_that_there_are():
    known = manual.metrics() | {"up": set()}
    for case in manual.cases():
        for line in (one["series"] for one in case["input_series"]):
            name, _, labels = line.partition("{")
            extra = {"le"} if name.endswith("_bucket") else set()
            used = set(re.findall(r"(\w+)=", labels)) - {"job", "instance"}
            assert used == known[boards.family(name)] | extra, line
