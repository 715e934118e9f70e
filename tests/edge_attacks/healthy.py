"""Clients that mean well: they ask steadily, each in its way, while others attack."""

import collections
import http.client
import statistics
import threading
import time

import httpx

from attackers import source
from edge import KEEP_ALIVE

KINDS = ("plain, kept", "plain, fresh", "tls, kept", "tls, fresh", "h2, kept")
KEPT = ("plain, kept", "tls, kept", "h2, kept")
PATIENCE = 20.0  # the longest that an answer may take
PAUSE = 0.06
BODY = b"fine 0"


class Healthy:
    """Steady requests in each way, until the end of the `with` block; `check` says whether all were served."""

    def __init__(self, edge, kinds=KINDS):
        self.edge, self.kinds = edge, kinds
        self.seconds = collections.defaultdict(list)
        self.failures = []
        self.finished = threading.Event()
        self.first = threading.Barrier(len(kinds) + 1)

    def __enter__(self):
        self.threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in self.kinds]
        for thread in self.threads:
            thread.start()
        self.first.wait(60)  # each has been served once
        return self

    def __exit__(self, *_):
        self.finished.set()
        for thread in self.threads:
            thread.join()

    def _run(self, kind):
        ask, close = (self._h2 if kind.startswith("h2") else self._http1)(kind)
        started = False
        last = time.monotonic()
        while not self.finished.is_set():
            began = time.monotonic()
            if began - last > KEEP_ALIVE / 2:
                close()  # who comes late may find that its connection was idle for too long
            try:
                ask()
                last = time.monotonic()
                self.seconds[kind].append(last - began)
            except Exception as error:
                self.failures.append(f"{kind}: {type(error).__name__}: {error} after {time.monotonic() - began:.2f} s")
                close()
            if not started:
                started = True
                self.first.wait(60)
            self.finished.wait(PAUSE)
        close()

    def _http1(self, kind):
        own = source()
        secure, fresh = kind.startswith("tls"), kind.endswith("fresh")
        if secure:
            options = {"context": self.edge.certificate.trusted("http/1.1"), "source_address": (own, 0), "timeout": PATIENCE}
            client = http.client.HTTPSConnection("127.0.0.1", self.edge.ports["tls"], **options)
        else:
            port = self.edge.ports["plain"]
            client = http.client.HTTPConnection("127.0.0.1", port, source_address=(own, 0), timeout=PATIENCE)

        def ask():
            client.request("GET", "/ok?healthy")
            answer = client.getresponse()
            self._good(answer.status, answer.read())
            if fresh:
                client.close()

        return ask, client.close

    def _h2(self, _):
        trust = self.edge.certificate.trusted("h2")
        own, url = source(), f"https://127.0.0.1:{self.edge.ports['tls']}"
        clients = []  # one, which cannot be used again once it is closed

        def ask():
            if not clients:
                transport = httpx.HTTPTransport(verify=trust, http1=False, http2=True, local_address=own)
                clients.append(httpx.Client(transport=transport, base_url=url, timeout=PATIENCE))
            answer = clients[0].get("/ok?healthy")
            self._good(answer.status_code, answer.content)

        def close():
            while clients:
                clients.pop().close()

        return ask, close

    @staticmethod
    def _good(status, body):
        if (status, body) != (200, BODY):
            raise ValueError(f"{status} {body[:80]!r}")

    def check(self):
        """All were served, and none had to wait for long."""
        total = sum(map(len, self.seconds.values()))
        assert not self.failures, f"{len(self.failures)} healthy requests failed, {total} did not: {self.failures[:5]}"
        assert set(self.seconds) == set(self.kinds), f"only {set(self.seconds)} were served"

    def figures(self):
        """Requests, and milliseconds: the median, the 99th percentile, the longest."""
        times = sorted(1000 * one for several in self.seconds.values() for one in several)
        if len(times) < 2:
            return len(times), 0, 0, 0
        return len(times), statistics.median(times), times[int(len(times) * 0.99)], times[-1]
