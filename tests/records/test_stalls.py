"""Logs that nobody takes: no request waits for them, what is lost is counted, and later lines are whole."""

import contextlib
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from crowd import flood
from instance import LOGS, Instance, Piped, forward
from pipes import Fifo
from processes import BINARY, answers, free_port, wait_until
from rig import mark

MIB = 1 << 20
FLOOD = 20_000  # more than wait for a log
OWN = [{"name": "own", "path": "/own", "answer": {"body": "x"}}]


def site(rig):
    gone = {"endpoints": [f"http://127.0.0.1:{free_port()}"]}
    routes = [forward("rig"), forward("gone", "gone"), *OWN]
    return {"upstreams": {"rig": {"endpoints": [rig.url]}, "gone": gone}, "routes": routes}


@pytest.fixture
def fifo(tmp_path):
    fifo = Fifo(tmp_path / "pipe")
    yield fifo
    fifo.close()


@pytest.fixture
def launch(tmp_path, rig):
    """Starts one of a kind that lives as long as the test."""
    with contextlib.ExitStack() as stack:

        def launch(log, *outputs, flags=0):
            kind = (Piped, outputs, flags) if outputs else (Instance,)
            instance = kind[0](tmp_path, *kind[1:], log=log, **site(rig))
            stack.callback(instance.stop)
            return instance

        yield launch


def counts(instance, channel):
    names = ("lines", "dropped", "write_errors")
    return {name: int(instance.total(f"pylon_log_{name}_total", channel=channel)) for name in names}


def all_counted(instance, channel, expected, of=("lines", "dropped")):
    """Each line was written or dropped, and all of them are accounted for."""
    told = lambda: sum(counts(instance, channel)[name] for name in of)  # noqa: E731
    wait_until(lambda: told() >= expected, what=f"{expected} lines are accounted for")
    assert told() == expected, counts(instance, channel)


def serves(instance):
    """Whether all that can be asked of it goes on."""
    for target, status in (("/own", 200), ("/rig/", 200), ("/none", 404), ("/gone/", 502), ("/rig/bytes/300000", 200)):
        assert instance.ask(target).status == status
    assert instance.api("/readyz").status_code == 200
    return 5


@pytest.mark.parametrize("way", ["file", "stdout"])
def test_an_access_log_that_nobody_reads(launch, fifo, way):
    if way == "file":
        instance = launch(LOGS | {"access": {"to": fifo.path}})
    else:
        instance = launch(LOGS | {"access": True}, fifo.path, "/dev/null")
    with instance.grows_less_than(64 * MIB):
        flood(instance, "/own?" + "f" * 500, FLOOD)
        asked = FLOOD + serves(instance)
        wait_until(lambda: counts(instance, "access")["dropped"] > 100, what="lines are dropped")
    fifo.read()
    all_counted(instance, "access", asked)
    last = mark("last")
    assert instance.ask(f"/own?{last}").status == 200
    fifo.waits_for(last)
    all_counted(instance, "access", asked + 1)
    lines, told = fifo.lines(), counts(instance, "access")
    assert len(lines) == told["lines"] and told["lines"] + told["dropped"] == asked + 1
    assert len({line["id"] for line in lines}) == len(lines) and told["write_errors"] == 0


@pytest.mark.parametrize("way", ["file", "stderr"])
def test_an_error_log_that_nobody_reads(launch, fifo, way):
    """Requests that fail have lines there."""
    log = LOGS | {"format": "json"}
    if way == "file":
        instance = launch(log | {"to": fifo.path})
    else:
        log.pop("to")
        instance = launch(log, "/dev/null", fifo.path)
    with instance.grows_less_than(64 * MIB):
        flood(instance, "/none/" + "f" * 500, FLOOD, 404)
        serves(instance)
        wait_until(lambda: counts(instance, "error")["dropped"] > 100, what="lines are dropped")
    last = mark("last")
    # Some lines may be dropped still, while those that wait are taken.
    fifo.read()
    flows = lambda: instance.ask(f"/none/{last}").status == 404 and last.encode() in fifo.data  # noqa: E731
    wait_until(flows, what="lines flow again")
    wait_until(lambda: fifo.data.endswith(b"\n"))
    told = lambda: len(fifo.lines()) == counts(instance, "error")["lines"]  # noqa: E731
    wait_until(told, what="the lines are counted")


@pytest.mark.parametrize("channel", ["access", "error"])
def test_long_lines_that_nobody_reads(launch, fifo, channel):
    """What waits is bounded by its size, not by its number alone: clients say how long their lines are."""
    log = LOGS | (
        {"to": fifo.path, "access": False} if channel == "error" else {"access": {"to": fifo.path, "format": "combined"}}
    )
    instance = launch(log)
    long = "f" * 15_000
    with instance.grows_less_than(64 * MIB):
        if channel == "error":
            flood(instance, f"/none/{long}", 8000, 404, batch=50)
        else:
            flood(instance, f"/own?{long}", 4000, 200, f"User-Agent: {long}", f"Referer: {long}", batch=20)
    serves(instance)


