"""What a case is: the bytes that a client sends, and what may come of it."""

from dataclasses import dataclass

# Between two pieces of a request:
UNTIL_SEEN = "until the origin has seen the head"
UNTIL_CONTINUE = "until 100 (Continue) has come"
HALF_CLOSE = "the client sends no more"

HOST = "Host: edge.test"


@dataclass(frozen=True)
class Seen:
    """A request as the origin has to see it. A target of None may be any, a tuple is a choice."""

    method: str = "GET"
    target: str | tuple | None = "/x"
    body: bytes = b""
    has: tuple = ()  # (name, value): the field is there once, with this value
    absent: tuple = ()


@dataclass(frozen=True)
class Outcome:
    """Requests that the origin sees and answers; then, with `ends`, a refusal with one of these statuses and the end of
    the connection. A status of None is an end without an answer."""

    seen: tuple = ()
    ends: tuple = ()
    partial: bool = False  # the origin may see the beginning of a request, never the whole
    own: tuple = ()  # statuses of an answer of the proxy's own, after which the connection may stay
    interim: int | None = None  # how many interim answers there are

    def __str__(self):
        whole = ", ".join(f"{one.method} {one.target}" for one in self.seen) or "nothing"
        end = f", then refused with {self.ends}" if self.ends else f", answered with {self.own}" if self.own else ""
        return f"the origin sees {whole}{' whole' if self.partial else ''}{end}"


@dataclass(frozen=True)
class Case:
    name: str
    pieces: tuple
    outcomes: tuple

    @property
    def answers(self):
        """The highest number of answers that there can be."""
        return max(1, *(len(one.seen) + bool(one.ends) for one in self.outcomes))

    def method(self, at):
        """The method of a request, as far as it bears on the answer."""
        known = next((one.seen[at].method for one in self.outcomes if len(one.seen) > at), None)
        return known or ("HEAD" if self.raw.startswith(b"HEAD ") else "GET")

    @property
    def raw(self):
        return b" ... ".join(one if isinstance(one, bytes) else f"<{one}>".encode() for one in self.pieces)


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def case(name, raw, *outcomes):
    pieces = raw if isinstance(raw, (list, tuple)) else [raw]
    marks = (UNTIL_SEEN, UNTIL_CONTINUE, HALF_CLOSE)
    return Case(name, tuple(piece if piece in marks else as_bytes(piece) for piece in pieces), outcomes)


def refused(name, raw, *statuses):
    """Refused, and nothing of it reaches the origin. 400 unless something else is said."""
    return case(name, raw, Outcome(ends=statuses or (400,)))


def accepted(name, raw, *seen):
    return case(name, raw, Outcome(seen or (Seen(),)))


def either(name, raw, *seen, statuses=(400,)):
    """Both is right: to refuse it, and to forward it as it is seen here."""
    return case(name, raw, Outcome(seen or (Seen(),)), Outcome(ends=statuses))


def broken(name, raw, *statuses):
    """Refused, perhaps after the origin has seen the beginning."""
    return case(name, raw, Outcome(ends=statuses or (400,), partial=True))


def then_refused(name, raw, *seen, statuses=(400,)):
    """Good requests are answered, the one after them is refused."""
    return case(name, raw, Outcome(seen, ends=statuses))


def message(first, lines, body=b""):
    """A request of these lines. A line may be text or bytes, and hold any byte."""
    return b"\r\n".join([as_bytes(first), *map(as_bytes, lines), b"", b""]) + as_bytes(body)


def get(*lines, target="/x", method="GET", version="HTTP/1.1"):
    return message(as_bytes(method) + b" " + as_bytes(target) + b" " + as_bytes(version), [HOST, *lines])


def post(*lines, body=b"hello", target="/x", version="HTTP/1.1"):
    """A POST with these lines, which say nothing about its length unless they do it themselves."""
    return message(f"POST {target} {version}", [HOST, *lines], body)


def with_length(*lines, body=b"hello", **options):
    return post(f"Content-Length: {len(body)}", *lines, body=body, **options)


def chunked(raw, *lines, **options):
    """A POST whose body is these bytes, which are chunks or should be."""
    return post("Transfer-Encoding: chunked", *lines, body=raw, **options)


def posted(body=b"hello", **options):
    return Seen("POST", body=body, **options)
