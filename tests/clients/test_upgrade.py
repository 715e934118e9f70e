"""A new process takes the sockets over, and a process stops: nobody who asks meanwhile notices."""

import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame

import peers
from gated import Gated
from peers import Edge, Http2, Load, Peer
from processes import BINARY, answers, wait_until

SOON = 60.0  # for what happens at once, on a busy machine
GRACE = 200  # nobody waits for as long as that


@pytest.fixture
def upstream():
    with Gated() as upstream:
        yield upstream


@pytest.fixture
def launch(start, upstream, tmp_path):
    """Starts a Pylon that says its name at `/name`."""

    def launch(name, upgrades=None, **config):
        listeners = config.pop("listeners", {"http": {}})
        config = {"grace_period": f"{GRACE}s", "upgrade_socket": str(tmp_path / "run/upgrade.sock")} | config
        upstreams = {"gated": {"endpoints": [upstream.url]}}
        routes = [
            {"name": "all", "path": "/**", "upstream": "gated"},
            {"name": "name", "path": "/name", "answer": {"status": 200, "body": name}},
        ]
        return start(Edge, listeners, upgrades=upgrades, upstreams=upstreams, routes=routes, **config)

    return launch


def name_of(edge, listener="http"):
    """Who accepts a new connection now."""
    with Peer(edge.ports[listener]) as peer:
        return peer.ask("/name", "Connection: close").body.decode().strip()


def is_ready(edge):
    return answers(f"http://{edge.admin}/readyz")


def ended(edge):
    """The exit code of one that ends by itself."""
    return edge.process.wait(SOON)


class InFlight:
    """A request that is not answered yet, a download, and a WebSocket, all on the process that is there."""

    def __init__(self, edge, upstream, name):
        self.upstream, self.names = upstream, [f"{name}-hold", f"{name}-flow"]
        self.peers = [Peer(edge.ports["http"]) for _ in range(3)]
        hold, flow, self.websocket = self.peers
        hold.send(peers.request(f"/hold/{self.names[0]}"))
        flow.send(peers.request(f"/flow/{self.names[1]}"))
        for one in self.names:
            wait_until(upstream.is_waiting(one), what=one)
        answer = self.websocket.ask("/ws", "Connection: Upgrade", "Upgrade: websocket")
        assert answer.status == 101
        self.pool = ThreadPoolExecutor(2)
        self.answers = [self.pool.submit(peer.answer) for peer in (hold, flow)]
        self.echoes()

    def echoes(self):
        self.websocket.send(b"hello")
        assert self.websocket.file.read(5) == b"hello"

    def end(self):
        """Lets all of them end; they end well."""
        for name in self.names:
            self.upstream.gate(name).set()
        held, flowed = (answer.result(peers.PATIENCE) for answer in self.answers)
        assert (held.status, held.body) == (200, b"served")
        assert flowed.status == 200 and flowed.body.endswith(b"flow end")
        self.echoes()
        for peer in self.peers:
            peer.__exit__()


def test_an_upgrade_under_load(launch, upstream):
    current = launch("first")
    with Load(current) as load:
        for name in ["second", "third"]:
            under_way = InFlight(current, upstream, name)
            new = launch(name, upgrades=current)
            load.goes_on()
            current.process.send_signal(signal.SIGQUIT)
            wait_until(lambda: name_of(new) == name, what=f"{name} serves")
            load.goes_on()
            under_way.echoes()
            assert current.process.poll() is None  # what was under way goes on there
            wait_until(lambda: "stopping" in current.text(), what="the old one stops")
            under_way.end()
            assert ended(current) == 0
            wait_until(is_ready(new), what="ready")
            assert {name_of(new) for _ in range(30)} == {name}
            load.goes_on()
            current = new
    assert load.failed == []
    names = {b"first", b"second", b"third"}
    assert set(load.served) == {(200, body) for body in names | {b"served"}}
    assert "the new process serves" not in current.text()


@pytest.mark.parametrize("turn", range(3))
def test_a_process_with_only_short_requests_is_replaced_under_load(launch, turn):
    # The old process has nothing that would keep it alive beyond the connections that it accepts last.
    old = launch("old")
    with Load(old, 8) as load:
        new = launch("new", upgrades=old)
        old.process.send_signal(signal.SIGQUIT)
        assert ended(old) == 0
        load.goes_on()
    assert load.failed == []
    assert name_of(new) == "new"


def test_an_old_process_leaves_new_connections_to_the_new_one(launch, upstream):
    old = launch("old")
    with Peer(old.ports["http"]) as keeps:
        keeps.send(peers.request("/hold/old"))
        wait_until(upstream.is_waiting("old"))
        with Load(old, 8) as load:
            launch("new", upgrades=old)
            old.process.send_signal(signal.SIGQUIT)
            wait_until(lambda: "stopping" in old.text(), what="the old one stops")
            wait_until(lambda: b"old" not in load.serves(), what="it leaves connections to the new one")
        assert load.failed == []
        upstream.gate("old").set()
        assert keeps.answer().status == 200
    assert ended(old) == 0


def test_an_idle_process_ends_as_soon_as_it_is_replaced(launch):
    old = launch("old")
    new = launch("new", upgrades=old)
    assert name_of(old) == "old" and is_ready(old)()
    with Peer(old.ports["http"]) as idle:
        assert idle.ask("/name").status == 200
        old.process.send_signal(signal.SIGQUIT)
        assert idle.is_over()
    assert ended(old) == 0
    assert "the new process serves" in old.text()
    assert name_of(new) == "new"
    wait_until(is_ready(new), what="ready")


