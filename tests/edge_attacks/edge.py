"""The proxy that is attacked, its origin, and what can be seen of the two from outside."""

import contextlib
import functools
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import urllib.request

import trustme

from processes import BINARY, PATIENCE, Program, answers, free_port, wait_until

HERE = pathlib.Path(__file__).parent
MIB = 1 << 20

# The times of the proxy in these tests, in seconds: so long that no healthy client of a busy machine is late.
PROXY_HEADER = HANDSHAKE = HEADER = 8
KEEP_ALIVE = H2_IDLE = 6
BODY_IDLE = DRAIN_GRACE = 3
# Of one that reads nothing: once for what its machine takes into its buffers, once for nothing; each is seen by the second.
DRAIN = 2 * (DRAIN_GRACE + 1)
BODY_GRACE = 5  # the longest that a slow body may go on before its average counts
SLACK = 20  # for a busy machine
UNHURRIED = 60  # a time in which no connection ends by itself

LIMITS = {"connections": 5000, "connections_per_client": 50, "header_size": "64KiB", "headers": 100, "target_size": "16KiB"}
ROUTE = {
    "name": "all",
    "path": "/**",
    "upstream": "one",
    "limits": {
        "body": "10MiB",
        "body_rate": "1KiB",
        "body_idle": f"{BODY_IDLE}s",
        "drain_rate": "1KiB",
        "drain_time": f"{DRAIN_GRACE}s",
        "requests": 1000,
    },
}
UPSTREAM = {"timeouts": {"connect": "2s", "first_byte": "30s", "idle": "60s"}, "ejection": {"enabled": False}}


