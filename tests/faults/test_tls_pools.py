"""Pools with TLS: whom an authority vouches for, whose connections are whose, and what a configuration may say."""

import contextlib
import json
import os
import select
import shutil
import ssl
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

from client import BODY, call, together
from h2origin import H2Origin, H2Wire, Stream
from h2origin import ok as ok_by_h2
from origins import Origin, ok
from processes import BINARY, free_port, wait_until
from proxies import pool
from wire import Ended, Wire

TIMES = {"connect": "5s", "tls": "10s", "first_byte": "10s", "idle": "10s"}
FENCE = "-----%s CERTIFICATE-----\n"
NEW = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
# Only `openssl ca` can sign for a time that is over.
AUTHORITY = """
[ca]
default_ca = it
[it]
database = index
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
rand_serial = yes
[any]
commonName = supplied
"""
LEAVES = {
    "good": "DNS:good.test",
    "wide": "DNS:*.good.test",
    "under": "DNS:my_host.test",
    "address": "IP:127.0.0.1",
    "address-as-name": "DNS:127.0.0.1",
    "none": "email:some@good.test",
    "client": "DNS:client.test",
}


class Authority:
    """An authority in a folder: `pem` is its certificate, and `sign` makes one for another."""

    def __init__(self, folder, name="root", by=None):
        self.folder, self.name, self.by = folder, name, by
        self.pem = folder / f"{name}.pem"
        (folder / "ca.cnf").write_text(AUTHORITY)
        (folder / "index").touch()
        if by is None:
            self.openssl(f"req -x509 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name} -days 30 {NEW}")
        else:
            by.sign(name, "DNS:unused.test", "basicConstraints=critical,CA:TRUE")

    def openssl(self, command):
        subprocess.run(["openssl", *command.split()], cwd=self.folder, check=True, capture_output=True, timeout=120)

    def sign(self, name, names, *extensions, time="-days 30"):
        added = " ".join(f"-addext {one}" for one in (f"subjectAltName={names}", *extensions))
        self.openssl(f"req -nodes -keyout {name}.key -out {name}.csr -subj /CN={name} {added} {NEW}")
        signed = f"-batch -notext -in {name}.csr -out {name}.pem {time}"
        self.openssl(f"ca -config ca.cnf -cert {self.name}.pem -keyfile {self.name}.key {signed}")
        return self.folder / f"{name}.pem"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two authorities, `root` and `other`, and the certificates that `root` has signed."""
    folder = tmp_path_factory.mktemp("authorities")
    root = Authority(folder)
    Authority(folder, "other").sign("stranger", "DNS:good.test")
    for name, names in LEAVES.items():
        root.sign(name, names)
    root.sign("expired", "DNS:good.test", time="-startdate 20200101000000Z -enddate 20200201000000Z")
    root.sign("early", "DNS:good.test", time="-startdate 20900101000000Z -enddate 20910101000000Z")
    Authority(folder, "middle", by=root).sign("below", "DNS:good.test")
    shutil.copy(folder / "below.key", folder / "chain.key")
    (folder / "chain.pem").write_text((folder / "below.pem").read_text() + (folder / "middle.pem").read_text())
    return folder


class SafeWire(Wire):
    """Python's TLS bears no two threads at once: whoever reads waits outside of it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.turn = threading.Lock()

    def more(self):
        if not self.sock.pending() and not select.select([self.sock], [], [], 30)[0]:
            raise Ended("timeout")
        with self.turn:
            super().more()

    def send(self, *pieces):
        with self.turn:
            super().send(*pieces)


class Secure(H2Origin):
    """An origin that speaks HTTP/1.1 and HTTP/2; `agreed` has what each handshake has agreed on."""

    def __init__(self, certificate, protocols=("h2", "http/1.1"), ask_for=None, **options):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self.context.set_alpn_protocols(list(protocols))
        if ask_for:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(ask_for)
        self.agreed = []
        super().__init__(self.plays, **options)

    @property
    def url(self):
        return f"https://{self.address}"

    def wrap(self, sock):
        return SafeWire(sock, 30.0)

    def plays(self, wire, request):
        return (ok_by_h2 if isinstance(wire, H2Wire) else ok)(wire, request)

    def serve(self, wire):
        with contextlib.suppress(ssl.SSLError, OSError):
            wire.sock = self.context.wrap_socket(wire.sock, server_side=True)
            agreed = wire.sock.selected_alpn_protocol()
            self.agreed.append(agreed)
            if agreed == "h2":
                super().serve(wire)
            else:
                Origin.serve(self, wire)


def secure(origin, protocol="http1", **tls):
    return pool(origin, protocol=protocol, tls=tls, timeouts=TIMES)


def pair(cert, key):
    return {"certificate": {"cert": str(cert), "key": str(key)}}


