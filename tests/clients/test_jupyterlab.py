"""A real JupyterLab: as the portal at the root, and under a path of its own. What a browser does is done by hand."""

import base64
import contextlib
import json
import os
import pathlib
import re
import struct
import sys
import uuid
from urllib.parse import urljoin

import pytest
import requests
from websockets import InvalidStatus
from websockets.sync.client import connect

from processes import Program, answers, free_port

TOKEN = "a-token-for-tests"
V1 = "v1.kernel.websocket.jupyter.org"


class JupyterLab(Program):
    def __init__(self, directory, base_url):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        arguments = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.base_url={base_url}",
            f"--ServerApp.root_dir={directory}",
            f"--IdentityProvider.token={TOKEN}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.news_url=",
        ]
        environment = {"SHELL": "/bin/sh", "IPYTHONDIR": str(directory / "ipython"), "PYTHONDONTWRITEBYTECODE": "1"}
        super().__init__(arguments, directory, ready=answers(f"{self.url}{base_url}api"), environment=environment)


class Browser(requests.Session):
    """Keeps cookies and sends what a page's own requests carry: its origin and the token against forgery."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.origin = base[: base.index("/", len("http://"))]

    def request(self, method, url, **options):
        url = urljoin(self.base, url)
        assert url.startswith(self.base), f"{url} leads away from {self.base}"
        headers = {"Origin": self.origin, "Referer": f"{self.base}lab"} | options.pop("headers", {})
        if "_xsrf" in self.cookies:
            headers["X-XSRFToken"] = self.cookies["_xsrf"]
        return super().request(method, url, headers=headers, timeout=30, **options)

    def json(self, method, url, **options):
        answer = self.request(method, url, **options)
        assert answer.ok, f"{method} {url}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def socket(self, path, *, origin=None, **options):
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        url = urljoin(self.base, path).replace("http", "ws", 1)
        headers = {"Cookie": cookies}
        return connect(
            url, origin=origin or self.origin, additional_headers=headers, max_size=None, open_timeout=30, **options
        )


@pytest.fixture(scope="module", params=["portal", "sub-path"])
def base(request, start, pylon):
    """Where JupyterLab is for the public."""
    if request.param == "portal":
        server = start(JupyterLab, "/")
        # With a service to be substituted, so that pages and scripts do pass the rewriter.
        return pylon(PAI_WEB_PORTAL_URI=server.url, REST_SERVER_URI="http://127.0.0.1:9").url + "/"
    server = start(JupyterLab, "/jupyter/")
    config = f"""
