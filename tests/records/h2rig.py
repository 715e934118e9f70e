"""An upstream that speaks HTTP/2 without TLS: /bytes/9 answers with so many, all else with the length of what it was sent."""

import contextlib

import h2.config
import h2.connection
import h2.events
import h2.exceptions

import kernel
from rig import BLOCK
from upstreams import Upstream


class H2Rig(Upstream):
    def __enter__(self):
        super().__enter__()
        self.address = self.url.removeprefix("http://")
        return self

    def serve(self, connection):
        with contextlib.suppress(h2.exceptions.ProtocolError):
            H2Connection(connection).run()

    def moved(self):
        return sum(map(kernel.moved, self.connections), kernel.Moved())


class H2Connection:
    def __init__(self, connection):
        self.connection = connection
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.targets, self.taken, self.left = {}, {}, {}

    def run(self):
        self.h2.initiate_connection()
        self.connection.sendall(self.h2.data_to_send())
        while data := self.connection.recv(65_536):
            for event in self.h2.receive_data(data):
                self.take(event)
            self.send_on()

    def take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            fields = dict(event.headers)
            self.targets[event.stream_id] = fields[b":path"].decode().partition("?")[0]
            self.taken[event.stream_id] = 0
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.taken[event.stream_id] += len(event.data)
        elif isinstance(event, h2.events.StreamEnded):
            self.begin(event.stream_id)

    def begin(self, stream):
        words = self.targets[stream].strip("/").split("/")
        length = int(words[1]) if words[0] == "bytes" else 0
        body = b"" if length else str(self.taken[stream]).encode()
        self.h2.send_headers(stream, [(":status", "200"), ("content-length", str(length or len(body)))])
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.left[stream] = length

    def send_on(self):
        """Sends as much of each body as the other end has room for."""
        for stream, left in list(self.left.items()):
            while left > 0 and (room := self.h2.local_flow_control_window(stream)) > 0:
                size = min(left, room, self.h2.max_outbound_frame_size)
                left -= size
                self.h2.send_data(stream, BLOCK[:size], end_stream=not left)
            self.left[stream] = left
        self.connection.sendall(self.h2.data_to_send())
        self.left = {stream: left for stream, left in self.left.items() if left}
