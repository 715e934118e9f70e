"""Certificates of clients: who gets in, and what the upstream is told of them."""

import datetime
import ssl

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from peers import Edge, Peer, Teller, values

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
REFUSED = (ssl.SSLError, ConnectionError)
FORGED = [
    "X-Client-Cert-Subject: CN=forged",
    "X-Client-Cert-Issuer: CN=forged",
    "X-Client-Cert-Names: forged",
    "X-Client-Cert-Serial: 1",
    "X-Client-Cert-Fingerprint: forged",
    "x-client-cert-subject: CN=forged again",
    "X-Client-Cert-Verified: forged",
    "X_Client_Cert_Subject: CN=forged",
    "X-Client_Cert-Fingerprint: forged",
]


class Clients:
    """An authority of clients, its list of revocations, and the contexts of its clients."""

    def __init__(self, site):
        self.site, self.authority = site, trustme.CA(organization_name="Clients, Inc.")
        self.revoked = []

    def issue(self, *names, authority=None, **fields):
        return (authority or self.authority).issue_cert(*names, **fields)

    def context(self, certificate=None, *, version=None, protocols=("http/1.1",)):
        context = ssl.create_default_context()
        self.site.configure_trust(context)
        context.set_alpn_protocols(list(protocols))
        if version:
            context.minimum_version = context.maximum_version = version
        if certificate:
            certificate.configure_cert(context)
        return context

    def crl(self):
        """The list, in PEM."""
        now = datetime.datetime.now(datetime.UTC)
        issuer = x509.load_pem_x509_certificate(self.authority.cert_pem.bytes())
        key = serialization.load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
        builder = builder.last_update(now - datetime.timedelta(days=1)).next_update(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.CRLNumber(len(self.revoked)), False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
        builder = builder.add_extension(identifier, False)
        for certificate in self.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(parsed(certificate).serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(now).build())
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def parsed(certificate):
    return x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())


@pytest.fixture(scope="module")
def clients():
    return Clients(trustme.CA())


@pytest.fixture(scope="module")
def good(clients):
    names = ("worker.example.org", "Ops@example.org", "*.workers.example.org")
    return clients.issue(*names, common_name="worker 7", organization_name='Ex"ample, Ltd+')


@pytest.fixture(scope="module")
def revoked(clients):
    certificate = clients.issue("revoked.example.org")
    clients.revoked.append(certificate)
    return certificate


@pytest.fixture(scope="module")
def stranger(clients):
    return clients.issue("worker.example.org", authority=trustme.CA())


@pytest.fixture(scope="module")
def launch(clients, revoked, start, tmp_path_factory):
    """Starts a Pylon with a plain listener, and TLS ones that ask for no, for optional and for required certificates."""
    with Teller() as teller:

        def launch():
            directory = tmp_path_factory.mktemp("certificates")
            clients.site.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(directory / "site.pem")
            clients.authority.cert_pem.write_to_path(directory / "clients.pem")
            (directory / "clients.crl").write_bytes(clients.crl())
            site = {"certificates": [{"cert": str(directory / "site.pem"), "key": str(directory / "site.pem")}]}
            listeners = {"plain": {}, "tls": {"tls": site}}
            for mode in ["optional", "required"]:
                demand = {"mode": mode, "ca": str(directory / "clients.pem"), "crl": str(directory / "clients.crl")}
                listeners[mode] = {"tls": site | {"client_certificates": demand}}
            upstreams = {"teller": {"endpoints": [teller.url]}}
            edge = start(Edge, listeners, upstreams=upstreams, routes=[{"name": "all", "path": "/**", "upstream": "teller"}])
            edge.certificates = directory
            return edge

        yield launch


@pytest.fixture(scope="module")
def edge(launch):
    return launch()


def told(seen):
    """What the upstream was told of the client's certificate, under any spelling."""
    known = {}
    for name, value in seen["headers"]:
        if name.replace("_", "-").startswith("x-client-cert"):
            assert name not in known, f"{name} twice"
            known[name] = value
    return known


