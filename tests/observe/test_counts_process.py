"""What is counted about the process, its configuration, certificates, logs and traces."""

import os
import pathlib
import resource
import signal
import subprocess
import time
from http.server import ThreadingHTTPServer

import pytest
import requests
from cryptography import x509

import peers
from counts import Counted
from fleet import Collector, forward, running
from gated import Gated
from peers import Peer
from processes import PATIENCE, free_port, wait_until
from site_files import Site

ANSWER = {"name": "answer", "path": "/answer", "answer": {"body": "hello"}}


@pytest.fixture
def edge(start):
    return start(Counted, routes=[ANSWER], workers=2)


def ask(edge, times=1):
    with requests.Session() as session:
        for _ in range(times):
            assert session.get(f"{edge.url}/answer", timeout=PATIENCE).text == "hello"


def test_the_process(edge):
    proc = pathlib.Path(f"/proc/{edge.process.pid}")

    def status(key):
        [line] = [line for line in (proc / "status").read_text().splitlines() if line.startswith(f"{key}:")]
        return int(line.split()[1])

    def agrees(metric, actual, share):
        """Polled: a process that has just started changes from one look to the next."""
        wait_until(lambda: abs(edge.value(metric) / actual() - 1) <= share, what=f"{metric} is {actual()}")

    agrees("process_open_fds", lambda: len(list((proc / "fd").iterdir())), 0.1)
    agrees("process_threads", lambda: status("Threads"), 0)
    agrees("process_resident_memory_bytes", lambda: status("VmRSS") * 1024, 0.1)
    agrees("process_virtual_memory_bytes", lambda: status("VmSize") * 1024, 0.1)
    assert edge.value("process_max_fds") == resource.prlimit(edge.process.pid, resource.RLIMIT_NOFILE)[0]
    agrees("process_start_time_seconds", lambda: time.time() - edge.value("pylon_uptime_seconds"), 1e-8)  # 18 seconds
    edge.grows("pylon_uptime_seconds")
    before = edge.value("process_cpu_seconds_total")
    wait_until(lambda: ask(edge, 50) or edge.value("process_cpu_seconds_total") > before, 60, "it uses CPU")


def test_what_the_process_may_use(edge):
    assert edge.value("pylon_workers") == 2
    assert 0 < edge.value("pylon_cpu_limit") <= os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert edge.value("process_resident_memory_bytes") < edge.value("pylon_memory_limit_bytes") <= memory


def test_the_version(edge):
    [sample] = edge.samples("pylon_build_info")
    said = subprocess.run([edge.process.args[0], "version"], capture_output=True, text=True, timeout=60).stdout
    assert sample.value == 1 and sample.labels["version"] in said


def test_reloads(edge):
    def state():
        [info] = edge.samples("pylon_config_info")
        return info.labels["hash"], edge.value("pylon_config_generation")

    def reloads(result):
        return edge.value("pylon_config_reloads_total", result=result)

    first, generation = state()
    since = edge.value("pylon_config_last_reload_success_timestamp_seconds")
    assert abs(time.time() - since) < 300
    assert edge.reload()[0]
    # What has not changed is the same configuration; the file may have been seen to change, too.
    assert state() == (first, generation) and reloads("unchanged") >= 1 and reloads("changed") == 0

    edge.write(routes=[{"name": "wrong", "paht": "/"}])
    assert not edge.reload()[0]
    assert edge.value("pylon_config_last_reload_successful") == 0
    assert state() == (first, generation) and reloads("refused") >= 1 and reloads("changed") == 0

    edge.write(routes=[ANSWER, {"name": "new", "path": "/new", "answer": {"body": "new"}}])
    assert edge.reload()[0]
    assert edge.value("pylon_config_last_reload_successful") == 1
    second, later = state()
    assert second != first and later == generation + 1 and reloads("changed") == 1
    assert edge.value("pylon_config_last_reload_success_timestamp_seconds") >= since


def test_a_stop_that_waits_is_draining(start):
    with Gated() as gated:
        edge = start(Counted, upstreams={"gated": {"endpoints": [gated.url]}}, routes=[forward("gated", "gated")])
        assert edge.value("pylon_draining") == 0
        with Peer(edge.ports["http"]) as peer:
            peer.send(peers.request("/gated/hold/last"))
            wait_until(gated.is_waiting("last"))
            edge.process.send_signal(signal.SIGTERM)
            edge.becomes(1, "pylon_draining")
            gated.gate("last").set()
            assert peer.answer().status == 200


