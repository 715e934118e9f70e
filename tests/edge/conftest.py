"""All cases that were asked for are played at the same time; then each test looks at its own."""

import pathlib
import sys
from concurrent.futures import wait

import pytest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "faults"), str(HERE.parent / "clients")]

from gateway import Lanes, play_and_judge  # noqa: E402
from processes import Program  # noqa: E402


@pytest.fixture(scope="session")
def lanes(tmp_path_factory):
    one = Lanes(tmp_path_factory.mktemp("edge"))
    yield one
    one.stop()


@pytest.fixture(scope="session")
def results(lanes, request):
    """By id of its test, the future of (what has happened, what was wrong)."""
    jobs = {}
    for item in request.session.items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("case")
        if case:
            job = item.function.__globals__.get("JOB", play_and_judge)
            jobs[item.nodeid] = lanes.start(job, case)
    wait(jobs.values())  # the tests that look at them would only be in their way
    return jobs


@pytest.fixture
def result(results, request):
    return results[request.node.nodeid].result(300)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed and "case" not in getattr(item, "callspec", item).__dict__.get("params", {}):
        for program in Program.running:
            report.sections.append((f"log of {program.name}", program.tail()))
    return report
