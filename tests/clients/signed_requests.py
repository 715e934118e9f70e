"""Backend.AI's signed requests: a signing client, the site, and a manager that verifies what has arrived."""

import base64
import dataclasses
import datetime
import email.utils
import hashlib
import hmac
import json
import queue
import socket

import httpx

from processes import BINARY, ROOT, Program, answers, free_port
from upstreams import Buffered, Upstream

CONFIG = ROOT / "conf/backend-ai.yaml"
NAME = "manager.example.test"
ACCESS, SECRET = "AKIATESTTESTTESTTEST", "a-secret-key-of-forty-characters-or-less"
OLD, NEW = "v3.20170615", "v4.20181215"  # from the second one on, bodies are not signed


def now(hours=0):
    return datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=hours)))


def of_another_day():
    """Now, as ISO 8601, in a time zone where it is not the day that it is in UTC."""
    return now(-12 if now().hour < 12 else 12).isoformat()


def for_mail(date):
    """The date as `Date` usually has it, in UTC."""
    return email.utils.format_datetime(date.astimezone(datetime.UTC), usegmt=True)


def parse_date(text):
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        return email.utils.parsedate_to_datetime(text)


def mime(content_type):
    return content_type.partition(";")[0].strip().lower() or "application/octet-stream"


def string_to_sign(method, target, date, host, content_type, version, body):
    unsigned = version >= NEW or mime(content_type).startswith("multipart/")
    digest = hashlib.sha256(b"" if unsigned else body).hexdigest()
    fields = [method, target, date, f"host:{host}", f"content-type:{mime(content_type)}"]
    return "\n".join([*fields, f"x-backendai-version:{version}", digest])


def signature(text, date, host, secret=SECRET):
    """The day is the one in the date's own time zone."""
    day = parse_date(date).strftime("%Y%m%d")
    key = hmac.digest(secret.encode(), day.encode(), "sha256")
    key = hmac.digest(key, host.encode(), "sha256")
    return hmac.new(key, text.encode("latin-1"), "sha256").hexdigest()


@dataclasses.dataclass(frozen=True)
class Signer:
    """What a client may choose."""

    version: str = NEW
    scheme: str = "BackendAI"
    date_header: str = "Date"
    date: str = ""  # default: now
    content_type: str = "application/json"
    secret: str = SECRET

    def headers(self, method, target, host, body=b""):
        """The headers of a signed request, and one that tells the manager what was signed, to say what differs."""
        date = self.date or now().isoformat()
        text = string_to_sign(method, target, date, host, self.content_type, self.version, body)
        signed = f"{ACCESS}:{signature(text, date, host, self.secret)}"
        return {
            "Host": host,
            self.date_header: date,
            "Content-Type": self.content_type,
            "X-BackendAI-Version": self.version,
            "Authorization": f"{self.scheme} signMethod=HMAC-SHA256, credential={signed}",
            "X-Signed": base64.b64encode(text.encode("latin-1")).decode(),
        }


@dataclasses.dataclass
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: list
    body: bytes = b""

    def all(self, name):
        return [value for found, value in self.headers if found.lower() == name.lower()]

    def one(self, name, default=""):
        """The value of a header that may not be there twice."""
        values = self.all(name)
        if len(values) > 1:
            raise ValueError(f"{name} is there {len(values)} times: {values}")
        return values[0] if values else default


def differences(request):
    """What is wrong with the signature of a request; nothing when it verifies."""
    try:
        return list(_differences(request))
    except ValueError as error:
        return [str(error)]


def _differences(request):
    scheme, _, rest = request.one("Authorization").partition(" ")
    if scheme not in ("BackendAI", "Sorna"):
        yield f"scheme: {scheme!r}"
        return
    parameters = dict(part.strip().split("=", 1) for part in rest.split(","))
    access, _, claimed = parameters["credential"].partition(":")
    if parameters["signMethod"] != "HMAC-SHA256" or access != ACCESS:
        yield f"credential: {parameters}"
    date = request.one("Date") or request.one("X-BackendAI-Date")
    host, version = request.one("Host"), request.one("X-BackendAI-Version")
    if abs(parse_date(date) - now()) > datetime.timedelta(minutes=15):
        yield f"date: {date} is too far away"
    text = string_to_sign(
        request.method, request.target, date, host, request.one("Content-Type"), version, request.body
    )
    if not hmac.compare_digest(signature(text, date, host), claimed):
        yield "the signature"
        signed = base64.b64decode(request.one("X-Signed")).decode("latin-1")
        for theirs, ours in zip(signed.split("\n"), text.split("\n"), strict=True):
            if theirs != ours:
                yield f"signed {theirs!r}, received {ours!r}"


# What makes the signature of a request fail.
ALTERED = {
    "path": {"target": "/v4/y?a=1&b=2"},
    "query": {"target": "/v4/x?b=2&a=1"},
    "method": {"method": "PUT"},
    "host": {"Host": "manager"},
    "date": {"Date": for_mail(now())},
    "type": {"Content-Type": "text/plain"},
    "version": {"X-BackendAI-Version": "v3.20170616"},
    "body": {"body": b"other"},
}


class Body(bytearray):
    add = bytearray.extend


def receive_head(reader):
    method, target, _ = reader.line().decode("latin-1").split(" ", 2)
    headers = []
    while line := reader.line().decode("latin-1"):
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    return Received(method, target, headers)


