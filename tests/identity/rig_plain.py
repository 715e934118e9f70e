"""A Pylon whose routes ask who asks, before an upstream that tells what it was sent."""

import base64
import json
import pathlib
import re
import subprocess
import sys
import urllib.request

sys.dont_write_bytecode = True
sys.path.append(str(pathlib.Path(__file__).parents[1] / "clients"))

from peers import Edge, Peer, Teller  # noqa: E402
from processes import BINARY, wait_until  # noqa: E402

TOLD = {"X-User": "{user}", "X-Groups": "{groups}"}


class Gated:
    """Pylon with these routes: path → steps. Each goes to the one upstream, and tells it who asks."""

    def __init__(self, directory, routes, **config):
        self.directory, self.routes, self.config = pathlib.Path(directory), routes, config

    def __enter__(self):
        self.upstream = Teller().__enter__()
        config = self.config | {
            "upstreams": {"teller": {"endpoints": [self.upstream.url]}},
            "routes": [self.route(path, steps) for path, steps in self.routes.items()],
        }
        self.edge = Edge(self.directory, {"http": {}}, **config)
        return self

    def __exit__(self, *_):
        self.edge.stop()
        self.upstream.__exit__()

    def route(self, path, steps):
        told = {"identity": TOLD} if "auth" in steps else {}
        name = re.sub(r"\W+", "-", path).strip("-") or "all"
        return {"name": name, "path": path, "upstream": "teller"} | told | steps

    def ask(self, target, *lines, source="127.0.0.1"):
        """An answer on a connection of its own."""
        with Peer(self.edge.ports["http"], source=source) as peer:
            return peer.ask(target, *lines)

    def told(self, target, *lines, **options):
        """The headers that the upstream got: name → values."""
        answer = self.ask(target, *lines, **options)
        headers = {}
        for name, value in answer.json()["headers"]:
            headers.setdefault(name, []).append(value)
        return headers

    def passes(self, target, *lines, **options):
        """Whether a request passes; no other answer than a refusal is known besides."""
        status = self.ask(target, *lines, **options).status
        assert status in (200, 401, 403), status
        return status == 200

    def soon(self, target, *lines, passes=True):
        """Waits until a request passes, or does not any more."""
        wait_until(lambda: self.passes(target, *lines) == passes, what=f"{target} passes: {passes}")

    def counted(self, step, result):
        """`pylon_auth_requests_total` of a step."""
        with urllib.request.urlopen(f"http://{self.edge.admin}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        [count] = [
            line.rpartition(" ")[2]
            for line in lines
            if line.startswith("pylon_auth_requests_total{")
            and f'step="{step}"' in line
            and f'result="{result}"' in line
        ]
        return int(count)


def check(directory, steps):
    """`pylon check` of a route with these steps: its exit code, and what it says."""
    file = pathlib.Path(directory) / "check.yaml"
    route = {"name": "r", "path": "/**", "answer": {}} | steps
    file.write_text(json.dumps({"listeners": [{"address": "127.0.0.1:0"}], "routes": [route]}))
    done = subprocess.run([BINARY, "check", file], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def basic(user, password):
    """The header with a user name and a password."""
    if isinstance(user, str):
        user = user.encode()
    return "Authorization: Basic " + base64.b64encode(user + b":" + password.encode()).decode()
