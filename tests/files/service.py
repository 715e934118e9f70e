"""A service that is asked who may pass. It does what a header of the request says, or what the path says."""

import json
import socket
import struct
import threading

from upstreams import Upstream, read_head


class Service(Upstream):
    """Asked for `X-Forwarded-Uri: /app/DO/...`, it does DO; it keeps what it was told."""

    def __init__(self):
        self.told, self.gate = [], threading.Event()

    def serve(self, connection):
        while head := read_head(connection)[0]:
            line, *fields = head.decode("latin-1").split("\r\n")
            pairs = [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)]
            self.told.append((line, pairs))
            words = dict(pairs).get("x-forwarded-uri", "").split("?")[0].split("/")
            if not getattr(self, f"do_{words[2]}" if len(words) > 2 else "do_allow", self.do_allow)(connection, dict(pairs)):
                return

    def of(self, mark):
        return [one for one in list(self.told) if mark in json.dumps(one)]

    def say(self, connection, status, *fields, body=b""):
        lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        return True

    def do_allow(self, connection, told):
        user = told.get("cookie", "").partition("user=")[2] or "nobody"
        return self.say(
            connection,
            "200 OK",
            f"X-Who: {user}",
            "X-Who-Name: Ann \u00c3\u00a4",
            "X-Who-Groups: staff, dev",
            "X-Team: blue",
            "X-Team: green",
            "Set-Cookie: renewed=1; HttpOnly",
            body=b"ignored",
        )

    def do_quiet(self, connection, told):
        """It lets pass, and sets no cookies."""
        user = told.get("cookie", "").partition("user=")[2] or "nobody"
        return self.say(connection, "204 No Content", f"X-Who: {user}")

    def do_nameless(self, connection, told):
        return self.say(connection, "200 OK", "X-Team: blue")

    def do_two(self, connection, told):
        return self.say(connection, "200 OK", "X-Who: ann", "X-Who: root")

    def do_deny(self, connection, told):
        return self.say(
            connection, "401 Unauthorized", 'WWW-Authenticate: Bearer realm="svc"', "Content-Type: text/plain", body=b"who are you?"
        )

    def do_forbid(self, connection, told):
        return self.say(connection, "403 Forbidden", "Content-Type: text/html", "Server: secret/1", body=b"<p>no</p>")

    def do_redirect(self, connection, told):
        back = told["x-forwarded-proto"] + "://" + told["x-forwarded-host"] + told["x-forwarded-uri"]
        return self.say(
            connection, "302 Found", f"Location: https://id.test/?rd={back}", "Set-Cookie: state=1", "Set-Cookie: more=2"
        )

    def do_status(self, connection, told):
        return self.say(connection, told["x-forwarded-uri"].split("/")[3] + " As Asked", "X-Who: ann")

    def do_late(self, connection, told):
        self.gate.wait(60)
        return self.do_allow(connection, told)

    def do_held(self, connection, told):
        """Waits for the test, and lets pass."""
        self.gate.wait(60)
        return self.do_quiet(connection, told)

    def do_hang(self, connection, told):
        while connection.recv(65_536):
            pass
        return False

    def do_drip(self, connection, told):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not self.gate.wait(0.05):
            connection.sendall(b"X: y\r\n")
        return False

    def do_garbage(self, connection, told):
        connection.sendall(b"this is no HTTP\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        return False

    def do_reset(self, connection, told):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return False

    def do_cut(self, connection, told):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Who: ann\r\nContent-Length: 100\r\n\r\nshort")
        connection.shutdown(socket.SHUT_WR)
        return False

    def do_huge(self, connection, told):
        return self.say(connection, "200 OK", "X-Who: ann", "X-Team: " + "x" * 100_000)

    def do_many(self, connection, told):
        return self.say(connection, "200 OK", "X-Who: ann", *[f"X-{n}: y" for n in range(500)])

    def do_flood(self, connection, told):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Who: ann\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"z" * 65_536)
        return False

    def do_body(self, connection, told):
        return self.say(connection, "403 Forbidden", body=b"b" * 1_000_000)
