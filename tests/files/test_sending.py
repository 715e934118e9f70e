"""How files go out: huge ones, to slow clients, while they change, and to clients that go away."""

import hashlib
import os
import socket
import threading

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame, WindowUpdateFrame
from folder import held
from peers import Answer, Http2, Peer
from processes import wait_until

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture(scope="module")
def pylon(start, folder):
    files = {"path": "/**", "static": str(folder.path), "limits": {"drain_time": "5m"}}
    return start(files | {"name": "files"}, files | {"name": "counted", "path": "/counted/**"})


@pytest.fixture(scope="module")
def sparse(folder):
    """A file of 5 GiB, nearly all of it a hole."""
    with (folder.path / "sparse.bin").open("wb") as file:
        for at, text in [(0, b"begin"), (4 * GIB - 2, b"across"), (5 * GIB - 3, b"end")]:
            file.seek(at)
            file.write(text)
    return "/sparse.bin"


def test_parts_beyond_4_gib(pylon, sparse):
    answer = pylon.ask(sparse, method="HEAD")
    assert answer.headers["content-length"] == str(5 * GIB)
    for first, last, text in [(0, 4, b"begin"), (4 * GIB - 2, 4 * GIB + 3, b"across"), (5 * GIB - 3, 5 * GIB, b"end")]:
        answer = pylon.ask(sparse, f"Range: bytes={first}-{last}")
        assert (answer.status, answer.body) == (206, text)
    assert pylon.ask(sparse, "Range: bytes=-3").body == b"end"
    both = pylon.ask(sparse, f"Range: bytes=0-4,{5 * GIB - 3}-")
    assert b"\r\n\r\nbegin\r\n" in both.body and b"\r\n\r\nend\r\n" in both.body
    assert pylon.ask(sparse, f"Range: bytes={5 * GIB}-").status == 416


