"""Origins behind TLS: who is not whom Pylon expects, or does not get as far as saying so."""

import contextlib
import ssl
import subprocess

import pytest

from client import BODY, FEW, call
from origins import Origin, ok
from proxies import pool
from wire import Ended, Wire

TIMES = {"connect": "5s", "tls": "5s", "first_byte": "10s", "idle": "10s"}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Certificates of their own, each with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, host in [("good", "good.test"), ("other", "good.test"), ("client", "client.test")]:
        files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"]
        names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command = ["openssl", "req", "-x509", *curve, *files, *names, "-days", "30"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)
    return folder


class TlsOrigin(Origin):
    def __init__(self, certificate, play=ok, ask_for=None, **options):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        if ask_for:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(ask_for)
        super().__init__(play, **options)

    @property
    def url(self):
        return f"https://{self.address}"

    def serve(self, wire):
        if self.accept and self.accept(wire):
            return
        with contextlib.suppress(ssl.SSLError, Ended, OSError):
            wire.sock = self.context.wrap_socket(wire.sock, server_side=True)
            super().serve(wire)


def behind(rig, origin, times=TIMES, **tls):
    return rig.proxy({"one": pool(origin, tls=tls, timeouts=times)})


@pytest.fixture
def good(rig, pairs):
    return rig.origin(pairs / "good.pem", kind=TlsOrigin)


def trusting(rig, good, pairs, **more):
    return behind(rig, good, **{"ca": str(pairs / "good.pem"), "server_name": "good.test"} | more)


@pytest.mark.parametrize("form", FEW, ids=str)
def test_who_is_trusted_is_served(rig, good, pairs, form):
    proxy = trusting(rig, good, pairs)
    answers = [call(proxy, "/one/x", **form.sends) for _ in range(3)]
    assert [(answer.status, answer.complete) for answer in answers] == [(200, True)] * 3
    assert [request.body for request in good.executed] == [form.body] * 3


@pytest.mark.parametrize("kind", ["unknown", "of-another", "of-another-name"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_is_not_trusted_is_502_and_gets_nothing(rig, good, pairs, kind, method):
    if kind == "unknown":
        proxy = behind(rig, good, server_name="good.test")
    else:
        change = {"of-another": {"ca": str(pairs / "other.pem")}, "of-another-name": {"server_name": "else.test"}}[kind]
        proxy = trusting(rig, good, pairs, **change)
    answer = call(proxy, "/one/x", method, body=BODY if method == "POST" else None)
    assert (answer.status, answer.complete) == (502, True), answer
    assert not good.heads


def test_who_is_not_verified_is_served(rig, good):
    assert call(behind(rig, good, verify=False), "/one/x").status == 200


def test_the_name_is_asked_for(rig, good, pairs):
    names = []
    good.context.sni_callback = lambda _, name, __: names.append(name)
    assert call(trusting(rig, good, pairs), "/one/x").status == 200
    assert names == ["good.test"]


def test_pylon_can_show_a_certificate(rig, pairs):
    origin = rig.origin(pairs / "good.pem", kind=TlsOrigin, ask_for=pairs / "client.pem")
    pair = {"cert": str(pairs / "client.pem"), "key": str(pairs / "client.key")}
    assert call(trusting(rig, origin, pairs, certificate=pair), "/one/x").status == 200
    wrong = {"cert": str(pairs / "other.pem"), "key": str(pairs / "other.key")}
    assert call(trusting(rig, origin, pairs, certificate=wrong), "/one/x").status == 502
    assert call(trusting(rig, origin, pairs), "/one/x").status == 502
    assert len(origin.executed) == 1


ACCEPTS = {
    "resets": lambda wire: wire.reset() or True,
    "leaves": lambda wire: True,
    "text": lambda wire: wire.send("HTTP/1.1 400 Bad Request\r\n\r\nleaked") or True,
    "an-alert": lambda wire: wire.send("\x15\x03\x03\x00\x02\x02\x28") or True,
    "zeros": lambda wire: wire.send("\0" * 500) or True,
}


@pytest.mark.parametrize("kind", ACCEPTS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_handshake_that_fails_is_502(rig, good, pairs, kind, method):
    good.accept = ACCEPTS[kind]
    proxy = trusting(rig, good, pairs)
    answer = call(proxy, "/one/x", method)
    assert (answer.status, answer.complete) == (502, True), answer
    assert not answer.holds("leaked")
    good.accept = None
    assert call(proxy, "/one/x").status == 200


def test_a_handshake_that_takes_too_long_is_504(rig, good, pairs):
    good.accept = lambda wire: wire.until_left() or True
    answer = call(trusting(rig, good, pairs, times=TIMES | {"tls": "500ms"}), "/one/x")
    assert (answer.status, answer.complete) == (504, True), answer


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_takes_over_when_a_handshake_fails(rig, good, pairs, method):
    bad = rig.origin(pairs / "good.pem", kind=TlsOrigin, accept=ACCEPTS["leaves"])
    tls = {"ca": str(pairs / "good.pem"), "server_name": "good.test"}
    proxy = rig.proxy({"one": pool(bad, good, tls=tls, retry={"attempts": 3, "budget": "100%"})})
    assert [call(proxy, "/one/x", method).status for _ in range(4)] == [200] * 4
    assert len(good.executed) == 4


def test_tls_where_none_is_expected_is_502(rig, good):
    plain = rig.proxy({"one": {**pool(good, timeouts=TIMES), "endpoints": [f"http://{good.address}"]}})
    answer = call(plain, "/one/x", "POST", body=BODY)
    assert (answer.status, answer.complete) == (502, True), answer


def test_an_end_without_goodbye_in_a_body_never_looks_whole(rig, good, pairs):
    """TLS that is cut by the network: no close_notify."""

    def play(wire, _):
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\nsome")
        Wire(wire.sock).finish()

    good.play = play
    answer = call(trusting(rig, good, pairs), "/one/x")
    assert answer.cut or answer.status == 502, answer
