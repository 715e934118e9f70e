"""HTTP/2 by hand: single frames, right or wrong, and a connection that understands just enough of the answers."""

import struct

import hpack

from attackers import Secure

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL, ENHANCE_YOUR_CALM = 0x8, 0xB
INITIAL_WINDOW_SIZE = 4


def frame(kind, stream=0, payload=b"", flags=0):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(**values):
    ids = {"table_size": 1, "push": 2, "streams": 3, "window": INITIAL_WINDOW_SIZE, "frame_size": 5}
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", ids[name], value) for name, value in values.items()))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, stream, struct.pack(">I", increment))


def reset(stream, code=CANCEL):
    return frame(RST_STREAM, stream, struct.pack(">I", code))


def priority(stream, depends=0):
    return frame(PRIORITY, stream, struct.pack(">IB", depends, 16))


def block(path="/ok", method="GET", fields=()):
    """The fields of a request, in a form that changes no table: it can be sent again and again."""
    pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
    never = [hpack.NeverIndexedHeaderTuple(*field) for field in [*pseudo, *fields]]
    return hpack.Encoder().encode(never, huffman=False)


def request(stream, path="/ok", method="GET", *, end=True, fields=()):
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, stream, block(path, method, fields), flags)


class H2(Secure):
    """An HTTP/2 connection, after its preface. It acknowledges settings, and gives no more window than it started with."""

    def __init__(self, edge, *, preface=PREFACE, first=None, **options):
        self.data = bytearray()
        self.goaway = None
        self.resets, self.statuses, self.bodies, self.done = {}, {}, {}, set()
        self.decoder = hpack.Decoder()
        self.owes = 0
        self.acknowledges = False  # not before the preface
        self.frames = 0
        super().__init__(edge, protocols=["h2"], **options)
        if self.tls.selected_alpn_protocol() != "h2":
            raise ConnectionError("no HTTP/2")
        self.acknowledges = first != b""
        owed = frame(SETTINGS, flags=ACK) * (self.owes if self.acknowledges else 0)
        self.push(preface + (settings() if first is None else first) + owed)

    @property
    def seen(self):
        return f"{self.frames} frames, goaway {self.goaway}, resets {len(self.resets)}, statuses {len(self.statuses)}"

    @property
    def closed(self):
        """Streams that are over for the other end."""
        return self.done | set(self.resets)

    def understood(self, plain):
        self.data += plain
        while len(self.data) >= 9:
            length = int.from_bytes(self.data[:3], "big")
            if len(self.data) < 9 + length:
                return
            kind, flags = self.data[3], self.data[4]
            stream = int.from_bytes(self.data[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self.data[9 : 9 + length])
            del self.data[: 9 + length]
            self.frames += 1
            self.take(kind, flags, stream, payload)

    def take(self, kind, flags, stream, payload):
        if kind == GOAWAY:
            code = struct.unpack(">I", payload[4:8])[0]
            self.goaway = max(self.goaway or 0, code)
        elif kind == RST_STREAM:
            self.resets[stream] = struct.unpack(">I", payload)[0]
        elif kind == HEADERS:
            fields = dict(self.decoder.decode(payload))
            self.statuses[stream] = int(fields.get(":status", 0))
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, 0) + len(payload)
        elif kind == SETTINGS and not flags & ACK and not self.ended:
            self.owes += not self.acknowledges
            if self.acknowledges:
                self.push(frame(SETTINGS, flags=ACK))
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.done.add(stream)


def streams(first=1):
    """The numbers of a client's streams, in order."""
    return iter(range(first, 1 << 31, 2))
