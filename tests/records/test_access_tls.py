"""What the access log says of TLS, HTTP/2 and certificates of clients."""

import socket
import ssl
import struct

import httpx
import pytest
import trustme
from cryptography import x509

from instance import forward
from rig import mark


@pytest.fixture(scope="module")
def authority():
    return trustme.CA(organization_name="Clients")


@pytest.fixture(scope="module")
def instance(start, site, rig, authority):
    authority.cert_pem.write_to_path(site.file("clients.pem"))
    asks = site.tls("default")
    asks["tls"]["client_certificates"] = {"mode": "optional", "ca": site.file("clients.pem")}
    listeners = {"http": {}, "https": site.tls("default"), "asks": asks}
    return start(listeners=listeners, upstreams={"rig": {"endpoints": [rig.url]}}, routes=[forward("rig")])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_version_of_tls(instance, site, version):
    text, context = mark("tls"), site.context("http/1.1", version=version)
    with instance.peer("https", context=context, name="default.test") as peer:
        assert peer.ask(f"/rig/?{text}").status == 200
        spoken = peer.socket.version()
    line = instance.entry(text)
    assert (line["tls"], line["protocol"], line["user"]) == (spoken, "HTTP/1.1", None)


@pytest.mark.parametrize("listener", ["http", "https"])
def test_http2(instance, site, listener):
    text = mark("two")
    options = {"verify": site.context("h2")} if listener == "https" else {}
    url = f"{listener}://{instance.authority(listener)}/rig/?{text}"
    with httpx.Client(http1=False, http2=True, timeout=60, **options) as client:
        answer = client.post(url, content=b"12345")
    line = instance.entry(text)
    assert (line["protocol"], answer.http_version) == ("HTTP/2.0", "HTTP/2")
    assert line["tls"] == ("TLSv1.3" if listener == "https" else None)
    expected = {"host": instance.authority(listener), "path": "/rig/", "method": "POST", "status": 200, "request_bytes": 5}
    assert {key: line[key] for key in expected} == expected and line["response_bytes"] == len(answer.content)


def test_http_1_0(instance):
    text = mark("old")
    with instance.peer() as peer:
        peer.send(f"GET /rig/?{text} HTTP/1.0\r\n\r\n".encode())
        assert peer.answer().status == 200
    line = instance.entry(text)
    assert (line["protocol"], line["host"]) == ("HTTP/1.0", instance.authority("http"))


def test_the_user_is_the_subject_of_the_certificate(instance, site, rig, authority):
    certificate = authority.issue_cert("worker.example.org", common_name="worker 7", organization_name='Ex"ample, Ltd')
    context, text, nobody = site.context("http/1.1"), mark("user"), mark("nobody")
    certificate.configure_cert(context)
    with instance.peer("asks", context=context, name="default.test") as peer:
        assert peer.ask(f"/rig/?{text}", "X-Client-Cert-Subject: CN=forged").status == 200
    with instance.peer("asks", context=site.context("http/1.1"), name="default.test") as peer:
        assert peer.ask(f"/rig/?{nobody}", "X-Client-Cert-Subject: CN=forged").status == 200
    subject = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).subject.rfc4514_string()
    line = instance.entry(text)
    user, record = line["user"], instance.api(f"/api/why/{line['id']}").json()
    assert (record["user"], record["tls"]) == (user, "TLSv1.3")
    [seen] = rig.of(text)
    assert user == seen.one("x-client-cert-subject") and "worker 7" in user
    assert sorted(user.replace("\\", "").split(",")) == sorted(subject.replace("\\", "").split(","))
    assert instance.entry(nobody)["user"] is None


@pytest.mark.parametrize("end", ["politely", "without a word", "by a reset"])
@pytest.mark.parametrize("listener", ["http", "https"])
def test_a_tunnel_is_a_tunnel_however_it_ends(instance, site, listener, end):
    """Browsers do not say farewell when a tab is closed. For how long it was open says nothing about the route."""
    text, context = mark("tunnel"), site.context("http/1.1") if listener == "https" else None
    instance.settled()
    counted = instance.total("pylon_http_request_duration_seconds_count", route="rig")
    with instance.peer(listener, context=context, name="default.test") as peer:
        assert peer.ask(f"/rig/upgrade?{text}", "Connection: Upgrade", "Upgrade: websocket").status == 101
        peer.send(b"ping")
        assert peer.file.read(4) == b"ping"
        if end == "by a reset":
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end == "politely" and context:
            peer.socket = peer.socket.unwrap()
    line = instance.entry(text)
    instance.settled()
    assert instance.total("pylon_http_request_duration_seconds_count", route="rig") == counted
    assert (line["status"], line["outcome"], line["response_bytes"]) == (101, "upgraded", 4)
