"""What the process uses, by the metrics and by /proc."""

import os
import socket
import time

import pytest

import kernel
from instance import forward
from processes import wait_until

MIB = 1 << 20


@pytest.fixture(scope="module")
def instance(start, rig):
    return start(workers=2, upstreams={"rig": {"endpoints": [rig.url]}}, routes=[forward("rig")])


def told(instance):
    """The process's own metrics, between two looks at /proc: before, told, after."""
    before = kernel.usage(instance.pid)
    samples = {one.name: one.value for one in instance.samples() if not one.labels}
    return before, samples, kernel.usage(instance.pid)


def busy(instance, seconds):
    """Has it work until it has used so much CPU."""
    until = kernel.usage(instance.pid).cpu + seconds
    with instance.peer() as peer:
        while kernel.usage(instance.pid).cpu < until:
            assert peer.ask(f"/rig/bytes/{MIB}").status == 200


def test_cpu_time(instance):
    first = told(instance)[1]["process_cpu_seconds_total"]
    busy(instance, 0.5)
    before, samples, after = told(instance)
    tick = 1 / kernel.TICKS
    assert before.cpu - 2 * tick <= samples["process_cpu_seconds_total"] <= after.cpu + 2 * tick
    assert samples["process_cpu_seconds_total"] - first >= 0.5 - 2 * tick


def test_memory(instance):
    busy(instance, 0.1)
    # The kernel adds up what each core has counted now and then.
    slack = 2 * MIB

    def agree():
        before, samples, after = told(instance)
        return all(
            min(a, b) - slack <= samples[name] <= max(a, b) + slack
            for name, a, b in [
                ("process_resident_memory_bytes", before.resident, after.resident),
                ("process_virtual_memory_bytes", before.virtual, after.virtual),
            ]
        )

    # What comes and goes between the looks is seen by some of them alone.
    for _ in range(3):
        wait_until(agree, what="the metrics are what /proc tells")


def test_open_files_follow_connections(instance):
    def files():
        before, samples, after = told(instance)
        # The look itself has a file or two open: the scraper's connection, the folder that it counts.
        assert min(before.files, after.files) <= samples["process_open_fds"] <= max(before.files, after.files) + 3
        return samples["process_open_fds"]

    with instance.peer() as peer:
        peer.ask("/rig/")  # the connection to the upstream is there from now on
    instance.left()
    idle = files()
    peers = [instance.peer() for _ in range(50)]
    for peer in peers:
        peer.ask("/none")
    open_ones = lambda: instance.total("pylon_connections", protocol="http1")  # noqa: E731
    assert open_ones() == 50
    wait_until(lambda: abs(files() - idle - 50) <= 3, what="a file for each")
    for peer in peers:
        peer.__exit__()
    wait_until(lambda: open_ones() == 0, what="the connections are over")
    wait_until(lambda: files() <= idle + 3, what="the files are closed")


def test_threads_and_limits(instance):
    def agree():
        before, samples, after = told(instance)
        return min(before.threads, after.threads) <= samples["process_threads"] <= max(before.threads, after.threads)

    wait_until(agree, what="the metrics are what /proc tells")
    samples = told(instance)[1]
    assert samples["process_max_fds"] == kernel.files_limit(instance.pid)
    assert samples["pylon_connections_limit"] == samples["process_max_fds"] * 3 // 4
    assert samples["pylon_workers"] == 2
    assert 0 < samples["pylon_cpu_limit"] <= len(os.sched_getaffinity(0))
    assert 0 < samples["pylon_memory_limit_bytes"] <= kernel.memory()


def test_since_when_it_runs(instance):
    usage, now = kernel.usage(instance.pid), time.time()
    samples = told(instance)[1]
    # The kernel tells its own start in whole seconds.
    assert abs(samples["process_start_time_seconds"] - usage.started) < 0.1
    age = time.time() - usage.started
    # It begins to count when it has started, which takes a while on a busy machine.
    assert now - usage.started - 60 <= samples["pylon_uptime_seconds"] <= age + 2


def test_uptime_goes_with_the_clock(instance):
    a, first = time.monotonic(), told(instance)[1]["pylon_uptime_seconds"]
    b = time.monotonic()
    busy(instance, 0.1)
    c, second = time.monotonic(), told(instance)[1]["pylon_uptime_seconds"]
    d = time.monotonic()
    assert c - b - 0.01 <= second - first <= d - a + 0.01


def test_a_client_that_has_left_is_not_open_any_more(instance):
    instance.left()
    opened = instance.total("pylon_connections_accepted_total", protocol="http1")
    with socket.create_connection(("127.0.0.1", instance.ports["http"])) as one:
        one.sendall(b"GET /none HTTP/1.1\r\nHost: h\r\n\r\n")
        assert one.recv(4096)
        assert instance.total("pylon_connections", protocol="http1") == 1
    wait_until(lambda: instance.total("pylon_connections", protocol="http1") == 0)
    assert instance.total("pylon_connections_accepted_total", protocol="http1") == opened + 1
