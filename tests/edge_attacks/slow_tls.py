"""Slow clients of TLS: before, in and after the handshake. Each attack is a function of the proxy."""

from attackers import Plain, Secure, cut_within
from edge import DRAIN, HANDSHAKE, HEADER, KEEP_ALIVE
from slow_http1 import HEAD, LONG, MANY, PROXIED, several


def hellos(edge):
    """Connections that have sent nothing yet, each with its ClientHello."""
    made = [Secure(edge, handshake=False) for _ in range(MANY)]
    for one in made:
        one.left = one.hello()
    return made


def nothing_on_a_tls_port(edge):
    cut_within(several(edge, kind="tls"), HANDSHAKE, soonest=0.5)


def half_a_client_hello(edge):
    made = hellos(edge)
    for one in made:
        one.raw(one.left[: len(one.left) // 2])
    cut_within(made, HANDSHAKE, soonest=0.5)


def client_hello_and_nothing_more(edge):
    made = hellos(edge)
    for one in made:
        one.raw(one.left)
    cut_within(made, HANDSHAKE, soonest=0.5)


def record_drip(edge):
    def drip(one):
        piece, one.left = one.left[:1], one.left[1:]
        one.raw(piece)

    cut_within(hellos(edge), HANDSHAKE, drip=drip, every=0.1)


def handshake_behind_a_proxy_header_that_stops(edge):
    made = [Plain(edge, "proxied_tls") for _ in range(MANY)]
    for one in made:
        one.push(PROXIED + b"\x16\x03\x01\x02\x00\x01")
    cut_within(made, HANDSHAKE, soonest=0.5)


def handshake_and_nothing_more(edge):
    cut_within([Secure(edge) for _ in range(MANY)], KEEP_ALIVE, soonest=0.8)


def header_drip_in_records(edge):
    made = [Secure(edge) for _ in range(MANY)]
    for one in made:
        one.push(HEAD + b"X-A: ")
        one.begin()
    cut_within(made, HEADER, drip=lambda one: one.push(b"a"))


def record_that_never_ends(edge):
    """The header of a record of 16 KiB after the handshake, and then its bytes one by one."""
    made = [Secure(edge) for _ in range(MANY)]
    for one in made:
        one.raw(b"\x17\x03\x03\x40\x00")
    cut_within(made, KEEP_ALIVE, drip=lambda one: one.raw(b"a"))


def tls_answer_that_is_not_read(edge):
    made = [Secure(edge, receive=4096, deaf=True) for _ in range(MANY)]
    for one in made:
        one.push(LONG)
        one.begin()
    cut_within(made, DRAIN, soonest=0.8)


ATTACKS = [
    nothing_on_a_tls_port,
    half_a_client_hello,
    client_hello_and_nothing_more,
    record_drip,
    handshake_behind_a_proxy_header_that_stops,
    handshake_and_nothing_more,
    header_drip_in_records,
    record_that_never_ends,
    tls_answer_that_is_not_read,
]
