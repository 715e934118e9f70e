"""A real JupyterLab: as the portal at the root, and under a path of its own."""

import base64
import contextlib
import json
import os
import pathlib
import re
import sys
import uuid
from urllib.parse import urljoin

import pytest
import requests
from websockets import InvalidStatus

from jupyter_lab import V1, Browser, JupyterLab, echoes, execute, loads, sign_in


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
    assert [hop.status_code for hop in sign_in(browser).history] == [302]
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
    loads(browser, page)


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


def test_a_terminal_answers(browser):
    name = browser.json("POST", "api/terminals")["name"]
    echoes(browser, name)
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
    answer = requests.get(f"{browser.base}files/note.txt", cookies=browser.cookies, headers=referer, timeout=60)
    assert (answer.status_code, answer.text) == (200, "noted")


def test_another_sites_page_gets_nothing(browser, kernel):
    foreign = {"Origin": "http://evil.test", "Referer": "http://evil.test/page"}
    with (
        pytest.raises(InvalidStatus, match="403"),
        browser.socket(f"api/kernels/{kernel}/channels", origin="http://evil.test"),
    ):
        pass
    answer = requests.post(f"{browser.base}api/kernels", cookies=browser.cookies, headers=foreign, json={}, timeout=60)
    assert answer.status_code in (403, 404), answer.text