def says(certificate):
    """What an upstream has to be told of a certificate."""
    it = parsed(certificate)
    names = it.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    of = [names.get_values_for_type(kind) for kind in (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name)]
    return {
        "x-client-cert-subject": it.subject.rfc4514_string(),
        "x-client-cert-issuer": it.issuer.rfc4514_string(),
        "x-client-cert-names": ",".join(sum(of, [])),
        "x-client-cert-serial": f"{it.serial_number:X}",
        "x-client-cert-fingerprint": it.fingerprint(hashes.SHA256()).hex(),
    }


def refusal(edge, listener, context, **options):
    """How a client is refused: its connection gets an alert, at the latest with its first request."""
    with edge.rejects("tls_handshake"), pytest.raises(REFUSED) as caught:
        with Peer(edge.ports[listener], context=context, **options) as peer:
            peer.ask("/")
    return str(caught.value).upper()


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("mode", ["optional", "required"])
def test_a_good_certificate_is_told(edge, clients, good, mode, version):
    with Peer(edge.ports[mode], context=clients.context(good, version=version)) as peer:
        for _ in range(2):
            assert told(peer.ask("/x").json()) == says(good)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_without_a_certificate(edge, clients, version):
    context = clients.context(version=version)
    with Peer(edge.ports["optional"], context=context) as peer:
        assert told(peer.ask("/x").json()) == {}
    assert "ALERT" in refusal(edge, "required", context)


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("mode", ["optional", "required"])
def test_one_of_another_authority_is_refused(edge, clients, stranger, mode, version):
    assert "ALERT" in refusal(edge, mode, clients.context(stranger, version=version))


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("mode", ["optional", "required"])
def test_one_that_is_revoked_is_refused(edge, clients, revoked, mode, version):
    assert "ALERT" in refusal(edge, mode, clients.context(revoked, version=version))


def test_one_that_has_expired_is_refused(edge, clients):
    now = datetime.datetime.now(datetime.UTC)
    past = {"not_before": now - datetime.timedelta(days=9), "not_after": now - datetime.timedelta(days=1)}
    assert "ALERT" in refusal(edge, "required", clients.context(clients.issue("late.example.org", **past)))


def test_a_name_cannot_break_out_of_its_header(edge, clients):
    name = "a\r\nX-Evil: 1\r\n\r\nGET /smuggled HTTP/1.1"
    evil = clients.issue("a.example.org", common_name=name, organization_name="grüße, ☃")
    with Peer(edge.ports["required"], context=clients.context(evil)) as peer:
        for _ in range(2):
            seen = peer.ask("/x").json()
            assert seen["line"] == "GET /x HTTP/1.1"
            assert values(seen, "X-Evil") == []
            assert told(seen)["x-client-cert-fingerprint"] == says(evil)["x-client-cert-fingerprint"]


# What clients say themselves.


@pytest.mark.parametrize("listener", ["plain", "tls", "optional"])
def test_a_client_cannot_tell_by_itself(edge, clients, listener):
    context = None if listener == "plain" else clients.context()
    with Peer(edge.ports[listener], context=context) as peer:
        assert told(peer.ask("/x", *FORGED).json()) == {}
        upgrade = peer.ask("/x", "Connection: upgrade", "Upgrade: websocket", *FORGED)
        assert told(upgrade.json()) == {}


@pytest.mark.parametrize("mode", ["optional", "required"])
def test_what_a_client_tells_is_replaced(edge, clients, good, mode):
    with Peer(edge.ports[mode], context=clients.context(good)) as peer:
        assert told(peer.ask("/x", *FORGED).json()) == says(good)
        # A connection header that names one of them takes nothing away.
        answer = peer.ask("/x", "Connection: X-Client-Cert-Subject")
        assert answer.status == 400 or told(answer.json()) == says(good)