class Certificate:
    """A certificate for 127.0.0.1, and a client's trust in it."""

    def __init__(self, directory):
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        self.cert, self.key = directory / "site.crt", directory / "site.key"
        issued.cert_chain_pems[0].write_to_path(self.cert)
        issued.private_key_pem.write_to_path(self.key)

    @functools.cache
    def trusted(self, *protocols):
        """What a client needs that offers these protocols."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        context.set_alpn_protocols(list(protocols))
        return context


class Origin(Program):
    def __init__(self, directory):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        command = [sys.executable, HERE / "origin_server.py", self.port]
        super().__init__(command, directory, ready=answers(f"http://{self.address}/counts"))

    def counts(self):
        with urllib.request.urlopen(f"http://{self.address}/counts", timeout=PATIENCE) as answer:
            return json.load(answer)

    def saw(self, name):
        """How many requests of a name have reached it."""
        return self.counts()["heads"].get(name, 0)


def listener(port, limits=None, certificate=None, proxied=False, patient=False):
    """A listener with all of its guards; one that is patient ends no connection for its slowness."""

    def time(seconds):
        return f"{UNHURRIED if patient else seconds}s"

    made = {
        "address": f"127.0.0.1:{port}",
        "timeouts": {"header": time(HEADER), "keep_alive": time(KEEP_ALIVE)},
        "limits": LIMITS | (limits or {}),
    }
    if proxied:
        made["proxy_protocol"] = {"trusted": ["127.0.0.0/8"], "required": True}
        made["timeouts"]["proxy_header"] = time(PROXY_HEADER)
    if certificate:
        made["timeouts"]["handshake"] = time(HANDSHAKE)
        made["http2"] = {"streams": 100, "idle": time(H2_IDLE)}
        made["tls"] = {"certificates": [{"cert": str(certificate.cert), "key": str(certificate.key)}]}
    return made


def accepted(config, file, binary=BINARY):
    """Writes the configuration without the keys that the binary does not know; what was left out, by path."""
    left_out = []
    while True:
        file.write_text(json.dumps(config, indent=1))
        done = subprocess.run([binary, "check", "-c", file], capture_output=True, text=True)
        unknown = re.findall(r"^\S+?:\d+:\d+ +(\S+): unknown key", done.stdout + done.stderr, re.MULTILINE)
        if not unknown:
            return left_out
        for path in unknown:
            *parents, last = re.findall(r"[^.\[\]]+", path)
            inner = config
            for key in parents:
                inner = inner[int(key) if isinstance(inner, list) else key]
            inner.pop(last, None)
        left_out += unknown


def end_of(text):
    """An address and port as /proc/net/tcp writes them."""
    address, port = text.split(":")
    return socket.inet_ntoa(int(address, 16).to_bytes(4, sys.byteorder)), int(port, 16)


class Sockets:
    """The TCP connections of this machine that a process still holds, as pairs of ends: local, remote.

    An end is an address and a port: clients with addresses of their own may well have the same port."""

    def __init__(self):
        self.pairs = set()
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] != "0" and fields[3] != "0A":  # no inode: nobody holds it any more; 0A: it listens
                self.pairs.add((end_of(fields[1]), end_of(fields[2])))

    def of(self, ports):
        return [pair for pair in self.pairs if pair[0][1] in ports]

    def to(self, port):
        return [pair for pair in self.pairs if pair[1][1] == port]


class Edge(Program):
    """Pylon with a listener of each kind: `plain`, `tls`, `proxied`, and `proxied_tls`."""

    left_out = []

    def __init__(self, directory, origin, certificate, *, limits=None, files=None, patient=False):
        self.origin, self.certificate = origin, certificate
        self.ports = {kind: free_port() for kind in ("plain", "tls", "proxied", "proxied_tls")}
        self.admin = f"127.0.0.1:{free_port()}"
        self.attackers = []
        super().__init__(self.command(directory, limits, files, patient), directory, ready=self.is_ready())
        self.files_at_rest = self.files()

    def command(self, directory, limits, files, patient):
        file = pathlib.Path(directory) / "pylon.yaml"
        config = {
            "listeners": [
                listener(port, limits, self.certificate if "tls" in kind else None, "proxied" in kind, patient)
                for kind, port in self.ports.items()
            ],
            "admin": {"address": self.admin},
            "log": {"access": False},
            "upstreams": {"one": {"endpoints": [f"http://{self.origin.address}"]} | UPSTREAM},
            "routes": [json.loads(json.dumps(ROUTE))],
        }
        Edge.left_out = accepted(config, file)
        command = [BINARY, "run", "-c", file]
        return ["/bin/sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command] if files else command

    def is_ready(self):
        return answers(f"http://127.0.0.1:{self.ports['plain']}/healthz")

    def alive(self):
        return self.process.poll() is None

    def memory(self, key):
        """`VmRSS` or `VmHWM` (its peak) in bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+)", status, re.MULTILINE)[1]) * 1024

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu(self):
        """Seconds of processor time that it has used, in user and system mode."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def clients(self):
        """Connections of clients that it holds, as pairs of ends."""
        return Sockets().of(self.ports.values())

    def ask_admin(self, path):
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=PATIENCE) as answer:
            return answer.read().decode()

    def gauges(self):
        """What its metrics say is there right now; connections to upstreams may stay."""
        text = self.ask_admin("/metrics")
        names = re.findall(r"^# TYPE (\S*(?:connections|in_flight|streams|sessions)\S*) gauge$", text, re.MULTILINE)
        now = [name for name in names if not re.search("upstream|max|limit", name)]
        return {line: float(line.split()[-1]) for line in text.splitlines() if re.split(r"[ {]", line)[0] in now}

    def in_flight(self):
        upstreams = json.loads(self.ask_admin("/api/upstreams"))["upstreams"]
        waiting = sum(pool["waiting"] for pool in upstreams)
        return waiting + sum(one["in_flight"] for pool in upstreams for one in pool["endpoints"])

    def left(self):
        """What is still there that should not be, in words; empty when all is as before."""
        found = []
        sockets = Sockets()
        if clients := sockets.of(self.ports.values()):
            found.append(f"{len(clients)} connections of clients")
        if flying := self.in_flight():
            found.append(f"{flying} requests in flight by the admin port")
        found += [f"the gauge {line}" for line, value in self.gauges().items() if value]
        if busy := {name: count for name, count in self.origin.counts()["busy"].items() if count}:
            found.append(f"requests at the origin: {busy}")
        extra = self.files() - self.files_at_rest - len(sockets.to(self.origin.port))
        if extra > 5:
            found.append(f"{extra} open files more than at the start")
        return found

    def settles(self):
        """All that the attackers left behind goes away."""
        seen = []

        def is_still():
            with contextlib.suppress(OSError):
                seen[:] = self.left()
                return not seen
            return False

        try:
            wait_until(is_still, what="nothing is left behind")
        except TimeoutError as error:
            raise AssertionError(f"{error}: {'; '.join(seen)}") from None

    def dismiss(self):
        """Ends all connections of attackers."""
        while self.attackers:
            self.attackers.pop().close()
