"""Programs and servers that the tests start: on ephemeral ports, ready by a deadline, stopped at the end."""

import contextlib
import itertools
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("PYLON_BIN", str(ROOT / "target/debug/pylon"))
# No test is about these: they are for machines that are busy with much else.
START = 240.0
STOP = 60.0
PATIENCE = 60.0
GIVEN = set()
ANY = random.SystemRandom()  # tests seed the other one
# Those that suites which run at the same time may use are apart.
PORTS = [int(port) for port in os.environ.get("TEST_PORTS", "12000-32000").split("-")]


def bound():
    """A socket on a port below those of outgoing connections, so that none of them takes it while it is not bound.

    It was not given out before: where nobody listens, nobody comes to listen."""
    while len(GIVEN) < (PORTS[1] - PORTS[0]) * 9 // 10:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = ANY.randrange(*PORTS)
        with contextlib.suppress(OSError):
            if port not in GIVEN:
                sock.bind(("127.0.0.1", port))
                GIVEN.add(port)
                return sock
        sock.close()
    raise RuntimeError(f"TEST_PORTS {PORTS} are used up; give a wider range")


def free_port():
    """A port for a program, or for nobody."""
    with contextlib.closing(bound()) as sock:
        return sock.getsockname()[1]


def wait_until(condition, seconds=PATIENCE, what="it"):
    """Polls `condition` until it gives something true, which is returned. Fewer seconds than PATIENCE are as many as that:
    how soon something has to be is for the test to measure."""
    seconds = max(seconds, PATIENCE)
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return value


def one_by_one(stream):
    """What comes of a stream that tells something each second, until one has come by itself: well after the one before
    and well before the next. Of a stream that is held back, several come at once, or nothing.

    How soon the first ones come is no matter: whoever reads may be late, and then finds several too."""
    came, times = [], []
    for one in stream:
        came.append(one)
        times.append(time.monotonic())
        if len(came) > 2 and all(after - before > 0.5 for before, after in itertools.pairwise(times[-3:])):
            return came
    raise AssertionError(f"it ended, and nothing came by itself: {came}")


def answers(url):
    """A condition: `url` answers with a success."""

    def ask():
        with contextlib.suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(url, timeout=20) as response:
                return response.status < 300
        return False

    return ask


class Program:
    """A program with its log in a file. It leads a process group, which is ended as a whole."""

    running = []

    def __init__(self, arguments, directory, *, ready, environment=None):
        self.name = pathlib.Path(arguments[0]).name
        self.log = pathlib.Path(directory) / f"{self.name}-{free_port()}.log"
        inherited = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments],
                env=inherited | (environment or {}),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        Program.running.append(self)
        try:
            wait_until(lambda: self._is(ready), START, f"{self.name} is ready")
        except Exception as error:
            self.stop()
            raise RuntimeError(f"{self.name} did not start: {error}\n{self.tail()}") from error

    def _is(self, ready):
        if self.process.poll() is not None:
            raise RuntimeError(f"it ended with {self.process.returncode}")
        return ready()

    def tail(self, lines=15):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def memory(self, key):
        """`VmRSS` or `VmHWM` (its peak) in bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{key}:"))
        return int(line.split()[1]) * 1024

    @contextlib.contextmanager
    def grows_less_than(self, limit):
        """Fails when the resident memory at its highest is `limit` bytes above what it is now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")  # forget the peak so far
        before = self.memory("VmRSS")
        yield
        growth = self.memory("VmHWM") - before
        print(f"memory: {before >> 20} MiB before, {growth >> 20} MiB more at the peak")
        assert growth < limit, f"Pylon grew by {growth >> 20} MiB"

    def stop(self):
        """Ends the program by an interrupt. One that must be killed is a failure."""
        with contextlib.suppress(ValueError):
            Program.running.remove(self)
        try:
            self._signal(signal.SIGINT)
            self.process.wait(STOP)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"{self.name} did not stop:\n{self.tail()}") from error
        finally:
            self._signal(signal.SIGKILL)  # whoever of its group has outlived it

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


class Pylon(Program):
    """`pylon run`: in stand-alone mode with these variables, or with a config file."""

    def __init__(self, directory, environment=None, config=None, admin=None):
        self.authority = f"127.0.0.1:{free_port()}"
        self.admin = admin or f"127.0.0.1:{free_port()}"
        environment = dict(environment or {})
        arguments = [BINARY, "run"]
        if config is None:
            environment |= {"PYLON_LISTEN": self.authority, "PYLON_ADMIN_LISTEN": self.admin}
        else:
            file = pathlib.Path(directory) / f"pylon-{free_port()}.yaml"
            file.write_text(
                f"listeners: [{{ address: {self.authority} }}]\nadmin: {{ address: {self.admin} }}\n{config}"
            )
            arguments += ["-c", file]
        self.url = f"http://{self.authority}"
        super().__init__(arguments, directory, ready=answers(f"{self.url}/healthz"), environment=environment)


class Demo(Program):
    """`pylon demo`: the stand-ins of all services, and Pylon before them."""

    def __init__(self, directory):
        self.authority = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.authority}"
        arguments = [BINARY, "demo", "--listen", self.authority, "--admin", f"127.0.0.1:{free_port()}"]
        super().__init__(arguments, directory, ready=answers(f"{self.url}/healthz"))
