"""MLiy: who asks is told to the application, and only whose an instance is may enter it, under paths that leak nothing."""

import json
import socket

import pytest
from peers import Peer
from processes import free_port
from servers import Sockets, Told
from system import System
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

DOMAIN = "ml.test"
PROXY, STRANGER = "127.0.0.3", "127.0.0.1"  # the sign-in proxy, and everybody else
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = '<a href="/3/Cloud">a</a><img src="/data/x.png"><a href="SELF/lib">b</a><a href="relative">c</a><form action="/go">'
PAGES = {
    "/page": (200, HTML, PAGE),
    "/redirect": (302, {"Location": "/home?x=1"}, ""),
    "/absolute": (302, {"Location": "SELF/home"}, ""),
    "/cookie": (200, {"Set-Cookie": "sid=1; Path=/; HttpOnly"}, "ok"),
    "/ipython/redirect": (302, {"Location": "/ipython/lab"}, ""),
    "/ipython/absolute": (302, {"Location": "SELF/ipython/lab"}, ""),
}
ANN = ["REMOTE_USER: ann", "AUTHENTICATE_GIVENNAME: Ann", "AUTHENTICATE_SN: Archer", "AUTHENTICATE_MAIL: ann@x.test"]
GROUPS = "CN=staff,OU=groups,DC=x;CN=research,OU=groups,DC=x"
BOB = ["REMOTE_USER: bob", "AUTHORIZE_MEMBEROF: CN=research,OU=groups,DC=x"]
TOLD = ["remote_user", "authenticate_givenname", "authenticate_sn", "authenticate_mail", "authorize_memberof"]


@pytest.fixture(scope="module")
def application(stack):
    return stack.enter_context(Told())


@pytest.fixture(scope="module")
def portal(stack):
    """What listens on an instance, on the port of each portal."""
    return stack.enter_context(Told(PAGES))


@pytest.fixture(scope="module")
def sockets(stack):
    return stack.enter_context(Sockets())


@pytest.fixture(scope="module")
def variables(application, portal, sockets):
    port = str(portal.port)
    return {
        "MLIY_URI": application.url,
        "MLIY_DOMAIN": DOMAIN,
        "MLIY_SIGN_IN_PROXIES": f"{PROXY}/32",
        "PYLON_INSTANCES_ALLOW": "127.0.0.0/8",
        "MLIY_RSTUDIO_PORT": port,
        "MLIY_SHINY_PORT": port,
        "MLIY_FLOW_PORT": port,
        "MLIY_TENSORBOARD_PORT": str(sockets.port),
        "MLIY_IPYTHON_PORT": port,
        "MLIY_DASH_PORT": str(free_port()),
    }


@pytest.fixture(scope="module")
def mliy(start, variables, application):
    mliy = start(System, "mliy", **variables)
    # The instance itself, by its own address, is yet another server: here the application's stand-in.
    mliy.put("i-ann", application.url, "ann")
    mliy.put("i-shared", application.url, "eve", groups=["research"])
    return mliy


def host(name):
    return f"mliy-{name}.{DOMAIN}"


def test_the_application_is_told_who_asks(mliy):
    answer = mliy.ask(DOMAIN, "/", *ANN, f"AUTHORIZE_MEMBEROF: {GROUPS}", source=PROXY)
    headers = answer.json()["headers"]
    assert [headers[name] for name in TOLD] == [["ann"], ["Ann"], ["Archer"], ["ann@x.test"], [GROUPS]]
    assert headers["host"] == [f"{DOMAIN}:{mliy.port}"]


@pytest.mark.parametrize("line", [*ANN, "Remote-User: ann", "REMOTE-USER: ann", "X: y"])
def test_nobody_else_can_say_so(mliy, application, line):
    before = len(application.seen)
    for target in ["/", "/ajax/instance/i-ann/start", "/anything", "/static/../", "/health/../x"]:
        assert mliy.ask(DOMAIN, target, line, source=STRANGER).status == 403, target
    assert len(application.seen) == before


@pytest.mark.parametrize("target", ["/health", "/static/a.css", "/ajax/progress/i-ann/almost(90)"])
def test_some_paths_need_no_sign_in(mliy, target):
    for source in [STRANGER, PROXY]:
        headers = mliy.ask(DOMAIN, target, *ANN, "Remote-User: ann", source=source).json()["headers"]
        assert not set(headers) & {*TOLD, "remote-user"}, headers


def test_two_users_are_none(mliy):
    assert mliy.ask(DOMAIN, "/", "REMOTE_USER: ann", "REMOTE_USER: bob", source=PROXY).status == 403
    assert mliy.ask(DOMAIN, "/", "REMOTE_USER: (null)", source=PROXY).status == 403


def test_an_instance_is_its_owners(mliy):
    got = mliy.ask(host("i-ann"), "/any/where?x=1", *ANN, source=PROXY).json()
    assert got["target"] == "/any/where?x=1" and got["headers"]["remote_user"] == ["ann"]
    for target in ["/", "/rstudio/page", "/ipython/redirect", "/static/a.css", "/health", "/ajax/progress/x", "/3/Cloud"]:
        assert mliy.ask(host("i-ann"), target, *BOB, source=PROXY).status == 403, target
        assert mliy.ask(host("i-ann"), target, *ANN, source=STRANGER).status == 403, target
        assert mliy.ask(host("i-none"), target, *ANN, source=PROXY).status == 404, target
    assert mliy.ask(host("i-shared"), "/", *BOB, source=PROXY).status == 200
    assert mliy.ask(host("i-shared"), "/", *ANN, source=PROXY).status == 403