def test_out_of_service_and_back(edge):
    for drain in (True, False):
        answer = requests.post(f"http://{edge.admin}/api/drain", json={"drain": drain}, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        edge.becomes(int(drain), "pylon_draining")


def test_certificates(start, tmp_path):
    name = "pylon_tls_cert_not_after_timestamp_seconds"
    site = Site(tmp_path)
    site.issue("one", "one.test", "also.test", days=10)
    site.issue("two", "two.test", days=20)
    edge = start(Counted, {"http": {}, "https": site.tls("one", "two")}, routes=[ANSWER])

    def ends(file):
        pem = pathlib.Path(site.file(file)).read_bytes()
        certificate = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
        return certificate.not_valid_after_utc.timestamp()

    listener = edge.authority("https")
    edge.becomes(ends("one"), name, listener=listener, name="one.test")
    edge.becomes(ends("two"), name, listener=listener, name="two.test")
    assert len(edge.samples(name)) == 2
    before = ends("one")
    site.issue("one", "one.test", "also.test", days=90)
    assert ends("one") > before
    edge.becomes(ends("one"), name, listener=listener, name="one.test")
    assert len(edge.samples(name)) == 2


def test_lines_of_the_access_log(start, tmp_path):
    file = tmp_path / "access.log"
    edge = start(Counted, routes=[ANSWER], log={"access": {"to": str(file)}})
    before = edge.value("pylon_log_lines_total", channel="access")
    ask(edge, 20)
    edge.becomes(before + 20, "pylon_log_lines_total", channel="access")
    wait_until(lambda: file.read_text().count('"/answer"') == 20, what="the lines are in the file")
    assert edge.value("pylon_log_dropped_total") == edge.value("pylon_log_write_errors_total") == 0


def test_what_operators_do_is_in_the_audit_log(edge):
    before = edge.value("pylon_log_lines_total", channel="audit") or 0
    requests.post(f"http://{edge.admin}/api/reload", headers={"Content-Type": "application/json"}, timeout=PATIENCE)
    wait_until(lambda: (edge.value("pylon_log_lines_total", channel="audit") or 0) > before, what="a line of audit")


def test_a_full_disk(start):
    edge = start(Counted, routes=[ANSWER], log={"access": {"to": "/dev/full"}})
    ask(edge, 3)
    wait_until(lambda: edge.value("pylon_log_write_errors_total", channel="access"), what="errors are counted")
    ask(edge)


def test_a_reader_that_has_stopped(start, tmp_path):
    """Lines are dropped, and no request waits."""
    pipe = tmp_path / "access.pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    try:
        edge = start(Counted, routes=[ANSWER], log={"access": {"to": str(pipe)}})
        request = peers.request("/answer") * 500
        with Peer(edge.ports["http"]) as peer:

            def dropped():
                peer.send(request)
                for _ in range(500):
                    assert peer.answer().status == 200
                return edge.value("pylon_log_dropped_total", channel="access")

            wait_until(dropped, 240, "lines are dropped")
    finally:
        os.set_blocking(reader, False)
        while drained(reader):
            pass
        os.close(reader)


def drained(reader):
    try:
        return os.read(reader, 65_536)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("alive", [True, False])
def test_traces(start, alive):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    with running(server) as collector:
        address = collector if alive else f"http://127.0.0.1:{free_port()}"
        edge = start(Counted, routes=[ANSWER], tracing={"otlp": address, "sample": "100%"})
        ask(edge, 10)
        wanted, other = ("exported", "dropped") if alive else ("dropped", "exported")
        wait_until(lambda: edge.value(f"pylon_traces_{wanted}_total"), 60, f"traces are {wanted}")
        assert edge.value(f"pylon_traces_{other}_total") == 0


def test_without_export_there_are_no_traces(edge):
    assert edge.samples("pylon_traces_exported_total") == edge.samples("pylon_traces_dropped_total") == []


def test_a_reload_keeps_what_was_counted(edge):
    ask(edge, 3)
    edge.becomes(3, "pylon_http_requests_total", route="answer")
    edge.write(routes=[ANSWER, {"name": "new", "path": "/new", "answer": {"body": "new"}}])
    assert edge.reload()[0]
    ask(edge)
    edge.becomes(4, "pylon_http_requests_total", route="answer")
