"""What every test can ask for. A failed test shows the logs of the programs that were running."""

import contextlib
import sys

import pytest

sys.dont_write_bytecode = True

from processes import Demo, Pylon  # noqa: E402
from reports import pytest_runtest_makereport  # noqa: E402, F401


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo; its `url` is Pylon's."""
    program = Demo(tmp_path_factory.mktemp("demo"))
    yield program
    program.stop()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts programs that live as long as the tests of a file: `start(Pylon, {...})`."""
    with contextlib.ExitStack() as started:

        def launch(kind, *arguments, **options):
            program = kind(tmp_path_factory.mktemp(kind.__name__.lower()), *arguments, **options)
            started.callback(program.stop)
            return program

        yield launch


@pytest.fixture(scope="module")
def pylon(start):
    """Starts a Pylon: `pylon(VARIABLE=...)` or `pylon(config=...)`."""
    return lambda config=None, **environment: start(Pylon, environment, config)
