"""Certificates and sessions of TLS: which is shown to whom, how files are renewed, and what is said on https alone."""

import functools
import os
import re
import secrets
import ssl
import subprocess

import httpx
import pytest
import trustme

import peers
from peers import Edge, Peer, Teller
from processes import wait_until
from site_files import Site, serial

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
RSA, ECDSA = trustme.KeyType.RSA, trustme.KeyType.ECDSA


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def serials(site):
    return {
        "default": site.issue("default", "default.test"),
        "wildcard": site.issue("wildcard", "*.wild.test"),
        "exact": site.issue("exact", "exact.wild.test", "also.test"),
        "ecdsa": site.issue("ecdsa", "both.test", kind=ECDSA),
        "rsa": site.issue("rsa", "both.test", kind=RSA),
    }


@pytest.fixture(scope="module")
def launch(start):
    """Starts a Pylon with these listeners, before an upstream that tells."""
    with Teller() as teller:
        everything = {"name": "all", "path": "/**", "upstream": "teller"}
        upstreams = {"teller": {"endpoints": [teller.url]}}
        yield lambda listeners, *routes: start(Edge, listeners, upstreams=upstreams, routes=[everything, *routes])


@pytest.fixture(scope="module")
def edge(launch, site, serials):
    suites = ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
    listeners = {
        "sni": site.tls("default", "wildcard", "exact", "ecdsa", "rsa"),
        "strict": site.tls("default", "wildcard", "exact", strict_sni=True),
        "modern": site.tls("default", min_version="1.3"),
        "suites": site.tls("default", ciphers=suites),
        "http1": site.tls("default", http2=False),
        "hsts": site.tls("default", hsts="max-age=31536000; includeSubDomains"),
        "plain": {},
        "redirecting": {"redirect_to_https": True},
    }
    short = {"name": "short", "path": "/short", "hsts": "max-age=1", "answer": {"status": 200, "body": "short"}}
    return launch(listeners, short)


# Which certificate.

CHOICES = {
    "default.test": "default",
    "exact.wild.test": "exact",
    "EXACT.Wild.Test": "exact",
    "other.wild.test": "wildcard",
    "a.other.wild.test": "default",
    "stranger.test": "default",
    None: "default",
}


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("name", CHOICES)
def test_the_name_chooses(edge, site, serials, name, version):
    assert site.shown(edge, "sni", name, version=version) == serials[CHOICES[name]]


