"""A client on a bare socket: it says exactly what came, and how it ended."""

import contextlib
import dataclasses
import socket
import threading

from processes import PATIENCE
from wire import Ended, Wire, fields_of, value_of

IDEMPOTENT = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}
BODY = bytes(range(256)) * 4


@dataclasses.dataclass
class Answer:
    """What a client saw of an answer; `why` says how an incomplete one ended."""

    status: int | None = None
    reason: str = ""
    fields: list = dataclasses.field(default_factory=list)
    body: bytes = b""
    complete: bool = False
    why: str = ""
    interim: list = dataclasses.field(default_factory=list)

    def __getitem__(self, name):
        return value_of(self.fields, name.lower())

    @property
    def cut(self):
        """It began, and the client can tell that it is not whole."""
        return self.status is not None and not self.complete and self.why in ("eof", "reset")

    def holds(self, text):
        return text in f"{self.reason} {self.fields} {self.body.decode('latin-1')}"


@dataclasses.dataclass(frozen=True)
class Form:
    """A method with a form of body: `none`, `length` or `chunked`."""

    method: str
    form: str = "none"

    def __str__(self):
        return f"{self.method}-{self.form}"

    @property
    def sends(self):
        return {"method": self.method, "chunked": self.form == "chunked"} | (
            {} if self.form == "none" else {"body": BODY}
        )

    @property
    def body(self):
        return b"" if self.form == "none" else BODY

    @property
    def repeatable(self):
        return self.method in IDEMPOTENT


def forms(*names):
    """Forms by their names, as `GET POST-length`."""
    return [Form(*name.split("-")) for name in names]


FORMS = forms(
    "GET", "HEAD", "OPTIONS", "DELETE", "POST", "POST-length", "POST-chunked", "PUT-length", "PUT-chunked", "PATCH-length"
)
FEW = forms("GET", "PUT-length", "POST-length", "POST-chunked")


class Caller:
    """One connection to a proxy."""

    def __init__(self, proxy, timeout=PATIENCE, source="127.0.0.1"):
        host, port = proxy.authority.split(":")
        self.wire = Wire(socket.create_connection((host, int(port)), timeout, (source, 0)), timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.sock.close()

    def ask(self, path="/", method="GET", fields=(), body=None, chunked=False, version="1.1"):
        """Sends a request. A large body goes by a thread of its own, as an answer may come before its end."""
        lines = [f"{method} {path} HTTP/{version}", "Host: faults.test", *(f"{name}: {value}" for name, value in fields)]
        if chunked and body is not None:
            lines.append("Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in pieces(body)) + b"0\r\n\r\n"
        elif body is not None or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body or b'')}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if body and len(body) > 65_536:
            threading.Thread(target=self._send, args=(head + body,), daemon=True).start()
        else:
            self._send(head + (body or b""))
        return self

    def _send(self, data):
        # The answer tells what became of it.
        with contextlib.suppress(Ended):
            self.wire.send(data)

    def answer(self, method="GET"):
        answer = Answer()
        body = bytearray()
        try:
            self._head(answer)
            self._body(answer, method, body)
            answer.complete = True
        except Ended as ended:
            answer.why = ended.how
        answer.body = bytes(body)
        return answer

    def _head(self, answer):
        while True:
            lines = self.wire.head()
            version, status, *reason = [*lines[0].split(" ", 2), ""]
            if version not in ("HTTP/1.1", "HTTP/1.0") or not status.isdigit():
                raise Ended(f"not an answer: {lines[0]!r}")
            if not 100 <= int(status) < 200 or status == "101":
                break
            answer.interim.append(int(status))
        answer.status, answer.reason, answer.fields = int(status), "".join(reason), fields_of(lines[1:])

    def _body(self, answer, method, body):
        if method == "HEAD" or answer.status in (101, 204, 304):
            return
        if answer["transfer-encoding"]:
            self.wire.chunks(body)
        elif answer["content-length"]:
            self.wire.copy(int(answer["content-length"]), body)
        else:
            self.wire.to_the_end(body)

    def surplus(self, seconds=0.2):
        """What came after the answer, up to the end of the connection or of a short wait."""
        self.wire.sock.settimeout(seconds)
        with contextlib.suppress(Ended):
            while True:
                self.wire.more()
        return self.wire.data


def pieces(body, size=16_384):
    return [body[at : at + size] for at in range(0, len(body), size)]


def call(proxy, path="/", method="GET", *, timeout=PATIENCE, source="127.0.0.1", **request):
    """One request on a connection of its own. A proxy that never answers fails the test."""
    with Caller(proxy, timeout, source) as caller:
        answer = caller.ask(path, method, **request).answer(method)
    assert answer.why != "timeout", f"the client hangs: {answer}"
    return answer


def together(count, work):
    """Runs `work(number)` in as many threads at once; what they give, in order."""
    results = [None] * count
    failures = []

    def run(number):
        try:
            results[number] = work(number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results
