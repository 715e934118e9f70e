"""Servers in threads of the test: some that die and come back, and one that stands between a browser and an API."""

import contextlib
import http.client
import http.server
import json
import random
import threading
import time

from processes import free_port


class Web:
    """A web server; `answer(request)` gives status, headers and body."""

    def __init__(self):
        self.port = free_port()
        self.authority = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.authority}"
        self.running = None
        self.start()

    def start(self):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("Content-Length") or 0)
                self.body = self.rfile.read(length)
                status, headers, body = web.answer(self)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_OPTIONS = do_GET

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # browsers leave when they like

        self.running = Quiet(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.running.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        if self.running:
            self.running.shutdown()
            self.running.server_close()
            self.running = None

    def answer(self, request):
        raise NotImplementedError


class Server(Web):
    """A server behind Pylon. It says the request's id, which Pylon tells to servers alone as long as all is well."""

    def __init__(self, name, seconds=0.0, size=0):
        self.name, self.seconds, self.body = name, seconds, f"{name}\n".encode() + b"." * size
        super().__init__()

    def answer(self, request):
        headers = {"Content-Type": "text/plain", "X-Request-Id": request.headers.get("X-Request-Id", "")}
        time.sleep(random.expovariate(1 / self.seconds) if self.seconds else 0)
        return 200, headers, self.body


class Site(Web):
    """A site of its own: pages by path, which others may read."""

    def __init__(self, pages):
        self.pages = pages
        super().__init__()

    def answer(self, request):
        headers = {"Content-Type": "text/html", "Access-Control-Allow-Origin": "*"}
        return 200, headers, self.pages[request.path].encode()


class Between(Web):
    """Stands between the browser and an admin port: counts what is asked, and can change the answers."""

    def __init__(self, authority):
        self.there, self.asked, self.change = authority, [], lambda path, status, body: (status, body)
        super().__init__()

    def count(self, path):
        return self.asked.count(path)

    def answer(self, request):
        self.asked.append(request.path.partition("?")[0])
        connection = http.client.HTTPConnection(self.there, timeout=60)
        with contextlib.closing(connection):
            names = ("Content-Type", "Authorization")
            headers = {name: request.headers[name] for name in names if request.headers[name]}
            connection.request(request.command, request.path, request.body or None, headers)
            answer = connection.getresponse()
            status, body = self.change(request.path, answer.status, answer.read())
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in DROPPED}
        return status, kept, body


DROPPED = {"content-length", "transfer-encoding", "connection", "date", "server"}


def everywhere(text, body):
    """A body of JSON in which all texts, and the names in `NAMED`, end in this text."""

    def changed(value, key=None):
        if isinstance(value, str):
            return value if key in KEPT else value + text
        if isinstance(value, list):
            return [changed(one, key) for one in value]
        if isinstance(value, dict):
            return {name + text if key in NAMED else name: changed(one, name) for name, one in value.items()}
        return value

    return json.dumps(changed(json.loads(body))).encode()


KEPT = {"id"}  # by which things are found again
NAMED = {"codes", "outcomes", "rejected", "captures", "connections"}  # whose keys were not chosen by the API
