"""Requests go to instances as soon as they are put, on all Pylons of a fleet."""

import http.server
import json
import subprocess
import threading

import pytest
import requests

from etcd import Etcd
from processes import BINARY, wait_until


def has_routes():
    schema = json.loads(subprocess.run([BINARY, "schema"], capture_output=True, check=True).stdout)
    return "name" in schema["$defs"].get("InstanceSpec", {}).get("properties", {})


pytestmark = pytest.mark.skipif(not has_routes(), reason="no route leads to instances yet")

ROUTES = [{"name": "i", "host": "i-{name}.test", "path": "/**", "instance": {"name": "{name}", "enter": "anyone"}}]


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.greeting.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def servers(stack):
    """Servers that say who they are: address by name."""
    addresses = {}
    for name in ("one", "two"):
        server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello))
        server.greeting = name
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        addresses[name] = f"127.0.0.1:{server.server_port}"
    return addresses


def ask(pylon, name):
    answer = requests.get(f"http://127.0.0.1:{pylon.port}/x", headers={"Host": f"i-{name}.test"}, timeout=60)
    return answer.text if answer.status_code == 200 else answer.status_code


def test_the_next_request_goes_where_the_instance_is(start, servers):
    pylon = start(instances={"allow": ["127.0.0.0/8"]}, routes=ROUTES)
    for _ in range(20):
        for name, address in servers.items():
            assert pylon.put("a", address).status_code in (200, 201)
            assert ask(pylon, "a") == name
        assert pylon.delete("a").status_code == 200
        assert ask(pylon, "a") not in servers


def test_a_fleet_leads_to_the_same_instance(start, servers, etcd):
    settings = {"etcd": {"endpoints": [etcd.url]}, "allow": ["127.0.0.0/8"]}
    one, other = (start(instances=settings, routes=ROUTES) for _ in range(2))
    one.put("a", servers["one"])
    assert ask(one, "a") == "one"
    wait_until(lambda: ask(other, "a") == "one", 20, "the other leads there as well")
    etcd.kill()
    wait_until(one.is_away, 20)
    assert ask(one, "a") == ask(other, "a") == "one"
    start(Etcd, directory=etcd.directory, like=etcd)
    wait_until(lambda: other.put("a", servers["two"]).status_code == 200, 20)
    wait_until(lambda: ask(other, "a") == "two", what="it leads there")
    wait_until(lambda: ask(one, "a") == "two", 20, "the other leads there as well")
