"""What every test can ask for: built-in systems, as `pylon run --system` serves them. A failed test shows the logs."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(TESTS / name) for name in ("clients", "records", "console")]

from reports import pytest_runtest_makereport  # noqa: E402, F401
from router import Router  # noqa: E402
from site_files import Site  # noqa: E402


@pytest.fixture(scope="module")
def stack():
    """What lives as long as the tests of a file."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def start(stack, tmp_path_factory):
    """Starts programs: `start(Kind, ...)`."""

    def launch(kind, *arguments, **options):
        program = kind(tmp_path_factory.mktemp("program"), *arguments, **options)
        stack.callback(program.stop)
        return program

    return launch


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    site.issue("default", "ml.test", "*.ml.test")
    return site


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    """The router on one machine, with everything that it leads to."""
    with Router(tmp_path_factory.mktemp("router")) as router:
        yield router
