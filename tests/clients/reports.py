"""What a failed test shows: the logs of the programs that are running. A conftest.py has this hook by importing it."""

import pathlib

import pytest

from processes import Program


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.failed:
        for program in Program.running:
            report.sections.append((f"log of {program.name}", program.tail()))
            for log in sorted(getattr(program, "directory", pathlib.Path("/nowhere")).glob("error.log")):
                report.sections.append((f"{log.name} of {program.name}", log.read_text(errors="replace")[-3000:]))
    return report
