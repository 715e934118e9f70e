"""What the kernel counts, of sockets and of processes: what Pylon's numbers are held against."""

import os
import pathlib
import re
import socket
import struct
import subprocess
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
# struct tcp_info of Linux: 8 bytes, 24 numbers of 32 bits, two paces, then these two counters.
COUNTERS, OFFSET = struct.Struct("=QQ"), 8 + 24 * 4 + 2 * 8


@dataclass
class Moved:
    """Bytes above TCP, as one end of connections counts them."""

    sent: int = 0
    received: int = 0
    sockets: int = 0

    def __add__(self, other):
        return Moved(self.sent + other.sent, self.received + other.received, self.sockets + other.sockets)

    def __sub__(self, other):
        return Moved(self.sent - other.sent, self.received - other.received, self.sockets - other.sockets)

    def turned(self):
        """The same, as the other end counts."""
        return Moved(self.received, self.sent, self.sockets)


def moved(one):
    """What has moved on a socket: acknowledged by the other end, and received."""
    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, OFFSET + COUNTERS.size)
    acknowledged, received = COUNTERS.unpack_from(info, OFFSET)
    return Moved(acknowledged, received, 1)


def moved_at(port):
    """What has moved on the connections that were accepted on a port and are open, as `ss` tells."""
    command = ["ss", "-tinH", "state", "established", "sport", "=", f":{port}"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    count = lambda name: sum(map(int, re.findall(rf"\b{name}:(\d+)", told)))  # noqa: E731
    return Moved(count("bytes_acked"), count("bytes_received"), len(re.findall(r"\bcwnd:", told)))


@dataclass
class Usage:
    """What a process uses, from its files in /proc."""

    cpu: float
    resident: int
    virtual: int
    files: int
    threads: int
    started: float


def usage(pid):
    proc = pathlib.Path(f"/proc/{pid}")
    # The name, which may hold anything, stands in brackets.
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    sizes = (proc / "statm").read_text().split()
    return Usage(
        cpu=(int(fields[11]) + int(fields[12])) / TICKS,
        resident=int(sizes[1]) * PAGE,
        virtual=int(sizes[0]) * PAGE,
        files=len(list((proc / "fd").iterdir())),
        threads=len(list((proc / "task").iterdir())),
        started=boot() + int(fields[19]) / TICKS,
    )


def boot():
    """When the machine started, in Unix time."""
    return int(re.search(r"^btime (\d+)", pathlib.Path("/proc/stat").read_text(), re.M)[1])


def files_limit(pid):
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    return int(re.search(r"^Max open files +(\d+)", limits, re.M)[1])


def memory():
    """The machine's memory."""
    return int(re.search(r"^MemTotal: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text(), re.M)[1]) * 1024
