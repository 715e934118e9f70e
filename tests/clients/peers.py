"""Pylon with listeners of every kind, a client on a bare socket, and an upstream that tells what it was sent."""

import contextlib
import io
import json
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.request

import hpack
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from processes import BINARY, PATIENCE, Program, answers, free_port, wait_until
from upstreams import Upstream

IP_BIND_ADDRESS_NO_PORT = 24  # of Linux; Python has no name for it yet
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


class Edge(Program):
    """`pylon run` with named listeners, given by their options, and whatever else its configuration has."""

    def __init__(self, directory, listeners, *, upgrades=None, **config):
        self.directory = pathlib.Path(directory)
        self.file = self.directory / f"edge-{free_port()}.yaml"
        if upgrades:  # it takes the addresses over, with the sockets
            self.ports = {name: upgrades.ports.get(name) or free_port() for name in listeners}
            self.admin = upgrades.admin
        else:
            self.ports = {name: free_port() for name in listeners}
            self.admin = f"127.0.0.1:{free_port()}"
        self.config = config | {
            "listeners": [
                {"name": name, "address": f"127.0.0.1:{self.ports[name]}"} | options
                for name, options in listeners.items()
            ],
            "admin": {"address": self.admin},
        }
        self.write()
        arguments = [BINARY, "run", "-c", self.file]
        if upgrades:
            super().__init__([*arguments, "--upgrade"], directory, ready=self.waits)
        else:
            super().__init__(arguments, directory, ready=answers(f"http://{self.admin}/readyz"))

    def write(self, **changes):
        """Writes the configuration, with changes."""
        self.config |= changes
        self.file.write_text(json.dumps(self.config, indent=1))  # JSON is YAML

    def text(self):
        """The log, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))

    def waits(self):
        """Whether somebody listens on the upgrade socket."""
        sockets = pathlib.Path("/proc/net/unix").read_text().splitlines()
        path, listens = self.config["upgrade_socket"], "00010000"
        return any(line.endswith(f" {path}") and line.split()[3] == listens for line in sockets)

    def authority(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def reload(self):
        """`pylon reload`: whether it took the configuration over, and what it said."""
        done = subprocess.run([BINARY, "reload", "--admin", self.admin], capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode == 0, done.stdout + done.stderr

    def rejected(self, reason):
        """`pylon_rejected_total` of a reason."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=PATIENCE) as answer:
            metrics = answer.read().decode()
        counts = re.findall(rf'^pylon_rejected_total\{{[^}}]*reason="{reason}"[^}}]*\}} (\d+)', metrics, re.M)
        return sum(map(int, counts))

    @contextlib.contextmanager
    def rejects(self, reason, times=1):
        """Within it, just as many are turned away for this reason."""
        before = self.rejected(reason)
        yield
        wait_until(lambda: self.rejected(reason) >= before + times, what=f"{reason} is counted")
        assert self.rejected(reason) == before + times


class Answer:
    """One answer, read off a connection."""

    def __init__(self, file, *, head=False):
        line = file.readline()
        if not line:
            raise ConnectionResetError("closed without an answer")
        self.version, status, *_ = line.decode().split(None, 2)
        self.status = int(status)
        self.headers = {}
        while (line := file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.body = b"" if head or self.status in (101, 100, 204, 304) else self._body(file)

    def _body(self, file):
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(file.readline(), 16):
                body += file.read(size)
                file.readline()
            file.readline()
            return body
        if "content-length" in self.headers:
            length = int(self.headers["content-length"])
            body = file.read(length)
            if len(body) < length:
                raise ConnectionError(f"{len(body)} bytes of {length}")
            return body
        return file.read()

    def json(self):
        assert self.status == 200, (self.status, self.body)
        return json.loads(self.body)


class Peer:
    """A client on a bare socket, over TLS with a `context`. The prelude comes before all else, before TLS too."""

    def __init__(self, port, *, source="127.0.0.1", context=None, name="localhost", session=None, prelude=b"", size=None):
        self.socket = socket.socket()
        if size:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        self.socket.settimeout(PATIENCE)
        # No port is taken that a server could be about to take.
        self.socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self.address = self.socket.getsockname()
        if prelude:
            self.socket.sendall(prelude)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=name, session=session)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def answer(self, **options):
        return Answer(self.file, **options)

    def ask(self, target="/", *lines, method="GET", host="localhost", body=b""):
        self.send(request(target, *lines, method=method, host=host) + body)
        return self.answer(head=method == "HEAD")

    def is_over(self):
        """Waits until the other end has closed or reset the connection; whether nothing came before."""
        try:
            return self.file.read() == b""
        except (ConnectionResetError, ssl.SSLError):
            return True


