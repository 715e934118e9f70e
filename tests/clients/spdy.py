"""A Kubernetes API server that speaks SPDY/3.1 for `exec`, as servers did before WebSockets and still do: it gives back
what it reads. Only what kubectl needs is there."""

import json
import struct
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SYN_STREAM, SYN_REPLY, PING = 1, 2, 6
FIN = 1
POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "worker", "namespace": "default"},
    "spec": {"containers": [{"name": "main", "image": "none"}]},
    "status": {"phase": "Running"},
}
VERBS = ["get", "list", "create"]
ANSWERS = {
    "/version": {"major": "1", "minor": "20", "gitVersion": "v1.20.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": "pods",
                "singularName": "pod",
                "namespaced": True,
                "kind": "Pod",
                "verbs": VERBS,
                "shortNames": ["po"],
            },
            {"name": "pods/exec", "singularName": "", "namespaced": True, "kind": "PodExecOptions", "verbs": VERBS},
        ],
    },
    "/api/v1/namespaces/default/pods/worker": POD,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        found = ANSWERS.get(urlsplit(self.path).path)
        body = json.dumps(found or {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.server.upgrades.append((self.headers["Upgrade"], self.headers["Connection"]))
        if self.headers["Upgrade"] != "SPDY/3.1":
            self.send_error(400, "not SPDY")
            return
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "SPDY/3.1")
        self.send_header("X-Stream-Protocol-Version", "v4.channel.k8s.io")
        self.end_headers()
        self.close_connection = True
        query = parse_qs(urlsplit(self.path).query)
        Session(self, query["command"], "true" in query.get("stdin", [])).run()


class Session:
    """The client opens streams in a fixed order: for errors, for input if there is one, then for output."""

    def __init__(self, handler, command, has_input):
        self.read, self.write = handler.rfile.read, handler.wfile.write
        self.command = command
        self.streams = ["error", "stdin", "stdout", "stderr"] if has_input else ["error", "stdout", "stderr"]
        self.opened = {}
        # Every block of headers goes through one compressor; ours have no headers in them.
        self.headers = zlib.compressobj()

    def run(self):
        while head := self.read(8):
            first, flags_and_length = struct.unpack(">II", head)
            flags, length = flags_and_length >> 24, flags_and_length & 0xFFFFFF
            payload = self.read(length)
            if not first >> 31:
                self.data(first, flags, payload)
            elif first & 0xFFFF == SYN_STREAM:
                self.open(struct.unpack_from(">I", payload)[0])
            elif first & 0xFFFF == PING:
                self.control(PING, payload)

    def control(self, kind, payload):
        self.write(struct.pack(">HHI", 0x8003, kind, len(payload)) + payload)

    def send(self, name, data, flags=0):
        number = self.opened[name]
        for at in range(0, max(len(data), 1), 1 << 20):
            piece = data[at : at + (1 << 20)]
            last = flags if at + len(piece) == len(data) else 0
            self.write(struct.pack(">II", number, last << 24 | len(piece)) + piece)

    def open(self, number):
        name = self.streams[len(self.opened)]
        self.opened[name] = number
        block = self.headers.compress(struct.pack(">I", 0)) + self.headers.flush(zlib.Z_SYNC_FLUSH)
        self.control(SYN_REPLY, struct.pack(">I", number) + block)
        if len(self.opened) == len(self.streams):
            self.send("stdout", f"asked for {self.command}\n".encode())
            if "stdin" not in self.opened:
                self.end()

    def data(self, number, flags, payload):
        if number == self.opened.get("stdin"):
            if payload:
                self.send("stdout", payload)
            if flags & FIN:
                self.end()

    def end(self):
        self.send("stdout", b"", FIN)
        self.send("stderr", b"", FIN)
        self.send("error", json.dumps({"metadata": {}, "status": "Success"}).encode(), FIN)


def server():
    """Listening on a port of its own; `upgrades` has what it was asked to upgrade to."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.upgrades = []
    return server
