"""Bodies far larger than the memory that Pylon may take for them, checked to the last byte."""

import http.client
import os
import random
import zlib

import pytest

from processes import wait_until
from upstreams import Repeats, Sink, Source, Upstream, read_head

MIB = 1 << 20
GIB = 1 << 30
UPLOAD = int(float(os.environ.get("PYLON_BIG_UPLOAD_GIB", "1")) * GIB)
GROWTH = 64 * MIB

# What a page of the portal has in it, and what becomes of it.
INTERNAL, PUBLIC = b"http://10.11.12.13:9186", b"/rest-server"
SERVICES = {"REST_SERVER_URI": INTERNAL.decode()}


def text_with_addresses(count=2000, length=1_000_003):
    """A block of text with `count` addresses at odd places. Its length has no part in common with that of a piece, so
    over many blocks the borders of pieces fall on every place of an address."""
    random.seed(7)
    gap = length // count - len(INTERNAL) - 1
    filler = bytes(random.choices(b"abcdefgh /:.\nhttp://10.11.12.", k=length))
    block = b"".join(filler[at * gap : (at + 1) * gap - at % 7] + INTERNAL + b'"' for at in range(count))
    return block + b"." * (length - len(block))


def connection(pylon):
    return http.client.HTTPConnection(pylon.authority, timeout=60)


def download(pylon, check):
    """Adds what `/` answers to `check`."""
    web = connection(pylon)
    web.request("GET", "/")
    answer = web.getresponse()
    assert answer.status == 200
    while piece := answer.read(MIB):
        check.add(piece)
    web.close()


def test_a_gibibyte_of_text_is_rewritten_in_constant_memory(pylon):
    block = text_with_addresses()
    blocks = GIB // len(block) + 1
    with Source(block, blocks * len(block)) as upstream:
        borders = range(upstream.piece, upstream.total, upstream.piece)
        places = {at % len(block) for at in borders}
        starts = [at for at in range(len(block)) if block.startswith(INTERNAL, at)]
        split = sum(1 for at in starts if any(at + offset in places for offset in range(1, len(INTERNAL))))
        assert split > 100, "addresses lie across the borders of chunks"

        proxy = pylon(PAI_WEB_PORTAL_URI=upstream.url, **SERVICES)
        changed = block.replace(INTERNAL, PUBLIC)
        small = Repeats(changed)
        upstream.total = len(block)
        download(proxy, small)  # so that what it needs once is not counted
        upstream.total = blocks * len(block)
        check = Repeats(changed)
        with proxy.grows_less_than(GROWTH):
            download(proxy, check)
    assert check.right
    assert check.length == blocks * len(changed)


def test_compressed_text_is_rewritten_in_constant_memory(pylon):
    block = text_with_addresses()
    blocks = 128
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(block) for _ in range(blocks)) + packer.flush()

    class Compressed(Upstream):
        def serve(self, connection):
            while read_head(connection)[0]:
                head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n"
                connection.sendall(f"{head}Content-Length: {len(packed)}\r\n\r\n".encode() + packed)

    with Compressed() as upstream:
        proxy = pylon(PAI_WEB_PORTAL_URI=upstream.url, **SERVICES)
        changed = block.replace(INTERNAL, PUBLIC)
        check = Repeats(changed)
        with proxy.grows_less_than(GROWTH):
            download(proxy, check)
    assert check.right
    assert check.length == blocks * len(changed)


@pytest.fixture(scope="module")
def block():
    random.seed(11)
    return random.randbytes(1_000_003)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", ["length", "chunked"])
def test_a_big_upload_streams_in_constant_memory(pylon, block, form):
    blocks = UPLOAD // len(block)
    length = blocks * len(block)
    with Sink(block) as upstream:
        proxy = pylon(PAI_WEB_PORTAL_URI=upstream.url)
        body = (block for _ in range(blocks))
        web = connection(proxy)
        with proxy.grows_less_than(GROWTH):
            if form == "length":
                web.request("PUT", "/upload", body, {"Content-Length": str(length)})
            else:
                web.request("PUT", "/upload", body, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
            answer = web.getresponse()
            assert answer.read() == str(length).encode()
        web.close()


@pytest.mark.parametrize("media_type", ["text/html", "application/octet-stream"])
def test_a_slow_reader_slows_the_upstream(pylon, block, media_type):
    with Source(block, GIB, media_type=media_type) as upstream:
        proxy = pylon(PAI_WEB_PORTAL_URI=upstream.url, **SERVICES)
        web = connection(proxy)
        with proxy.grows_less_than(GROWTH):
            web.request("GET", "/")
            answer = web.getresponse()
            check = Repeats(block)
            check.add(answer.read(10 * MIB))
            held = Held(upstream)
            wait_until(held, what="the upstream is held back")
            assert upstream.sent < 64 * MIB
            check.add(answer.read(10 * MIB))
        assert check.right
        web.close()


class Held:
    """A condition: nothing was sent during the last half second of asking."""

    def __init__(self, upstream):
        self.upstream, self.sent, self.same = upstream, -1, 0

    def __call__(self):
        self.same = self.same + 1 if self.sent == self.upstream.sent else 0
        self.sent = self.upstream.sent
        return self.same >= 25
