"""What idle connections cost in memory: plain and TLS, used once and never used, and after a burst of requests.

    .venv/bin/python loadtest/connections.py [--binary target/release/pylon] [--connections 5000] [--against nginx,haproxy]

All on loopback; it runs with the Python of the tests (`make python`). It ends with 1 when Pylon
takes more than the bars. Run it on a machine that does nothing else."""

import argparse
import asyncio
import contextlib
import functools
import multiprocessing
import os
import pathlib
import re
import resource
import select
import socket
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path += [str(ROOT / "tests" / part) for part in ("clients", "faults", "edge_attacks")]

from edge import Certificate, accepted  # noqa: E402
from processes import Program, free_port, wait_until  # noqa: E402

MIB = 1 << 20
BARS = {"plain": 40, "tls": 90}  # MB for all connections at once, with what the process takes itself
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nfine\n"
ASK = b"GET /idle HTTP/1.1\r\nHost: localhost\r\nUser-Agent: connections\r\nAccept: */*\r\n\r\n"
TOGETHER = 64  # connections that are opened at once
HOLD = 1.0  # how long the origin waits with an answer in a burst, so that all requests are under way at once


def origin(port, hold):
    """One of the processes of the origin, which share its port. It answers by constants."""
    server = socket.create_server(("127.0.0.1", port), backlog=8192, reuse_port=True)
    server.setblocking(False)
    poll = select.epoll()
    poll.register(server, select.EPOLLIN)
    clients, due = {}, []
    while True:
        for number, _ in poll.poll(0.02 if due else 1):
            if number == server.fileno():
                with contextlib.suppress(BlockingIOError):
                    while True:
                        client, _ = server.accept()
                        client.setblocking(False)
                        clients[client.fileno()] = client
                        poll.register(client, select.EPOLLIN)
                continue
            try:
                data = clients[number].recv(65_536)
            except OSError:
                data = b""
            if not data:
                clients.pop(number).close()
            elif data.endswith(b"\r\n\r\n"):
                due.append((time.monotonic() + hold.value, clients[number]))
        now = time.monotonic()
        ready = [client for at, client in due if at <= now]
        due = [one for one in due if one[0] > now]
        for client in ready:
            with contextlib.suppress(OSError):
                client.send(ANSWER)


