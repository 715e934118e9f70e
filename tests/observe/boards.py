"""The dashboards in `dashboards/`: their panels and queries, and what Grafana puts in the place of variables."""

import json
import re
from dataclasses import dataclass

from processes import ROOT

FOLDER = ROOT / "dashboards"
UIDS = {"pylon-fleet", "pylon-instance", "pylon-routes", "pylon-upstreams", "pylon-edge"}
ALL = ".+"

# A metric stands before a selector, an operator or the end; functions, labels and words of the language do not look so.
METRIC = re.compile(r"\b(?:pylon_\w+|process_\w+|up(?=\{)|ALERTS|job\w*:[\w:]+)")
VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Query:
    board: str
    panel: str
    ref: str
    text: str
    instant: bool

    def __str__(self):
        return f"{self.board}: {self.panel} {self.ref}"

    def with_values(self, values):
        return substitute(self.text, values)


def substitute(text, values):
    """The query as Prometheus gets it. Grafana's own `$__…` come first, as `values` knows nothing of them."""
    text = text.replace("$__rate_interval", "15s").replace("$__range", "2m")
    return re.sub(r"\$\{?([A-Za-z_]\w*)\}?", lambda found: values[found[1]], text)


def chosen(values):
    """Several values, as Grafana writes them into a regular expression within quotes."""
    return "(" + "|".join(re.escape(value).replace("\\", "\\\\") for value in values) + ")"


def boards():
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]


def panels(board):
    """All panels, those of collapsed rows too, without the rows."""
    for panel in board["panels"]:
        yield from panel.get("panels", [])
        if panel["type"] != "row":
            yield panel


def variables(board):
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def queries(board):
    """Every query of the panels and of the marks on them."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield Query(board["uid"], panel["title"], target["refId"], target["expr"], target["instant"])
    for mark in board["annotations"]["list"]:
        if "expr" in mark:
            yield Query(board["uid"], f"mark {mark['name']}", "", mark["expr"], False)


def all_queries():
    return [query for board in boards() for query in queries(board)]


def metrics(text):
    """The names of the metrics in a query."""
    return set(METRIC.findall(re.sub(r'"[^"]*"', '""', text)))


def family(name):
    """The name of a histogram for those of its series."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def links(board):
    """The addresses of all links from panels, with the panel's title."""
    for panel in panels(board):
        field = panel["fieldConfig"]
        found = list(field["defaults"].get("links", []))
        for override in field["overrides"]:
            found += [one for prop in override["properties"] if prop["id"] == "links" for one in prop["value"]]
        for one in found:
            yield panel["title"], one["url"]