@pytest.mark.parametrize("shows", [False, True])
def test_over_http2_too(edge, clients, good, shows):
    context = clients.context(good if shows else None, protocols=["h2", "http/1.1"])
    forged = [tuple(line.split(": ", 1)) for line in FORGED]
    with httpx.Client(verify=context, http2=True, timeout=60) as web:
        answer = web.get(f"https://localhost:{edge.ports['optional']}/x", headers=forged)
    assert answer.http_version == "HTTP/2"
    assert told(answer.json()) == (says(good) if shows else {})


# Sessions that are resumed, and changes of the files.


def resumable(edge, listener, context):
    """A session of a connection that has served a request."""
    with Peer(edge.ports[listener], context=context) as peer:
        before = told(peer.ask("/x").json())
        return peer.socket.session, before


@pytest.mark.parametrize("version", [TLS12, TLS13])
@pytest.mark.parametrize("mode", ["optional", "required"])
def test_a_resumed_session_has_its_certificate(edge, clients, good, mode, version):
    context = clients.context(good, version=version)
    session, before = resumable(edge, mode, context)
    with Peer(edge.ports[mode], context=context, session=session) as peer:
        assert peer.socket.session_reused
        assert told(peer.ask("/x", *FORGED).json()) == before == says(good)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_resumed_session_without_one_has_none(edge, clients, version):
    context = clients.context(version=version)
    session, before = resumable(edge, "optional", context)
    with Peer(edge.ports["optional"], context=context, session=session) as peer:
        assert peer.socket.session_reused
        assert told(peer.ask("/x", *FORGED).json()) == before == {}


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_session_does_not_get_in_where_certificates_are_required(edge, clients, version):
    # One of a listener that asks for none, or is content with none, is worth nothing at the one that requires one.
    for listener in ["tls", "optional"]:
        context = clients.context(version=version)
        session, _ = resumable(edge, listener, context)
        assert "ALERT" in refusal(edge, "required", context, session=session)


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_revocation_ends_sessions(launch, clients, version):
    edge = launch()
    for mode in ["optional", "required"]:
        leaver, stays = clients.issue("leaver.example.org"), clients.issue("stays.example.org")
        context, other = clients.context(leaver, version=version), clients.context(stays, version=version)
        session, _ = resumable(edge, mode, context)
        with Peer(edge.ports[mode], context=context) as kept:
            kept.ask("/x").json()
            clients.revoked.append(leaver)
            (edge.certificates / "clients.crl").write_bytes(clients.crl())
            taken, said = edge.reload()
            assert taken, said
            assert "ALERT" in refusal(edge, mode, context, session=session)
            assert told(kept.ask("/x").json()) == says(leaver)  # a connection that is there stays
        with Peer(edge.ports[mode], context=other) as peer:
            assert told(peer.ask("/x").json()) == says(stays)


def test_another_authority_is_taken_over(launch, clients, good):
    edge = launch()
    successor = Clients(clients.site)
    newcomer = successor.issue("new.example.org")
    context = clients.context(good)
    session, _ = resumable(edge, "required", context)
    (edge.certificates / "clients.crl").write_bytes(clients.crl() + successor.crl())
    successor.authority.cert_pem.write_to_path(edge.certificates / "clients.pem")
    taken, said = edge.reload()
    assert taken, said
    assert "ALERT" in refusal(edge, "required", context, session=session)
    with Peer(edge.ports["required"], context=successor.context(newcomer)) as peer:
        assert told(peer.ask("/x").json()) == says(newcomer)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN X509 CRL-----\nMIIB", b"no list"])
def test_a_broken_list_changes_nothing(launch, clients, good, revoked, content):
    edge = launch()
    (edge.certificates / "clients.crl").write_bytes(content)
    taken, said = edge.reload()
    assert not taken and "clients.crl" in said
    with Peer(edge.ports["required"], context=clients.context(good)) as peer:
        assert told(peer.ask("/x").json()) == says(good)
    assert "ALERT" in refusal(edge, "required", clients.context(revoked))
