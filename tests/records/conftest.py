"""What every test can ask for. A failed test shows the logs of the programs that were running."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from instance import Instance  # noqa: E402
from reports import pytest_runtest_makereport  # noqa: E402, F401
from rig import Rig  # noqa: E402
from site_files import Site  # noqa: E402


@pytest.fixture(scope="module")
def stack():
    """What lives as long as the tests of a file."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def start(stack, tmp_path_factory):
    """Starts programs: `start(Instance, upstreams=...)`."""

    def launch(kind=Instance, *arguments, directory=None, **options):
        program = kind(directory or tmp_path_factory.mktemp("instance"), *arguments, **options)
        stack.callback(program.stop)
        return program

    return launch


@pytest.fixture(scope="module")
def rig(stack):
    return stack.enter_context(Rig())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    site.issue("default", "default.test")
    site.issue("local", "localhost", "127.0.0.1")
    return site
