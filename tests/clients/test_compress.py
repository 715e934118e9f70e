"""Compression: as clients ask for it, without delay, and with headers that stay true."""

import http.client
import re
import subprocess
import threading
import urllib.parse
import zlib

import pytest

from upstreams import Upstream, read_head

PAGE = b"<p>a line like all others</p>\n" * 400
CODINGS = ["br", "zstd", "gzip"]
HEADERS = {
    "/page": "Content-Type: text/html\r\nETag: \"v\"\r\nAccept-Ranges: bytes\r\nVary: Origin",
    "/forbidden": "Content-Type: text/html\r\nCache-Control: no-transform",
    "/image": "Content-Type: image/png\r\nETag: \"v\"",
    "/encoded": "Content-Type: text/html\r\nContent-Encoding: x-own",
}


class Site(Upstream):
    """Pages with a validator; `seen` has the heads of all requests. `next` lets events come."""

    def __init__(self):
        self.seen, self.next = [], threading.Semaphore(0)

    def serve(self, connection):
        while head := read_head(connection)[0].decode():
            self.seen.append(head)
            method, path, _ = head.split(None, 2)
            fields = dict(re.findall(r"(?m)^([\w-]+): *(.*?)\r?$", head.lower()))
            if path == "/events":
                self.events(connection)
                continue
            status, body = "200 OK", b"short" if path == "/short" else PAGE
            more = HEADERS.get(path, "Content-Type: text/html")
            if "\"v\"" in fields.get("if-none-match", ""):
                connection.sendall(b"HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\n\r\n")
                continue
            if fields.get("if-match", "\"v\"") != "\"v\"":
                status, body = "412 Precondition Failed", b""
            elif fields.get("range") and fields.get("if-range", "\"v\"") == "\"v\"":
                start, end = map(int, re.search(r"(\d+)-(\d+)", fields["range"]).groups())
                status, more = "206 Partial Content", f"{more}\r\nContent-Range: bytes {start}-{end}/{len(PAGE)}"
                body = PAGE[start : end + 1]
            head = f"HTTP/1.1 {status}\r\n{more}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + (b"" if method == "HEAD" else body))

    def events(self, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(3):
            assert self.next.acquire(timeout=60)
            event = b"data: %d\n\n" % at
            connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
        assert self.next.acquire(timeout=60)
        connection.sendall(b"0\r\n\r\n")


@pytest.fixture(scope="module")
def site():
    with Site() as site:
        yield site


@pytest.fixture(scope="module")
def front(pylon, site):
    return pylon(
        f"upstreams: {{ site: {{ endpoints: {site.url} }} }}\n"
        "routes:\n"
        "  - { name: all, path: /**, upstream: site, compress: [br, zstd, gzip] }\n"
        "  - { name: tagged, path: /tagged/**, rewrite: '/{**}', upstream: site, compress: gzip,\n"
        "      substitute: [{ find: line, replace: LINE }] }\n"
    )


@pytest.fixture
def ask(front):
    """Status, headers and the body as it came."""

    def ask(path, accept=None, method="GET", **fields):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(front.url).netloc, timeout=60)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in ({"accept-encoding": accept} if accept else {}).items():
            connection.putheader(name, value)
        for name, value in fields.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    return ask


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0", "--http2-prior-knowledge"])
@pytest.mark.parametrize("coding", CODINGS)
def test_curl_reads_what_it_asked_for(front, tmp_path, version, coding):
    asked = ["-H", f"Accept-Encoding: {coding}", "--compressed", "-D", tmp_path / "head"]
    command = ["curl", "-q", "-sS", "--max-time", "60", version, *asked, f"{front.url}/page"]
    body = subprocess.run(command, check=True, capture_output=True).stdout
    assert body == PAGE
    head = (tmp_path / "head").read_text().lower()
    assert f"content-encoding: {coding}\n" in head.replace("\r", "")
    assert "content-length" not in head and "accept-ranges" not in head


