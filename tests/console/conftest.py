"""What every test can ask for: a browser, a Pylon before servers that can die, and its console in that browser."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from console import Console, browser  # noqa: E402
from edge import Edge  # noqa: E402
from reports import pytest_runtest_makereport  # noqa: E402, F401
from servers import Server  # noqa: E402


@pytest.fixture(scope="session")
def driver():
    with contextlib.closing(browser()) as started:
        yield started


@pytest.fixture
def console(driver):
    """The browser with an empty page, as wide as a desktop."""
    page = Console(driver.driver)
    page.clear()
    yield page
    page.clear()


@pytest.fixture
def keep(tmp_path):
    """Starts what a test needs, and stops it at its end: `keep(Server())`."""
    with contextlib.ExitStack() as started:

        def keep(one):
            started.callback(one.stop)
            return one

        yield keep


@pytest.fixture
def edge(keep, tmp_path):
    """Starts a Pylon: `edge({"upstreams": …, "routes": …})`."""
    return lambda config=None, **options: keep(Edge(tmp_path, config or {}, **options))


@pytest.fixture
def servers(keep):
    """Starts servers: `servers(3)`."""
    return lambda count, **options: [keep(Server(f"server-{at}", **options)) for at in range(count)]
