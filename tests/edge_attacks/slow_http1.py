"""Slow clients of HTTP/1, in plain text and behind a PROXY header. Each attack is a function of the proxy."""

from attackers import Plain, cut_within
from edge import BODY_GRACE, BODY_IDLE, DRAIN, HEADER, KEEP_ALIVE, PROXY_HEADER

MANY = 10
HEAD = b"GET /ok?slow HTTP/1.1\r\nHost: x\r\n"
UPLOAD = b"POST /ok?slow-body HTTP/1.1\r\nHost: x\r\n"
LONG = b"GET /big/8000000?slow-reader HTTP/1.1\r\nHost: x\r\n\r\n"
PROXIED = b"PROXY TCP4 127.77.0.1 127.0.0.1 4242 80\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def several(edge, first=b"", **options):
    made = [Plain(edge, **options) for _ in range(MANY)]
    for one in made:
        one.push(first)
    return made


def drips(data):
    """Does so to a connection: sends the next byte of these, and then the last one for ever."""

    def drip(one):
        at = one.__dict__.setdefault("drops", 0)
        one.drops += 1
        one.push(data[min(at, len(data) - 1) :][:1])

    return drip


def says(data):
    return lambda one: one.push(data)


def header_drip(edge):
    cut_within(several(edge, HEAD + b"X-A: "), HEADER, drip=drips(b"a"), every=1.0, soonest=0.5)


def request_line_drip(edge):
    cut_within(several(edge), HEADER, drip=drips(b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))


def header_never_completed(edge):
    cut_within(several(edge, HEAD), HEADER, soonest=0.5)


def header_lines_drip(edge):
    cut_within(several(edge, HEAD), HEADER, drip=says(b"X-A: b\r\n"))


def connect_and_send_nothing(edge):
    cut_within(several(edge), KEEP_ALIVE, soonest=0.8)


def blank_lines_before_a_request(edge):
    cut_within(several(edge), KEEP_ALIVE, drip=says(b"\r\n"))


def used_and_idle(edge):
    made = several(edge, HEAD + b"\r\n")
    for one in made:
        assert one.until(lambda one=one: b"fine" in one.got), one.got
        one.begin()
    cut_within(made, KEEP_ALIVE, soonest=0.8)


def used_and_header_never_completed(edge):
    made = several(edge, HEAD + b"\r\n")
    for one in made:
        assert one.until(lambda one=one: b"fine" in one.got), one.got
        one.push(HEAD)
        one.begin()
    cut_within(made, HEADER)


def body_by_length_drip(edge):
    made = several(edge, UPLOAD + b"Content-Length: 100000\r\n\r\n")
    cut_within(made, BODY_GRACE, drip=drips(b"a"), soonest=0.5)


def body_in_chunks_drip(edge):
    cut_within(several(edge, UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n"), BODY_GRACE, drip=says(b"1\r\na\r\n"))


def chunk_size_drip(edge):
    cut_within(several(edge, UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n"), BODY_GRACE, drip=drips(b"0"))


def chunk_extension_drip(edge):
    cut_within(several(edge, UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n1;"), BODY_GRACE, drip=drips(b"a"))


def trailer_drip(edge):
    cut_within(several(edge, UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: "), BODY_GRACE, drip=drips(b"a"))


def body_that_stops(edge):
    made = several(edge, UPLOAD + b"Content-Length: 100000\r\n\r\n" + b"a" * 50_000)
    cut_within(made, BODY_IDLE, soonest=0.8)


def body_that_never_begins(edge):
    cut_within(several(edge, UPLOAD + b"Content-Length: 1000\r\n\r\n"), BODY_IDLE)


def expectation_without_a_body(edge):
    cut_within(several(edge, UPLOAD + b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"), BODY_IDLE)


def answer_read_at_a_few_bytes_a_second(edge):
    made = several(edge, LONG, receive=4096, deaf=True)
    cut_within(made, DRAIN, drip=lambda one: one.sip(8), every=0.5, soonest=0.8)


def answer_that_is_not_read(edge):
    cut_within(several(edge, LONG, receive=4096, deaf=True), DRAIN, soonest=0.8)


def pipeline_without_reading(edge):
    asks = b"GET /big/20000?pipeline HTTP/1.1\r\nHost: x\r\n\r\n" * 200
    made = several(edge, receive=4096, deaf=True)
    cut_within(made, DRAIN, drip=lambda one: one.push(b"" if one.out else asks), every=0.1)


def proxy_header_never_sent(edge):
    cut_within(several(edge, kind="proxied") + several(edge, kind="proxied_tls"), PROXY_HEADER, soonest=0.5)


def proxy_header_half(edge):
    made = several(edge, PROXIED[:20], kind="proxied") + several(edge, SIGNATURE + b"\x21", kind="proxied")
    cut_within(made, PROXY_HEADER)


def proxy_header_drip(edge):
    cut_within(several(edge, kind="proxied"), PROXY_HEADER, drip=drips(PROXIED.replace(b"127.77", b"127.077")))


def proxy_header_and_nothing_more(edge):
    cut_within(several(edge, PROXIED, kind="proxied"), KEEP_ALIVE, soonest=0.8)


def proxy_header_and_a_header_drip(edge):
    cut_within(several(edge, PROXIED + HEAD + b"X-A: ", kind="proxied"), HEADER, drip=drips(b"a"))


ATTACKS = [
    header_drip,
    request_line_drip,
    header_never_completed,
    header_lines_drip,
    connect_and_send_nothing,
    blank_lines_before_a_request,
    used_and_idle,
    used_and_header_never_completed,
    body_by_length_drip,
    body_in_chunks_drip,
    chunk_size_drip,
    chunk_extension_drip,
    trailer_drip,
    body_that_stops,
    body_that_never_begins,
    expectation_without_a_body,
    answer_read_at_a_few_bytes_a_second,
    answer_that_is_not_read,
    pipeline_without_reading,
    proxy_header_never_sent,
    proxy_header_half,
    proxy_header_drip,
    proxy_header_and_nothing_more,
    proxy_header_and_a_header_drip,
]
