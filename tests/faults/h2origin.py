"""An origin that speaks HTTP/2 without TLS, and misbehaves stream by stream."""

import contextlib
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from origins import Origin
from wire import Ended


class Stream:
    """A request on a stream."""

    def __init__(self, number, fields):
        self.number = number
        self.fields = [(name.decode(), value.decode("latin-1")) for name, value in fields]
        self.method = self[":method"]
        self.target = self[":path"]
        self.body = b""

    def __getitem__(self, name):
        return next((value for found, value in self.fields if found == name.lower()), None)


class H2Wire:
    """A connection; `play` gets it, and is called when a stream has ended."""

    def __init__(self, wire, origin):
        self.wire, self.origin = wire, origin
        config = h2.config.H2Configuration(client_side=False, validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.streams = {}
        self.lock = threading.RLock()

    def flush(self):
        with self.lock:
            if data := self.h2.data_to_send():
                self.wire.send(data)

    def answer(self, stream, body=b"ok", status=200, fields=(), end=True):
        with self.lock:
            head = [(":status", str(status)), ("x-origin", self.origin.name), *fields]
            self.h2.send_headers(stream.number, head, end_stream=end and not body)
            if body:
                self.h2.send_data(stream.number, body, end_stream=end)
            self.flush()

    def reset_stream(self, stream, code):
        with self.lock:
            self.h2.reset_stream(stream.number, code)
            self.flush()

    def go_away(self, last, code=0):
        with self.lock:
            self.h2.close_connection(code, last_stream_id=last)
            self.flush()

    def run(self):
        limits = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.origin.streams_at_once}
        self.h2.local_settings.update(limits)
        self.h2.initiate_connection()
        self.flush()
        while True:
            if not self.wire.data:
                self.wire.more()
            data, self.wire.data = self.wire.data, b""
            with self.lock:
                events = self.h2.receive_data(data)
                self.flush()
            for event in events:
                self.take(event)

    def take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            stream = self.streams[event.stream_id] = Stream(event.stream_id, event.headers)
            self.origin.heads.append(stream)
            if self.origin.at_head and self.origin.at_head(self, stream):
                del self.streams[event.stream_id]
        elif isinstance(event, h2.events.DataReceived):
            with self.lock:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.flush()
            if stream := self.streams.get(event.stream_id):
                stream.body += event.data
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self.streams:
            self.ended(self.streams.pop(event.stream_id))
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise Ended("eof")

    def ended(self, stream):
        self.origin.executed.append(stream)
        threading.Thread(target=self.played, args=(stream,), daemon=True).start()

    def played(self, stream):
        with self.origin.lock:
            self.origin.busy += 1
            self.origin.busiest = max(self.origin.busiest, self.origin.busy)
        with contextlib.suppress(Ended, OSError, h2.exceptions.ProtocolError):
            self.origin.play(self, stream)
        with self.origin.lock:
            self.origin.busy -= 1


def ok(connection, stream):
    connection.answer(stream, connection.origin.name.encode() if stream.method != "HEAD" else b"")


class H2Origin(Origin):
    streams_at_once = 100

    def __init__(self, play=ok, **options):
        super().__init__(play, **options)

    def serve(self, wire):
        if self.accept and self.accept(wire):
            return
        with contextlib.suppress(h2.exceptions.ProtocolError):
            H2Wire(wire, self).run()
