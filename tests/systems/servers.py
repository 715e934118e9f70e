"""Servers behind the systems: they tell what they were sent, and answer with what leaks in real programs."""

import http.server
import json
import subprocess
import sys
import threading

from processes import Program, answers, free_port
from websockets.sync.server import serve


class Told(http.server.ThreadingHTTPServer):
    """Answers each request with what it was, as JSON, or as its `pages` say."""

    daemon_threads = True

    def __init__(self, pages=None):
        self.pages, self.seen = pages or {}, []
        super().__init__(("127.0.0.1", 0), Teller)
        self.port = self.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Teller(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        told = {"method": self.command, "target": self.path, "headers": headers}
        self.server.seen.append(told)
        status, fields, body = self.server.pages.get(self.path.partition("?")[0], (200, {}, None))
        body = json.dumps(told) if body is None else body
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value.replace("SELF", f"http://{self.headers['Host']}"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_DELETE = do_GET

    def log_message(self, *_):
        pass


class Sockets:
    """A server of WebSockets: it says what it was asked for, then echoes."""

    def __enter__(self):
        def handle(one):
            request = one.request
            one.send(json.dumps({"path": request.path, "headers": list(request.headers.raw_items())}))
            for message in one:
                one.send(message)

        self.server = serve(handle, "127.0.0.1", 0)
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()


WRITE = """if True:
    import sys, time
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    writer = EventFileWriter(sys.argv[1])
    for step in range(5):
        value = Summary.Value(tag="loss", simple_value=1 / (step + 1))
        writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))
    writer.close()
"""


class TensorBoard(Program):
    """A real one, with a run of five steps."""

    def __init__(self, directory):
        self.port = free_port()
        logs = directory / "logs"
        subprocess.run([sys.executable, "-c", WRITE, logs], check=True, timeout=200, capture_output=True)
        arguments = [
            *(sys.executable, "-m", "tensorboard.main", "--load_fast=false", "--reload_interval=1"),
            *("--host=127.0.0.1", f"--port={self.port}", f"--logdir={logs}"),
        ]
        super().__init__(arguments, directory, ready=answers(f"http://127.0.0.1:{self.port}/data/environment"))
