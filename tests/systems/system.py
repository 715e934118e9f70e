"""`pylon run --system`: a built-in system from the environment, and clients of its hosts."""

import json
import urllib.request

from peers import Peer
from processes import BINARY, Program, answers, free_port

JSON = {"Content-Type": "application/json"}


class System(Program):
    """A system. With `site`, over TLS as well."""

    def __init__(self, directory, name, site=None, **variables):
        self.port, self.tls, self.admin = free_port(), free_port(), f"127.0.0.1:{free_port()}"
        self.directory = directory
        environment = {
            "PYLON_LISTEN": f"127.0.0.1:{self.port}",
            "PYLON_LISTEN_TLS": f"127.0.0.1:{self.tls}",
            "PYLON_ADMIN_LISTEN": self.admin,
            "SSL_ENABLE": "true" if site else "false",
        }
        if site:
            environment |= {"PYLON_CERT": site.file("default"), "PYLON_KEY": site.file("default")}
        arguments = [BINARY, "run", "--system", name]
        super().__init__(
            arguments, directory, ready=answers(f"http://{self.admin}/readyz"), environment=environment | variables
        )

    def ask(self, host, target="/", *lines, source="127.0.0.1", **options):
        """A request to a host of the system, on a connection of its own."""
        with Peer(self.port, source=source) as peer:
            return peer.ask(target, *lines, host=f"{host}:{self.port}", **options)

    def put(self, name, address, owner=None, **more):
        """Registers an instance."""
        body = json.dumps({"address": address, "owner": owner} | more).encode()
        return self._admin("PUT", name, body)

    def remove(self, name):
        return self._admin("DELETE", name)

    def _admin(self, method, name, body=None):
        url = f"http://{self.admin}/api/instances/{name}"
        request = urllib.request.Request(url, body, JSON if body else {}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
