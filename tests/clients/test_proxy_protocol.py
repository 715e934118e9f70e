"""The PROXY protocol on both sides: HAProxy and written headers before Pylon, upstreams that read the header behind it."""

import shutil
import socket
import ssl

import pytest
import trustme

import peers
from peers import Edge, Peer, Teller, v1, v2, values
from processes import Program, free_port, wait_until

CLIENT4, CLIENT6 = ("203.0.113.7", 51234), ("2001:db8::7", 51234)
BALANCER = ("198.51.100.1", 4000)  # one that is a trusted HTTP proxy besides
HAPROXY = shutil.which("haproxy", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def context(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def edge(start, authority, tmp_path_factory):
    """Listeners that take and that demand a header, and routes to upstreams that are told by one."""
    directory = tmp_path_factory.mktemp("certificates")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(directory / "site.pem")
    tls = {"certificates": [{"cert": str(directory / "site.pem"), "key": str(directory / "site.pem")}]}
    trusted = {"trusted": "127.0.0.1/32"}
    required = {"proxy_protocol": trusted | {"required": True}}
    listeners = {
        "plain": {},
        "optional": {"proxy_protocol": trusted},
        "required": required,
        "impatient": required | {"timeouts": {"proxy_header": "300ms"}},
        "tls": required | {"tls": tls},
    }
    with Teller() as plain, Teller(told=True) as first, Teller(told=True) as second:
        yield start(
            Edge,
            listeners,
            trusted_proxies=["198.51.100.0/24", "127.0.0.8/32"],
            upstreams={
                "plain": {"endpoints": [plain.url]},
                "first": {"endpoints": [first.url], "proxy_protocol": "v1"},
                "second": {"endpoints": [second.url], "proxy_protocol": "v2"},
            },
            routes=[
                {"name": "plain", "path": "/**", "upstream": "plain"},
                {"name": "first", "path": "/v1/**", "upstream": "first"},
                {"name": "second", "path": "/v2/**", "upstream": "second"},
            ],
        )


def told(seen):
    """The client, as an upstream is told by headers."""
    (chain,), (real,) = values(seen, "X-Forwarded-For"), values(seen, "X-Real-IP")
    return chain, real


def ask_through(edge, listener, prelude, *lines, **options):
    with Peer(edge.ports[listener], prelude=prelude, **options) as peer:
        return peer.ask("/x", *lines).json()


# What HAProxy sends.


@pytest.fixture(scope="module")
def haproxy(start, edge, tmp_path_factory):
    """HAProxy's ports: version 1, version 2, and version 2 with TLVs and TLS of the client within."""
    if not HAPROXY:
        pytest.skip("haproxy is not installed")
    file = tmp_path_factory.mktemp("haproxy") / "haproxy.cfg"
    server = "server pylon {} check inter 250ms fall 4 on-marked-down shutdown-sessions {}"
    plain, tls, check = edge.authority("required"), edge.authority("tls"), "option httpchk GET /healthz"
    faces = [
        ("v1", server.format(plain, "send-proxy"), check),
        ("v2", server.format(plain, "send-proxy-v2"), check),
        ("tls", server.format(tls, "send-proxy-v2 proxy-v2-options unique-id,crc32c"), "unique-id-format %[uuid]"),
    ]
    ports = {name: free_port() for name, *_ in faces}
    times = "\n  ".join(f"timeout {what} 60s" for what in ["connect", "client", "server", "check"])
    text = f"global\n  maxconn 100\ndefaults\n  mode tcp\n  {times}\n"
    for name, *lines in faces:
        text += "\n  ".join([f"listen {name}", f"bind 127.0.0.1:{ports[name]}", *lines]) + "\n"
    file.write_text(text)

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", ports["tls"])) == 0

    program = start(HaProxy, file, listens)
    yield ports
    assert "DOWN" not in program.log.read_text()


class HaProxy(Program):
    def __init__(self, directory, file, listens):
        super().__init__([HAPROXY, "-db", "-f", file], directory, ready=listens)


@pytest.mark.parametrize("face", ["v1", "v2"])
def test_haproxy_tells_the_client(edge, haproxy, face):
    # Its health checks speak for themselves (UNKNOWN, LOCAL) and go on meanwhile.
    checks = edge.text().count("/healthz")
    wait_until(lambda: edge.text().count("/healthz") > checks + 4, what="HAProxy checks Pylon's health")
    with edge.rejects("proxy_header", times=0):
        for source in ["127.0.0.7", "127.0.0.77"]:
            with Peer(haproxy[face], source=source) as peer:
                for _ in range(3):
                    assert told(peer.ask("/x", "X-Forwarded-For: 1.1.1.1").json()) == (source, source)


def test_haproxy_tells_the_client_before_tls(haproxy, context):
    with Peer(haproxy["tls"], source="127.0.0.7", context=context) as peer:
        seen = peer.ask("/x").json()
    assert told(seen) == ("127.0.0.7", "127.0.0.7")
    assert values(seen, "X-Forwarded-Proto") == ["https"]


@pytest.mark.parametrize("face", ["v1", "v2"])
def test_haproxy_s_client_is_told_on(haproxy, face):
    with Peer(haproxy[face], source="127.0.0.7") as peer:
        assert peer.ask("/v1/x").json()["proxy"] == [1, "127.0.0.7", peer.address[1]]
        assert peer.ask("/v2/x").json()["proxy"] == [2, "127.0.0.7", peer.address[1]]


# Headers of all forms.

TLVS = b"\x03\x00\x04\x00\x00\x00\x00" + b"\x04\x00\x10" + bytes(16) + b"\x05\x00\x03uid" + b"\x02\x00\x09localhost"
TELLING = {
    "v1 IPv4": (v1(CLIENT4), CLIENT4[0]),
    "v1 IPv6": (v1(CLIENT6, ("2001:db8::1", 443)), CLIENT6[0]),
    "v2 IPv4": (v2(CLIENT4), CLIENT4[0]),
    "v2 IPv6": (v2(CLIENT6, ("2001:db8::1", 443)), CLIENT6[0]),
    "v2 IPv4 with TLVs": (v2(CLIENT4, extra=TLVS), CLIENT4[0]),
    "v2 IPv6 with TLVs": (v2(CLIENT6, ("::1", 443), extra=TLVS), CLIENT6[0]),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1 UNKNOWN with addresses": (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "127.0.0.1"),
    "v2 LOCAL": (v2(command=0), "127.0.0.1"),
    "v2 LOCAL with an address": (v2(CLIENT4, command=0), "127.0.0.1"),
    "v2 of no family": (v2(), "127.0.0.1"),
    "v2 of a UNIX socket": (v2(family=0x31, extra=bytes(216)), "127.0.0.1"),
}


@pytest.mark.parametrize("listener", ["optional", "required"])
@pytest.mark.parametrize("form", TELLING)
def test_a_header_tells_the_client(edge, listener, form):
    header, client = TELLING[form]
    assert told(ask_through(edge, listener, header)) == (client, client)
    with Peer(edge.ports[listener]) as peer:  # in the same packet as two requests
        peer.send(header + 2 * peers.request("/x"))
        for _ in range(2):
            assert told(peer.answer().json()) == (client, client)


@pytest.mark.parametrize("form", TELLING)
def test_a_header_may_come_in_single_bytes(edge, form):
    header, client = TELLING[form]
    with Peer(edge.ports["required"]) as peer:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header + peers.request("/x"):
            peer.send(bytes([byte]))
        assert told(peer.answer().json()) == (client, client)


@pytest.mark.parametrize("form", TELLING)
def test_a_header_goes_before_tls_in_the_same_packet(edge, context, form):
    header, client = TELLING[form]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with Peer(edge.ports["tls"]) as peer:

        def drive(step, prelude=b""):
            while True:
                try:
                    done = step()
                except ssl.SSLWantReadError:
                    done = None
                if data := outgoing.read():
                    peer.send(prelude + data)
                    prelude = b""
                if done is not None:
                    return done
                incoming.write(peer.socket.recv(65_536))

        drive(lambda: tls.do_handshake() or True, header)
        tls.write(peers.request("/x", "Connection: close"))
        answer = b""
        while not answer.endswith(b"}"):
            answer += drive(lambda: tls.read(65_536))
    assert f'["x-real-ip", "{client}"]'.encode() in answer


# Who is believed.


def test_a_header_is_optional_unless_it_is_required(edge):
    assert told(ask_through(edge, "optional", b"")) == ("127.0.0.1", "127.0.0.1")
    with edge.rejects("proxy_header"), Peer(edge.ports["required"], prelude=peers.request()) as peer:
        assert peer.is_over()


def test_others_are_not_believed(edge):
    stranger = "127.0.0.9"
    assert told(ask_through(edge, "optional", b"", source=stranger)) == (stranger, stranger)
    for header in [v1(CLIENT4), v2(CLIENT4)]:
        for listener, source in [("optional", stranger), ("plain", "127.0.0.1")]:
            with Peer(edge.ports[listener], source=source, prelude=header + peers.request()) as peer:
                assert b" 200 " not in peer.file.readline()
        with edge.rejects("not_through_proxy"), Peer(edge.ports["required"], source=stranger, prelude=header) as peer:
            assert peer.is_over()
    with edge.rejects("not_through_proxy"), Peer(edge.ports["required"], source=stranger) as peer:
        assert peer.is_over()


def test_a_header_that_does_not_come_is_not_waited_for(edge):
    with edge.rejects("proxy_header_timeout"), Peer(edge.ports["impatient"], prelude=v2(CLIENT4)[:20]) as peer:
        assert peer.is_over()


MALFORMED = {
    "another family": b"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
    "IPv6 in TCP4": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "IPv4 in TCP6": b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
    "one port": b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
    "a port too large": b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
    "a signed port": b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
    "a word too many": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
    "no address": b"PROXY TCP4 localhost 5.6.7.8 1 2\r\n",
    "a bare LF": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
    "no end": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 " + 100 * b"2",
    "UNKNOWN without end": b"PROXY UNKNOWN " + 100 * b"x" + b"\r\n",
    "version 3": peers.SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
    "another command": v2(CLIENT4, command=2),
    "another transport": v2(CLIENT4, family=0x13),
    "a short block": peers.SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
    "a short block of IPv6": peers.SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12),
    "a block that is never sent": peers.SIGNATURE + b"\x21\x11\xff\xff",
}


@pytest.mark.parametrize("listener", ["optional", "required"])
@pytest.mark.parametrize("form", MALFORMED)
def test_a_malformed_header_ends_the_connection(edge, listener, form):
    with edge.rejects("proxy_header"), Peer(edge.ports[listener], prelude=MALFORMED[form]) as peer:
        assert peer.is_over()


def test_a_header_that_breaks_off_is_refused(edge):
    for header in [v1(CLIENT4)[:20], v2(CLIENT4)[:20]]:
        with edge.rejects("proxy_header"), Peer(edge.ports["required"], prelude=header) as peer:
            peer.socket.shutdown(socket.SHUT_WR)
            assert peer.is_over()


# HTTP proxies that are trusted, alone and behind a PROXY header.

CHAINS = {
    "the rightmost stranger": ("X-Forwarded-For: 9.9.9.9, 203.0.113.5, 198.51.100.2", "203.0.113.5"),
    "over two lines": ("X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-For: 198.51.100.2", "203.0.113.5"),
    "trusted ones only": ("X-Forwarded-For: 198.51.100.3, 198.51.100.2", "198.51.100.3"),
    "IPv6": ("X-Forwarded-For: 2001:db8::5", "2001:db8::5"),
    "Forwarded": ("Forwarded: for=9.9.9.9, for=203.0.113.5;proto=https, for=198.51.100.2", "203.0.113.5"),
    "Forwarded with IPv6": ('Forwarded: For="[2001:db8::5]:4711"', "2001:db8::5"),
    "X-Forwarded-For before Forwarded": ("X-Forwarded-For: 203.0.113.5\r\nForwarded: for=9.9.9.9", "203.0.113.5"),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_trusted_proxies_name_the_client(edge, chain):
    lines, client = CHAINS[chain]
    there = ask_through(edge, "plain", b"", lines, source="127.0.0.8")
    assert values(there, "X-Real-IP") == [client]
    behind = ask_through(edge, "required", v2(BALANCER), lines)
    assert values(behind, "X-Real-IP") == [client]
    if not lines.startswith("Forwarded"):
        names = ", ".join(line.partition(": ")[2] for line in lines.split("\r\n") if line.startswith("X-"))
        assert values(behind, "X-Forwarded-For") == [f"{names}, {BALANCER[0]}"]
    strange = ask_through(edge, "required", v2(CLIENT4), lines)  # says the client itself
    assert told(strange) == (CLIENT4[0], CLIENT4[0])
    assert values(strange, "Forwarded") == []


# Upstreams that are told.


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("client", [CLIENT4, CLIENT6], ids=["IPv4", "IPv6"])
def test_an_upstream_is_told_the_client(edge, version, client):
    local = ("2001:db8::1" if ":" in client[0] else "192.0.2.1", 443)
    with Peer(edge.ports["required"], prelude=v2(client, local)) as peer:
        assert peer.ask(f"/v{version}/x").json()["proxy"] == [version, *client]
    with Peer(edge.ports["plain"]) as peer:
        assert peer.ask(f"/v{version}/x").json()["proxy"] == [version, *peer.address]


@pytest.mark.parametrize("version", [1, 2])
def test_connections_belong_to_one_client(edge, version):
    target = f"/v{version}/x"
    with Peer(edge.ports["plain"]) as one, Peer(edge.ports["plain"]) as other:
        mine = [one.ask(target).json() for _ in range(3)]
        theirs = [other.ask(target).json() for _ in range(3)]
        mine += [one.ask(target).json() for _ in range(3)]
    assert {tuple(seen["proxy"]) for seen in mine} == {(version, *one.address)}
    assert {tuple(seen["proxy"]) for seen in theirs} == {(version, *other.address)}
    assert len({seen["connection"] for seen in mine}) == len({seen["connection"] for seen in theirs}) == 1
    assert mine[0]["connection"] != theirs[0]["connection"]


@pytest.mark.parametrize("version", [1, 2])
def test_clients_behind_one_proxy_are_told_apart(edge, version):
    # The proxy's connection is one, its clients are two.
    with Peer(edge.ports["plain"], source="127.0.0.8") as proxy:
        clients = ["203.0.113.5", "203.0.113.6"]
        seen = [proxy.ask(f"/v{version}/x", f"X-Forwarded-For: {client}").json() for client in clients]
    assert [one["proxy"][1] for one in seen] == clients
    assert seen[0]["connection"] != seen[1]["connection"]