def refused(proxy, origin, path="/one/x", method="GET"):
    """It is 502, and the origin sees nothing of it."""
    before = len(origin.heads)
    answer = call(proxy, path, method, body=BODY if method == "POST" else None)
    assert (answer.status, answer.complete) == (502, True), answer
    assert len(origin.heads) == before


PROTOCOLS = pytest.mark.parametrize("protocol", ["http1", "h2"])


@PROTOCOLS
@pytest.mark.parametrize(
    "name, asked", [("good", "good.test"), ("chain", "good.test"), ("wide", "a.good.test"), ("under", "my_host.test")]
)
def test_who_is_vouched_for_is_served(rig, folder, protocol, name, asked):
    origin = rig.origin(folder / f"{name}.pem", kind=Secure)
    proxy = rig.proxy({"one": secure(origin, protocol, ca=str(folder / "root.pem"), server_name=asked)})
    assert [call(proxy, "/one/x", "POST", body=BODY).status for _ in range(3)] == [200] * 3
    assert [request.body for request in origin.executed] == [BODY] * 3


@PROTOCOLS
@pytest.mark.parametrize("name", ["expired", "early", "stranger", "below", "wide", "address", "none"])
def test_who_is_not_vouched_for_is_502(rig, folder, protocol, name):
    origin = rig.origin(folder / f"{name}.pem", kind=Secure)
    proxy = rig.proxy({"one": secure(origin, protocol, ca=str(folder / "root.pem"), server_name="good.test")})
    for method in ("GET", "POST"):
        refused(proxy, origin, method=method)


@PROTOCOLS
def test_several_authorities_are_all_believed(rig, folder, protocol):
    both = rig.directory() / "both.pem"
    both.write_text((folder / "other.pem").read_text() + (folder / "root.pem").read_text())
    origins = [rig.origin(folder / f"{name}.pem", kind=Secure) for name in ("good", "stranger")]
    keys = {"ca": str(both), "server_name": "good.test"}
    proxy = rig.proxy({f"to-{at}": secure(origin, protocol, **keys) for at, origin in enumerate(origins)})
    assert [call(proxy, f"/to-{at}/x").status for at in (0, 1)] == [200, 200]


@PROTOCOLS
@pytest.mark.parametrize("name", ["address", "address-as-name", "good", "none"])
def test_an_address_has_to_be_in_the_certificate(rig, folder, protocol, name):
    origin = rig.origin(folder / f"{name}.pem", kind=Secure)
    proxy = rig.proxy({"one": secure(origin, protocol, ca=str(folder / "root.pem"))})
    if name == "address":
        assert call(proxy, "/one/x").status == 200
    else:
        refused(proxy, origin)


@PROTOCOLS
@pytest.mark.parametrize("name", ["expired", "stranger", "address", "none"])
def test_who_is_not_verified_is_served(rig, folder, protocol, name):
    origin = rig.origin(folder / f"{name}.pem", kind=Secure)
    keys = {"ca": str(folder / "root.pem"), "server_name": "good.test"}
    proxy = rig.proxy({"one": secure(origin, protocol, verify=False, **keys), "two": secure(origin, protocol, **keys)})
    assert [call(proxy, "/one/x").status for _ in range(3)] == [200] * 3
    refused(proxy, origin, "/two/x")


@PROTOCOLS
def test_a_certificate_is_shown_to_who_asks(rig, folder, protocol):
    origin = rig.origin(folder / "good.pem", kind=Secure, ask_for=folder / "root.pem")
    keys = {"ca": str(folder / "root.pem"), "server_name": "good.test"}
    shown = {name: pair(folder / f"{name}.pem", folder / f"{name}.key") for name in ("client", "stranger")}
    pools = {name: secure(origin, protocol, **keys, **one) for name, one in shown.items()}
    proxy = rig.proxy(pools | {"bare": secure(origin, protocol, **keys)})
    for _ in range(3):
        assert call(proxy, "/client/x").status == 200
        refused(proxy, origin, "/stranger/x")
        refused(proxy, origin, "/bare/x")


def test_protocols_do_not_share_connections(rig, folder):
    origin = rig.origin(folder / "good.pem", kind=Secure)
    keys = {"ca": str(folder / "root.pem"), "server_name": "good.test"}
    proxy = rig.proxy({name: secure(origin, name, **keys) for name in ("http1", "h2")})
    for _ in range(10):
        assert [call(proxy, f"/{name}/x").status for name in ("http1", "h2")] == [200, 200]
    spoken = {(isinstance(request, Stream), request.target) for request in origin.executed}
    assert spoken == {(False, "/http1/x"), (True, "/h2/x")} and len(origin.executed) == 20
    assert sorted(agreed == "h2" for agreed in origin.agreed) == [False, True]


