"""What the README says about metrics and alerts, and the rules in `dashboards/rules`."""

import re
from functools import cache

import yaml

from processes import ROOT

README = (ROOT / "README.md").read_text()
RULES = ROOT / "dashboards" / "rules"
FILES = sorted(RULES.glob("*.yaml"))
TESTS = sorted((RULES / "tests").glob("*.yaml"))


def section(title):
    """The text below a heading of the second level."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table_rows(text):
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| `")]


def code(text):
    return re.findall(r"`([^`]+)`", text)


@cache
def metrics():
    """The labels of each metric, by name, as the README's table has them."""
    found = {}
    for names, labels, *_ in table_rows(section("Metrics")):
        # One list of labels for all names of the row, or one list for each of them.
        lists = labels.split(";")
        for index, name in enumerate(code(names)):
            found[name] = set(code(lists[index] if len(lists) > 1 else lists[0]))
    return found


def reasons():
    """The reasons for which something is turned away."""
    begin = README.index("counted in `pylon_rejected_total{reason}`")
    rows = table_rows(README[begin:].split("\n## ", 1)[0])
    return {reason for names, *_ in rows for reason in code(names)}


@cache
def groups(name):
    """The groups in a file of rules."""
    return yaml.safe_load((RULES / f"{name}.yaml").read_text())["groups"]


def rules():
    return [rule for file in FILES for group in groups(file.stem) for rule in group["rules"]]


def alerts():
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def records():
    return {rule["record"]: rule for rule in rules() if "record" in rule}


@cache
def cases():
    """Every group of tests of the rules."""
    return [case for file in TESTS for case in yaml.safe_load(file.read_text())["tests"]]


@cache
def runbook():
    """The text of each section of the runbook, by its alert."""
    parts = re.split(r"^### Alert (\w+)$", section("Runbook"), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@cache
def anchors():
    """The anchors of all headings, as they are made for a page."""
    headings = re.findall(r"^#+ (.+)$", README, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
