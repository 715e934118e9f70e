"""What other sites in the same browser can do with the admin port: nothing. And texts of strangers stay texts."""

import json

import pytest
import requests

from servers import Between, Site, everywhere

HOSTILE = "<img src=x onerror='window.ran=1'><script>window.ran=1</script>\u202e"


@pytest.fixture
def stranger(keep):
    return keep(Site({"/": "<!DOCTYPE html><title>stranger</title><p>hello", "/frame": "<p id=inside>framed"}))


def visit(console, stranger, name):
    """Opens the stranger's page, by a name that makes it another site than the admin port, or the same."""
    url = f"http://{name}:{stranger.port}"
    console.driver.get(url)
    return url


READ = """
    const [url, options, done] = arguments;
    fetch(url, options).then(answer => answer.text()).then(text => done('read ' + text.length), error => done('refused'));"""


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_another_site_reads_nothing(console, edge, stranger, name):
    pylon = edge()
    here = visit(console, stranger, name)
    other = f"http://{'127.0.0.1' if name == 'localhost' else 'localhost'}:{stranger.port}/frame"
    assert console.driver.execute_async_script(READ, other, {}).startswith("read"), f"{here} can read who allows it"
    for path in ["/", "/metrics", "/api/status", "/api/config", "/api/requests?failed=false"]:
        for options in [{}, {"credentials": "include"}, {"headers": {"X-Other": "1"}}]:
            assert console.driver.execute_async_script(READ, pylon.admin + path, options) == "refused", (path, options)


POSTS = [
    {"method": "POST", "mode": "no-cors", "headers": {"Content-Type": "text/plain"}},
    {"method": "POST", "mode": "no-cors"},
    {"method": "POST", "headers": {"Content-Type": "application/json"}},
]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("options", POSTS, ids=["plain", "bare", "json"])
def test_another_site_changes_nothing(console, edge, stranger, name, options):
    pylon = edge()
    before = (pylon.api("drain"), pylon.api("log-level"), pylon.api("status")["config"])
    visit(console, stranger, name)
    for path, body in [("drain", {"drain": True}), ("log-level", {"channel": "error", "level": "off"}), ("reload", {})]:
        sent = options | {"body": json.dumps(body)}
        console.driver.execute_async_script(READ, f"{pylon.admin}/api/{path}", sent)
    form = """
        const form = document.createElement('form');
        Object.assign(form, {action: arguments[0], method: 'POST', enctype: 'text/plain', target: 'sink'});
        const field = Object.assign(document.createElement('input'), {name: '{"drain": true, "x": "', value: '"}'});
        const sink = Object.assign(document.createElement('iframe'), {name: 'sink', onload: () => window.sent = 1});
        form.append(field); document.body.append(sink, form); window.sent = 0; form.submit();"""
    console.run(form, f"{pylon.admin}/api/drain")
    console.until(lambda: console.run("return window.sent"), "the form was sent")
    state = pylon.api("drain")
    assert state["state"] == before[0]["state"] == "ready"
    assert (pylon.api("log-level"), pylon.api("status")["config"]) == before[1:]


def test_a_name_that_was_bound_to_this_machine_opens_nothing(edge):
    pylon = edge()
    answer = requests.get(f"{pylon.admin}/api/status", headers={"Host": "evil.example"}, timeout=60)
    assert answer.status_code == 403
    assert "routes" not in answer.text


def test_the_console_cannot_be_framed(console, edge, stranger):
    pylon = edge()
    here = visit(console, stranger, "localhost")
    frame = """
        const [url, done] = arguments, frame = document.createElement('iframe');
        frame.onload = () => done(); frame.src = url; document.body.replaceChildren(frame);"""
    console.driver.execute_async_script(frame, f"{here}/frame")
    console.driver.switch_to.frame(0)
    assert console.text("#inside") == "framed", "frames work"
    console.driver.switch_to.default_content()
    console.complaints()
    console.driver.execute_async_script(frame, pylon.admin)
    assert "frame-ancestors" in " ".join(console.complaints())
    console.driver.switch_to.frame(0)
    assert not console.all("#state")
    console.driver.switch_to.default_content()


def test_hostile_texts_are_shown_as_texts(console, edge, keep):
    """Every text of the API ends in markup here, more than any client or server could bring about."""
    pylon = edge(
        {
            "upstreams": {"web": {"endpoints": ["http://127.0.0.1:9"]}},
            "routes": [{"name": "site", "path": "/{name}/**", "upstream": "web"}],
        }
    )
    identity = pylon.get("/%3Cimg%20src=x%20onerror=window.ran=1%3E/x").headers["X-Request-Id"]
    between = keep(Between(pylon.authority))
    between.change = lambda path, status, body: (
        status,
        everywhere(HOSTILE, body) if path.startswith("/api/") else body,
    )
    console.open(between.url)
    for selector in [
        "#instance",
        "#routes-table",
        "#pools-list",
        "#requests-table",
        "#configuration-facts",
        "#logs-table",
    ]:
        console.until_text(selector, "<img src=x onerror=")
    console.one("#explain-url").send_keys("http://x/%3Cb%3E/y\n")
    console.until_text("#explain-summary", "<img src=x")
    console.until_text("#explain-result", "<script>")
    console.run("document.querySelector('#routes-table tbody button').click()")
    console.until_text("#detail-body", "<img src=x")
    console.run(f"location.hash = '#why={identity}'")
    console.until_text("#detail-body", r"(?s)attempt.*127\.0\.0\.1:9<img src=x.*<script>")
    assert "\u202e" not in console.run("return document.documentElement.textContent"), "nothing turns the text around"
    assert console.all("main img, dialog img, main script, dialog script") == []
    assert console.run("return window.ran ?? null") is None
    assert [line for line in console.complaints() if "Content Security" in line] == []