class Origin:
    def __init__(self):
        self.port, self.hold = free_port(), multiprocessing.Value("d", 0.0)
        several = range(max(2, (os.cpu_count() or 2) // 2))
        start = {"target": origin, "args": (self.port, self.hold), "daemon": True}
        self.processes = [multiprocessing.Process(**start) for _ in several]
        for process in self.processes:
            process.start()
        wait_until(lambda: listens(self.port), 10, "the origin listens")

    def stop(self):
        for process in self.processes:
            process.terminate()


def listens(port):
    with contextlib.closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Server(Program):
    """A proxy before the origin, with a plain and a TLS port, and without any short times."""

    def __init__(self, directory, origin, certificate, count):
        self.origin, self.certificate, self.count = origin, certificate, count
        self.ports = {"plain": free_port(), "tls": free_port()}
        super().__init__(self.command(directory), directory, ready=lambda: all(map(listens, self.ports.values())))

    def pids(self):
        """The process and its children, as some have workers."""
        found = [self.process.pid]
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
        return found

    def memory(self, key="VmRSS"):
        texts = [pathlib.Path(f"/proc/{pid}/status").read_text() for pid in self.pids()]
        return sum(int(re.search(rf"^{key}:\s+(\d+)", text, re.MULTILINE)[1]) for text in texts) * 1024

    def files(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())


class Pylon(Server):
    binary = None

    def command(self, directory):
        guards = {"timeouts": {"keep_alive": "10m"}, "limits": {"connections": 100_000, "connections_per_client": 100_000}}
        cert = {"cert": str(self.certificate.cert), "key": str(self.certificate.key)}
        secure = {"plain": {}, "tls": {"tls": {"certificates": [cert]}}}
        config = {
            "listeners": [
                {"address": f"127.0.0.1:{port}"} | secure[kind] | {key: dict(value) for key, value in guards.items()}
                for kind, port in self.ports.items()
            ],
            "admin": {"address": f"127.0.0.1:{free_port()}"},
            "log": {"access": False},
            "upstreams": {"one": {"endpoints": [f"http://127.0.0.1:{self.origin.port}"]}},
            "routes": [{"name": "all", "path": "/**", "upstream": "one"}],
        }
        file = directory / "pylon.yaml"
        accepted(config, file, self.binary)
        return [self.binary, "run", "-c", file]


class Nginx(Server):
    def command(self, d):
        plain, tls = self.ports.values()
        cert, key = self.certificate.cert, self.certificate.key
        parts = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        (d / "nginx.conf").write_text(f"""
            daemon off; worker_processes auto; pid {d}/nginx.pid; {"user root;" if os.geteuid() == 0 else ""}
            events {{ worker_connections {2 * self.count + 2000}; }}
            http {{
              access_log off; keepalive_timeout 600s; client_header_timeout 600s;
              {"".join(f"{part}_temp_path {d}/{part};" for part in parts)}
              upstream one {{ server 127.0.0.1:{self.origin.port}; keepalive 256; }}
              server {{
                listen 127.0.0.1:{plain} backlog=8192; listen 127.0.0.1:{tls} ssl backlog=8192;
                ssl_certificate {cert}; ssl_certificate_key {key};
                location / {{ proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection ""; }}
              }}
            }}""")
        return ["nginx", "-p", d, "-c", d / "nginx.conf", "-e", "stderr"]


class Haproxy(Server):
    def command(self, d):
        plain, tls = self.ports.values()
        cert, key = self.certificate.cert, self.certificate.key
        (d / "site.pem").write_text(cert.read_text() + key.read_text())
        names = ("client", "http-keep-alive", "http-request", "connect", "server")
        timeouts = "\n".join(f"              timeout {name} 600s" for name in names)
        (d / "haproxy.cfg").write_text(f"""
            global
              maxconn {self.count + 2000}
            defaults
              mode http
{timeouts}
            frontend all
              bind 127.0.0.1:{plain} backlog 8192
              bind 127.0.0.1:{tls} backlog 8192 ssl crt {d}/site.pem
              default_backend one
            backend one
              http-reuse always
              server one 127.0.0.1:{self.origin.port}
            """ + "\n")
        return ["haproxy", "-db", "-f", d / "haproxy.cfg"]


class Clients:
    """Connections that are open, and what is sent on them."""

    def __init__(self, port, secure):
        self.port, self.secure = port, secure
        self.open = []

    async def connect(self, count):
        """Opens so many, from several addresses, as one has not ports enough for very many."""
        places = asyncio.Semaphore(TOGETHER)

        async def one(number):
            async with places:
                address = f"127.0.0.{2 + number % 8}"
                self.open.append(
                    await asyncio.open_connection(
                        "127.0.0.1", self.port, ssl=self.secure, local_addr=(address, 0), limit=4096
                    )
                )

        await asyncio.gather(*map(one, range(count)))

    async def ask(self, places=None):
        """One request on each connection; how many were not answered with success."""
        limit = asyncio.Semaphore(places or len(self.open))

        async def one(reader, writer):
            async with limit:
                try:
                    writer.write(ASK)
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
                    length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
                    await reader.readexactly(length)
                    return not head.startswith(b"HTTP/1.1 200")
                except (OSError, EOFError, TimeoutError, TypeError):
                    return True

        return sum(await asyncio.gather(*(one(*pair) for pair in self.open)))

    async def close(self):
        for _, writer in self.open:
            writer.transport.abort()


async def measured(kind, make, origin, trust, count, wait):
    """The figures of a fresh proxy for one sort of connection: used and never used, and after a burst."""
    rows = []
    for used in (False, True):
        server = make()
        try:
            clients = Clients(server.ports[kind], trust if kind == "tls" else None)
            before, files = server.memory(), server.files()  # which may have a look of ours at its ports in them
            origin.hold.value = 0.0
            await clients.connect(count)
            wait_until(lambda server=server, files=files: server.files() >= files + count - 9, 30, "all are accepted")
            failed = await clients.ask(TOGETHER) if used else 0
            await asyncio.sleep(1)
            row = {"server": type(server).__name__, "kind": kind, "what": "used once" if used else "never used"}
            rows.append(row | figures(server, before, count, failed))
            if used:
                seconds, failed = await burst(clients, origin)
                peak = server.memory("VmHWM")
                await asyncio.sleep(wait)
                row |= {"what": f"{wait:.0f} s after a burst", "peak": peak, "seconds": seconds}
                rows.append(row | figures(server, before, count, failed))
            await clients.close()
        finally:
            server.stop()
    return rows


def figures(server, before, count, failed):
    return {"total": (now := server.memory()), "each": (now - before) / count / 1024, "failed": failed}


async def burst(clients, origin):
    """How long all take that ask at once, beyond what the origin waits; how many fail."""
    origin.hold.value = HOLD
    began = time.monotonic()
    failed = await clients.ask()
    return time.monotonic() - began - HOLD, failed


async def own_speed(origin, count):
    """How long a burst takes without a proxy."""
    clients = Clients(origin.port, None)
    await clients.connect(count)
    seconds, _ = await burst(clients, origin)
    await clients.close()
    return seconds


def printed(rows, count):
    print(f"\n{f'{count} connections':<39} {'MB in all':>10} {'KB each':>9} {'peak MB':>9} {'burst s':>8} {'failed':>7}")
    for row in rows:
        peak = f"{row['peak'] / MIB:9.1f} {row['seconds']:8.2f}" if "peak" in row else " " * 18
        over = "  over the bar" if is_over(row) else ""
        costs = f"{row['total'] / MIB:10.1f} {row['each']:9.2f} {peak} {row['failed']:7}{over}"
        print(f"{row['server']:<9} {row['kind']:<6} {row['what']:<22} {costs}")


def is_over(row):
    return row["server"] == "Pylon" and (row["failed"] > 0 or row["total"] > BARS[row["kind"]] * MIB)


def raise_limits(count):
    """The proxy has two open files for each connection in a burst."""
    (soft, hard), wanted = resource.getrlimit(resource.RLIMIT_NOFILE), 2 * count + 2000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"{count} connections need {wanted} open files, and only {hard} are allowed: ulimit -Hn {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.environ.get("PYLON_BIN", ROOT / "target/release/pylon"))
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--against", default="", help="measure these too: nginx,haproxy")
    parser.add_argument("--kinds", default="plain,tls")
    parser.add_argument("--wait", type=float, default=15.0, help="seconds between a burst and the look after it")
    return parser.parse_args()


async def main():
    asked = arguments()
    raise_limits(asked.connections)
    os.environ["PATH"] += ":/usr/sbin"
    Pylon.binary = pathlib.Path(asked.binary).resolve()
    origin, rows = Origin(), []
    try:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            certificate = Certificate(folder)
            trust = certificate.trusted("http/1.1")
            known = {"pylon": Pylon, "nginx": Nginx, "haproxy": Haproxy}
            count = asked.connections
            for name in ["pylon", *filter(None, asked.against.split(","))]:
                make = functools.partial(known[name], folder, origin, certificate, count)
                for kind in asked.kinds.split(","):
                    rows += await measured(kind, make, origin, trust, count, asked.wait)
            speed = await own_speed(origin, asked.connections)
    finally:
        origin.stop()
    printed(rows, asked.connections)
    print(f"The origin alone, without a proxy, takes {speed:.2f} s for such a burst.")
    return any(is_over(row) for row in rows)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
