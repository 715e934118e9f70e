"""Real programs as portals of an instance: JupyterLab, which knows its path, and TensorBoard, which does not."""

import json
import re
import socket
import subprocess
import sys
import time
import uuid
from urllib.parse import urljoin

import pytest
import requests
from processes import Program, answers, free_port
from servers import Told
from system import System, launch, stack  # noqa: F401
from test_jupyterlab import TOKEN, V1, Browser, JupyterLab, execute
from websockets import InvalidStatus
from websockets.sync.client import connect

DOMAIN = "ml.test"
ANN, BOB = {"REMOTE_USER": "ann"}, {"REMOTE_USER": "bob"}

WRITE = """if True:
    import sys, time
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    writer = EventFileWriter(sys.argv[1])
    for step in range(5):
        value = Summary.Value(tag="loss", simple_value=1 / (step + 1))
        writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))
    writer.close()
"""


class TensorBoard(Program):
    def __init__(self, directory):
        self.port = free_port()
        logs = directory / "logs"
        subprocess.run([sys.executable, "-c", WRITE, logs], check=True, timeout=60, capture_output=True)
        arguments = [
            *(sys.executable, "-m", "tensorboard.main", "--load_fast=false", "--reload_interval=1"),
            *("--host=127.0.0.1", f"--port={self.port}", f"--logdir={logs}"),
        ]
        super().__init__(arguments, directory, ready=answers(f"http://127.0.0.1:{self.port}/data/environment"))


@pytest.fixture(scope="module", autouse=True)
def names():
    """All hosts of the domain are here."""
    with pytest.MonkeyPatch.context() as patch:
        real = socket.getaddrinfo
        here = lambda host, *rest, **more: real("127.0.0.1" if str(host).endswith(DOMAIN) else host, *rest, **more)
        patch.setattr(socket, "getaddrinfo", here)
        yield


@pytest.fixture(scope="module")
def lab(launch):
    return launch(JupyterLab, "/ipython/")


@pytest.fixture(scope="module")
def board(launch):
    return launch(TensorBoard)


@pytest.fixture(scope="module")
def host(launch, stack, lab, board):
    """The host of Ann's instance."""
    application = stack.enter_context(Told())
    mliy = launch(
        System,
        "mliy",
        MLIY_URI=application.url,
        MLIY_DOMAIN=DOMAIN,
        MLIY_SIGN_IN_PROXIES="127.0.0.1/32",
        PYLON_INSTANCES_ALLOW="127.0.0.0/8",
        MLIY_IPYTHON_PORT=lab.url.rpartition(":")[2],
        MLIY_TENSORBOARD_PORT=str(board.port),
    )
    mliy.put("i-ann", application.url, "ann")
    return f"http://mliy-i-ann.{DOMAIN}:{mliy.port}"


class Signed(Browser):
    """Who comes through the sign-in proxy."""

    who = ANN

    def request(self, method, url, **options):
        headers = self.who | options.pop("headers", {})
        return super().request(method, url, headers=headers, **options)

    def socket(self, path, **options):
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        url = urljoin(self.base, path).replace("http", "ws", 1)
        headers = {"Cookie": cookies} | self.who
        origin = options.pop("origin", self.origin)
        return connect(url, origin=origin, additional_headers=headers, max_size=None, open_timeout=30, **options)


@pytest.fixture(scope="module")
def browser(host):
    """Signed in at JupyterLab by its form."""
    browser = Signed(f"{host}/ipython/")
    form = browser.get("login?next=/ipython/lab")
    assert form.status_code == 200
    landed = browser.post(form.url, data={"password": TOKEN, "_xsrf": browser.cookies["_xsrf"]})
    assert landed.url == f"{host}/ipython/lab" and landed.status_code == 200
    return browser


def test_jupyterlab_is_complete(browser, host):
    page = browser.get("lab").text
    assets = re.findall(r"""<(?:script|link)[^>]+(?:src|href)=["']([^"']+)""", page)
    assert any("main" in asset for asset in assets)
    for asset in assets:
        assert browser.get(asset).status_code == 200, asset
    slash = requests.get(f"{host}/ipython?x=1", allow_redirects=False, timeout=30)
    assert (slash.status_code, slash.headers["location"]) == (301, f"{host}/ipython/?x=1")


def test_a_kernel_computes_and_a_terminal_answers(browser):
    kernel = browser.json("POST", "api/kernels", json={"name": "python3"})["id"]
    path = f"api/kernels/{kernel}/channels?session_id={uuid.uuid4()}"
    with browser.socket(path, subprotocols=[V1]) as one:
        assert execute(one, "6*7") == ["42"]
    with pytest.raises(InvalidStatus, match="403"), browser.socket(path, origin="http://evil.test"):
        pass
    name = browser.json("POST", "api/terminals")["name"]
    with browser.socket(f"terminals/websocket/{name}") as one:
        one.send(json.dumps(["stdin", "echo $((6*7))-ok\r"]))
        shown = ""
        while "42-ok" not in shown:
            kind, *content = json.loads(one.recv(timeout=20))
            shown += content[0] if kind == "stdout" else ""


def test_another_user_gets_nothing(browser, host):
    """Not even with the owner's cookies."""
    for path in ["ipython/lab", "ipython/api/kernels", "tensorboard/data/runs", "data/runs"]:
        for who in [BOB, {}]:
            answer = requests.get(f"{host}/{path}", headers=who, cookies=browser.cookies, timeout=30)
            assert answer.status_code == 403, (path, who)


def test_tensorboard_below_a_path_that_it_does_not_know(host):
    base = f"{host}/tensorboard/"
    get = lambda path: requests.get(urljoin(base, path), headers=ANN, timeout=30)
    page = get("")
    assert page.status_code == 200
    links = [link for link in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not link.startswith("data:")]
    assert links
    for link in links:
        url = urljoin(base, link)
        assert url.startswith(base) and get(link).status_code == 200, link
    # What its scripts ask for, below the path of the page.
    deadline = time.monotonic() + 20
    while not (tags := get("data/plugin/scalars/tags").json()) and time.monotonic() < deadline:
        time.sleep(0.1)
    [run] = tags
    assert "loss" in tags[run]
    points = get(f"data/plugin/scalars/scalars?run={run}&tag=loss").json()
    assert [point[1] for point in points] == [0, 1, 2, 3, 4]
    assert "scalars" in get("data/plugins_listing").json()
    # At the root there is nothing of it.
    assert requests.get(f"{host}/data/plugins_listing", headers=ANN, timeout=30).json()["target"] == "/data/plugins_listing"
