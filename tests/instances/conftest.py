"""What every test can ask for. A failed test shows the logs of the programs that were running."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from etcd import Etcd, Gate  # noqa: E402
from processes import Program  # noqa: E402
from registry import Registry  # noqa: E402
from reports import pytest_runtest_makereport  # noqa: E402, F401


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def start(stack, tmp_path_factory):
    """Starts a Pylon, or another program: `start(instances={...})`, `start(Etcd)`."""

    def launch(kind=Registry, *arguments, directory=None, **options):
        program = kind(directory or tmp_path_factory.mktemp("program"), *arguments, **options)
        stack.callback(lambda: program in Program.running and program.stop())
        return program

    return launch


@pytest.fixture
def etcd(start):
    return start(Etcd)


@pytest.fixture
def gate(etcd, stack):
    gate = Gate(etcd.ports[0])
    stack.callback(lambda: gate.server.fileno() >= 0 and gate.shut())
    return gate
