"""kubectl through `/kubernetes`: what streams, and what upgrades by SPDY as well as by WebSocket."""

import os
import random
import re
import shutil
import subprocess
import threading

import pytest

import spdy
from processes import one_by_one

KUBECTL = shutil.which("kubectl") or "kubectl"


@pytest.fixture
def kubectl(tmp_path):
    """The command line for kubectl with `url`, and its environment."""

    def command(url, *arguments):
        return [KUBECTL, "--kubeconfig=/dev/null", f"--cache-dir={tmp_path}", "-s", f"{url}/kubernetes", *arguments]

    return command


def run(command, *, websockets="true", **options):
    environment = os.environ | {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
    done = subprocess.run(command, capture_output=True, timeout=60, env=environment, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def version():
    text = subprocess.run([KUBECTL, "version", "--client"], capture_output=True, text=True, timeout=60).stdout
    return tuple(map(int, re.search(r"v(\d+)\.(\d+)", text).groups()))


def test_gets_and_describes(demo, kubectl):
    assert run(kubectl(demo.url, "get", "pods", "-o", "name")).split() == [b"pod/worker-0", b"pod/worker-1"]
    assert run(kubectl(demo.url, "get", "pod", "worker-1", "-o", "jsonpath={.spec.nodeName}")) == b"node-a"


def test_logs_are_followed(demo, kubectl):
    process = subprocess.Popen(kubectl(demo.url, "logs", "-f", "worker-0"), stdout=subprocess.PIPE)
    try:
        lines = one_by_one(process.stdout)
    finally:
        process.kill()
        process.wait()
    assert lines == [b"worker-0: line %d of its log\n" % number for number in range(len(lines))]


def test_exec_by_websocket(demo, kubectl):
    if version() < (1, 29):
        pytest.skip("this kubectl speaks SPDY only")
    output = run(kubectl(demo.url, "exec", "-i", "worker-0", "--", "sh"), input=b"hello\nexit\n")
    assert b"You asked for: sh" in output
    assert b"hello\n" in output


@pytest.fixture(scope="module")
def old_server():
    server = spdy.server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def url(old_server, pylon):
    return pylon(K8S_API_SERVER_URI=f"http://127.0.0.1:{old_server.server_port}").url


def test_exec_by_spdy(url, old_server, kubectl):
    output = run(kubectl(url, "exec", "worker", "--", "echo", "a b"), websockets="false")
    assert output == b"asked for ['echo', 'a b']\n"
    assert old_server.upgrades[-1] == ("SPDY/3.1", "Upgrade")


def test_megabytes_go_both_ways_by_spdy(url, kubectl):
    data = random.Random(3).randbytes(8 << 20)
    output = run(kubectl(url, "exec", "-i", "worker", "--", "cat"), websockets="false", input=data)
    assert output == b"asked for ['cat']\n" + data
