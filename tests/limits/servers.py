"""A Redis server, a Pylon with limits before an origin, and that origin, which does as the path says."""

import collections
import contextlib
import http.server
import json
import os
import signal
import threading

import redis as redis_py
import requests
import yaml

from processes import Program, Pylon, free_port, wait_until


class Redis(Program):
    """`redis-server`, empty, without files. It may be killed, started again, and stopped in its tracks."""

    def __init__(self, directory, *options, port=None, password=None):
        self.directory, self.options, self.password = directory, options, password
        self.port = port or free_port()
        self.client = redis_py.Redis(port=self.port, db=1, password=password, decode_responses=True)
        self.launch()

    def launch(self):
        arguments = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", "."]
        arguments += ["--requirepass", self.password] if self.password else []
        super().__init__([*arguments, *self.options], self.directory, ready=self.answers)

    def answers(self):
        with contextlib.suppress(redis_py.ConnectionError):
            return self.client.ping()
        return False

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def again(self):
        """Starts it again where it was."""
        self.launch()

    @contextlib.contextmanager
    def hung(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)


class Origin:
    """Answers 200, or what the path says: `/status/401`; `/wait` is answered once `released` is set. A request whose
    `Authorization` ends in `:bad` is answered with 401."""

    def __init__(self):
        self.seen, self.waiting = collections.Counter(), threading.Semaphore(0)
        self.released = threading.Event()
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # noqa: N802
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                origin.seen[self.headers.get("Authorization", "")] += 1
                status = 200
                if self.path.startswith("/status/"):
                    status = int(self.path.split("/")[2])
                if self.headers.get("Authorization", "").endswith(":bad"):
                    status = 401
                if self.path == "/wait":
                    origin.waiting.release()
                    origin.released.wait(60)
                body = json.dumps({name.title(): value for name, value in self.headers.items()}).encode()
                if self.headers.get("Upgrade") == "echo":
                    self.send_response(101)
                    self.send_header("Connection", "upgrade")
                    self.send_header("Upgrade", "echo")
                    self.end_headers()
                    while piece := self.rfile.read1(1024):
                        self.wfile.write(piece)
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            do_POST = do_PUT = do_GET  # noqa: N815

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 256

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class Gate(Pylon):
    """A Pylon before the origin. Its routes take all paths, unless they say."""

    def __init__(self, directory, origin, routes):
        self.directory, self.origin = directory, origin
        super().__init__(directory, config=self.text(routes))

    def text(self, routes):
        whole = [{"name": "all", "path": "/**", "upstream": "origin"} | route for route in routes]
        config = {"upstreams": {"origin": {"endpoints": [self.origin.url]}}, "routes": whole}
        config["log"] = {"format": "json"}
        return yaml.safe_dump(config)

    def reload(self, **route):
        [file] = self.directory.glob("pylon-*.yaml")
        head = "".join(file.read_text().splitlines(keepends=True)[:2])
        file.write_text(head + self.text([route]))
        answer = requests.post(f"http://{self.admin}/api/reload", json={}, timeout=60)
        assert answer.status_code == 200, answer.text

    def get(self, path="/", **options):
        options.setdefault("timeout", 30)
        return requests.get(self.url + path, **options)

    def status(self, path="/", **headers):
        return self.get(path, headers=headers).status_code

    def metric(self, name, **labels):
        """The sum of the samples of this name that have these labels."""
        text = requests.get(f"http://{self.admin}/metrics", timeout=60).text
        total = 0.0
        for line in text.splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(f'{key}="{one}"' in series for key, one in labels.items()):
                total += float(value)
        return total

    def store_is(self, up):
        """Waits until the store is seen as it is."""
        wait_until(lambda: self.metric("pylon_ratelimit_store_up") == float(up), what=f"the store is {up}")

    def logged(self, text):
        return [line for line in self.log.read_text().splitlines() if text in line]