def test_instances_come_and_go(mliy, application):
    there = lambda: mliy.ask(host("i-new"), "/", *ANN, source=PROXY).status
    assert there() == 404
    assert mliy.put("i-new", application.url, "ann") == 201
    assert there() == 200
    assert mliy.put("i-new", application.url, "bob") == 200
    assert there() == 403
    assert mliy.remove("i-new") == 200
    assert there() == 404


@pytest.mark.parametrize("name", ["rstudio", "shiny", "ipython", "flow", "tensorboard", "dash"])
def test_the_form_without_a_slash_is_sent_on(mliy, name):
    answer = mliy.ask(host("i-ann"), f"/{name}?a=%2F", source=STRANGER)
    assert (answer.status, answer.headers["location"]) == (301, f"http://{host('i-ann')}:{mliy.port}/{name}/?a=%2F")


@pytest.mark.parametrize("name", ["rstudio", "shiny", "flow"])
def test_what_leaks_is_mapped(mliy, name):
    ask = lambda path: mliy.ask(host("i-ann"), f"/{name}{path}", *ANN, source=PROXY)
    public = f"http://{host('i-ann')}:{mliy.port}/{name}"
    page = ask("/page").body.decode()
    for link in [f'"/{name}/3/Cloud"', f'"/{name}/data/x.png"', f'"/{name}/go"', '"relative"']:
        assert link in page, page
    assert ask("/redirect").headers["location"] in (f"{public}/home?x=1", f"/{name}/home?x=1")
    assert ask("/absolute").headers["location"] in (f"{public}/home", f"/{name}/home")
    assert f"Path=/{name}" in ask("/cookie").headers["set-cookie"]
    if name == "flow":
        assert ask("/page").headers["x-h2o-context-path"] == "/flow/"


def test_what_knows_its_path_keeps_it(mliy):
    ask = lambda path: mliy.ask(host("i-ann"), path, *ANN, source=PROXY)
    assert ask("/ipython/lab/tree").json()["target"] == "/ipython/lab/tree"
    public = f"http://{host('i-ann')}:{mliy.port}"
    for path in ["/ipython/redirect", "/ipython/absolute"]:
        assert ask(path).headers["location"] in (f"{public}/ipython/lab", "/ipython/lab"), path


def test_a_portal_that_does_not_run(mliy):
    assert mliy.ask(host("i-ann"), "/dash/", *ANN, source=PROXY).status == 502


def test_web_sockets(mliy, sockets):
    """The Origin is mapped with the Host, so that the server's own comparison of both still holds."""
    name = f"{host('i-ann')}:{mliy.port}"
    dial = lambda source: socket.create_connection(("127.0.0.1", mliy.port), 60, (source, 0))
    headers = dict(line.split(": ") for line in ANN)
    options = {"origin": f"http://{name}", "additional_headers": headers, "open_timeout": 60}
    with connect(f"ws://{name}/tensorboard/api/kernels/k1/channels?x=1", sock=dial(PROXY), **options) as one:
        told = json.loads(one.recv(60))
        assert told["path"] == "/api/kernels/k1/channels?x=1"
        got = {key.lower(): value for key, value in told["headers"]}
        assert got["host"] == f"127.0.0.1:{sockets.port}" and got["origin"] == f"http://127.0.0.1:{sockets.port}"
        assert got["remote_user"] == "ann"
        one.send("there and back")
        assert one.recv(60) == "there and back"
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{name}/tensorboard/", sock=dial(STRANGER), **options)
    assert refused.value.response.status_code == 403


def test_over_tls(start, site, variables):
    mliy = start(System, "mliy", site, **variables)
    answer = mliy.ask(DOMAIN, "/a/b?c=%2F")
    assert answer.status == 307 and answer.headers["location"] == f"https://{DOMAIN}/a/b?c=%2F"
    mliy.put("i-ann", variables["MLIY_URI"], "ann")
    for name, source, status in [(DOMAIN, PROXY, 200), (host("i-ann"), PROXY, 200), (DOMAIN, STRANGER, 403)]:
        with Peer(mliy.tls, source=source, context=site.context(), name=name) as peer:
            answer = peer.ask("/", *ANN, host=name)
            assert answer.status == status
            assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubdomains"


def test_other_ways_to_sign_in(start, variables, tmp_path):
    """The choice is a variable; what the others need, need not be set."""
    ldap = {"MLIY_SIGN_IN": "ldap", "MLIY_LDAP_URI": f"ldap://127.0.0.1:{free_port()}"}
    mliy = start(System, "mliy", **variables, **ldap, MLIY_LDAP_USER_DN="uid={user},ou=people,dc=x")
    answer = mliy.ask(DOMAIN, "/", *ANN, source=PROXY)
    assert answer.status == 401 and answer.headers["www-authenticate"].startswith('Basic realm="MLiy"')
    assert mliy.ask(DOMAIN, "/", "Authorization: Basic YW5uOnB3").status == 503  # the directory is away
    assert mliy.ask(DOMAIN, "/health").status == 200