def test_h2_is_not_spoken_to_who_does_not_agree_to_it(rig, folder):
    origin = rig.origin(folder / "good.pem", ["http/1.1"], kind=Secure)
    proxy = rig.proxy({"one": secure(origin, "h2", ca=str(folder / "root.pem"), server_name="good.test")})
    for method in ("GET", "POST"):
        refused(proxy, origin, method=method)


@PROTOCOLS
def test_who_does_not_trust_has_no_part_in_the_connections_of_others(rig, folder, protocol):
    """However warm they are, and also with those that trust anybody."""
    origin = rig.origin(folder / "good.pem", kind=Secure, ask_for=folder / "root.pem")
    certificate = pair(folder / "client.pem", folder / "client.key")
    trust = {"ca": str(folder / "root.pem"), "server_name": "good.test"} | certificate
    strange = {"name": {"server_name": "else.test"}, "bare": {"certificate": None}}
    strange["ca"] = {"ca": str(folder / "other.pem")}
    pools = {"trusts": trust, "blind": trust | {"verify": False}, "system": certificate | {"server_name": "good.test"}}
    pools |= {name: trust | change for name, change in strange.items()}
    proxy = rig.proxy({name: secure(origin, protocol, **keys) for name, keys in pools.items()})
    for _ in range(3):
        for name in ("trusts", "blind"):
            assert together(8, lambda _: call(proxy, f"/{name}/x").status) == [200] * 8
        for name in (*strange, "system"):
            together(4, lambda _: refused(proxy, origin, f"/{name}/x"))


def reloads(proxy):
    """Whether a reload takes the configuration over."""
    request = urllib.request.Request(f"http://{proxy.admin}/api/reload", method="POST")
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=30):
        return True
    return False


@PROTOCOLS
def test_a_reload_reads_the_authorities_again(rig, folder, protocol):
    """The text of the configuration stays as it is."""
    origin = rig.origin(folder / "good.pem", kind=Secure)
    file = rig.directory() / "ca.pem"

    def put(name):
        shutil.copy(folder / name, file.with_suffix(".new"))
        os.replace(file.with_suffix(".new"), file)

    put("other.pem")
    proxy = rig.proxy({"one": secure(origin, protocol, ca=str(file), server_name="good.test")})
    refused(proxy, origin)
    for name, status in ("root.pem", 200), ("other.pem", 502), ("root.pem", 200):
        put(name)
        proxy.hang_up()
        wait_until(lambda: call(proxy, "/one/x").status == status, 10, f"{name} is in use")
        assert together(8, lambda _: call(proxy, "/one/x").status) == [status] * 8
    put("good.key")
    assert not reloads(proxy)
    assert call(proxy, "/one/x").status == 200
    put("other.pem")
    assert reloads(proxy)
    refused(proxy, origin)


MISTAKES = {
    "no-file": ({"ca": "nothing.pem"}, "tls.ca"),
    "a-folder": ({"ca": "."}, "tls.ca"),
    "an-empty-file": ({"ca": "empty.pem"}, "tls.ca"),
    "garbage": ({"ca": "garbage.pem"}, "tls.ca"),
    "a-broken-certificate": ({"ca": "broken.pem"}, "tls.ca"),
    "a-key-for-an-authority": ({"ca": "root.key"}, "tls.ca"),
    "the-key-of-another": (pair("client.pem", "good.key"), "tls.certificate.key"),
    "no-key": (pair("client.pem", "nothing.key"), "tls.certificate.key"),
    "no-certificate": (pair("nothing.pem", "client.key"), "tls.certificate.cert"),
    "garbage-for-a-certificate": (pair("garbage.pem", "client.key"), "tls.certificate.cert"),
    "garbage-for-a-key": (pair("client.pem", "garbage.pem"), "tls.certificate.key"),
    "a-name-that-is-none": ({"server_name": "my host!"}, "tls.server_name"),
    "a-host-that-is-none": ("https://my_host!", "endpoints[0]"),
    "a-host-with-a-hole": ("https://my..host", "endpoints[0]"),
    "a-host-that-tls-cannot-ask-for": ("https://-host-", "endpoints[0].url"),
}


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named_at_its_key(folder, verb, kind):
    said, key = MISTAKES[kind]
    for name, text in ("empty", ""), ("garbage", "garbage\n"), ("broken", f"{FENCE % 'BEGIN'}AAAA\n{FENCE % 'END'}"):
        (folder / f"{name}.pem").write_text(text)
    listener = {"address": f"127.0.0.1:{free_port()}"}
    upstream = {"endpoints": [said]} if isinstance(said, str) else {"endpoints": ["https://good.test"], "tls": said}
    file = folder / "mistake.yaml"
    file.write_text(json.dumps({"listeners": [listener], "upstreams": {"one": upstream}}))
    ended = subprocess.run([BINARY, verb, "-c", file], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 78, ended
    assert f" upstreams.one.{key}: " in ended.stdout + ended.stderr, ended
