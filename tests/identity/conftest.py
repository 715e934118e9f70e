"""What every test can ask for. A failed test shows the logs of the programs that were running."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from processes import Program  # noqa: E402


@pytest.fixture(scope="module")
def stack():
    """What lives as long as the tests of a file."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def start(stack, tmp_path_factory):
    """Starts programs in directories of their own: `start(Gate, routes)`."""

    def launch(kind, *arguments, **options):
        program = kind(tmp_path_factory.mktemp("program"), *arguments, **options)
        stack.callback(program.stop)
        return program

    return launch


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.failed:
        for program in Program.running:
            report.sections.append((f"log of {program.name}", program.tail()))
    return report
