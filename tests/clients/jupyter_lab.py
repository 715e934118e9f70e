"""A real JupyterLab, and what a browser does with it, done by hand."""

import json
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
        return super().request(method, url, headers=headers, timeout=120, **options)

    def json(self, method, url, **options):
        answer = self.request(method, url, **options)
        assert answer.ok, f"{method} {url}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def socket(self, path, *, origin=None, **options):
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        url = urljoin(self.base, path).replace("http", "ws", 1)
        headers = {"Cookie": cookies}
        return connect(
            url, origin=origin or self.origin, additional_headers=headers, max_size=None, open_timeout=120, **options
        )


def sign_in(browser):
    """Signs in by the form; gives back the answer that this leads to."""
    form = browser.get("login?next=" + browser.base.removeprefix(browser.origin) + "lab")
    assert form.status_code == 200
    landed = browser.post(form.url, data={"password": TOKEN, "_xsrf": browser.cookies["_xsrf"]})
    assert (landed.url, landed.status_code) == (f"{browser.base}lab", 200)
    return landed


def loads(browser, page):
    """Holds that all that a page consists of is there."""
    assets = re.findall(r"""<(?:script|link)[^>]+(?:src|href)=["']([^"']+)""", page)
    assert any("main" in asset for asset in assets)
    for asset in assets:
        loaded = browser.get(asset)
        assert loaded.status_code == 200, asset
        assert loaded.content, asset


def echoes(browser, name, below=""):
    """Holds that a terminal runs what is typed."""
    with browser.socket(f"{below}terminals/websocket/{name}") as socket:
        socket.send(json.dumps(["stdin", "echo $((6*7))-ok\r"]))
        shown = ""
        while "42-ok" not in shown:
            kind, *content = json.loads(socket.recv(timeout=120))
            shown += content[0] if kind == "stdout" else ""


def computes(browser, below=""):
    """Holds that a kernel and a terminal answer, and strangers' pages get no socket."""
    kernel = browser.json("POST", "api/kernels", json={"name": "python3"})["id"]
    path = f"{below}api/kernels/{kernel}/channels?session_id={uuid.uuid4()}"
    with browser.socket(path, subprotocols=[V1]) as one:
        assert execute(one, "6*7") == ["42"]
    with pytest.raises(InvalidStatus, match="403"), browser.socket(path, origin="http://evil.test"):
        pass
    echoes(browser, browser.json("POST", "api/terminals")["name"], below)


def execute(socket, code):
    """The results of a cell."""
    sent = request(code)
    socket.send(pack(sent) if socket.subprotocol else json.dumps(sent))
    results = []
    while True:
        message = socket.recv(timeout=120)
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
