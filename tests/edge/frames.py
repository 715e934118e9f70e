"""HTTP/2 as a client writes it that keeps to no rule about fields: frames by hand, HPACK only as an encoder."""

import itertools
import socket
import ssl
import struct
from dataclasses import dataclass

import hpack
from cases import UNTIL_SEEN, Outcome
from play import DEADLINE, Answer, Played, probe, wrong_at_the_origin
from wire import Ended, Wire

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
ACK = END_STREAM = 1
END_HEADERS = 4
PADDED, PRIORITY = 8, 32
STREAM = 1
NUMBERS = itertools.count()

CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE
CONTEXT.set_alpn_protocols(["h2"])


@dataclass(frozen=True)
class Downgrade:
    """A request on the first stream: its fields as they are written, pieces of its body, and perhaps trailers."""

    name: str
    fields: tuple
    body: tuple
    trailers: tuple
    outcomes: tuple


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(encoder, fields):
    return encoder.encode([(hpack.NeverIndexedHeaderTuple(name, value)) for name, value in fields], huffman=False)


def headers(encoder, fields, last):
    """A field section in a HEADERS frame, and in as many others as it takes."""
    whole = block(encoder, fields)
    parts = [whole[at : at + 16_384] for at in range(0, len(whole), 16_384)] or [b""]
    for number, part in enumerate(parts):
        flags = END_HEADERS * (number == len(parts) - 1)
        yield (
            frame(CONTINUATION, flags, STREAM, part)
            if number
            else frame(HEADERS, flags | END_STREAM * last, STREAM, part)
        )


def connect(lane, secure, address):
    port = lane.tls_port if secure else lane.h2_port
    sock = socket.create_connection(("127.0.0.1", port), DEADLINE, (address, 0))
    if secure:
        sock = CONTEXT.wrap_socket(sock, server_hostname="edge.test")
        if sock.selected_alpn_protocol() != "h2":
            sock.close()
            raise Ended("HTTP/2 is not chosen")
    return Wire(sock, DEADLINE)


def write(lane, wire, case):
    encoder = hpack.Encoder()
    wire.send(PREFACE, frame(SETTINGS, 0, 0))
    data = [piece for piece in case.body if piece != UNTIL_SEEN]
    wire.send(*headers(encoder, case.fields, last=not data and not case.trailers))
    left = len(data)
    for piece in case.body:
        if piece == UNTIL_SEEN:
            lane.origin.wait_for_head(5.0)
            continue
        left -= 1
        wire.send(frame(DATA, END_STREAM * (not left and not case.trailers), STREAM, piece))
    if case.trailers:
        wire.send(*headers(encoder, case.trailers, last=True))


def next_frame(wire):
    while len(wire.data) < 9:
        wire.more()
        if wire.data.startswith(b"HTTP/1"):
            raise Ended("it answers in HTTP/1")
    length = int.from_bytes(wire.data[:3])
    while len(wire.data) < 9 + length:
        wire.more()
    kind, flags, payload = wire.data[3], wire.data[4], wire.data[9 : 9 + length]
    stream = int.from_bytes(wire.data[5:9]) & 0x7FFF_FFFF
    wire.data = wire.data[9 + length :]
    return kind, flags, stream, payload


def unpadded(flags, payload):
    if flags & PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    return payload


def read(wire):
    """The answer on the first stream; what ends it otherwise is raised."""
    decoder = hpack.Decoder()
    fields, body, section = [], b"", b""
    while True:
        kind, flags, stream, payload = next_frame(wire)
        if kind == SETTINGS and not flags & ACK:
            wire.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            wire.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY and int.from_bytes(payload[4:8]):
            raise Ended(f"GOAWAY {int.from_bytes(payload[4:8])}")
        elif kind == RST_STREAM and stream == STREAM:
            if not fields:
                raise Ended(f"RST_STREAM {int.from_bytes(payload)}")
            break  # the answer is there, the rest of the request is not wanted
        elif kind in (HEADERS, CONTINUATION) and stream == STREAM:
            payload = unpadded(flags, payload) if kind == HEADERS else payload
            section += payload[5:] if kind == HEADERS and flags & PRIORITY else payload
            if flags & END_HEADERS:
                found = decoder.decode(section, raw=True)
                section = b""
                if not fields and not dict(found).get(b":status", b"").startswith(b"1"):
                    fields = found
        elif kind == DATA and stream == STREAM:
            body += unpadded(flags, payload)
        if kind in (HEADERS, DATA) and stream == STREAM and flags & END_STREAM:
            break
    text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
    return Answer(int(dict(text).get(":status", "0")), text, body)


def play(lane, case, secure):
    played = Played()
    number = next(NUMBERS)
    address = f"127.77.{number // 250}.{number % 250 + 1}"
    early = lane.origin.take()
    wire = None
    try:
        wire = connect(lane, secure, address)
        try:
            write(lane, wire, case)
        except Ended as ended:
            if ended.how == "timeout":
                raise
        played.answers.append(read(wire))
        played.ending = "answered"
    except Ended as ended:
        played.ending = ended.how
    finally:
        if wire:
            wire.sock.close()
    played.record = lane.origin.take()
    played.late = probe(lane, played.record)
    played.record.keep(address)
    if early.requests or early.faults:
        played.late += f"something came before it, from the case before: {early}"
    return played


def complaints(outcome, played):
    wrong = [played.late] if played.late else []
    statuses = [one.status for one in played.answers]
    if outcome.ends:
        if not (played.ending.startswith(("RST_STREAM", "GOAWAY")) or statuses and statuses[0] in outcome.ends):
            wrong.append(f"not refused: {statuses} {played.ending}")
    elif statuses != [200]:
        wrong.append(f"not answered: {statuses} {played.ending}")
    return wrong + wrong_at_the_origin(outcome, played)


def play_and_judge(lane, case):
    case, secure = case
    played = play(lane, case, secure)
    wrongs = [complaints(outcome, played) for outcome in case.outcomes]
    if not all(wrongs):
        return played, ""
    expected = "\n".join(f"  expected: {one}\n    but: {'; '.join(wrong)}" for one, wrong in zip(case.outcomes, wrongs))
    return played, f"{case.name}\n  sent: {case.fields}"[
        :3000
    ] + f" {case.body} {case.trailers}\n{expected}\n  {played}"


REFUSALS = (400, 405, 413, 414, 431, 501)


def as_pairs(pairs):
    def raw(text):
        return text if isinstance(text, bytes) else text.encode("latin-1")

    return tuple((raw(name), raw(value)) for name, value in pairs)


def downgrade(name, fields, *outcomes, body=(), trailers=()):
    outcomes = outcomes or (Outcome(ends=REFUSALS),)
    return Downgrade(name, as_pairs(fields), tuple(body), as_pairs(trailers), outcomes)
