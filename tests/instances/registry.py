"""A Pylon that keeps instances, asked through its admin port."""

import json
import pathlib
import re
import subprocess
import time

import requests

from processes import BINARY, PATIENCE, Program, answers, free_port, wait_until


class Registry(Program):
    """`instances` is that key of its configuration; `admin` are further keys of its admin port."""

    def __init__(self, directory, instances=None, admin=None, routes=(), like=None):
        self.directory = pathlib.Path(directory)
        self.port, self.admin = (like.port, like.admin) if like else (free_port(), f"127.0.0.1:{free_port()}")
        self.url = f"http://{self.admin}"
        self.token = (admin or {}).get("token")
        self.config = {
            "listeners": [{"address": f"127.0.0.1:{self.port}"}],
            "admin": {"address": self.admin} | (admin or {}),
            "log": {"to": "./error.log", "format": "json", "access": False, "audit": {"to": "./audit.log"}},
            "routes": list(routes),
        }
        if instances is not None:
            self.config["instances"] = instances
        self.file = self.directory / f"pylon-{self.port}.yaml"
        self.write()
        self.session = requests.Session()
        super().__init__([BINARY, "run", "-c", self.file], directory, ready=answers(f"{self.url}/readyz"))

    def write(self, **changes):
        self.config |= changes
        self.file.write_text(json.dumps(self.config))  # JSON is YAML

    def ask(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        return self.session.request(method, self.url + path, headers=headers, timeout=PATIENCE, **options)

    def put(self, name, address="http://10.0.0.5:8787", headers=None, **body):
        body = {"address": address} | body
        return self.ask("PUT", f"/api/instances/{name}", json=body, headers=headers or {})

    def get(self, name):
        return self.ask("GET", f"/api/instances/{name}")

    def delete(self, name, **headers):
        return self.ask("DELETE", f"/api/instances/{name}", headers=headers)

    def list(self, **query):
        answer = self.ask("GET", "/api/instances", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def known(self):
        """Addresses by name."""
        return {one["name"]: one["address"] for one in self.list()["instances"]}

    def knows(self, name, address=None):
        """A condition: the instance is there, at this address."""
        return lambda: (found := self.known().get(name)) is not None and address in (None, found)

    def ready(self):
        answer = self.ask("GET", "/readyz")
        return answer.status_code, answer.text

    def metric(self, name):
        text = self.ask("GET", "/metrics").text
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])

    def is_up(self):
        return self.metric("pylon_instances_store_up") == 1

    def is_away(self):
        return not self.is_up()

    def entries(self, mark, name="error.log"):
        """The lines of a log that hold a text."""
        whole, _, _ = (self.directory / name).read_text().rpartition("\n")
        return [json.loads(line) for line in whole.split("\n") if mark in line]

    def said(self, mark, times=1):
        """Waits until the log holds a text so often; it is not said over and over."""
        wait_until(lambda: len(self.entries(mark)) >= times, what=f"{mark} in the log")
        assert len(self.entries(mark)) <= times + 2

    def cli(self, verb, *arguments):
        command = [BINARY, verb, "--admin", self.admin, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def text(self):
        """All its logs."""
        return "".join(log.read_text(errors="replace") for log in self.directory.glob("*.log"))

    def kill(self):
        """Ends it at once, in the midst of whatever it does."""
        self.process.kill()
        self.process.wait()
        self.stop()


def within(seconds, condition, what="it"):
    """Waits for a condition: how long that took."""
    began = time.monotonic()
    wait_until(condition, seconds, what)
    return time.monotonic() - began
