"""What is logged and what is not; files that are moved away; targets that cannot be opened."""

import os
import signal
import subprocess

import pytest

from crowd import Crowd
from instance import LOGS, Instance, forward
from peers import Edge
from processes import BINARY, free_port, wait_until
from rig import mark


@pytest.fixture(scope="module")
def launch(start, rig):
    """Starts one with this access log."""

    def launch(access, *routes, **log):
        access = {"to": "./access.log"} | access if isinstance(access, dict) else access
        gone = f"http://127.0.0.1:{free_port()}"
        upstreams = {"rig": {"endpoints": [rig.url]}, "gone": {"endpoints": [gone]}}
        routes = [*routes, forward("rig"), forward("gone", "gone"), {"name": "own", "path": "/own", "answer": {"body": "x"}}]
        return start(log=LOGS | {"access": access} | log, upstreams=upstreams, routes=routes)

    return launch


def asks_all(instance):
    """Requests that end well, by the client's fault, and by others' faults: their marks."""
    texts = {kind: mark(kind) for kind in ("fine", "own", "missing", "its", "down", "broken")}
    targets = ["/rig/", "/own", "/none", "/rig/status/500", "/gone/", "/rig/reset"]
    for target, text in zip(targets, texts.values(), strict=True):
        instance.ask(f"{target}?{text}")
    return texts


def logged(instance, texts):
    """The kinds of which there is a line, when all lines are written."""
    instance.settled()  # lines of several threads have no order else
    last = mark("last")
    instance.ask(f"/gone/?{last}")
    instance.entry(last)
    content = instance.text_of("access.log")
    return {kind for kind, text in texts.items() if text in content}


FAULTS = {"its", "down", "broken"}
ALL = FAULTS | {"fine", "own", "missing"}


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        ({}, ALL),
        ({"level": "info"}, ALL),
        ({"level": "warn"}, FAULTS | {"missing"}),
        ({"level": "error"}, FAULTS),
        ({"sample": "0%"}, FAULTS),
        ({"sample": "100%"}, ALL),
    ],
    ids=str,
)
def test_levels_and_shares(launch, access, expected):
    instance = launch(access)
    assert logged(instance, asks_all(instance)) == expected


def test_an_access_log_that_is_off(launch):
    instance = launch({"level": "off"})
    texts = asks_all(instance)
    wait_until(lambda: instance.total("pylon_http_outcomes_total") >= len(texts), what="all have ended")
    instance.entry("upstream_broken", "error.log")
    assert instance.text_of("access.log") == "" and instance.total("pylon_log_lines_total", channel="access") == 0


def test_false_is_off(launch):
    instance = launch(False)
    asks_all(instance)
    instance.entry("upstream_broken", "error.log")
    assert instance.total("pylon_log_lines_total", channel="access") == 0
    assert instance.log.read_text() == ""


def test_a_share_is_a_share(launch):
    instance = launch({"sample": "25%"})
    with Crowd(instance, "/own", most=4000) as crowd:
        crowd.wait()
    instance.settled()
    last = mark("last")
    instance.ask(f"/gone/?{last}")
    instance.entry(last)
    # Far beyond six standard deviations from a quarter.
    assert 0.2 < len(instance.lines()) / crowd.done < 0.3


def test_a_route_has_its_own_share(launch):
    own = {"silent": False, "none": "0%", "half": "50%", "loud": True}
    routes = [forward(name, "rig", access_log=share) for name, share in own.items()]
    instance = launch({"sample": "0%"}, *routes)
    for _ in range(40):
        for name in own:
            instance.ask(f"/{name}/")
            instance.ask(f"/{name}/reset")
    instance.settled()
    last = mark("last")
    instance.ask(f"/gone/?{last}")
    instance.entry(last)
    counts = {
        (name, fine): sum(line["route"] == name and (line["status"] == 200) == fine for line in instance.lines())
        for name in own
        for fine in (True, False)
    }
    assert (counts["loud", True], counts["loud", False]) == (40, 40)
    assert counts["silent", True] == counts["silent", False] == 0
    assert 0 < counts["half", True] < 40 and counts["half", False] == 40
    assert (counts["none", True], counts["none", False]) == (0, 40)


