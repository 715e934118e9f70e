"""An origin in a process of its own, to be killed. It notes each request in a file before it answers.

As a program: `crashing.py PORT FILE`."""

import contextlib
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "clients"))


class Crashing:
    def __init__(self, directory):
        from processes import free_port

        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self.notes = pathlib.Path(directory) / f"executed-{self.port}"
        self.notes.touch()
        self.process = None
        self.start()

    def start(self):
        from processes import wait_until

        command = [sys.executable, "-B", str(HERE / "crashing.py"), str(self.port), str(self.notes)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(self.accepts, 60, "an origin is up")

    def accepts(self):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 10).close()
            return True
        return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    stop = kill

    def executed(self):
        return self.notes.read_text().split()

    def pause(self):
        """Frozen: the kernel still accepts connections, but nobody reads."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


def main(port, notes):
    from origins import KEEP, Origin, reply

    file = os.open(notes, os.O_WRONLY | os.O_APPEND)

    def play(wire, request):
        os.write(file, f"{request['x-id'] or 'none'}\n".encode())
        time.sleep(random.choice([0, 0.001, 0.003]))
        wire.send(reply(request.body or b"ok"))
        return KEEP

    class Here(Origin):
        def __init__(self):
            super().__init__(play, name="crashing")
            self.down()
            self.port = int(port)
            self.up()

    Here()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