def test_a_large_file_comes_whole_in_little_memory(pylon, folder):
    content = folder.random("large.bin", 96 * MIB)
    wanted = hashlib.sha256(content).digest()
    del content
    with pylon.grows_less_than(24 * MIB), Peer(pylon.ports["http"]) as peer:
        peer.send(b"GET /large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while peer.file.readline() != b"\r\n":
            pass
        got = hashlib.sha256()
        while piece := peer.file.read(MIB):
            got.update(piece)
        assert got.digest() == wanted


def test_it_comes_whole_over_http2(pylon, folder):
    content = folder.random("half.bin", 40_000)
    with Http2(pylon.ports["http"]) as peer:
        peer.ask(1, "/half.bin")
        assert peer.answered(1) == (200, content)
        peer.ask(3, "/half.bin", ("range", "bytes=10-19"))
        assert peer.answered(3) == (206, content[10:20])
        peer.ask(5, "/half.bin", method="HEAD")
        assert peer.answered(5) == (200, b"")


def test_slow_clients_cost_little(pylon, sparse, folder):
    """Twenty clients ask for 5 GiB and take nothing: nothing is read ahead for them."""
    with pylon.grows_less_than(48 * MIB):
        peers = [Peer(pylon.ports["http"], size=4096) for _ in range(20)]
        for peer in peers:
            peer.send(f"GET {sparse} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert peer.file.readline() == b"HTTP/1.1 200 OK\r\n"
        held_open = lambda: held(pylon.pid, folder.path)
        wait_until(lambda: held_open() == 20, what="20 open files")
        for peer in peers:
            peer.socket.shutdown(socket.SHUT_RDWR)
            peer.__exit__()
        # Nobody is there any more: nothing is held open.
        wait_until(lambda: held_open() == 0, what="no open file")


def begin(pylon, target, *, size=4096):
    """Asks, and reads the head alone: the connection, and the length that was announced."""
    peer = Peer(pylon.ports["http"], size=size)
    peer.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert peer.file.readline() == b"HTTP/1.1 200 OK\r\n"
    length = None
    while (line := peer.file.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return peer, length


def test_a_file_that_becomes_shorter_is_cut_off(pylon, folder):
    folder.random("shrinking.bin", 64 * MIB)
    peer, length = begin(pylon, "/shrinking.bin")
    with peer:
        assert length == 64 * MIB
        os.truncate(folder.path / "shrinking.bin", 30 * MIB)
        got = 0
        with pytest.raises(ConnectionResetError):
            while piece := peer.file.read1(MIB):
                got += len(piece)
        assert got <= 30 * MIB
    entry = pylon.entry("/shrinking.bin")
    assert entry["outcome"] == "file_failed" and "shorter" in entry["reason"], entry


def test_over_http2_the_stream_alone_is_reset(pylon, folder):
    folder.random("shrinking2.bin", MIB)
    folder.write("fine.txt", "fine")
    with Http2(pylon.ports["http"]) as peer:
        peer.ask(1, "/shrinking2.bin")
        frames = peer.frames()
        for frame in frames:  # the window of a stream is 64 KiB: the rest is not sent
            if isinstance(frame, HeadersFrame):
                peer.decoder.decode(frame.data)
            if isinstance(frame, DataFrame):
                break
        os.truncate(folder.path / "shrinking2.bin", 10)
        for stream in (0, 1):
            peer.send(WindowUpdateFrame(stream, window_increment=4 * MIB).serialize())
        for frame in frames:
            if frame.stream_id == 1 and isinstance(frame, RstStreamFrame):
                break
            assert "END_STREAM" not in frame.flags
        else:
            pytest.fail("the stream was not reset")
        peer.ask(3, "/fine.txt")
        assert peer.answered(3) == (200, b"fine")


def test_a_file_that_grows_is_sent_as_announced(pylon, folder):
    content = folder.random("growing.bin", 8 * MIB)
    peer, length = begin(pylon, "/growing.bin")
    with peer:
        with (folder.path / "growing.bin").open("ab") as file:
            file.write(b"more" * MIB)
        assert length == 8 * MIB and peer.file.read(length) == content
        # Nothing follows but the next answer.
        peer.send(b"GET /fine-not.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        assert Answer(peer.file).status == 404


def test_a_file_that_is_deleted_comes_whole(pylon, folder):
    content = folder.random("deleted.bin", 8 * MIB)
    peer, length = begin(pylon, "/deleted.bin")
    with peer:
        (folder.path / "deleted.bin").unlink()
        assert peer.file.read(length) == content
    assert pylon.ask("/deleted.bin").status == 404


def test_files_that_come_and_go(pylon, folder):
    """Each answer is a whole file, or a 404."""
    stop = threading.Event()
    texts = {b"a" * 70_000, b"b" * 150_000}

    def replace():
        while not stop.is_set():
            for text in texts:
                folder.write("flicker.txt", text, age=5)
            (folder.path / "flicker.txt").unlink()

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        seen = set()
        with pylon.peer() as peer:
            for _ in range(400):
                answer = peer.ask("/flicker.txt")
                assert answer.status == 404 or (answer.status == 200 and answer.body in texts), answer.status
                seen.add(answer.status)
        assert 200 in seen
    finally:
        stop.set()
        thread.join()


def test_no_file_stays_open(pylon, folder):
    folder.write("small.txt", "small")
    for _ in range(20):
        pylon.ask("/small.txt")
        pylon.ask("/small.txt", method="HEAD")
        pylon.ask("/small.txt", "If-None-Match: *")
        pylon.ask("/none.txt")
    wait_until(lambda: held(pylon.pid, folder.path) == 0, what="no open file")


def test_what_went_out_is_counted(pylon, folder):
    folder.write("counted.bin", b"x" * 12_345)
    sent = lambda: pylon.total("pylon_http_response_bytes_total", route="counted")
    before = sent()
    assert pylon.ask("/counted/counted.bin").status == 200
    entry = pylon.entry("/counted/counted.bin")
    assert (entry["outcome"], entry["status"], entry["route"]) == ("answered", 200, "counted")
    assert 12_345 in entry.values(), entry
    wait_until(lambda: sent() - before >= 12_345, what="the count")
    assert sent() - before == 12_345
