"""A collector of traces that takes OTLP over HTTP by the letter, unless it is told to misbehave."""

import base64
import http.server
import json
import re
import socket
import threading

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from processes import wait_until

IDS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}
SOME = 50


def parsed(body):
    """The message of a JSON body, and how many requests it is about.

    Ids are hexadecimal digits in OTLP, and base64 in all other protocol buffers."""

    def checked(fields):
        for name, length in IDS.items():
            if name in fields:
                assert re.fullmatch(rf"[0-9a-f]{{{length}}}", fields[name]) and int(fields[name], 16), fields
                fields[name] = base64.b64encode(bytes.fromhex(fields[name])).decode()
        # Enumerations are numbers, and those of 64 bits are strings.
        assert not isinstance(fields.get("kind"), str)
        assert all(isinstance(fields.get(name, ""), str) for name in ("startTimeUnixNano", "endTimeUnixNano", "intValue"))
        return fields

    whole = json.loads(body, object_hook=checked)
    count = 0
    for scope in (scope for resource in whole["resourceSpans"] for scope in resource["scopeSpans"]):
        count += sum(span["kind"] == 2 for span in scope["spans"])
        # Of many, the first and the last: all are made by the same hand, and the types take their time.
        scope["spans"] = scope["spans"] if len(scope["spans"]) <= 2 * SOME else scope["spans"][:SOME] + scope["spans"][-SOME:]
    return json_format.ParseDict(whole, ExportTraceServiceRequest()), count


class Collector:
    """`status` is what it answers; while `open` is not set, it does not answer at all."""

    def __init__(self):
        self.status, self.open = 200, threading.Event()
        self.open.set()
        self.messages, self.headers, self.spans = [], [], []
        self.wrong, self.asked, self.requests = [], 0, 0

    def __enter__(self):
        handler = type("Handler", (Handler,), {"collector": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self.server.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()
        assert not self.wrong, self.wrong

    def take(self, message, count, headers):
        self.requests += count
        self.messages.append(message)
        self.headers.append({name.lower(): value for name, value in headers.items()})
        scopes = [scope for resource in message.resource_spans for scope in resource.scope_spans]
        self.spans += [Span(span) for scope in scopes for span in scope.spans]

    def trace(self, text):
        """The spans of a request, by a text in its path or query: that of the request, and those of its attempts."""

        def find():
            spans = list(self.spans)
            whole = [one for one in spans if one.kind == 2 and text in f"{one['url.path']}?{one['url.query']}"]
            return whole and (whole, [one for one in spans if one.parent_span_id == whole[0].span_id])

        [server], clients = wait_until(find, what=f"the spans of {text}")
        return server, clients


class Span:
    """A span with its attributes; ids in hexadecimal."""

    def __init__(self, span):
        self.name, self.kind, self.status = span.name, span.kind, span.status.code
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.trace_id, self.span_id = span.trace_id.hex(), span.span_id.hex()
        self.parent_span_id = span.parent_span_id.hex()
        values = {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
        assert len(values) == len(span.attributes), "an attribute twice"
        self.attributes = values

    def __getitem__(self, name):
        return self.attributes.get(name)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        collector = self.collector
        body = self.rfile.read(int(self.headers["Content-Length"]))
        collector.asked += 1
        if not collector.open.is_set():
            collector.open.wait()
            if self.is_left():
                return None
        if collector.status != 200:
            return self.answer()
        try:
            assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/json")
            collector.take(*parsed(body), self.headers)
        except Exception as error:
            collector.wrong.append(repr(error))
            raise
        return self.answer()

    def is_left(self):
        """Whether nobody waits for the answer any more: what was sent is sent elsewhere again, or counted as lost."""
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        finally:
            self.connection.setblocking(True)

    def answer(self):
        self.send_response(self.collector.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass
