"""A Pylon whose logs are in files, and whose metrics can be asked for."""

import json
import os
import subprocess
import sys

import requests
from prometheus_client.parser import text_string_to_metric_families

import kernel
from peers import Edge, Peer
from processes import BINARY, Program, Pylon, wait_until

LOGS = {"to": "./error.log", "format": "json", "access": {"to": "./access.log"}, "audit": {"to": "./audit.log"}}
TRUSTED = "127.0.0.7"  # the address of a load balancer that is believed


class Instance(Edge):
    """Knows one listener, `http`, unless told otherwise."""

    memory, grows_less_than = Pylon.memory, Pylon.grows_less_than

    def __init__(self, directory, listeners=None, **config):
        config.setdefault("log", LOGS)
        super().__init__(directory, listeners or {"http": {}}, **config)

    @property
    def pid(self):
        return self.process.pid

    def peer(self, listener="http", **options):
        return Peer(self.ports[listener], **options)

    def ask(self, target, *lines, source="127.0.0.1", **options):
        """One request on a connection of its own: the answer."""
        with self.peer(source=source) as peer:
            return peer.ask(target, *lines, **options)

    def samples(self):
        """All samples of the metrics: name, labels, value."""
        text = requests.get(f"http://{self.admin}/metrics", timeout=60).text
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(self, name, **labels):
        """The sum of the samples with a name and with these labels."""
        wanted = labels.items()
        return sum(one.value for one in self.samples() if one.name == name and wanted <= one.labels.items())

    def network(self, side):
        """What has moved on the connections of a side, by the metrics."""
        count = {one.name: one.value for one in self.samples() if one.labels == {"side": side}}
        names = ("pylon_network_transmit_bytes_total", "pylon_network_receive_bytes_total")
        return kernel.Moved(*(int(count[name]) for name in names))

    def text_of(self, name):
        return (self.directory / name).read_bytes().decode()

    def lines(self, name="access.log"):
        """The whole lines of a log, each a JSON object."""
        whole, _, _ = self.text_of(name).rpartition("\n")
        return [json.loads(line) for line in whole.split("\n") if line]

    def entries(self, mark, name="access.log"):
        whole, _, _ = self.text_of(name).rpartition("\n")
        return [json.loads(line) for line in whole.split("\n") if mark in line]

    def entry(self, mark, name="access.log"):
        """The one line that holds a text; it is waited for."""
        found = wait_until(lambda: self.entries(mark, name), what=f"{mark} in {name}")
        assert len(found) == 1, found
        return found[0]

    def api(self, path, **options):
        """An answer of the admin port."""
        return requests.get(f"http://{self.admin}{path}", timeout=60, **options)

    def post(self, path, body):
        return requests.post(f"http://{self.admin}{path}", json=body, timeout=60)

    def settled(self):
        """Waits until all that was answered is counted and recorded, which comes a moment after an answer."""
        wait_until(lambda: self.api("/api/drain").json()["requests_in_flight"] == 0, what="nothing is under way")
        assert self.api("/api/requests?limit=1").status_code == 200  # this waits for records that are on their way

    def left(self):
        """Waits until all clients that have gone are known to be gone."""
        wait_until(lambda: self.total("pylon_connections") == 0, what="no connection is open")

    def cli(self, verb, *arguments):
        """A verb of `pylon`: status, output, errors."""
        command = [BINARY, verb, "--admin", self.admin, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr


class Redirected(Program):
    """A program whose standard output and standard error go to these files, or FIFOs, opened with these flags."""

    outputs, flags = ("/dev/null", "/dev/null"), os.O_WRONLY | os.O_APPEND
    LAUNCH = """if True:
        import os, sys
        flags, *outputs = sys.argv[1:4]
        for number, path in enumerate(outputs, 1):
            os.dup2(os.open(path, int(flags)), number)
        os.execv(sys.argv[4], sys.argv[4:])
    """

    def __init__(self, arguments, directory, **options):
        launch = [sys.executable, "-I", "-S", "-c", self.LAUNCH, str(self.flags), *self.outputs]
        super().__init__([*launch, *arguments], directory, **options)


class Piped(Instance, Redirected):
    """A Pylon that writes to FIFOs."""

    def __init__(self, directory, outputs, flags=0, **config):
        self.outputs, self.flags = outputs, Redirected.flags | flags
        super().__init__(directory, **config)


def forward(name, upstream="rig", **more):
    """A route for all below `/NAME`, which is cut off."""
    return {"name": name, "path": f"/{name}/**", "upstream": upstream, "rewrite": "/{**}"} | more
