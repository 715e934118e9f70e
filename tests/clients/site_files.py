"""The certificates of a site, in files that can be replaced, and clients that look at what is shown."""

import datetime
import os
import ssl

import trustme
from cryptography import x509

from peers import Peer


class Site:
    """An authority, and the files of certificates that it has signed."""

    def __init__(self, directory):
        self.directory, self.authority = directory, trustme.CA()
        self.trusted = directory / "authority.pem"
        self.authority.cert_pem.write_to_path(self.trusted)

    def file(self, name):
        return str(self.directory / name)

    def issue(self, name, *hosts, days=30, kind=trustme.KeyType.ECDSA):
        """Puts a new certificate with its key in the place of the file: its serial number."""
        now = datetime.datetime.now(datetime.UTC)
        ends = now + datetime.timedelta(days=days)
        begins = now - datetime.timedelta(days=99)
        issued = self.authority.issue_cert(*hosts, not_before=begins, not_after=ends, key_type=kind)
        self.replace(name, issued.private_key_and_cert_chain_pem.bytes())
        return x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).serial_number

    def replace(self, name, content):
        (self.directory / f"{name}.new").write_bytes(content)
        os.replace(self.directory / f"{name}.new", self.directory / name)

    def tls(self, *names, **options):
        return {"tls": {"certificates": [{"cert": self.file(name), "key": self.file(name)} for name in names]} | options}

    def context(self, *protocols, version=None, ciphers=None):
        """Trusts the authority for any name."""
        context = ssl.create_default_context(cafile=self.trusted)
        context.check_hostname = False
        if version:
            context.minimum_version = context.maximum_version = version
        if ciphers:
            context.set_ciphers(ciphers)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def connect(self, edge, listener, name="default.test", *protocols, **options):
        return Peer(edge.ports[listener], context=self.context(*protocols, **options), name=name)

    def shown(self, edge, listener, name="default.test", **options):
        """The serial number of the certificate that a client gets."""
        with self.connect(edge, listener, name, **options) as peer:
            return serial(peer)


def serial(peer):
    """The serial number of the certificate that a connection was shown."""
    return int(peer.socket.getpeercert()["serialNumber"], 16)


def for_websockets(context):
    """Their client reads and writes at once, in two threads. OpenSSL does not stand that while it takes the tickets that
    TLS 1.3 sends after the handshake: now and then the request never leaves."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