upstreams: {{ jupyter: {{ endpoints: ["{server.url}"] }} }}
routes: [{{ name: jupyter, path: /jupyter/**, upstream: jupyter, adapt: [location, cookies, html] }}]
"""
    return pylon(config=config).url + "/jupyter/"


@pytest.fixture(scope="module")
def browser(base):
    """Signed in by the form."""
    browser = Browser(base)
    form = browser.get("login?next=" + base[base.index("/", 8) :] + "lab")
    assert form.status_code == 200
    landed = browser.post(form.url, data={"password": TOKEN, "_xsrf": browser.cookies["_xsrf"]})
    assert [hop.status_code for hop in landed.history] == [302]
    assert landed.url == f"{base}lab"
    assert landed.status_code == 200
    return browser


def test_a_stranger_is_sent_to_the_login_page(base):
    answer = Browser(base).get("lab")
    assert answer.history[0].status_code == 302
    assert answer.url.startswith(f"{base}login?next=")
    assert 'type="password"' in answer.text
    assert Browser(base).get("api/kernels").status_code == 403


def test_the_page_is_complete(browser, base):
    page = browser.get("lab").text
    config = json.loads(
        re.search(r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', page, re.S)[1]
    )
    assert urljoin(base, config["baseUrl"]) == base
    assets = re.findall(r"""<(?:script|link)[^>]+(?:src|href)=["']([^"']+)""", page)
    assert any("main" in asset for asset in assets)
    for asset in assets:
        loaded = browser.get(asset)
        assert loaded.status_code == 200, asset
        assert loaded.content, asset


def test_scripts_arrive_byte_for_byte(browser):
    installed = pathlib.Path(sys.prefix) / "share/jupyter/lab/static"
    scripts = re.findall(r'src="([^"]*/static/lab/([^"?]*\.js)[^"]*)"', browser.get("lab").text)
    assert scripts
    for address, name in scripts:
        assert browser.get(address).content == (installed / name).read_bytes(), name


def test_settings_and_workspaces_are_saved(browser):
    name = "@jupyterlab/apputils-extension:themes"
    raw = json.dumps({"raw": '{"theme": "JupyterLab Dark"}'})
    browser.json("PUT", f"lab/api/settings/{name}", data=raw)
    assert "JupyterLab Dark" in browser.json("GET", f"lab/api/settings/{name}")["raw"]


@pytest.fixture
def kernel(browser):
    kernel = browser.json("POST", "api/kernels", json={"name": "python3"})["id"]
    yield kernel
    with contextlib.suppress(requests.RequestException):
        browser.delete(f"api/kernels/{kernel}")


@pytest.mark.parametrize("protocol", [None, V1], ids=["json", "binary"])
def test_a_kernel_computes(browser, kernel, protocol):
    options = {"subprotocols": [protocol]} if protocol else {}
    with browser.socket(f"api/kernels/{kernel}/channels?session_id={uuid.uuid4()}", **options) as socket:
        assert socket.subprotocol == protocol
        assert execute(socket, "1+1") == ["2"]
        # Both ways a megabyte.
        text = "ü" * 500_000
        assert execute(socket, f"'{text}'.upper()") == [f"'{text.upper()}'"]


def execute(socket, code):
    """The results of a cell."""
    sent = request(code)
    socket.send(pack(sent) if socket.subprotocol else json.dumps(sent))
    results = []
    while True:
        message = socket.recv(timeout=60)
        message = unpack(message) if socket.subprotocol else json.loads(message)
        if message["parent_header"].get("msg_id") != sent["header"]["msg_id"]:
            continue
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "execute_result":
            results.append(content["data"]["text/plain"])
        elif kind == "error":
            raise AssertionError(content)
        elif kind == "status" and content["execution_state"] == "idle":
            return results


def request(code):
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": uuid.uuid4().hex,
        "username": "",
        "version": "5.3",
        "date": "2024-01-01T00:00:00Z",
    }
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    return {
        "channel": "shell",
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "buffers": [],
    }


def pack(message):
    """The binary form of a message: the number of offsets, the offsets, then the parts."""
    parts = [message["channel"].encode()]
    parts += [json.dumps(message[key]).encode() for key in ("header", "parent_header", "metadata", "content")]
    offsets = [8 * (1 + len(parts) + 1)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def unpack(data):
    (count,) = struct.unpack_from("<Q", data)
    offsets = struct.unpack_from(f"<{count}Q", data, 8)
    _, *parts = (data[begin:end] for begin, end in zip(offsets, offsets[1:], strict=False))
    names = ("header", "parent_header", "metadata", "content")
    return {name: json.loads(part) for name, part in zip(names, parts, strict=False)}


def test_a_terminal_answers(browser):
    name = browser.json("POST", "api/terminals")["name"]
    with browser.socket(f"terminals/websocket/{name}") as socket:
        socket.send(json.dumps(["stdin", "echo $((6*7))-ok\r"]))
        shown = ""
        while "42-ok" not in shown:
            kind, *content = json.loads(socket.recv(timeout=20))
            shown += content[0] if kind == "stdout" else ""
    browser.delete(f"api/terminals/{name}")


def test_files_are_uploaded_in_pieces_and_downloaded(browser):
    data = os.urandom(6 * 1024 * 1024)
    half = len(data) // 2
    for piece, part in [(1, data[:half]), (-1, data[half:])]:
        body = {"type": "file", "format": "base64", "chunk": piece, "content": base64.b64encode(part).decode()}
        browser.json("PUT", "api/contents/random.bin", json=body)
    assert browser.json("GET", "api/contents/random.bin?content=0")["size"] == len(data)
    # As the application's download does, which has the token in the query.
    assert browser.get("files/random.bin", params={"_xsrf": browser.cookies["_xsrf"]}).content == data
    part = browser.get("files/random.bin", params={"_xsrf": browser.cookies["_xsrf"]}, headers={"Range": "bytes=5-9"})
    assert data[5:10] in (part.content, part.content[5:10])


def test_a_link_from_a_page_is_followed(browser):
    # A plain link has no token against forgery: the server compares the Referer with the Host.
    browser.json("PUT", "api/contents/note.txt", json={"type": "file", "format": "text", "content": "noted"})
    referer = {"Referer": f"{browser.base}lab"}
    answer = requests.get(f"{browser.base}files/note.txt", cookies=browser.cookies, headers=referer, timeout=30)
    assert (answer.status_code, answer.text) == (200, "noted")


def test_another_sites_page_gets_nothing(browser, kernel):
    foreign = {"Origin": "http://evil.test", "Referer": "http://evil.test/page"}
    with (
        pytest.raises(InvalidStatus, match="403"),
        browser.socket(f"api/kernels/{kernel}/channels", origin="http://evil.test"),
    ):
        pass
    answer = requests.post(f"{browser.base}api/kernels", cookies=browser.cookies, headers=foreign, json={}, timeout=30)
    assert answer.status_code in (403, 404), answer.text
