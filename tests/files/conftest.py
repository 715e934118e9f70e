"""What every test can ask for: a folder with files, and a Pylon that serves it. A failed test shows the logs of programs."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(TESTS / "clients"), str(TESTS / "records")]

from folder import Folder  # noqa: E402
from instance import Instance  # noqa: E402
from reports import pytest_runtest_makereport  # noqa: E402, F401


@pytest.fixture(scope="module")
def stack():
    """What lives as long as the tests of a file."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def start(stack, tmp_path_factory):
    """Starts Pylon with these routes: `start(route, ...)`, or whatever else its configuration has."""

    def launch(*routes, **config):
        instance = Instance(tmp_path_factory.mktemp("instance"), routes=list(routes), **config)
        stack.callback(instance.stop)
        return instance

    return launch


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Folder(tmp_path_factory.mktemp("folder"))
