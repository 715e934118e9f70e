"""The dashboards as files: what Grafana and their readers need is there, and nothing leads nowhere."""

import itertools
import json
import re

import pytest

import boards
import manual

BOARDS = boards.boards()
PANELS = [(board["uid"], panel) for board in BOARDS for panel in boards.panels(board)]
each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])
each_panel = pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=[f"{uid}: {one['title']}" for uid, one in PANELS])
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def test_there_are_five_each_with_its_own_name():
    assert {path.stem for path in boards.FOLDER.glob("*.json")} == boards.UIDS
    assert [board["uid"] for board in BOARDS] == sorted(boards.UIDS)
    assert len({board["title"] for board in BOARDS}) == len(BOARDS)


@each_board
def test_a_file_is_written_in_one_way(board):
    text = (boards.FOLDER / f"{board['uid']}.json").read_text()
    assert text == json.dumps(board, indent=2, ensure_ascii=False) + "\n"


@each_board
def test_a_board_is_complete(board):
    assert board["schemaVersion"] >= 39 and board["tags"] == ["pylon"] and board["description"]
    assert "id" not in board, "the number that one Grafana gave it"
    [leads] = board["links"]
    assert leads["tags"] == ["pylon"] and leads["asDropdown"] and leads["includeVars"] and leads["keepTime"]
    assert {"datasource", "job"} <= set(boards.variables(board))


@each_board
def test_panels_can_be_told_apart(board):
    found = [*boards.panels(board), *(one for one in board["panels"] if one["type"] == "row")]
    for key in ("id", "title"):
        values = [one[key] for one in found]
        assert len(set(values)) == len(values), key
    assert board["panels"][0]["type"] == "row"


@each_board
def test_panels_do_not_overlap(board):
    places = [one["gridPos"] for one in board["panels"]]
    for one in places:
        assert 0 <= one["x"] and one["x"] + one["w"] <= 24 and one["w"] > 0 and one["h"] > 0, one
    for a, b in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (a, b)


@each_panel
def test_a_panel_says_what_it_shows(panel):
    assert len(panel["description"]) > 12
    assert panel["datasource"] == SOURCE
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)
    assert all(target["datasource"] == SOURCE and target["legendFormat"] for target in panel["targets"])
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"]


@each_panel
def test_thresholds_rise(panel):
    settings = panel["fieldConfig"]
    lists = [settings["defaults"]["thresholds"]["steps"]]
    for override in settings["overrides"]:
        lists += [one["value"]["steps"] for one in override["properties"] if one["id"] == "thresholds"]
    for first, *rest in lists:
        assert first["value"] is None
        values = [one["value"] for one in rest]
        assert values == sorted(set(values))


@each_panel
def test_what_changes_its_colour_says_what_then(panel):
    if len(panel["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1:
        assert re.search(r"Pylon[A-Z]\w+|Red:|Yellow:", panel["description"])


def test_alerts_in_descriptions_exist():
    named = {name for _, panel in PANELS for name in re.findall(r"\bPylon[A-Z]\w+", panel["description"])}
    assert named <= set(manual.alerts())
    assert len(named) > 15


@each_board
def test_columns_of_tables_are_named(board):
    for panel in boards.panels(board):
        if panel["type"] != "table":
            continue
        last = panel["transformations"][-1]["options"]
        shown = set(last["renameByName"].values())
        values = {f"Value #{one['refId']}" for one in panel["targets"]} if len(panel["targets"]) > 1 else {"Value"}
        assert values <= set(last["renameByName"]) | set(last["excludeByName"])
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in shown
        for one in panel["options"].get("sortBy", []):
            assert one["displayName"] in shown


@each_board
def test_variables_are_there_and_used(board):
    defined = boards.variables(board)
    found = list(boards.queries(board))
    used = {name for query in found for name in boards.VARIABLE.findall(query.text) if not name.startswith("__")}
    assert used <= set(defined)
    assert set(defined) - {"datasource"} <= used, "a variable that changes nothing"
    for name, variable in defined.items():
        if variable["type"] != "query":
            continue
        assert variable["multi"] and variable["includeAll"] and variable["refresh"] == 2
        assert variable["datasource"] == SOURCE
        # All jobs are those of the list: `up` and `process_…` have others.
        assert variable.get("allValue") == (None if name == "job" else boards.ALL)
        assert set(boards.VARIABLE.findall(variable["definition"])) <= set(defined)


def test_variables_are_matched_as_regular_expressions():
    for query in boards.all_queries():
        for operator in re.findall(r'(\S\S?)"\$\w+"', query.text):
            assert operator == "=~", query
        assert query.text.count("$") == len(re.findall(r'=~"\$\w+"|\[\$__(?:rate_interval|range)\]|"\$\{1\}xx"', query.text)), query


def test_rates_follow_the_interval_of_the_panel():
    for query in boards.all_queries():
        assert set(re.findall(r"\[([^\]]*)\]", query.text)) <= {"$__rate_interval", "$__range"}, query


def test_every_query_is_of_the_chosen_fleet():
    for query in boards.all_queries():
        selectors = re.findall(r"(\w[\w:]*)\{([^}]*)\}", query.text.replace("${1}xx", ""))
        assert selectors, query
        for name, labels in selectors:
            assert 'job=~"$job"' in labels or name == "ALERTS", query


@each_board
def test_links_lead_to_dashboards_and_variables_that_there_are(board):
    by_uid = {one["uid"]: boards.variables(one) for one in BOARDS}
    own = by_uid[board["uid"]]
    found = list(boards.links(board))
    assert found
    for title, url in found:
        target = re.match(r"/d/([\w-]+)\?", url)[1]
        assert "${__url_time_range}" in url, title
        carried = set(re.findall(r"\$\{(\w+):queryparam\}", url))
        assert {"datasource", "job"} <= carried <= set(own), title
        assert carried | set(re.findall(r"var-(\w+)=", url)) <= set(by_uid[target]), title


def test_every_metric_is_shown_somewhere():
    shown = {boards.family(name) for query in boards.all_queries() for name in boards.metrics(query.text)}
    assert set(manual.metrics()) - shown == set()


def test_no_metric_is_shown_that_there_is_not():
    known = set(manual.metrics()) | set(manual.records()) | {"up", "ALERTS"}
    for query in boards.all_queries():
        assert {boards.family(name) for name in boards.metrics(query.text)} <= known, query
