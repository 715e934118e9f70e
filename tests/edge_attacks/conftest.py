"""What every test can ask for: a proxy under attack. A failed test shows the logs of its programs."""

import contextlib
import pathlib
import sys
import threading

import pytest

sys.dont_write_bytecode = True
TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(TESTS / "clients"), str(TESTS / "faults")]

import edge as edges  # noqa: E402
from healthy import KINDS, Healthy  # noqa: E402
from processes import Program  # noqa: E402

FIGURES = []


def pytest_addoption(parser):
    parser.addoption("--bench", action="store_true", help="print how fast the healthy clients were served in each test")


def pytest_terminal_summary(terminalreporter, config):
    if edges.Edge.left_out:
        terminalreporter.write_line(f"keys that this binary does not know: {', '.join(edges.Edge.left_out)}")
    if config.getoption("--bench"):
        terminalreporter.section("healthy clients: requests; ms at the median, 99 %, the longest; MiB more at the peak")
        for name, (count, median, late, longest), growth in FIGURES:
            terminalreporter.write_line(f"{name:<60} {count:5} {median:8.1f} {late:8.1f} {longest:8.1f} {growth:6}")


class Ground:
    """Starts proxies, the shared one again if a test has ended it, and watches over an attack on them."""

    def __init__(self, directories):
        self.directories = directories
        self.started = contextlib.ExitStack()
        self.certificate = edges.Certificate(self.directory())
        self.origin = self.keep(edges.Origin(self.directory()))
        self.shared = None

    def directory(self):
        return self.directories.mktemp("edge")

    def keep(self, one):
        self.started.callback(one.stop)
        return one

    def proxy(self, **options):
        return edges.Edge(self.directory(), self.origin, self.certificate, **options)

    def sound(self):
        if self.shared is None or not self.shared.alive():
            self.shared = self.keep(self.proxy())
        return self.shared


@pytest.fixture(scope="session")
def ground(tmp_path_factory):
    one = Ground(tmp_path_factory)
    with one.started:
        yield one


@contextlib.contextmanager
def attacked(edge, name, *, kinds=KINDS, grows=64):
    """Healthy clients are served all the time, nothing is left at the end, and memory grows by few MiB."""
    edge.forget_peak()
    before = edge.memory("VmRSS")
    failures = []
    with Healthy(edge, kinds) as healthy:
        try:
            yield healthy
        except (AssertionError, OSError) as error:
            failures.append(error)
    growth = (edge.memory("VmHWM") - before) // edges.MIB if edge.alive() else 0
    edge.dismiss()
    FIGURES.append((name, healthy.figures(), growth))
    for check in (lambda: is_alive(edge), healthy.check, edge.settles, lambda: is_small(growth, grows)):
        try:
            check()
        except (AssertionError, OSError) as error:
            failures.append(error)
    for more in failures[1:]:
        failures[0].add_note(f"and: {more}")
    if failures:
        raise failures[0]


def is_alive(edge):
    assert edge.alive(), f"the proxy ended with {edge.process.returncode}"


def is_small(growth, limit):
    assert growth < limit, f"the proxy grew by {growth} MiB"


@pytest.fixture
def edge(ground, request):
    """The shared proxy while it is attacked."""
    one = ground.sound()
    marker = request.node.get_closest_marker("grows")
    with attacked(one, request.node.name, grows=marker.args[0] if marker else 64):
        yield one


class Outcomes:
    """What became of attacks that ran at once, with their failures, and what was so afterwards."""

    def __init__(self, edge, attacks, name):
        self.failures = {}
        self.afterwards = None
        try:
            with attacked(edge, name, grows=192):
                threads = [threading.Thread(target=self._run, args=(edge, attack), daemon=True) for attack in attacks]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        except (AssertionError, OSError) as error:
            self.afterwards = error

    def _run(self, edge, attack):
        try:
            attack(edge)
        except Exception as error:
            self.failures[attack] = error

    def of(self, attack):
        if error := self.failures.get(attack):
            raise error


@pytest.fixture(scope="module")
def outcomes(ground, request):
    """Runs all attacks of a module that were chosen, at once, before one proxy."""
    here = [item for item in request.session.items if item.module is request.module and hasattr(item, "callspec")]
    chosen = [item.callspec.params["attack"] for item in here if "attack" in item.callspec.params]
    return Outcomes(ground.sound(), chosen, f"{request.module.__name__}: {len(chosen)} at once")


def pytest_configure(config):
    config.addinivalue_line("markers", "grows(mib): the memory that the proxy may take meanwhile")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed and "outcomes" not in item.fixturenames:  # of many attacks at once, it would be the same every time
        for program in Program.running:
            report.sections.append((f"log of {program.name}", program.tail()))
    return report
