"""A FIFO that nobody reads until its reader is told to."""

import fcntl
import json
import os
import select
import threading

from processes import wait_until

F_SETPIPE_SZ = 1031  # of Linux; the Python of Debian has no name for it


class Fifo:
    """It takes as little as a pipe can, until it is read."""

    def __init__(self, path):
        self.path, self.data, self.over = str(path), bytearray(), threading.Event()
        os.mkfifo(path)
        self.end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.end, F_SETPIPE_SZ, 4096)
        self.thread = threading.Thread(target=self._read, daemon=True)

    def close(self):
        """From now on nobody can read any more."""
        self.over.set()
        if self.thread.is_alive():
            self.thread.join()
        if self.end is not None:
            os.close(self.end)
            self.end = None

    def read(self):
        """Reads from now on, as it comes."""
        fcntl.fcntl(self.end, F_SETPIPE_SZ, 1 << 20)
        self.thread.start()

    def _read(self):
        while not self.over.is_set():
            if select.select([self.end], [], [], 0.1)[0]:
                self.data += os.read(self.end, 1 << 20)

    def lines(self):
        """What has come, line by line; each must be whole."""
        *lines, rest = bytes(self.data).split(b"\n")
        assert rest == b"", rest
        return [json.loads(line) for line in lines]

    def waits_for(self, text):
        """Waits until a text has come, and the end of its line."""
        wait_until(lambda: text.encode() in self.data and self.data.endswith(b"\n"), what=f"{text} in the pipe")
