"""A DNS server that says what a test wants."""

import contextlib
import random
import socket
import struct
import threading

from processes import free_port

A, AAAA = 1, 28
SILENT, EMPTY, SERVFAIL, NXDOMAIN, REFUSED = "silent", [], 2, 3, 5


class Names:
    """A DNS server, by UDP and TCP. `says` has the addresses of each name, or how it fails; `asked` what was asked."""

    def __init__(self):
        self.says, self.asked, self.cuts = {}, [], False
        self.ttl, self.ttls = 0, {}
        while True:
            self.port = free_port()
            self.udp, self.tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            with contextlib.suppress(OSError):
                self.udp.bind(("127.0.0.1", self.port))
                self.tcp.bind(("127.0.0.1", self.port))
                break
            self.stop()
        self.tcp.listen(64)
        for serve in (self._by_udp, self._by_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def stop(self):
        for sock in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _by_udp(self):
        with contextlib.suppress(OSError):
            while True:
                query, client = self.udp.recvfrom(4096)
                if query and (answer := self.answer(query, "udp")):
                    self.udp.sendto(answer, client)

    def _by_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.tcp.accept()[0],), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError), sock, sock.makefile("rb") as file:
            while head := file.read(2):
                if answer := self.answer(file.read(int.from_bytes(head, "big")), "tcp"):
                    sock.sendall(len(answer).to_bytes(2, "big") + answer)

    def answer(self, query, way):
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode().lower())
            at += 1 + length
        name, kind = ".".join(labels), query[at + 2]
        self.asked.append((name, kind, way))
        said = self.says.get(name, NXDOMAIN)
        said = said.get(kind, EMPTY) if isinstance(said, dict) else said
        if said == SILENT:
            return None
        code, cut = (said if isinstance(said, int) else 0), self.cuts and way == "udp"
        records = []
        for address in [] if code or cut else said:
            if (":" in address) == (kind == AAAA):
                data = socket.inet_pton(socket.AF_INET6 if kind == AAAA else socket.AF_INET, address)
                head = struct.pack(">HHHIH", 0xC00C, kind, 1, self.ttls.get(name, self.ttl), len(data))
                records.append(head + data)
        random.shuffle(records)
        # What there is not comes with how long that is so.
        soa = b"" if records or cut else struct.pack(">HHHIHxx5I", 0xC00C, 6, 1, 60, 22, 1, 60, 60, 60, 60)
        head = struct.pack(">2s5H", query[:2], 0x8580 | cut << 9 | code, 1, len(records), bool(soa), 0)
        return head + query[12 : at + 5] + b"".join(records) + soa