def test_headers_tell_of_another_representation(ask):
    status, headers, body = ask("/page", "gzip;q=0.9, br;q=0.1")
    assert (status, headers["content-encoding"], headers["etag"]) == (200, "gzip", "W/\"v\"")
    assert headers["vary"] == "Origin, Accept-Encoding"
    assert zlib.decompress(body, wbits=31) == PAGE and len(body) < len(PAGE) / 5


@pytest.mark.parametrize("accept", [None, "identity", "gzip;q=0, br;q=0, zstd;q=0", "deflate"])
def test_the_plain_body_names_what_it_depends_on(ask, accept):
    status, headers, body = ask("/page", accept)
    assert (status, headers["content-encoding"], headers["etag"], body) == (200, None, "\"v\"", PAGE)
    assert (headers["vary"], headers["content-length"]) == ("Origin, Accept-Encoding", str(len(PAGE)))


@pytest.mark.parametrize("path", ["/forbidden", "/image", "/encoded", "/short"])
def test_some_bodies_stay(ask, path):
    _, headers, body = ask(path, "gzip")
    assert body == (b"short" if path == "/short" else PAGE)
    assert headers["content-encoding"] == ("x-own" if path == "/encoded" else None)
    assert headers["vary"] is None and headers["content-length"] == str(len(body))


def test_a_client_can_forbid_it(ask):
    assert ask("/page", "gzip", cache_control="no-transform")[2] == PAGE


@pytest.mark.parametrize("accept", [None, "gzip"])
def test_head_says_what_get_says(ask, accept):
    answers = [ask("/page", accept, method) for method in ("GET", "HEAD")]
    get, head = [{name.lower(): value for name, value in answer[1].items()} for answer in answers]
    for fields in (get, head):
        fields.pop("transfer-encoding", None), fields.pop("x-request-id", None), fields.pop("date", None)
    assert get == head and answers[1][2] == b""


def test_a_weak_tag_revalidates(ask, site):
    status, headers, body = ask("/page", "gzip", if_none_match="W/\"v\"")
    assert (status, headers["etag"], body) == (304, "W/\"v\"", b"")
    assert headers["vary"] == "Accept-Encoding"
    assert ask("/page", "gzip", if_none_match="\"v\"")[1]["etag"] == "\"v\""
    assert ask("/page", "gzip", if_match="W/\"v\"")[0] == 412


def test_ranges_are_of_the_plain_body(ask, site):
    status, headers, body = ask("/page", "gzip", range="bytes=3-12")
    assert (status, headers["content-encoding"], body) == (206, None, PAGE[3:13])
    assert (headers["etag"], headers["vary"]) == ("\"v\"", "Origin, Accept-Encoding")
    assert ask("/page", "gzip", range="bytes=3-12", if_range="\"v\"")[0] == 206
    status, headers, _ = ask("/page", "gzip", range="bytes=3-12", if_range="W/\"v\"")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert "range" not in site.seen[-1].lower()


def test_what_was_changed_before_is_compressed(ask):
    _, headers, body = ask("/tagged/page", "gzip")
    assert zlib.decompress(body, wbits=31) == PAGE.replace(b"line", b"LINE")
    assert re.fullmatch(r'W/"v\|[0-9a-f]{16}"', headers["etag"])
    status, again, _ = ask("/tagged/page", "gzip", if_none_match=headers["etag"])
    assert (status, again["etag"]) == (304, headers["etag"])


@pytest.mark.parametrize("coding", CODINGS)
def test_each_event_arrives_before_the_next(front, site, coding):
    asked = ["-H", f"Accept-Encoding: {coding}", "--compressed", f"{front.url}/events"]
    command = ["curl", "-q", "-sSN", "--max-time", "60", *asked]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for at in range(3):
            site.next.release()
            assert process.stdout.readline() == b"data: %d\n" % at
            assert process.stdout.readline() == b"\n"
        site.next.release()
        assert process.stdout.read() == b""
    assert process.returncode == 0