@pytest.mark.parametrize("channel", ["access", "error", "audit"])
def test_a_disk_that_is_full(launch, channel):
    log = {"to": "/dev/full"} | {name: LOGS[name] for name in ("format", "access", "audit")}
    log = log if channel == "error" else LOGS | {channel: {"to": "/dev/full"}}
    instance = launch(log)
    flood(instance, "/none", 500, 404)
    serves(instance)
    instance.cli("reload")
    lost = lambda: counts(instance, channel)  # noqa: E731
    wait_until(lambda: lost()["write_errors"] and lost()["dropped"], what="errors are counted")
    if channel == "access":
        all_counted(instance, "access", 505)
    told = counts(instance, channel)
    assert told["lines"] == 0 and told["dropped"] >= 1
    others = {"access", "error", "audit"} - {channel}
    assert all(counts(instance, other)["write_errors"] == counts(instance, other)["dropped"] == 0 for other in others)


def test_lines_flow_again_when_there_is_room(launch, tmp_path):
    (tmp_path / "access.log").symlink_to("/dev/full")
    instance = launch(LOGS)
    flood(instance, "/own", 100)
    wait_until(lambda: counts(instance, "access")["dropped"] == 100, what="lines are dropped")
    (tmp_path / "access.log").unlink()
    os.kill(instance.pid, signal.SIGUSR1)
    wait_until((tmp_path / "access.log").exists, what="the new file")
    flood(instance, "/own", 100)
    wait_until(lambda: counts(instance, "access")["lines"] == 100, what="lines are written")
    assert len(instance.lines()) == 100


def test_a_reader_that_is_gone(launch, fifo):
    """A pipe without a reader ends most programs."""
    instance = launch(LOGS | {"access": True}, fifo.path, "/dev/null")
    asked = serves(instance)
    wait_until(lambda: counts(instance, "access")["lines"] == asked, what="lines are written")
    fifo.read()
    wait_until(lambda: fifo.data.count(b"\n") == asked, what="they are read")
    fifo.close()
    more = serves(instance)
    flood(instance, "/own", 500)
    all_counted(instance, "access", asked + more + 500)
    assert counts(instance, "access")["write_errors"] >= 1


def test_all_logs_in_one_pipe(launch, fifo):
    """As with `2>&1` or below systemd: whatever waits, lines of one log never stand in the middle of another's."""
    instance = launch({"format": "json", "access": True}, fifo.path, fifo.path)
    flood(instance, "/none/" + "f" * 2000, 500, 404)
    fifo.read()
    flood(instance, "/none/" + "f" * 2000, 500, 404)
    wait_until(lambda: sum(counts(instance, channel)["lines"] for channel in ("access", "error")) >= 2000, what="all lines")
    wait_until(lambda: fifo.data.count(b"\n") >= 2000, what="all are read")
    lines = fifo.lines()
    assert (
        sum("request_bytes" in line for line in lines) == sum(line.get("message") == "request failed" for line in lines) == 1000
    )


def test_a_pipe_that_does_not_wait(launch, fifo):
    """Some parents make the standard output of their children such that a write fails where it would have to wait."""
    instance = launch(LOGS | {"access": True}, fifo.path, "/dev/null", flags=os.O_NONBLOCK)
    flood(instance, "/own?" + "f" * 500, 2000)
    fifo.read()
    last = mark("last")
    wait_until(lambda: instance.ask(f"/own?{last}").status == 200 and last.encode() in fifo.data, what="lines flow again")
    fifo.waits_for(last)
    assert fifo.lines()


def test_it_stops_although_nobody_reads(launch, fifo):
    instance = launch(LOGS | {"access": {"to": fifo.path}})
    flood(instance, "/own", 2000)
    instance.process.send_signal(signal.SIGTERM)
    assert instance.process.wait(60) == 0


def test_a_fifo_without_a_reader_does_not_hold_up_the_start_in_silence(tmp_path):
    """It starts, or it says what it cannot open."""
    os.mkfifo(tmp_path / "access.fifo")
    admin, file, said = f"127.0.0.1:{free_port()}", tmp_path / "pylon.yaml", tmp_path / "said"
    config = {"listeners": [{"address": f"127.0.0.1:{free_port()}"}], "admin": {"address": admin}, "routes": OWN}
    file.write_text(json.dumps(config | {"log": {"access": {"to": "./access.fifo"}}}))
    with said.open("wb") as output, subprocess.Popen([BINARY, "run", "-c", file], stdout=output, stderr=output) as process:
        try:
            ready = answers(f"http://{admin}/readyz")
            wait_until(lambda: ready() or process.poll() is not None, what="it starts or ends")
        finally:
            process.kill()
    assert process.returncode < 0 or "log.access.to" in said.read_text()


def test_requests_that_are_not_recorded_are_counted(launch):
    """However far what records falls behind, each request has a line or is counted as dropped."""
    instance = launch(LOGS)
    [recorder] = [
        int(task.name) for task in Path(f"/proc/{instance.pid}/task").iterdir() if (task / "comm").read_text() == "recorder\n"
    ]
    os.sched_setscheduler(recorder, os.SCHED_IDLE, os.sched_param(0))  # it works when nobody else does
    asked = threading.Thread(target=flood, args=(instance, "/own", FLOOD), kwargs={"batch": 8000})
    asked.start()
    flood(instance, "/own", FLOOD, batch=8000)
    asked.join()
    wait_until(lambda: instance.total("pylon_http_requests_total") >= 2 * FLOOD, what="all are counted")
    assert instance.total("pylon_http_requests_total") == 2 * FLOOD
    os.sched_setscheduler(recorder, os.SCHED_OTHER, os.sched_param(0))  # on a busy machine it would never catch up
    all_counted(instance, "access", 2 * FLOOD)
