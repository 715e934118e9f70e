"""What every test can ask for. A failed test shows the logs of the programs that were running."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from fleet import Fleet  # noqa: E402
from load import Load  # noqa: E402
from processes import Program, wait_until  # noqa: E402
from watch import Prometheus  # noqa: E402


@pytest.fixture(scope="session")
def started():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def fleet(started, tmp_path_factory):
    """Two instances under load of every kind, which have been reloaded."""
    fleet = Fleet(tmp_path_factory, started)
    load = started.enter_context(Load(fleet.edges))
    try:
        wait_until(load.goes_on, 60, "every client gets through")
    except TimeoutError as error:
        raise RuntimeError(f"{load.done}, {load.failed[-5:]}") from error
    return fleet


@pytest.fixture(scope="session")
def prometheus(started, fleet, tmp_path_factory):
    """A Prometheus that has seen them for a while, reloads among it."""
    program = Prometheus(tmp_path_factory.mktemp("prometheus"), [edge.admin for edge in fleet.edges])
    started.callback(program.stop)
    seen = lambda: [n for _, [n] in program.query('count_over_time(pylon_draining{job="pylon"}[1m])') if n >= 4]  # noqa: E731
    wait_until(lambda: len(seen()) == 2, 30, "Prometheus reads the metrics of both")
    fleet.reload()
    return program


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.failed:
        for program in Program.running:
            report.sections.append((f"log of {program.name}", program.tail()))
    return report