def test_the_kind_of_key_chooses(edge, site, serials):
    choose = functools.partial(site.shown, edge, "sni", "both.test", version=TLS12)
    assert choose() == choose(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256") == serials["ecdsa"]
    assert choose(ciphers="ECDHE-RSA-AES128-GCM-SHA256") == serials["rsa"]


def s_client(site, edge, listener, *arguments, ask="/healthz"):
    """What `openssl s_client` says of a connection with one request."""
    command = ["openssl", "s_client", "-connect", edge.authority(listener), "-CAfile", site.trusted, "-ign_eof", *arguments]
    text = peers.request(ask, "Connection: close", host="default.test")
    done = subprocess.run(command, input=text, capture_output=True, timeout=60)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_strict_sni_refuses_strangers(edge, site, version):
    assert "Pylon ready." in s_client(site, edge, "strict", version, "-servername", "default.test")
    for names in [["-servername", "a.b.wild.test"], ["-noservername"]]:
        with edge.rejects("tls_handshake"):
            said = s_client(site, edge, "strict", version, *names)
        assert "unrecognized name" in said and "BEGIN CERTIFICATE" not in said, said


def test_strict_sni_serves_no_other_host(edge, site):
    with site.connect(edge, "strict", "exact.wild.test") as peer:
        for host in ["exact.wild.test", "ALSO.test", f"also.test:{edge.ports['strict']}"]:
            assert peer.ask("/", host=host).status == 200
    for host in ["default.test", "other.wild.test", "stranger.test", "127.0.0.1"]:
        with edge.rejects("misdirected"), site.connect(edge, "strict", "exact.wild.test") as peer:
            assert peer.ask("/", host=host).status == 421
    with site.connect(edge, "sni", "exact.wild.test") as peer:
        assert peer.ask("/", host="default.test").status == 200


def test_strict_sni_over_http2(edge, site):
    with httpx.Client(verify=site.context(), http2=True, timeout=60) as web:
        for host, status in [("exact.wild.test", 200), ("default.test", 421), ("also.test", 200)]:
            request = web.build_request("GET", f"https://127.0.0.1:{edge.ports['strict']}/", headers={"Host": host})
            request.extensions["sni_hostname"] = "exact.wild.test"
            answer = web.send(request)
            assert (answer.http_version, answer.status_code) == ("HTTP/2", status)


# Versions, suites, protocols.


def test_the_oldest_version(edge, site):
    with edge.rejects("tls_handshake"), pytest.raises(ssl.SSLError, match="(?i)alert.*version"):
        site.shown(edge, "modern", version=TLS12)
    site.shown(edge, "modern", version=TLS13)


def test_the_suites_and_their_order(edge, site):
    def chosen(**options):
        with site.connect(edge, "suites", **options) as peer:
            return peer.socket.cipher()[0]

    assert chosen(version=TLS13) == "TLS_CHACHA20_POLY1305_SHA256"
    assert chosen(version=TLS12) == "ECDHE-ECDSA-AES128-GCM-SHA256"
    with edge.rejects("tls_handshake"), pytest.raises(ssl.SSLError, match="(?i)alert"):
        chosen(version=TLS12, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384")
    with edge.rejects("tls_handshake"):
        said = s_client(site, edge, "suites", "-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384")
    assert "handshake failure" in said, said


OFFERS = [(["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), ([], None)]


@pytest.mark.parametrize(("offer", "agreed"), OFFERS)
def test_the_protocol_is_agreed(edge, site, offer, agreed):
    with site.connect(edge, "sni", "default.test", *offer) as peer:
        assert peer.socket.selected_alpn_protocol() == agreed
        if agreed != "h2":
            assert peer.ask("/", host="default.test").status == 200
    with site.connect(edge, "http1", "default.test", *offer) as peer:
        assert peer.socket.selected_alpn_protocol() == (agreed and "http/1.1")
        assert peer.ask("/", host="default.test").status == 200


# Files that change.


@pytest.fixture
def renewed(launch, site):
    """A Pylon with a file and with a pair of files of its own, and a route for one of the names."""
    first = site.issue("live", "live.test", "routed.test")
    site.issue("pair", "pair.test")
    for part in ["crt", "key"]:
        site.replace(f"pair.{part}", (site.directory / "pair").read_bytes())
    files = site.tls("live")
    files["tls"]["certificates"].append({"cert": site.file("pair.crt"), "key": site.file("pair.key")})
    edge = launch({"tls": files}, {"name": "routed", "host": "routed.test", "path": "/**", "upstream": "teller"})
    assert site.shown(edge, "tls", "live.test") == first
    return edge, first


def test_a_new_file_is_noticed(renewed, site):
    edge, first = renewed
    with site.connect(edge, "tls", "live.test") as kept:
        before = kept.ask("/").json()["connection"]
        second = site.issue("live", "live.test", "routed.test", days=40)
        wait_until(lambda: site.shown(edge, "tls", "live.test") == second, what="the new certificate is shown")
        assert serial(kept) == first
        assert kept.ask("/").json()["connection"] == before
    wait_until(lambda: re.search(r"INFO.*certificate", edge.text()), what="the log says so")


def test_a_pair_is_renewed_file_by_file(renewed, site):
    edge, _ = renewed
    before = site.shown(edge, "tls", "pair.test")
    after = site.issue("pair", "pair.test", days=40)
    content = (site.directory / "pair").read_bytes()
    site.replace("pair.crt", content)
    taken, said = edge.reload()
    assert not taken and "pair.key" in said, said
    assert site.shown(edge, "tls", "pair.test") == before
    site.replace("pair.key", content)
    wait_until(lambda: site.shown(edge, "tls", "pair.test") == after, what="the new pair is used")


def half(content):
    return content[: content.rindex(b"-----BEGIN CERTIFICATE-----") + 400]


def other_key(content):
    return trustme.CA().issue_cert("x").private_key_pem.bytes() + content[content.index(b"-----BEGIN CERT") :]


WORSE = {
    "sooner": ({"days": 20}, None, "expires on"),
    "expired": ({"days": -1}, None, "has expired"),
    "less": ({"hosts": ["live.test"]}, None, "`routed.test`"),
    "half": ({}, half, "live"),
    "empty": ({}, lambda content: b"", "live"),
    "another key": ({}, other_key, "key"),
}


@pytest.mark.parametrize("change", WORSE)
def test_what_would_be_worse_is_refused(renewed, site, change):
    edge, first = renewed
    options, damage, word = WORSE[change]
    hosts = options.get("hosts", ["live.test", "routed.test"])
    site.issue("aside", *hosts, days=options.get("days", 40))
    content = (site.directory / "aside").read_bytes()
    site.replace("live", damage(content) if damage else content)
    for _ in range(2):
        taken, said = edge.reload()
        assert not taken and word in said and site.file("live") in said, said
        assert "refused; the configuration before stays in use" in said
        for name in ["live.test", "routed.test"]:
            assert site.shown(edge, "tls", name) == first
    wait_until(lambda: word in edge.text(), what="the log says so")
    better = site.issue("live", "live.test", "routed.test", days=40)
    assert edge.reload()[0]
    assert site.shown(edge, "tls", "live.test") == better


# Sessions of a fleet.


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_instances_share_tickets(launch, site, tmp_path, version):
    keys = {name: secrets.token_hex(48) + "\n" for name in ["one", "two"]}
    site.issue("fleet", "fleet.test")
    edges = {}
    for name, content in {"first": "one", "second": "one", "stranger": "two"}.items():
        site.replace(f"{name}.keys", keys[content].encode())
        os.chmod(site.file(f"{name}.keys"), 0o600)
        edges[name] = launch({"tls": site.tls("fleet", session_tickets={"keys": site.file(f"{name}.keys")})})
    session = tmp_path / "session"

    def resumes(edge):
        said = s_client(site, edge, "tls", version, "-servername", "fleet.test", "-sess_in", session)
        assert "Pylon ready." in said, said
        return "\nReused, TLS" in said

    said = s_client(site, edges["first"], "tls", version, "-servername", "fleet.test", "-sess_out", session)
    assert "\nNew, TLS" in said and "Pylon ready." in said, said
    assert resumes(edges["first"]) and resumes(edges["second"])
    assert not resumes(edges["stranger"])
    # A new one is put in front; then the old one goes.
    for content, resumed in [(keys["two"] + keys["one"], True), (keys["two"], False)]:
        site.replace("second.keys", content.encode())
        assert edges["second"].reload()[0]
        assert resumes(edges["second"]) == resumed
    site.issue("fleet", "fleet.test", days=40)
    assert edges["first"].reload()[0]
    assert resumes(edges["first"])  # sessions go on across a change of certificates


# What https has and http has not.


def test_hsts_is_said_on_https_alone(edge, site):
    with site.connect(edge, "hsts") as peer, Peer(edge.ports["plain"]) as plain:
        for target, value in [("/", "max-age=31536000; includeSubDomains"), ("/short", "max-age=1")]:
            assert peer.ask(target).headers.get("strict-transport-security") == value
            assert "strict-transport-security" not in plain.ask(target).headers
    with site.connect(edge, "sni") as peer:
        assert "strict-transport-security" not in peer.ask("/").headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_plain_listener_leads_to_https(edge, method):
    with Peer(edge.ports["redirecting"]) as peer:
        answer = peer.ask("/a%20b/?c=%2F", method=method, host="default.test:8080")
        assert (answer.status, answer.headers["location"]) == (307, "https://default.test/a%20b/?c=%2F")
        assert "strict-transport-security" not in answer.headers
        assert peer.ask("/healthz", host="default.test").status == 200
