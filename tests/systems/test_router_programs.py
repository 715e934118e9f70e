"""Real programs in a session of the router: JupyterLab as the notebook, TensorBoard on a port of its own."""

import re
from urllib.parse import urljoin

import pytest
import requests
from jupyter_lab import Browser, JupyterLab, computes, loads, sign_in
from router import auth, cookies, port
from servers import TensorBoard
from websockets import InvalidStatus


@pytest.fixture(scope="module")
def lab(start):
    return start(JupyterLab, "/")


@pytest.fixture(scope="module")
def board(start):
    return start(TensorBoard)


@pytest.fixture(scope="module")
def made(router, lab, board):
    """The cookies of Ann's session."""
    made = cookies(router)
    of = lambda name, number: port(name, number, made["jb_sess"], made["jb_auth"])
    made["jp_nb"] = of("nb", int(lab.url.rpartition(":")[2]))
    made["jp_tb"] = of("tb", board.port)
    return made


def come(router, made):
    browser = Browser(f"http://127.0.0.1:{router.port}/")
    for name, value in made.items():
        browser.cookies.set(name, value)
    return browser


@pytest.fixture(scope="module")
def browser(router, made):
    """Signed in at JupyterLab by its form."""
    browser = come(router, made)
    sign_in(browser)
    return browser


def test_jupyterlab_is_complete(browser):
    loads(browser, browser.get("lab").text)


@pytest.mark.parametrize("prefix", ["", "jws_nb/", "jci_nb/"])
def test_a_kernel_computes_and_a_terminal_answers(browser, prefix):
    computes(browser, prefix)


def test_tensorboard_on_its_port(router, made):
    browser = come(router, made)
    base = f"{browser.base}jci_tb/"
    page = browser.get("jci_tb/")
    assert page.status_code == 200
    links = [link for link in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not link.startswith("data:")]
    assert links
    for link in links:
        assert browser.get(urljoin(base, link)).status_code == 200, link
    assert "scalars" in browser.get(f"{base}data/plugins_listing").json()


@pytest.mark.parametrize("cookie", ["jb_sess", "jb_auth", "jp_nb", "jp_tb"])
def test_nobody_else_gets_there(router, made, browser, cookie):
    """Not even with the cookies of JupyterLab."""
    lab_cookies = {name: value for name, value in browser.cookies.items() if name not in made}
    for other in ["", auth("bob@example.org"), made[cookie][:-4]]:
        mixed = lab_cookies | made | {cookie: other}
        pairs = "; ".join(f"{name}={value}" for name, value in mixed.items())
        for path in ["jci_tb/data/runs"] if cookie == "jp_tb" else ["lab", "api/kernels", "jws_nb/api/kernels"]:
            answer = requests.get(f"{browser.base}{path}", headers={"Cookie": pairs}, timeout=60)
            assert answer.status_code == 403, (cookie, path)
            assert "jupyter" not in answer.text.lower()


def test_a_web_socket_of_somebody_else_does_not_open(router, made, browser):
    kernel = browser.json("POST", "api/kernels", json={"name": "python3"})["id"]
    stranger = come(router, made | {"jb_auth": auth("bob@example.org")})
    with pytest.raises(InvalidStatus, match="403"), stranger.socket(f"api/kernels/{kernel}/channels"):
        pass