class Http2(Peer):
    """A client of HTTP/2, frame by frame. `headers` are those of the last answer."""

    def __init__(self, port, **options):
        super().__init__(port, **options)
        self.decoder, self.headers = hpack.Decoder(), {}
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())

    def ask(self, stream, target, *fields, method="GET", end=True):
        fields = [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", target), *fields]
        flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
        self.send(HeadersFrame(stream, hpack.Encoder().encode(fields), flags=flags).serialize())

    def frames(self):
        """What comes, to the end of the connection."""
        while head := self.file.read(9):
            frame, length = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(self.file.read(length)))
            if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                self.send(SettingsFrame(0, flags=["ACK"]).serialize())
            if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
            yield frame

    def answered(self, stream):
        """The status and the body of the answer, which must come whole."""
        status, body = None, b""
        for frame in self.frames():
            if frame.stream_id == stream and isinstance(frame, HeadersFrame):
                self.headers = dict(self.decoder.decode(frame.data))
                status = int(self.headers[":status"])
            elif frame.stream_id == stream and isinstance(frame, DataFrame):
                body += frame.data
            elif frame.stream_id == stream and isinstance(frame, RstStreamFrame):
                raise ConnectionResetError(f"reset with {frame.error_code}")
            if frame.stream_id == stream and "END_STREAM" in frame.flags:
                return status, body
        raise ConnectionResetError("closed in the middle")


class Load:
    """Threads that open a connection for each request, one after the other; whatever goes wrong is kept."""

    def __init__(self, edge, threads=6):
        self.edge, self.count = edge, threads
        self.served, self.failed, self.over = [], [], threading.Event()
        self.opened = []  # of each answer: when its connection was opened, and the body

    def __enter__(self):
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.count)]
        for thread in self.threads:
            thread.start()
        wait_until(lambda: len(self.served) > 100, what="load")
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, number):
        target = "/name" if number % 2 else "/served"
        while not self.over.is_set():
            try:
                opened = time.monotonic()
                with Peer(self.edge.ports["http"]) as peer:
                    answer = peer.ask(target, *(["Connection: close"] if number % 3 else []))
                    body = answer.body.strip()
                    self.opened.append((opened, body))
                    self.served.append((answer.status, body))
            except Exception as error:
                self.failed.append(repr(error))

    def goes_on(self):
        """Waits for more requests, as a look at what goes wrong just now."""
        count = len(self.served)
        wait_until(lambda: len(self.served) > count + 200, what="load")

    def serves(self):
        """What is answered on connections that are opened from now on."""
        now = time.monotonic()
        self.goes_on()
        return {body for opened, body in list(self.opened) if opened > now}


def request(target="/", *lines, method="GET", host="localhost"):
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


class Teller(Upstream):
    """Answers with what it was sent, as JSON: the number of the connection, its PROXY header, the target and the headers.

    `told` asks for a PROXY header at the begin of each connection.
    """

    def __init__(self, *, told=False):
        self.told, self.count = told, 0

    def serve(self, connection):
        self.count += 1
        number, file = self.count, connection.makefile("rb")
        proxy = read_proxy_header(file) if self.told else None
        while line := file.readline():
            headers = []
            while (header := file.readline()) not in (b"\r\n", b""):
                name, _, value = header.decode("latin-1").partition(":")
                headers.append([name.lower(), value.strip()])
            body = self.body(dict(headers), file)
            seen = {"connection": number, "proxy": proxy, "line": line.decode().strip(), "headers": headers}
            self.answer(connection, seen | {"body": body.decode("latin-1")})

    def body(self, headers, file):
        if headers.get("transfer-encoding") != "chunked":
            return file.read(int(headers.get("content-length", 0)))
        body = io.BytesIO()
        while size := int(file.readline() or b"0", 16):
            body.write(file.read(size))
            file.readline()
        file.readline()
        return body.getvalue()

    def answer(self, connection, seen):
        text = json.dumps(seen).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        connection.sendall(head.encode() + text)


def values(seen, name):
    """All values that a teller got of a header."""
    return [value for given, value in seen["headers"] if given == name.lower()]


SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v1(source, destination=("127.0.0.1", 80)):
    family = "TCP6" if ":" in source[0] else "TCP4"
    return f"PROXY {family} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


def v2(source=None, destination=("127.0.0.1", 80), *, command=1, extra=b"", family=None):
    """A header of version 2: LOCAL with `command=0`; `extra` are TLVs."""
    if source is None:
        kind, block = 0, b""
    else:
        kind = 0x21 if ":" in source[0] else 0x11
        version = socket.AF_INET6 if kind == 0x21 else socket.AF_INET
        addresses = b"".join(socket.inet_pton(version, address) for address in (source[0], destination[0]))
        block = addresses + struct.pack(">HH", source[1], destination[1])
    kind = kind if family is None else family
    return SIGNATURE + struct.pack(">BBH", 0x20 | command, kind, len(block + extra)) + block + extra


def read_proxy_header(file):
    """What a PROXY header says: its version, and source address and port."""
    begin = file.read(6)
    if begin == b"PROXY ":
        words = file.readline().decode().split()
        assert words[0] in ("TCP4", "TCP6"), words
        return [1, words[1], int(words[3])]
    rest = file.read(10)
    assert begin + rest[:6] == SIGNATURE and rest[6] == 0x21, begin + rest
    block = file.read(struct.unpack(">H", rest[8:])[0])
    size, version = {0x11: (4, socket.AF_INET), 0x21: (16, socket.AF_INET6)}[rest[7]]
    return [2, socket.inet_ntop(version, block[:size]), struct.unpack_from(">H", block, 2 * size)[0]]
