"""gRPC-Web, written by hand over HTTP/1.1 and HTTP/2, to a gRPC server."""

import base64
import json
import struct

import httpx
import pytest

from test_grpc import SOON, Service, serve

BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text"


def framed(message, flag=0):
    return struct.pack(">BI", flag, len(message)) + message


def messages(body):
    """The messages of a body, and the trailers behind them."""
    found = []
    while body:
        flag, length = struct.unpack(">BI", body[:5])
        message, body = body[5 : 5 + length], body[5 + length :]
        assert len(message) == length
        if flag & 0x80:
            assert not body and message.endswith(b"\r\n")
            return found, dict(line.split(":", 1) for line in message.decode().splitlines())
        found.append(message)
    return found, None


def from_text(body):
    """Base64, in pieces that are padded each by itself."""
    return b"".join(base64.b64decode(body[at : at + 4], validate=True) for at in range(0, len(body), 4))


@pytest.fixture(scope="module")
def service():
    return Service()


@pytest.fixture(scope="module")
def front(pylon, service):
    server, port = serve(service)
    yield pylon(
        f"upstreams: {{ server: {{ protocol: h2, endpoints: 'http://127.0.0.1:{port}' }} }}\n"
        "routes: [{ name: test, path: /test/**, upstream: server, grpc_web: true, compress: { types: '*/*' } }]\n"
    )
    server.stop(None).wait(SOON)


@pytest.fixture(scope="module", params=["http1", "http2"])
def client(request, front):
    second = request.param == "http2"
    with httpx.Client(base_url=front.url, http1=not second, http2=second, timeout=SOON) as client:
        yield client


@pytest.fixture(scope="module", params=[BINARY, TEXT])
def call(request, client):
    """Calls a method with a message: messages, trailers and the answer."""
    text = request.param == TEXT

    def call(method, message, body=None, **headers):
        body = framed(message) if body is None else body
        if text:
            body = b"".join(base64.b64encode(piece) for piece in (body[:7], body[7:]))
        headers = {"content-type": request.param, "x-grpc-web": "1", "accept": request.param} | headers
        answer = client.post(f"/test/{method}", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == (TEXT if text else "application/grpc-web")
        assert "content-encoding" not in answer.headers
        return *messages(from_text(answer.content) if text else answer.content), answer

    return call


def test_one_message(call):
    for message in (b"hello", b"", bytes(range(256)) * 1000):
        found, trailers, _ = call("echo", message)
        assert (found, trailers["grpc-status"]) == ([message], "0")


def test_many_messages_and_a_status(call):
    found, trailers, _ = call("count", b'[300, 1000, "DATA_LOSS"]')
    assert found == [at.to_bytes(4, "big") * 250 for at in range(300)]
    assert (trailers["grpc-status"], trailers["grpc-message"], trailers["sent"]) == ("15", "after 300", "300")


def test_a_call_that_fails_at_once(call):
    """Its status is among the headers, as there is no message."""
    found, trailers, answer = call("fail", "größe".encode())
    status = trailers or answer.headers
    assert (found, status["grpc-status"], status["grpc-message"]) == ([], "9", "gr%C3%B6%C3%9Fe")
    assert status["why-bin"] in ("AP8", "AP8=")


def test_metadata_passes(call):
    found, trailers, answer = call("tell", b"", word="a", **{"grpc-timeout": "90S", "word-bin": "AP8="})
    got, remaining = json.loads(found[0])
    assert (got["word"], got["word-bin"]) == ("a", "00ff") and 0 < remaining <= 90
    assert "x-grpc-web" not in got
    assert (answer.headers["first"], trailers["last"], trailers["grpc-status"]) == ("1", "2", "0")


@pytest.mark.parametrize("kind", [BINARY, TEXT])
def test_a_stream_begins_before_it_goes_on(client, service, kind):
    service.released.clear()
    text = kind == TEXT
    body = base64.b64encode(framed(b"x")) if text else framed(b"x")
    with client.stream("POST", "/test/begin", content=body, headers={"content-type": kind}) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        assert messages(from_text(first) if text else first) == ([b"first"], None)
        assert answer.headers["begun"] == "yes"
        service.released.set()
        rest = b"".join(pieces)
        found, trailers = messages(from_text(rest) if text else rest)
    assert (found, trailers["grpc-status"]) == ([b"x"], "0")


def test_what_is_no_base64_is_refused(client):
    answer = client.post("/test/echo", content=b"AAA%AAAA", headers={"content-type": TEXT})
    assert answer.status_code == 400