def test_files_are_opened_anew_under_load_and_nothing_is_lost(launch):
    instance = launch({})
    log, moved = instance.directory / "access.log", []
    with Crowd(instance, "/own", "/rig/", threads=3) as crowd:
        for number in range(5):
            crowd.comes_to(300)
            moved.append(instance.directory / f"access.log.{number}")
            log.rename(moved[-1])
            os.kill(instance.pid, signal.SIGUSR1)
            wait_until(log.exists, what="the new file")
    assert not crowd.failed
    instance.settled()
    last = mark("last")
    instance.ask(f"/own?{last}")
    instance.entry(last)
    ids = [line["id"] for file in [*moved, log] for line in instance.lines(file.name)]
    assert len(ids) == len(set(ids)) == crowd.done + 1
    assert all(instance.lines(file.name) for file in moved)
    assert instance.total("pylon_log_dropped_total") == 0
    counted = lambda: instance.total("pylon_log_lines_total", channel="access")  # noqa: E731
    wait_until(lambda: counted() >= len(ids), what="lines are counted")
    assert counted() == len(ids)


def test_usr1_opens_all_files_anew(launch):
    instance = launch({})
    names = ("access.log", "error.log", "audit.log")
    for name in names:
        (instance.directory / name).rename(instance.directory / f"{name}.1")
    os.kill(instance.pid, signal.SIGUSR1)
    wait_until(lambda: all((instance.directory / name).exists() for name in names), what="the new files")
    text = mark("again")
    instance.ask(f"/rig/reset?{text}")
    identity = instance.entry(text)["id"]
    instance.entry(identity, "error.log")
    assert text not in instance.text_of("access.log.1") and identity not in instance.text_of("error.log.1")


def test_a_new_file_that_cannot_be_opened_keeps_the_old_one(launch):
    instance = launch({})
    log, moved = instance.directory / "access.log", instance.directory / "access.log.1"
    log.rename(moved)
    log.mkdir()
    os.kill(instance.pid, signal.SIGUSR1)
    wait_until(lambda: instance.total("pylon_log_write_errors_total", channel="access") >= 1, what="the error is counted")
    text = mark("kept")
    instance.ask(f"/rig/?{text}")
    instance.entry(text, "access.log.1")
    assert "access.log" in instance.text_of("error.log")


def test_lines_are_appended(launch, tmp_path, start):
    directory = tmp_path
    (directory / "access.log").write_text("what was there before\n")
    instance = start(directory=directory, routes=[{"name": "own", "path": "/own", "answer": {"body": "x"}}])
    instance.ask(f"/own?{(text := mark())}")
    wait_until(lambda: text in instance.text_of("access.log"))
    assert instance.text_of("access.log").startswith("what was there before\n{")
    assert (directory / "audit.log").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_last_lines_are_written_before_the_end(tmp_path, end):
    instance = Instance(tmp_path, routes=[{"name": "own", "path": "/own", "answer": {"body": "x"}}])
    try:
        with Crowd(instance, "/own", most=500) as crowd:
            crowd.wait()
        os.kill(instance.pid, end)
        instance.process.wait(60)
    finally:
        instance.stop()
    assert len(instance.lines()) == crowd.done and not crowd.failed


def start_fails(tmp_path, log):
    config = {
        "listeners": [{"address": f"127.0.0.1:{free_port()}"}],
        "admin": {"address": f"127.0.0.1:{free_port()}"},
        "log": log,
    }
    edge = Edge.__new__(Edge)
    edge.file, edge.config = tmp_path / "pylon.yaml", config | {"routes": [{"path": "/", "answer": {"body": "x"}, "name": "x"}]}
    edge.write()
    done = subprocess.run([BINARY, "run", "-c", edge.file], capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 78), done
    return done.stderr


@pytest.mark.parametrize("key", ["log.to", "log.access.to", "log.audit.to"])
@pytest.mark.parametrize("place", ["./nowhere/x.log", "./folder"])
def test_a_target_that_cannot_be_opened_keeps_it_from_starting(tmp_path, key, place):
    (tmp_path / "folder").mkdir()
    log = {"to": place}
    for part in reversed(key.split(".")[1:-1]):
        log = {part: log}
    said = start_fails(tmp_path, log)
    assert key in said and place.removeprefix("./") in said


def test_levels_that_are_none_keep_it_from_starting(tmp_path):
    assert "log.level" in start_fails(tmp_path, {"level": "loud"})
    assert "log.access.level" in start_fails(tmp_path, {"access": {"level": "debug"}})
    assert "log.audit" in start_fails(tmp_path, {"audit": "maybe"})
