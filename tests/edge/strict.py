"""A strict reader of HTTP/1.1 requests: what RFC 9112 leaves to the lenience of the reader is a fault here."""

import re
from dataclasses import dataclass, field

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.1")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
HOST = re.compile(rb"([0-9A-Za-z\-._~%!$&'()*+;=]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e\x80-\xff]*)?")

# Names that many servers read as the ones with dashes, which Pylon sets or frames a message by.
IMITATED = frozenset(
    "host content-length transfer-encoding connection forwarded x-real-ip x-request-id x-forwarded-for x-forwarded-proto"
    " x-forwarded-host x-forwarded-prefix x-forwarded-port x-forwarded-server x-forwarded-ssl".split()
)
# Fields of the client's connection, which mean nothing on another one.
OF_A_HOP = ("keep-alive", "proxy-connection", "http2-settings")
# What a trailer section must not hold (RFC 9110 section 6.5.1).
NOT_IN_TRAILERS = frozenset(
    ["host", "content-length", "transfer-encoding", "connection", "trailer", "x-forwarded-for", "cookie"]
)


class Fault(Exception):
    """What came is no request, or could be read in two ways."""


@dataclass
class Request:
    method: str
    target: str
    fields: list
    body: bytes = b""
    trailers: list = field(default_factory=list)

    def all(self, name):
        return [value for found, value in self.fields if found == name]

    @property
    def chunked(self):
        return bool(self.all("transfer-encoding"))

    @property
    def length(self):
        return int((self.all("content-length") or ["0"])[0])


def head(data):
    """The request that the bytes begin with and where its body begins, or None while its head is not whole."""
    if data[:1] in (b"\r", b"\n", b" "):
        raise Fault("an empty line before the request")
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    parts = REQUEST_LINE.fullmatch(first)
    if not parts:
        raise Fault(f"not a request line: {first!r}")
    request = Request(parts[1].decode(), parts[2].decode("latin-1"), [pair(line) for line in lines])
    framing(request)
    hops(request)
    return request, end + 4


def pair(line):
    parts = FIELD.fullmatch(line)
    if not parts:
        raise Fault(f"not a field line: {line!r}")
    return parts[1].decode().lower(), parts[2].rstrip(b" \t").decode("latin-1")


def framing(request):
    """Exactly one Host, and at most one statement about the length."""
    hosts = request.all("host")
    if len(hosts) != 1 or not HOST.fullmatch(hosts[0].encode("latin-1")):
        raise Fault(f"not one good Host: {hosts}")
    lengths, codings = request.all("content-length"), request.all("transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Fault(f"two statements about the length: {lengths} {codings}")
    if lengths and not (lengths[0].isascii() and lengths[0].isdigit() and len(lengths[0]) <= 20):
        raise Fault(f"not a length: {lengths}")
    if codings and codings[0].lower() != "chunked":
        raise Fault(f"not a coding that ends by itself: {codings}")


def hops(request):
    """Nothing that was about the client's own connection, and no name that can be taken for another."""
    options = {option.strip().lower() for value in request.all("connection") for option in value.split(",")}
    if options - {"close", "keep-alive", "upgrade", "te", ""}:
        raise Fault(f"Connection names what is of another connection: {sorted(options)}")
    for name, value in request.fields:
        plain = name.replace("_", "-")
        if "_" in name and (plain in IMITATED or plain.strip("-") in IMITATED):
            raise Fault(f"a name that is read as another: {name}: {value}")
        if name in OF_A_HOP:
            raise Fault(f"a field of another connection: {name}: {value}")
        if name == "upgrade" and ("upgrade" not in options or "h2c" in value.lower()):
            raise Fault(f"an upgrade that nobody can make: {value}")


def body(request, data):
    """The body that the bytes begin with, its trailers, and its length in bytes; None while it is not whole."""
    if not request.chunked:
        return (data[: request.length], [], request.length) if len(data) >= request.length else None
    whole, at = b"", 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = SIZE.fullmatch(data[at:end])
        if not size:
            raise Fault(f"not the size of a chunk: {data[at:end]!r}")
        count, at = int(size[1], 16), end + 2
        if not count:
            return trailing(whole, data, at)
        if len(data) < at + count + 2:
            return None
        whole += data[at : at + count]
        at += count + 2
        if data[at - 2 : at] != b"\r\n":
            raise Fault("a chunk is longer than it says")


def trailing(whole, data, at):
    trailers = []
    while (end := data.find(b"\r\n", at)) >= 0:
        if end == at:
            return whole, trailers, at + 2
        trailers.append(pair(data[at:end]))
        if trailers[-1][0] in NOT_IN_TRAILERS:
            raise Fault(f"a field that must not be in a trailer section: {trailers[-1]}")
        at = end + 2
    return None
