"""An etcd of one member, and a gate before it that can be shut."""

import base64
import contextlib
import pathlib
import signal
import socket
import threading

import requests

from processes import PATIENCE, Program, free_port

PREFIX = "/pylon/instances/"


class Etcd(Program):
    """`like` is one whose data and ports it takes over. `tls` are files: cert, key, and an authority of clients."""

    def __init__(self, directory, like=None, tls=None):
        self.directory = pathlib.Path(directory)
        self.tls = tls or (like.tls if like else None)
        self.ports = like.ports if like else (free_port(), free_port())
        scheme = "https" if self.tls else "http"
        client, peer = f"{scheme}://127.0.0.1:{self.ports[0]}", f"http://127.0.0.1:{self.ports[1]}"
        self.url = client
        arguments = [
            "etcd", "--data-dir", self.directory / "etcd", "--log-level", "error",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
            "--heartbeat-interval", "100", "--election-timeout", "500", "--bcrypt-cost", "4",
        ]  # fmt: skip
        if self.tls:
            arguments += ["--cert-file", self.tls["cert"], "--key-file", self.tls["key"]]
        if self.tls and "clients" in self.tls:
            arguments += ["--client-cert-auth", "--trusted-ca-file", self.tls["clients"]]
        super().__init__(arguments, directory, ready=self.leads)

    def post(self, path, **body):
        options = {}
        if self.tls:
            options = {"verify": self.tls["ca"], "cert": (self.tls["cert"], self.tls["key"])}
        return requests.post(f"{self.url}/v3/{path}", json=body, timeout=PATIENCE, **options)

    def call(self, path, **body):
        answer = self.post(path, **body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def leads(self):
        """Whether it has a leader; where it has users, it says no in a way that needs one."""
        with contextlib.suppress(requests.RequestException):
            return self.post("kv/range", key=code("x")).status_code < 500

    def put(self, name, value):
        return self.call("kv/put", key=code(PREFIX + name), value=code(value))

    def delete(self, name):
        return self.call("kv/deleterange", key=code(PREFIX + name))

    def known(self):
        """All keys of instances, with their values."""
        found = self.call("kv/range", key=code(PREFIX), range_end=code(PREFIX[:-1] + "0")).get("kvs", [])
        return {plain(kv["key"]).removeprefix(PREFIX): plain(kv["value"]) for kv in found}

    def leases(self):
        return len(self.call("lease/leases").get("leases", []))

    def compact(self):
        revision = self.call("kv/range", key=code("x"))["header"]["revision"]
        self.call("kv/compaction", revision=revision, physical=True)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.stop()

    def pause(self):
        self._signal(signal.SIGSTOP)

    def resume(self):
        self._signal(signal.SIGCONT)

    def stop(self):
        self.resume()
        super().stop()


def code(text):
    return base64.b64encode(text.encode()).decode()


def plain(text):
    return base64.b64decode(text).decode()


class Gate:
    """Hands connections on to a port, until it is shut. `freeze` keeps those open that began so, and hands nothing on."""

    def __init__(self, port):
        self.target = port
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.pairs, self.server, self.frozen = [], None, None
        self.open()

    def open(self):
        self.server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, args=(self.server,), daemon=True).start()

    def shut(self):
        """Refuses connections, and ends those that there are."""
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        for pair in self.pairs:
            for end in pair:
                close(end)
        self.pairs = []

    def freeze(self, mark):
        self.frozen = mark

    def accept(self, server):
        while True:
            try:
                client, _ = server.accept()
                target = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self.pairs.append((client, target))
            state = {"first": b""}
            threading.Thread(target=self.hand_on, args=(client, target, state, True), daemon=True).start()
            threading.Thread(target=self.hand_on, args=(target, client, state, False), daemon=True).start()

    def hand_on(self, source, sink, state, is_client):
        with contextlib.suppress(OSError):
            while piece := source.recv(65_536):
                if is_client:
                    state["first"] = piece[:100]
                elif self.frozen and self.frozen in state["first"]:
                    continue
                sink.sendall(piece)
        close(source)
        close(sink)


def close(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