def pieces_of_body(reader, request):
    """The length of each piece of the body; who iterates takes so much from the reader."""
    if "chunked" in request.one("Transfer-Encoding").lower():
        while size := int(reader.line(), 16):
            yield size
            reader.line()
        while reader.line():
            pass
    elif length := int(request.one("Content-Length", "0")):
        yield length


class Manager(Upstream):
    """Answers 200 to requests whose signature fits what has arrived, else 401, with the differences.

    Targets in `answers` get those bytes instead.
    """

    def __init__(self):
        self.answers = {}
        self.begun, self.whole, self.broken = [], [], []

    def serve(self, connection):
        reader = Buffered(connection, b"")
        while True:
            request = receive_head(reader)
            self.begun.append(request)
            body = Body()
            try:
                for size in pieces_of_body(reader, request):
                    reader.copy(size, body)
            except OSError:
                self.broken.append(request)
                raise
            request.body = bytes(body)
            self.whole.append(request)
            connection.sendall(self.answers.get(request.target) or self.verdict(request))

    def verdict(self, request):
        found = differences(request)
        text = json.dumps({"differences": found, "target": request.target, "bytes": len(request.body)}).encode()
        status = "401 Unauthorized" if found else "200 OK"
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        return head.encode() + text

    @staticmethod
    def of(requests, target):
        """Those of `requests` that name this target."""
        return [request for request in requests if request.target == target]


def write_certificate(authority, name, directory):
    """Gives the path of its files, without their ending."""
    path = directory / "site"
    issued = authority.issue_cert(name)
    issued.cert_chain_pems[0].write_to_path(path.with_suffix(".crt"))
    issued.private_key_pem.write_to_path(path.with_suffix(".key"))
    return path


class Site(Program):
    """`pylon run` with the configuration, or with another text of it: with TLS when there is an authority."""

    def __init__(self, directory, manager, authority=None, text=None):
        config = CONFIG
        if text is not None:
            config = directory / "site.yaml"
            config.write_text(text)
        self.plain, self.tls = free_port(), free_port()
        environment = {
            "BACKENDAI_MANAGER_URI": manager,
            "PYLON_LISTEN": f"127.0.0.1:{self.plain}",
            "PYLON_LISTEN_TLS": f"127.0.0.1:{self.tls}",
            "PYLON_ADMIN_LISTEN": f"127.0.0.1:{free_port()}",
        }
        if authority:
            certificate = write_certificate(authority, NAME, directory)
            environment |= {"PYLON_CERT": f"{certificate}.crt", "PYLON_KEY": f"{certificate}.key"}
        else:
            environment["SSL_ENABLE"] = "false"
        ready = answers(f"http://127.0.0.1:{self.plain}/healthz")
        super().__init__([BINARY, "run", "-c", config], directory, ready=ready, environment=environment)

    def host(self, scheme):
        return f"{NAME}:{self.tls if scheme == 'https' else self.plain}"

    def dial(self, scheme):
        return socket.create_connection(("127.0.0.1", self.tls if scheme == "https" else self.plain), timeout=60)

    def connect(self, scheme, context, name=NAME):
        """A connection over HTTP/1.1."""
        connection = self.dial(scheme)
        return context.wrap_socket(connection, server_hostname=name) if scheme == "https" else connection


class Web:
    """An HTTP client that sends targets byte for byte, and asks for the certificate of `NAME`."""

    def __init__(self, sites, client, context):
        self.scheme, self.version = client
        self.site, self.context = sites[self.scheme], context
        self.host = self.site.host(self.scheme)
        port = self.host.rpartition(":")[2]
        http2 = self.version == "HTTP/2"
        self.client = httpx.Client(
            base_url=f"{self.scheme}://127.0.0.1:{port}", verify=context, http1=not http2, http2=http2, timeout=60
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def request(self, method, target, headers=None, **options):
        extensions = {"target": target.encode("latin-1"), "sni_hostname": NAME}
        headers = {"Host": self.host} | (headers or {})
        return self.client.stream(method, "/", headers=headers, extensions=extensions, **options)

    def send(self, method, target, headers=None, **options):
        with self.request(method, target, headers, **options) as answer:
            answer.read()
        assert answer.http_version == self.version
        return answer

    def signed(self, signer, method, target, host=None, body=b"", **options):
        headers = signer.headers(method, target, host or self.host, body)
        headers.update(options.pop("more", {}))
        return self.send(method, target, headers, **({"content": body} | options))

    def connect(self):
        return self.site.connect(self.scheme, self.context)


class Steps(Upstream):
    """Sends a piece of its answer when it is put into `go`, and puts what has come of a body into `came`."""

    def __init__(self):
        self.go, self.came = queue.Queue(), queue.Queue()

    def serve(self, connection):
        reader = Buffered(connection, b"")
        while True:
            for size in pieces_of_body(reader, receive_head(reader)):
                while size:
                    piece = reader.data or reader.more()
                    piece, reader.data = piece[:size], piece[size:]
                    size -= len(piece)
                    self.came.put(piece)
            connection.sendall(self.go.get(timeout=60))
            while piece := self.go.get(timeout=60):
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")


class Silent(Upstream):
    def serve(self, connection):
        while connection.recv(65_536):
            pass


def refuse_unsigned(connection, request):
    found = differences(Received("GET", request.path, list(request.headers.raw_items())))
    return connection.respond(401, "\n".join(found)) if found else None
