"""Real programs as portals of an instance: JupyterLab, which knows its path, and TensorBoard, which does not."""

import re
import socket
import time
from urllib.parse import urljoin

import pytest
import requests
from jupyter_lab import Browser, JupyterLab, computes, loads, sign_in
from servers import TensorBoard, Told
from system import System
from websockets.sync.client import connect

DOMAIN = "ml.test"
ANN, BOB = {"REMOTE_USER": "ann"}, {"REMOTE_USER": "bob"}


@pytest.fixture(scope="module", autouse=True)
def names():
    """All hosts of the domain are here."""
    with pytest.MonkeyPatch.context() as patch:
        real = socket.getaddrinfo
        here = lambda host, *rest, **more: real("127.0.0.1" if str(host).endswith(DOMAIN) else host, *rest, **more)
        patch.setattr(socket, "getaddrinfo", here)
        yield


@pytest.fixture(scope="module")
def lab(start):
    return start(JupyterLab, "/ipython/")


@pytest.fixture(scope="module")
def board(start):
    return start(TensorBoard)


@pytest.fixture(scope="module")
def host(start, stack, lab, board):
    """The host of Ann's instance."""
    application = stack.enter_context(Told())
    mliy = start(
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
        return connect(url, origin=origin, additional_headers=headers, max_size=None, open_timeout=120, **options)


@pytest.fixture(scope="module")
def browser(host):
    """Signed in at JupyterLab by its form."""
    browser = Signed(f"{host}/ipython/")
    sign_in(browser)
    return browser


def test_jupyterlab_is_complete(browser, host):
    loads(browser, browser.get("lab").text)
    slash = requests.get(f"{host}/ipython?x=1", allow_redirects=False, timeout=60)
    assert (slash.status_code, slash.headers["location"]) == (301, f"{host}/ipython/?x=1")


def test_a_kernel_computes_and_a_terminal_answers(browser):
    computes(browser)


def test_another_user_gets_nothing(browser, host):
    """Not even with the owner's cookies."""
    for path in ["ipython/lab", "ipython/api/kernels", "tensorboard/data/runs", "data/runs"]:
        for who in [BOB, {}]:
            answer = requests.get(f"{host}/{path}", headers=who, cookies=browser.cookies, timeout=60)
            assert answer.status_code == 403, (path, who)


def test_tensorboard_below_a_path_that_it_does_not_know(host):
    base = f"{host}/tensorboard/"
    get = lambda path: requests.get(urljoin(base, path), headers=ANN, timeout=60)
    page = get("")
    assert page.status_code == 200
    links = [link for link in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not link.startswith("data:")]
    assert links
    for link in links:
        url = urljoin(base, link)
        assert url.startswith(base) and get(link).status_code == 200, link
    # What its scripts ask for, below the path of the page.
    deadline = time.monotonic() + 60
    while not (tags := get("data/plugin/scalars/tags").json()) and time.monotonic() < deadline:
        time.sleep(0.1)
    [run] = tags
    assert "loss" in tags[run]
    points = get(f"data/plugin/scalars/scalars?run={run}&tag=loss").json()
    assert [point[1] for point in points] == [0, 1, 2, 3, 4]
    assert "scalars" in get("data/plugins_listing").json()
    # At the root there is nothing of it.
    assert requests.get(f"{host}/data/plugins_listing", headers=ANN, timeout=60).json()["target"] == "/data/plugins_listing"
