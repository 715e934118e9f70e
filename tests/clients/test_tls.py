"""TLS in stand-alone mode: HTTP/1.1 and HTTP/2 clients, WebSockets, and the plain port that leads there."""

import asyncio
import hashlib
import os
import ssl
import threading

import httpx
import pytest
import requests
import trustme
from websockets.sync.client import connect
from websockets.sync.server import serve

from processes import free_port
from site_files import for_websockets
from upstreams import Recorder


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def context(authority):
    """One for each client: they choose the protocols in it."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def environment(authority, tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(directory / "site.crt")
    issued.private_key_pem.write_to_path(directory / "site.key")
    return {"SSL_ENABLE": "true", "CRT_NAME": "site.crt", "KEY_NAME": "site.key", "PYLON_CERT_DIR": str(directory)}


@pytest.fixture(scope="module")
def portal(demo):
    """The demo's public address serves as the portal behind the TLS."""
    return demo.url


@pytest.fixture(scope="module")
def doors(pylon, portal, environment):
    """The plain and the TLS address."""
    tls = f"127.0.0.1:{free_port()}"
    plain = pylon(PAI_WEB_PORTAL_URI=portal, PYLON_LISTEN_TLS=tls, **environment)
    return plain.url, f"https://{tls}"


@pytest.fixture(scope="module")
def url(doors):
    return doors[1]


def test_requests_trusts_the_certificate(url, authority):
    with authority.cert_pem.tempfile() as trusted:
        answer = requests.get(f"{url}/healthz", verify=trusted, timeout=60)
        assert (answer.status_code, answer.text.strip()) == (200, "Pylon ready.")
        host = url.replace("127.0.0.1", "localhost")
        assert requests.get(f"{host}/", verify=trusted, timeout=60).status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{url}/healthz", timeout=60)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_versions_of_tls_are_spoken(url, context, version):
    context.minimum_version = context.maximum_version = version
    assert httpx.get(f"{url}/healthz", verify=context, timeout=60).status_code == 200


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def web(request, url, context):
    with httpx.Client(base_url=url, verify=context, http2=request.param == "HTTP/2", timeout=60) as web:
        assert web.get("/healthz").http_version == request.param
        yield web


def test_pages_uploads_and_downloads(web):
    assert "</html>" in web.get("/").text
    data = os.urandom(3_000_001)
    digest = hashlib.sha256(data).hexdigest()
    assert web.post("/upload", content=data).json() == {"bytes": len(data), "sha256": digest}
    pieces = (data[at : at + 65_521] for at in range(0, len(data), 65_521))
    assert web.post("/upload", content=pieces).json()["sha256"] == digest
    assert len(web.get("/download?bytes=5000001").content) == 5_000_001


def test_a_streamed_upload_ends_once(pylon, environment, context):
    # HTTP/2 needs no length and ends with an empty frame. Towards an HTTP/1.1 upstream that is one last chunk; what
    # came after it would be taken for the next request of the connection.
    with Recorder() as upstream:
        tls = f"127.0.0.1:{free_port()}"
        pylon(PAI_WEB_PORTAL_URI=upstream.url, PYLON_LISTEN_TLS=tls, **environment)
        with httpx.Client(base_url=f"https://{tls}", verify=context, http2=True, timeout=60) as web:
            for _ in range(20):
                assert web.post("/upload", content=iter([b"one", b"two"])).text == "ok"
    assert len(upstream.received) == 20
    for request in upstream.received:
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /upload HTTP/1.1\r\n"), request
        assert body.count(b"0\r\n\r\n") == 1, body


def test_events_arrive_as_they_happen(web):
    with web.stream("GET", "/sse") as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data:"))
        assert next(lines) == 'data: {"tick":0}'
        assert next(lines) == 'data: {"tick":1}'


def test_redirects_stay_on_https(web, url):
    # The portal here is Pylon itself, whose redirects name its own http address.
    answer = web.get("/grafana?x=1")
    assert (answer.status_code, answer.headers["Location"]) == (301, f"{url}/grafana/?x=1")


def test_many_streams_on_one_connection(url, context):
    async def ask_all():
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(verify=context, http2=True, limits=limits, timeout=60) as web:

            async def ask(number):
                answer = await web.get(f"{url}/download?bytes={number * 1009}")
                return answer.http_version, len(answer.content)

            return await asyncio.gather(*map(ask, range(100)))

    assert asyncio.run(ask_all()) == [("HTTP/2", number * 1009) for number in range(100)]


def test_websockets_are_secure(url, context, portal):
    with connect(f"{url.replace('https', 'wss', 1)}/ws", ssl=for_websockets(context), open_timeout=60, origin=url) as socket:
        for message in ["grüße", os.urandom(1_000_000)]:
            socket.send(message)
            assert socket.recv(timeout=60) == message


def test_a_websockets_server_sees_a_secure_origin_as_its_own(pylon, environment, context):
    seen = []
    with serve(lambda socket: seen.append(socket.request.headers), "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        upstream = f"127.0.0.1:{server.socket.getsockname()[1]}"
        tls = f"127.0.0.1:{free_port()}"
        pylon(PAI_WEB_PORTAL_URI=f"http://{upstream}", PYLON_LISTEN_TLS=tls, **environment)
        connect_options = {"ssl": for_websockets(context), "open_timeout": 10, "origin": f"https://{tls}"}
        with connect(f"wss://{tls}/", **connect_options) as socket:
            list(socket)
        server.shutdown()
    assert (seen[0]["Host"], seen[0]["Origin"]) == (upstream, f"http://{upstream}")
    assert (seen[0]["X-Forwarded-Proto"], seen[0]["X-Forwarded-Host"]) == ("https", tls)


def test_the_plain_port_leads_to_https(doors):
    plain, _ = doors
    answer = requests.get(f"{plain}/a%20b?c=%2F", allow_redirects=False, timeout=60)
    assert (answer.status_code, answer.headers["Location"]) == (307, "https://127.0.0.1/a%20b?c=%2F")
    assert requests.get(f"{plain}/healthz", timeout=60).text.strip() == "Pylon ready."
