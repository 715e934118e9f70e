"""Plays a case on a lane, and says what was wrong."""

import contextlib
import json
import socket
from dataclasses import dataclass, field

from cases import HALF_CLOSE, HOST, UNTIL_CONTINUE, UNTIL_SEEN
from recorder import Record
from wire import Ended, Wire, fields_of, value_of

DEADLINE = 30.0
SENTINEL = "/sentinel"
PROBE = "/probe"


@dataclass
class Answer:
    status: int
    fields: list
    body: bytes
    interim: int = 0  # how many interim answers came before

    def __getitem__(self, name):
        return value_of(self.fields, name)

    @property
    def target(self):
        """The target of the request that the origin has answered with this."""
        with contextlib.suppress(ValueError):
            saw = json.loads(self.body)
            return saw.get("target") if isinstance(saw, dict) else None

    def __str__(self):
        return f"{self.status} {self.fields} {self.body[:80]!r}"


@dataclass
class Played:
    answers: list = field(default_factory=list)
    after: list = field(default_factory=list)  # answers to what was sent once those were there
    ending: str = ""
    record: Record = field(default_factory=Record)
    late: str = ""  # what was wrong with the request after it

    def __str__(self):
        lists = [[str(one) for one in ones] for ones in (self.answers, self.after)]
        return (
            f"answers: {lists[0]}\n  after the next request: {lists[1]}\n  end: {self.ending}\n  origin: {self.record}"
        )


def connect(port):
    return Wire(socket.create_connection(("127.0.0.1", port), DEADLINE), DEADLINE)


def read_answer(wire, method):
    interim = 0
    while True:
        lines = wire.head()
        version, _, rest = lines[0].partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdigit():
            raise Ended(f"not an answer: {lines[0]!r}")
        status, fields = int(rest[:3]), fields_of(lines[1:])
        if status >= 200 or status == 101:
            break
        interim += 1
    body = bytearray()
    if method != "HEAD" and status not in (101, 204, 304):
        if value_of(fields, "transfer-encoding"):
            wire.chunks(body)
        elif (length := value_of(fields, "content-length")) is not None:
            wire.copy(int(length), body)
        else:
            wire.to_the_end(body)
    return Answer(status, fields, bytes(body), interim)


def send(lane, wire, pieces):
    """Sends what the proxy takes. One that has refused already need not take the rest."""
    interim = 0
    for piece in pieces:
        if piece == UNTIL_SEEN:
            lane.origin.wait_for_head(5.0)
        elif piece == UNTIL_CONTINUE:
            while b"\r\n\r\n" not in wire.data:
                wire.more()
            if wire.data.startswith(b"HTTP/1.1 100"):
                wire.head()
                interim += 1
        elif piece == HALF_CLOSE:
            wire.sock.shutdown(socket.SHUT_WR)
        else:
            try:
                wire.send(piece)
            except Ended:
                break
    return interim


def ask(target):
    return f"GET {target} HTTP/1.1\r\n{HOST}\r\nConnection: close\r\n\r\n"


def play(lane, case):
    """Sends the case; once its answers are there, one more request on its connection, and one on a fresh connection."""
    played = Played()
    early = lane.origin.take()
    wire = connect(lane.port)
    try:
        interim = send(lane, wire, case.pieces)
        while len(played.answers) < case.answers:
            played.answers.append(read_answer(wire, case.method(len(played.answers))))
            played.answers[-1].interim += interim
            if played.answers[-1].status != 200:
                break
        with contextlib.suppress(Ended):
            wire.send(ask(SENTINEL))
        while True:
            played.after.append(read_answer(wire, "GET"))
    except Ended as ended:
        played.ending = ended.how
    finally:
        wire.sock.close()
    played.record = lane.origin.take()
    played.late = probe(lane, played.record)
    played.record.keep("127.0.0.1")
    if early.requests or early.faults:
        played.late += f"something came before it, from the case before: {early}"
    return played


