"""An upstream whose answers wait for the test."""

import threading

import peers
from upstreams import Upstream, read_head


class Gated(Upstream):
    """Answers `/hold/NAME` when the gate NAME opens, `/flow/NAME` in pieces until then, and echoes `/ws`."""

    def __init__(self):
        self.gates, self.waiting = {}, set()

    def gate(self, name):
        return self.gates.setdefault(name, threading.Event())

    def is_waiting(self, name):
        return lambda: name in self.waiting

    def serve(self, connection):
        while head := read_head(connection)[0]:
            _, what, *name = head.split()[1].decode().split("/")
            if what == "ws":
                connection.sendall(peers.SWITCHING)
                while data := connection.recv(65_536):
                    connection.sendall(data)
                return
            if what == "flow":
                self.flow(connection, name[0])
                continue
            if what == "hold":
                self.waiting.add(name[0])
                self.gate(name[0]).wait(peers.PATIENCE)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved")

    def flow(self, connection, name):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.waiting.add(name)
        while not self.gate(name).wait(0.01):
            connection.sendall(b"5\r\nflow \r\n")
        connection.sendall(b"3\r\nend\r\n0\r\n\r\n")