def test_listeners_may_come_and_go(launch):
    old = launch("old", listeners={"http": {}, "gone": {}})
    new = launch("new", upgrades=old, listeners={"http": {}, "fresh": {}})
    assert name_of(old, "gone") == "old"
    old.process.send_signal(signal.SIGQUIT)
    assert ended(old) == 0
    assert name_of(new) == name_of(new, "fresh") == "new"
    with pytest.raises(ConnectionRefusedError):
        name_of(old, "gone")


# Upgrades that do not come about.


def goes_on(old, word):
    """It says so, is ready, and serves who is connected and who comes."""
    with Peer(old.ports["http"]) as kept:
        assert kept.ask("/served").status == 200
        seen = len(old.text())
        old.process.send_signal(signal.SIGQUIT)
        wait_until(lambda: "going on" in old.text()[seen:] and word in old.text()[seen:], what=f"{word} in the log")
        assert kept.ask("/served").status == 200
    assert name_of(old) == "old" and is_ready(old)()
    assert old.process.poll() is None


def test_without_anyone_who_waits_it_goes_on(launch):
    old = launch("old")
    for _ in range(2):
        goes_on(old, "start the new process with --upgrade first")


def test_without_a_socket_it_goes_on(launch):
    goes_on(launch("old", upgrade_socket=None), "there is no `upgrade_socket`")


def test_a_new_process_with_a_wrong_configuration_changes_nothing(launch):
    old = launch("old")
    wrong = old.directory / "wrong.yaml"
    wrong.write_text(old.file.read_text().replace('"path"', '"paht"'))
    done = subprocess.run([BINARY, "run", "--upgrade", "-c", wrong], capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and "paht" in done.stdout + done.stderr
    goes_on(old, "not handed over")


def test_a_new_process_that_cannot_start_changes_nothing(launch):
    old = launch("old")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        new = launch("new", upgrades=old, listeners={"http": {}, "taken": {"address": address}})
        with Load(old, 3) as load:
            goes_on(old, "not handed over")
            load.goes_on()
        assert load.failed == []
        assert new.process.wait(SOON) not in (0, None)
        assert "cannot listen" in new.text()


def test_a_new_process_that_is_killed_changes_nothing(launch):
    old = launch("old")
    killed = launch("killed", upgrades=old)
    killed.process.kill()
    killed.process.wait()
    goes_on(old, "not handed over")
    new = launch("new", upgrades=old)  # the socket that was left is no hindrance
    old.process.send_signal(signal.SIGQUIT)
    assert ended(old) == 0
    assert name_of(new) == "new"


# A stop.


def test_a_stop_lets_requests_finish(launch, upstream):
    edge = launch("edge")
    under_way = InFlight(edge, upstream, "stop")
    with Peer(edge.ports["http"]) as idle, Peer(edge.ports["http"]) as silent:
        assert idle.ask("/served").status == 200
        begin = time.monotonic()
        edge.process.send_signal(signal.SIGTERM)
        assert idle.is_over() and silent.is_over()
        assert time.monotonic() - begin < SOON
    under_way.echoes()
    assert edge.process.poll() is None
    under_way.end()
    assert ended(edge) == 0


def test_a_stop_without_requests_is_immediate(launch):
    edge = launch("edge")
    with Peer(edge.ports["http"]) as idle:
        assert idle.ask("/served").status == 200
        edge.process.send_signal(signal.SIGTERM)
        assert idle.is_over()
        assert ended(edge) == 0


def test_an_answer_during_a_stop_says_that_the_connection_ends(launch, upstream):
    edge = launch("edge")
    with Peer(edge.ports["http"]) as peer:
        peer.send(peers.request("/hold/last"))
        wait_until(upstream.is_waiting("last"))
        edge.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in edge.text())
        upstream.gate("last").set()
        answer = peer.answer()
        assert (answer.status, answer.body, answer.headers.get("connection")) == (200, b"served", "close")
        assert peer.is_over()
    assert ended(edge) == 0


def test_the_grace_period_ends(launch, upstream):
    edge = launch("edge", grace_period="500ms")
    with Peer(edge.ports["http"]) as peer:
        peer.send(peers.request("/hold/forever"))
        wait_until(upstream.is_waiting("forever"))
        edge.process.send_signal(signal.SIGTERM)
        assert ended(edge) == 0
        assert peer.is_over()
    assert "the requests that were left are cut" in edge.text()


def first(frames, kind):
    return next(frame for frame in frames if isinstance(frame, kind))


def test_an_http2_connection_is_told_and_finishes(launch, upstream):
    edge = launch("edge")
    with Http2(edge.ports["http"]) as busy, Http2(edge.ports["http"]) as idle:
        of_busy, of_idle = busy.frames(), idle.frames()
        idle.ask(1, "/served")
        assert first(of_idle, DataFrame).data == b"served"
        busy.ask(1, "/hold/http2")
        wait_until(upstream.is_waiting("http2"))
        edge.process.send_signal(signal.SIGTERM)
        assert first(of_idle, GoAwayFrame).error_code == 0
        assert all(isinstance(frame, (GoAwayFrame, PingFrame)) for frame in of_idle)  # and the connection ends
        told = first(of_busy, GoAwayFrame)
        assert told.error_code == 0 and told.last_stream_id >= 1
        assert edge.process.poll() is None
        upstream.gate("http2").set()
        assert first(of_busy, HeadersFrame).stream_id == 1
        assert first(of_busy, DataFrame).data == b"served"
        rest = list(of_busy)
        assert not any(isinstance(frame, RstStreamFrame) for frame in rest), rest
    assert ended(edge) == 0