def probe(lane, before=None):
    """A request on a fresh connection: it alone reaches the origin whole, and is answered. Parts of what came before it
    are added to that."""
    wire = connect(lane.port)
    try:
        wire.send(ask(PROBE))
        answer = read_answer(wire, "GET")
    except Ended as ended:
        return f"the next request, on a fresh connection: {ended.how}; origin: {lane.origin.take()}"
    finally:
        wire.sock.close()
    record = lane.origin.take()
    if answer.status != 200 or answer.target != PROBE:
        return f"the next request, on a fresh connection: {answer}; origin: {record}"
    if before is not None:
        before.partial += record.partial
        record.partial = []
    if [one.target for one in record.requests] != [PROBE] or record.faults or record.partial:
        return f"more than the next request reaches the origin: {record}"
    return ""


def judge(case, played):
    """What is wrong, as text; none if one of the outcomes is what happened."""
    wrongs = [complaints(outcome, played) for outcome in case.outcomes]
    if not all(wrongs):
        return ""
    expected = "\n".join(f"  expected: {one}\n    but: {'; '.join(wrong)}" for one, wrong in zip(case.outcomes, wrongs))
    raw = case.raw if len(case.raw) < 2000 else case.raw[:900] + b" [...] " + case.raw[-300:]
    return f"{case.name}\n  sent: {raw!r}\n{expected}\n  {played}"


def complaints(outcome, played):
    wrong = [played.late] if played.late else []
    statuses = [one.status for one in played.answers]
    count = len(outcome.seen)
    if statuses[:count] != [200] * count:
        wrong.append(f"answered with {statuses}")
    if outcome.interim is not None and sum(one.interim for one in played.answers) != outcome.interim:
        wrong.append("another number of interim answers")
    rest = statuses[count:]
    if outcome.ends:
        if not (len(rest) == 1 and rest[0] in outcome.ends or not rest and None in outcome.ends):
            wrong.append(f"answered with {statuses}")
        if played.after or played.ending not in ("eof", "reset"):
            wrong.append(f"the connection is not closed ({played.ending})")
    elif outcome.own:
        if len(rest) != 1 or rest[0] not in outcome.own:
            wrong.append(f"answered with {statuses}")
    elif rest:
        wrong.append(f"answered with {statuses}")
    if not outcome.ends:
        wrong += wrong_after(played)
    return wrong + wrong_at_the_origin(outcome, played)


def wrong_after(played):
    """The request that was sent next on the connection is answered alone, or the connection was closed before it."""
    if [one.target for one in played.after] not in ([], [SENTINEL]):
        return ["something else is answered to the next request"]
    if played.ending not in ("eof", "reset"):
        return [f"the connection does not end ({played.ending})"]
    return []


def wrong_at_the_origin(outcome, played):
    record = played.record
    requests = [one for one in record.requests if one.target != SENTINEL]
    wrong = list(record.faults)
    if record.partial and not outcome.partial:
        wrong.append("the beginning of a request reaches the origin")
    if len(requests) != len(outcome.seen):
        wrong.append(f"the origin sees {len(requests)} requests")
    for answer, request, seen in zip(played.answers, requests, outcome.seen):
        wrong += differences(request, seen)
        if seen.method != "HEAD" and answer.target != request.target:
            wrong.append(f"the answer to {request.target} is that to {answer.target}")
    return wrong


def differences(request, seen):
    targets = (seen.target,) if isinstance(seen.target, str) else seen.target
    if request.method != seen.method:
        yield f"the method is {request.method}"
    if targets is not None and request.target not in targets:
        yield f"the target is {request.target}"
    if request.body != seen.body:
        yield f"the body is {request.body[:200]!r}"
    for name, value in seen.has:
        if request.all(name) != [value]:
            yield f"{name} is {request.all(name)}"
    for name in seen.absent:
        if request.all(name):
            yield f"{name} is there: {request.all(name)}"
