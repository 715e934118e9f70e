"""The site before Backend.AI's manager: signatures, limits, streams and times of `conf/backend-ai.yaml`."""

import concurrent.futures
import contextlib
import datetime
import re
import ssl
import subprocess
import threading
import time

import httpx
import pytest
import trustme
import yaml
from websockets import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

from peers import Http2
from processes import BINARY, wait_until
from signed_requests import CONFIG, NAME, NEW, OLD, Manager, Signer, Silent, Site, Steps, Web
from signed_requests import ALTERED, for_mail, now, of_another_day, refuse_unsigned, write_certificate
from site_files import for_websockets
from upstreams import read_head

LIMIT = 32 * 1024 * 1024
CLIENTS = [("http", "HTTP/1.1"), ("https", "HTTP/1.1"), ("https", "HTTP/2")]
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def context(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def sites(start, authority):
    """Starts a site for each scheme before a manager."""

    def launch(manager, text=None):
        return {"http": start(Site, manager, text=text), "https": start(Site, manager, authority, text)}

    return launch


@pytest.fixture(scope="module")
def manager():
    with Manager() as manager:
        yield manager


@pytest.fixture(scope="module")
def verified(sites, manager):
    return sites(manager.url)


@pytest.fixture(params=CLIENTS, ids="-".join)
def client(request):
    return request.param


@pytest.fixture
def open_web(client, context):
    with contextlib.ExitStack() as opened:
        yield lambda sites: opened.enter_context(Web(sites, client, context))


@pytest.fixture
def web(open_web, verified):
    return open_web(verified)


def assert_verified(answer, target, length=0):
    assert (answer.status_code, answer.json()) == (200, {"differences": [], "target": target, "bytes": length})


TARGETS = r"""
    / //double /v4//double///slashes// /v4/folders/a%2Fb/c%2fd /v4/folders/%2e%2E/%2e/x /v4/folders/a/../b/./c
    /v4/stream/session/%2e%2e/pty /v4/a;b=1;c/d;?e;f /v4/~user/%7Euser /v4/a+b/%2B?q=a+b%2B /v4/a%20b?c=d%20e
    /v4/%ED%95%9C%ea%b8%80?n=%ED%95%9C /v4/trailing? /v4/empty?a=&b&=c&& /v4/repeated?a=2&a=1&a=&b=0&a=2
    /v4/query?a=/../b//c?d=%2F%3F%23&e=:@!$'()*, /v4/brackets[0]?a[]=1&b={c}|d^e`f\g /v4/a%5Cb%3Bc%25%2541
    /v4/:@!$&'()*,=/x:y
""".split()


@pytest.mark.parametrize("target", TARGETS)
def test_signatures_of_odd_targets_verify(web, target):
    assert_verified(web.signed(Signer(), "GET", target), target)
    body = b'{"a": 1}'
    assert_verified(web.signed(Signer(OLD, "Sorna"), "POST", target, body=body), target, len(body))


SIGNERS = {
    "old": Signer(OLD),
    "later": Signer("v5.20191215"),
    "scheme": Signer(scheme="Sorna"),
    "other-header": Signer(date_header="X-BackendAI-Date"),
    "mail-date": Signer(date=for_mail(now())),
    "another-day": Signer(date=of_another_day()),
    "another-day-elsewhere": Signer(OLD, "Sorna", "X-BackendAI-Date", of_another_day()),
    "parameters": Signer(OLD, content_type="Application/JSON; charset=utf-8"),
}


@pytest.mark.parametrize("signer", SIGNERS.values(), ids=SIGNERS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_all_ways_to_sign_verify(web, signer, method):
    body = b"" if method == "GET" else '{"name": "한글"}'.encode()
    assert_verified(web.signed(signer, method, "/v4/x?y", body=body), "/v4/x?y", len(body))


def test_the_host_arrives_as_it_was_written(web, manager):
    port = web.host.rpartition(":")[2]
    for number, host in enumerate([NAME, f"{NAME}:{port}", NAME.upper(), f"Manager.Example.TEST:{port}", f"{NAME}:1"]):
        target = f"/v4/host/{web.version}/{web.scheme}/{number}"
        assert_verified(web.signed(Signer(), "GET", target, host), target)
        assert [request.all("Host") for request in manager.of(manager.whole, target)] == [[host]]


@pytest.mark.parametrize("version", [OLD, NEW])
def test_uploaded_files_verify(web, version):
    files = {"src": ("a b.txt", bytes(range(256)) * 1000, "application/octet-stream")}
    form = httpx.Request("POST", "http://x/", files=files)
    signer = Signer(version, content_type=form.headers["Content-Type"])
    body = form.read()
    assert_verified(web.signed(signer, "POST", "/v4/upload?p=a/b", body=body), "/v4/upload?p=a/b", len(body))
    pieces = iter([body[:1000], body[1000:]])
    assert_verified(web.signed(signer, "POST", "/v4/upload", body=body, content=pieces), "/v4/upload", len(body))


def assert_hsts(web, answer):
    expected = ["max-age=31536000; includeSubdomains"] if web.scheme == "https" else []
    assert answer.headers.get_list("Strict-Transport-Security") == expected


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_what_is_altered_on_the_way_fails(web, change):
    headers = Signer(OLD).headers("POST", "/v4/x?a=1&b=2", web.host, b"right")
    sent = {"method": "POST", "target": "/v4/x?a=1&b=2", "body": b"right"} | change
    headers |= {name: sent.pop(name) for name in change if name in headers}
    answer = web.send(sent["method"], sent["target"], headers, content=sent["body"])
    assert (answer.status_code, len(answer.json()["differences"])) == (401, 2)


def test_old_requests_fail(web):
    old = (now() - datetime.timedelta(minutes=16)).isoformat()
    assert web.signed(Signer(date=old), "GET", "/v4/x").json()["differences"] == [f"date: {old} is too far away"]
    assert web.signed(Signer(secret="another"), "GET", "/v4/x").json()["differences"] == ["the signature"]


@pytest.mark.parametrize("line, target", [("target: raw", "/v4//x"), ("host_header: client", "/v4/x")])
def test_signatures_fail_without_the_lines_that_keep_them(open_web, sites, manager, line, target):
    text = CONFIG.read_text()
    web = open_web(sites(manager.url, text.replace(line, "retry: {}")))
    assert web.signed(Signer(), "GET", target).status_code == 401
    assert web.signed(Signer(), "GET", "/v4/x").status_code == (401 if "host" in line else 200)


def test_redirects_pass_unchanged_and_only_https_has_hsts(web, manager):
    places = [manager.url, f"{manager.url}/a//b/../%2F?c=%20&d", "../up?x", "//else:1/y", "/z;p#f", "?q", "http://ü/"]
    for status in [301, 302, 303, 307, 308]:
        for place in places:
            head = f"HTTP/1.1 {status} Moved\r\nLocation: {place}\r\nContent-Length: 3\r\n\r\nold".encode()
            manager.answers["/v4/moved"] = head
            answer = web.send("GET", "/v4/moved")
            location = dict(answer.headers.raw)[b"location" if web.version == "HTTP/2" else b"Location"]
            assert (answer.status_code, location, answer.content) == (status, place.encode(), b"old")
            assert_hsts(web, answer)
    assert_hsts(web, web.send("GET", "/v4/unsigned"))


def test_the_plain_port_leads_to_https(verified):
    site = verified["https"]
    for target in TARGETS:
        with site.connect("http", None) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            head = read_head(connection)[0].decode()
        assert head.startswith("HTTP/1.1 307 ") and "strict-transport-security" not in head.lower()
        assert re.search(r"(?im)^location: (.*)\r$", head)[1] == f"https://{NAME}{target}"


def test_the_name_chooses_the_certificate(start, manager, authority, context, tmp_path):
    other = write_certificate(authority, "other.example.test", tmp_path)
    key = re.search(r"\n( +)key: \$\{PYLON_KEY.*\n", CONFIG.read_text())
    pair = f"{key[0]}{key[1][2:]}- cert: {other}.crt\n{key[1]}key: {other}.key\n"
    site = start(Site, manager.url, authority, CONFIG.read_text().replace(key[0], pair))
    for name in [NAME, "other.example.test"]:  # the context checks it
        with site.connect("https", context, name) as connection:
            assert dict(connection.getpeercert()["subjectAltName"])["DNS"] == name


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"], ids=["at-once", "expect"])
@pytest.mark.parametrize("client", CLIENTS[:2], indirect=True, ids="-".join)
def test_the_length_decides_before_the_body(web, manager, expect):
    target = f"/v4/length/{web.scheme}/{len(expect)}"
    head = f"POST {target} HTTP/1.1\r\nHost: {web.host}\r\n{expect}Content-Length: %d\r\n\r\n".encode()
    with web.connect() as connection:
        connection.sendall(head % (LIMIT + 1))
        assert read_head(connection)[0].startswith(b"HTTP/1.1 413 ")
    with web.connect() as connection:
        connection.sendall(head % LIMIT)
        if expect:
            assert read_head(connection) == (b"HTTP/1.1 100 Continue", b"")
        connection.sendall(bytes(LIMIT))
        assert read_head(connection)[0].startswith(b"HTTP/1.1 401 ")  # it is not signed
    # The larger one did not get there.
    assert [len(request.body) for request in manager.of(manager.begun, target)] == [LIMIT]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_bodies_up_to_the_limit_pass(web, manager, chunked):
    def send(length):
        target = f"/v4/limit/{web.scheme}/{web.version}/{chunked}/{length}"
        pieces = (bytes(min(65_536, length - at)) for at in range(0, length, 65_536))
        # In pieces in both forms: the client's HTTP/2 copies the whole of what is left of one piece for each frame.
        options = {"content": pieces} | ({} if chunked else {"more": {"Content-Length": str(length)}})
        return target, web.signed(Signer(), "POST", target, **options)

    target, answer = send(LIMIT)
    assert_verified(answer, target, LIMIT)
    if web.version == "HTTP/2" and not chunked:
        # By hand: the client above sends the whole of a body before it looks for an answer, which Pylon does not wait for.
        with Http2(web.site.tls, context=web.context, name=NAME) as peer:
            peer.ask(1, f"{target}+1", ("content-length", str(LIMIT + 1)), method="POST", end=False)
            assert peer.answered(1)[0] == 413
            assert peer.headers["strict-transport-security"] == "max-age=31536000; includeSubdomains"
        assert not manager.of(manager.begun, f"{target}+1")
        return
    target, answer = send(LIMIT + 1)
    assert answer.status_code == 413
    assert_hsts(web, answer)
    if chunked:  # the manager must not take it for whole
        wait_until(lambda: manager.of(manager.broken, target), what="the end of the request")
    assert not manager.of(manager.whole, target)


@pytest.fixture
def stepwise(open_web, sites):
    with Steps() as steps:
        yield open_web(sites(steps.url)), steps


def test_answers_arrive_piece_by_piece(stepwise):
    web, steps = stepwise
    steps.go.put(CHUNKED)
    with web.request("GET", "/v2/down") as answer:  # its head is here before there is any body
        pieces = answer.iter_raw()
        for piece in [b"1", b"<html>", b"x" * 5000, b"\n", b"data: 1\n\n"]:
            steps.go.put(piece)
            got = b""
            while len(got) < len(piece):
                got += next(pieces)
            assert got == piece
        steps.go.put(b"")
        assert list(pieces) == []


def test_bodies_arrive_piece_by_piece(stepwise):
    web, steps = stepwise

    def pieces():
        for piece in [b"1", b"{", b"x" * 5000, b"\n", b"end"]:
            yield piece
            got = b""
            while len(got) < len(piece):
                got += steps.came.get(timeout=60)
            assert got == piece
        steps.go.put(CHUNKED)
        steps.go.put(b"")

    assert web.send("POST", "/v4/up", content=pieces()).status_code == 200


def test_terminals_echo_and_outlast_silence(sites, context, client):
    def talk(socket):
        socket.send("prompt $ ")
        for message in socket:
            socket.send(message)

    with serve(talk, "127.0.0.1", 0, process_request=refuse_unsigned) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scheme, target = client[0], "/v4/stream/session/x/pty?a=%2F&b"
        site = sites(f"http://127.0.0.1:{server.socket.getsockname()[1]}")[scheme]
        headers = Signer().headers("GET", target, site.host(scheme))
        url = f"{scheme.replace('http', 'ws')}://{headers.pop('Host')}"

        def open_socket(target):
            options = {"sock": site.dial(scheme)} | ({"ssl": for_websockets(context)} if scheme == "https" else {})
            return connect(url + target, additional_headers=headers, open_timeout=60, **options)

        with open_socket(target) as socket:
            assert socket.recv(timeout=60) == "prompt $ "
            for message in ["ls", bytes(range(256)), "x" * 100_000]:
                socket.send(message)
                assert socket.recv(timeout=60) == message
            with pytest.raises(TimeoutError):
                socket.recv(timeout=1.6)
            socket.send("still there")
            assert socket.recv(timeout=60) == "still there"
        with pytest.raises(InvalidStatus, match="401"):
            open_socket("/v4/stream/session/y/pty")
        server.shutdown()


def test_the_times_of_the_routes():
    environment = {"BACKENDAI_MANAGER_URI": "http://127.0.0.1:1", "SSL_ENABLE": "false"}

    def ask(*arguments):
        return subprocess.check_output([BINARY, arguments[0], "-c", CONFIG, *arguments[1:]], env=environment)

    routes = {route["name"]: route["timeouts"] for route in yaml.safe_load(ask("print-config"))["routes"]}
    assert routes == {"stream": {"first_byte": "1m", "idle": "1m"}, "api": {"first_byte": "10m", "idle": "10m"}}
    others = ["/", "/v4/streams", "/v4/x/stream/y", "/v/stream/x", "/vx4/stream/x", "/stream/x"]
    for route, paths in {"stream": ["/v4/stream/session/x/pty", "/v12/stream/_/events"], "api": others}.items():
        for path in paths:
            assert yaml.safe_load(ask("explain", "--json", "GET", f"http://{NAME}{path}"))["route"] == route, path


def test_silent_managers_are_cut_off(open_web, sites):
    text = CONFIG.read_text().replace("600s", "6s").replace("60s", "1s")

    def ask(method, target, least, most):
        web, begun = open_web(running), time.monotonic()  # httpx lets streams of one connection wait
        answer = web.send(method, target)
        return answer.status_code, least < time.monotonic() - begun < most

    with Silent() as upstream, concurrent.futures.ThreadPoolExecutor() as pool:
        running = sites(upstream.url, text)
        cases = [(method, *case) for method in ["GET", "POST"] for case in [("/v4/stream/x", 0.9, 5.9), ("/v4/x", 5.9, 60)]]
        assert list(pool.map(lambda case: ask(*case), cases)) == [(504, True)] * 4
