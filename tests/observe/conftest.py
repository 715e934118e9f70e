"""What every test can ask for. A failed test shows the logs of the programs that were running."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from fleet import Fleet  # noqa: E402
from load import Load  # noqa: E402
from processes import wait_until  # noqa: E402
from reports import pytest_runtest_makereport  # noqa: E402, F401
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
        wait_until(load.goes_on, 240, "every client gets through")
    except TimeoutError as error:
        raise RuntimeError(f"{load.done}, {load.failed[-5:]}") from error
    return fleet


@pytest.fixture(scope="session")
def prometheus(started, fleet, tmp_path_factory):
    """A Prometheus that has seen them for a while, reloads among it."""
    program = Prometheus(tmp_path_factory.mktemp("prometheus"), [edge.admin for edge in fleet.edges])
    started.callback(program.stop)

    def has_seen_both():
        scrapes = program.query("count_over_time(pylon_draining[1m])")
        return len(scrapes) == 2 and all(count >= 4 for _, [count] in scrapes)

    wait_until(has_seen_both, 120, "Prometheus reads the metrics of both")
    fleet.reload()
    return program


@pytest.fixture
def start(tmp_path_factory):
    """Starts programs that live as long as a test: `start(Pylon, {...})`."""
    with contextlib.ExitStack() as stack:

        def launch(kind, *arguments, **options):
            program = kind(tmp_path_factory.mktemp(kind.__name__.lower()), *arguments, **options)
            stack.callback(program.stop)
            return program

        yield launch
