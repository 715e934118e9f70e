"""The proxy under test: Pylon with its defaults, and for each lane a listener that leads to an origin of its own."""

import contextlib
import json
import pathlib
import socket
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import trustme
from play import judge, play
from processes import BINARY, Program, free_port
from recorder import Recorder

LANES = 16


class Lane:
    """A way through the proxy that nobody else uses meanwhile: what its origin sees comes from the case that is played.

    `/raw/...` is forwarded byte for byte, everything else is normalised."""

    def __init__(self, number):
        self.number = number
        self.origin = Recorder()
        self.port, self.tls_port = free_port(), free_port()
        # Where cleartext HTTP/2 with prior knowledge is spoken: on the same port as HTTP/1.
        self.h2_port = self.port


def listening(port):
    def ask():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10):
            return True
        return False

    return ask


class Gateway(Program):
    """Pylon before the origins of these lanes."""

    def __init__(self, directory, lanes):
        self.directory = pathlib.Path(directory)
        self.lanes = lanes
        authority = trustme.CA()
        self.authority_pem = self.directory / "authority.pem"
        authority.cert_pem.write_to_path(self.authority_pem)
        own = authority.issue_cert("127.0.0.1", "edge.test")
        self.certificate, self.key = self.directory / "edge.crt", self.directory / "edge.key"
        own.cert_chain_pems[0].write_to_path(self.certificate)
        own.private_key_pem.write_to_path(self.key)
        super().__init__(self.command(), directory, ready=listening(lanes[-1].port))

    def command(self):
        file = self.directory / "pylon.yaml"
        file.write_text(json.dumps(self.configuration(), indent=1))  # JSON is YAML too
        return [BINARY, "run", "-c", file]

    def configuration(self):
        listeners, upstreams, routes = [], {}, []
        for lane in self.lanes:
            plain, secure, origin = f"plain-{lane.number}", f"secure-{lane.number}", f"origin-{lane.number}"
            certificates = [{"cert": str(self.certificate), "key": str(self.key)}]
            listeners += [
                {"name": plain, "address": f"127.0.0.1:{lane.port}", "dedicated": True},
                {
                    "name": secure,
                    "address": f"127.0.0.1:{lane.tls_port}",
                    "dedicated": True,
                    "tls": {"certificates": certificates},
                },
            ]
            upstreams[origin] = {"endpoints": [lane.origin.url]}
            both = {"listeners": [plain, secure], "upstream": origin}
            routes += [
                {"name": f"as-it-came-{lane.number}", "path": "/raw/**", "target": "raw"} | both,
                {"name": f"normalised-{lane.number}", "path": "/**"} | both,
            ]
        return {
            "listeners": listeners,
            "admin": {"address": f"127.0.0.1:{free_port()}"},
            "log": {"access": False},
            "upstreams": upstreams,
            "routes": routes,
        }

    def lines(self):
        """The log so far."""
        return self.log.read_text(errors="replace").splitlines()


class Lanes:
    """Plays cases at the same time, each on a lane that is free."""

    def __init__(self, directory, gateway=None):
        self.lanes = [Lane(number) for number in range(LANES)]
        self.gateway = (gateway or Gateway)(directory, self.lanes)
        self.free = SimpleQueue()
        for lane in self.lanes:
            self.free.put(lane)
        self.players = ThreadPoolExecutor(LANES)

    def stop(self):
        self.players.shutdown()
        self.gateway.stop()
        for lane in self.lanes:
            lane.origin.stop()

    def on_a_lane(self, job, *arguments):
        lane = self.free.get()
        try:
            return job(lane, *arguments)
        finally:
            self.free.put(lane)

    def start(self, job, *arguments):
        """The future of a job that gets a lane and these arguments."""
        return self.players.submit(self.on_a_lane, job, *arguments)


def play_and_judge(lane, case):
    """What has happened, and what was wrong with it."""
    played = play(lane, case)
    return played, judge(case, played)
