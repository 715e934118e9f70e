"""The router on one machine, and what it leads to: servers on this machine (127.0.0.1) and on another one (127.0.0.2)."""

import base64
import collections
import contextlib
import datetime
import hashlib
import hmac
import http.server
import json
import socket
import threading
import urllib.parse

from peers import Peer
from processes import BINARY, Program, answers, free_port

KEY = "a key of sessions that nobody knows"
HERE, THERE = "127.0.0.1", "127.0.0.2"


class Origin:
    """A server that answers with its name and what it was asked, and can be stopped and started again."""

    def __init__(self, name, port=None, host=HERE):
        self.name, self.host, self.port = name, host, port or free_port()
        self.seen, self.connections, self.server = [], [], None

    def __enter__(self):
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen = {"name": origin.name, "target": self.path, "method": self.command, "body": len(body)}
                origin.seen.append(seen | {"headers": dict(self.headers)})
                status, text = origin.answer(self)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else text)

            do_GET = do_POST = do_PUT = do_HEAD = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

            def process_request(self, connection, address):
                origin.connections.append(connection)
                super().process_request(connection, address)

            def handle_error(self, *_):
                pass  # whoever goes away in the middle is a matter for the test

        self.server = Server((self.host, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def answer(self, asked):
        return 200, json.dumps({"name": self.name, "target": asked.path}).encode()

    def asked(self, target):
        """How often it was asked for that."""
        return sum(seen["target"] == target for seen in self.seen)


class ApiManager(Origin):
    """Says which machines have a collection, to those who sign their question."""

    def __init__(self, port):
        super().__init__("api", port)
        self.hosts = {}
        self.questions = collections.Counter()

    def answer(self, asked):
        path, _, query = asked.path.partition("?")
        if path != "/":
            return super().answer(asked)
        query = dict(urllib.parse.parse_qsl(query, strict_parsing=True))
        if query["sign"] != sign(query["key"]):
            return 500, b"signature mismatch"
        self.questions[query["key"]] += 1
        return 200, json.dumps(self.hosts).encode()


class Router(Program):
    """`pylon run --system juliabox`, and what it leads to."""

    def __init__(self, directory, **variables):
        self.directory = directory
        root = directory / "www"
        (root / "assets/js").mkdir(parents=True)
        (root / "favicon.ico").write_bytes(b"icon")
        (root / "timedout.html").write_text("<html>timed out</html>")
        (root / "assets/js/app.js").write_text("app()")
        self.port, manager, api = free_port(), free_port(), free_port()
        self.admin = f"127.0.0.1:{free_port()}"
        self.manager, self.far_manager = Origin("manager", manager), Origin("far manager", manager, THERE)
        self.api, self.far_api = ApiManager(api), Origin("far api", api, THERE)
        self.notebook, self.files = Origin("notebook"), Origin("files")
        self.far = Origin("far router", self.port, THERE)
        self.api.hosts = {"here": ["127.0.0.1"], "far": [THERE], "evil": ["127.0.0.3"], "mixed": ["127.0.0.3", HERE], " preferred ": [THERE]}
        self.origins = [self.manager, self.far_manager, self.api, self.far_api, self.notebook, self.files, self.far]
        self.environment = {
            "PYLON_LISTEN": f"127.0.0.1:{self.port}",
            "PYLON_ADMIN_LISTEN": self.admin,
            "SESSKEY": KEY,
            "SESSMGR_PORT": str(manager),
            "APIMGR_PORT": str(api),
            "WWW_ROOT": str(root),
            "INSTANCES": f"{THERE}/32",
        } | variables

    def __enter__(self):
        with contextlib.ExitStack() as started:
            for origin in self.origins:
                started.enter_context(origin)
            ready = answers(f"http://127.0.0.1:{self.port}/healthz")
            arguments = [BINARY, "run", "--system", "juliabox"]
            super().__init__(arguments, self.directory, ready=ready, environment=self.environment)
            started.callback(self.stop)
            self.started = started.pop_all()
        return self

    def __exit__(self, *_):
        self.started.close()

    def ask(self, target, cookies=None, *lines, host="site.example.org", **options):
        pairs = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
        lines = [*lines, f"Cookie: {pairs}"] if pairs else lines
        with Peer(self.port) as peer:
            return peer.ask(target, *lines, host=host, **options)

    def leads(self, target, cookies=None, **options):
        """Where a request comes out, as `name target`; its status where it does not."""
        answer = self.ask(target, cookies, **options)
        if answer.status != 200:
            return answer.status
        with contextlib.suppress(ValueError):
            seen = json.loads(answer.body)
            return f"{seen['name']} {seen['target']}"
        return answer.body.decode()


def sign(text, key=KEY):
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()


def coded(**fields):
    return base64.b64encode(json.dumps(fields).encode()).decode()


def moment(days=0):
    """A time so many days ago, as the session managers write it."""
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)).isoformat()


def auth(user="ann@example.org", days=0, key=KEY):
    t = moment(days)
    return coded(u=user, t=t, x=sign(user + t, key))


def sess(i=HERE, c="/ann", days=0, key=KEY, t=None):
    t = t or moment(days)
    return coded(c=c, i=i, t=t, x=sign(c + i + t, key))


def field(cookie, name):
    return json.loads(base64.b64decode(cookie))[name]


def port(name, number, session, signed_in=None, key=KEY):
    by = (field(signed_in, "x") if signed_in else "") + field(session, "x")
    return coded(p=number, x=sign(f"{by}{name}{number}", key))


def cookies(router, i=HERE, *, signed_in=True, iid=None, days=0, **others):
    """The cookies of somebody with a session: sign-in, session, and the ports `nb` and `file`."""
    who, session = auth(days=days) if signed_in else None, sess(i, days=days)
    made = {"jb_auth": who, "jb_sess": session, "jb_iid": iid}
    made |= {
        "jp_nb": port("nb", router.notebook.port, session, who),
        "jp_file": port("file", router.files.port, session, who),
    }
    return {name: value for name, value in (made | others).items() if value is not None}
