"""What every test can ask for. A failed test shows the logs of the programs that were running."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from processes import Program  # noqa: E402
from servers import Gate, Origin, Redis  # noqa: E402


@pytest.fixture(scope="module")
def stack():
    """What lives as long as the tests of a file."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def origin(stack):
    return stack.enter_context(Origin())


@pytest.fixture(scope="module")
def redis(stack, tmp_path_factory):
    """A server that stays up."""
    server = Redis(tmp_path_factory.mktemp("redis"))
    stack.callback(server.stop)
    return server


@pytest.fixture
def start_redis(tmp_path_factory):
    """Starts servers of a test's own, which it may stop."""
    with contextlib.ExitStack() as stack:

        def launch(*options, **more):
            server = Redis(tmp_path_factory.mktemp("redis"), *options, **more)
            stack.callback(server.stop)
            return server

        yield launch


@pytest.fixture
def gate(origin, tmp_path_factory):
    """Starts a Pylon before the origin, with these keys of its route, or of several."""
    with contextlib.ExitStack() as stack:

        def launch(*routes, **keys):
            pylon = Gate(tmp_path_factory.mktemp("pylon"), origin, routes or [keys])
            stack.callback(pylon.stop)
            return pylon

        yield launch


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.failed:
        for program in Program.running:
            report.sections.append((f"log of {program.name}", program.tail()))
    return report
