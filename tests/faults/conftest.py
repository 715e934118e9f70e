"""What every test can ask for: origins, and proxies before them. A failed test shows the logs of its proxies."""

import contextlib
import pathlib
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

import proxies  # noqa: E402
from client import call  # noqa: E402
from origins import Origin, Silent, ok_close  # noqa: E402
from processes import Program  # noqa: E402
from reports import pytest_runtest_makereport  # noqa: E402, F401


class Rig:
    """Starts what a test needs, and stops it at the end."""

    def __init__(self, directories):
        self.directories = directories
        self.started = contextlib.ExitStack()

    def keep(self, one):
        self.started.callback(one.stop)
        return one

    def origin(self, *arguments, kind=Origin, **options):
        return self.keep(kind(*arguments, **options))

    def origins(self, count, *arguments, **options):
        return [self.origin(*arguments, **options) for _ in range(count)]

    def silent(self, **options):
        return self.keep(Silent(**options))

    def directory(self):
        return self.directories.mktemp("faults")

    def proxy(self, pools, routes=None):
        before = list(Program.running)
        try:
            return self.keep(proxies.Proxy(self.directory(), pools, routes))
        except BaseException:  # the timeout of a test is none that Program knows
            for one in Program.running:
                if one not in before:
                    one.stop()
            raise

    def bench(self, **keys):
        """A proxy before a single origin that misbehaves otherwise in every test."""
        origin = self.origin()
        return Bench(self.proxy({"one": proxies.pool(origin, **keys)}), origin)


class Bench:
    def __init__(self, proxy, origin):
        self.proxy, self.origin = proxy, origin

    def play(self, play=ok_close, accept=None, at_head=None):
        """What the origin does from now on, on new connections."""
        self.origin.let_go()
        self.origin.play, self.origin.accept, self.origin.at_head = play, accept, at_head
        self.origin.forget()

    def call(self, path="/one/x", *arguments, **options):
        return call(self.proxy, path, *arguments, **options)

    def is_sound(self):
        """A next request works."""
        self.play()
        answer = self.call()
        assert (answer.status, answer.body, answer.complete) == (200, b"fine", True), answer


@pytest.fixture
def rig(tmp_path_factory):
    one = Rig(tmp_path_factory)
    with one.started:
        yield one


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A rig for all tests of a file."""
    one = Rig(tmp_path_factory)
    with one.started:
        yield one
