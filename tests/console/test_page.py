"""The page itself: it renders without complaint, follows what happens, rests when nobody looks, and copes with many routes."""

import base64
import hashlib
import re

import requests
from selenium.webdriver.common.keys import Keys

from edge import forwarding
from servers import Between

EMBEDDED = {"script": "script-src", "style": "style-src"}


def directives(policy):
    parts = (part.split() for part in policy.split(";") if part.strip())
    return {name: values for name, *values in parts}


def test_the_page_renders_without_complaint(console, edge, servers):
    console.open(edge(forwarding(servers(1))).admin)
    console.until_text("#state", "ready")
    console.until_text("#findings", "Nothing needs attention")
    assert console.one("#trouble").is_displayed() is False
    assert console.complaints() == []


def test_the_policy_allows_the_two_blocks_of_the_page_alone(edge):
    page = requests.get(edge().admin, timeout=60)
    allowed = directives(page.headers["Content-Security-Policy"])
    for tag, directive in EMBEDDED.items():
        [block] = re.findall(rf"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert allowed[directive] == [f"'sha256-{digest}'"]
    for directive in ["default-src", "frame-ancestors", "base-uri", "form-action"]:
        assert allowed[directive] == ["'none'"], directive
    assert allowed["connect-src"] == ["'self'"]


def test_a_script_that_got_into_the_page_would_not_run(console, edge):
    console.open(edge().admin)
    console.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    console.until(lambda: "Content Security Policy" in " ".join(console.complaints()), "the browser's refusal")
    assert console.run("return window.ran ?? null") is None


def test_numbers_follow_the_traffic_without_a_reload(console, edge, servers):
    pylon = edge(forwarding(servers(1)))
    console.open(pylon.admin)
    console.until(lambda: console.row("#routes-table", "site"), "the route's row")
    console.run("window.mark = document.querySelector('#routes-table tbody tr'); mark.marked = true")
    for _ in range(25):
        assert pylon.get("/x").status_code == 200
    console.until(lambda: console.row("#routes-table", "site")["Total"] == "25", "25 requests")
    console.until_text("#tile-rate", "[1-9]")
    console.until(lambda: re.search(r"\d m?s$", console.row("#routes-table", "site")["p95"]), "how long they took")
    assert console.run("return mark.isConnected && mark.marked"), "the row was updated, not built anew"


def test_a_hidden_tab_asks_nothing_and_goes_on_when_it_is_seen_again(console, edge, keep):
    pylon = edge()
    hidden, shown = keep(Between(pylon.authority)), keep(Between(pylon.authority))
    console.open(hidden.url)
    first = console.driver.current_window_handle
    console.driver.switch_to.new_window("tab")
    console.open(shown.url)
    before, since = hidden.count("/api/status"), shown.count("/api/status")
    console.until(lambda: shown.count("/api/status") >= since + 3, "polls of the tab that is seen")
    after = hidden.count("/api/status")
    assert after <= before + 1, "one may have been under way"
    console.driver.switch_to.window(first)
    console.until(lambda: hidden.count("/api/status") >= after + 2, "polls of the first tab again")


def test_a_thousand_routes_show_the_busiest_and_can_be_filtered_and_sorted(console, edge):
    routes = [{"name": f"tenant-{at:03}", "path": f"/{at}/**", "answer": {"body": "hi"}} for at in range(1000)]
    pylon = edge({"routes": routes})
    for _ in range(3):
        pylon.get("/777/x")
    console.open(pylon.admin)
    console.until_text("#routes-count", r"50 of 1,?00\d")
    console.until(
        lambda: console.text("#routes-table tbody tr:first-child button") == "tenant-777", "the busiest first"
    )
    console.one("#routes-filter").send_keys("nant-12")
    console.until(lambda: len(console.all("#routes-table tbody tr")) == 10, "the ten routes with that name")
    console.one("#routes-filter").send_keys(Keys.BACKSPACE * 7)
    console.press("#routes-all")
    console.until(lambda: len(console.all("#routes-table tbody tr")) > 999, "all routes")
    console.run("window.rows = [...document.querySelectorAll('#routes-table tbody tr')]")
    pylon.get("/5/x")
    console.until(lambda: console.row("#routes-table", "tenant-005")["Total"] == "1", "another route's request")
    assert console.run("return rows.every(row => row.isConnected)"), "no row was built anew"
    console.press("#routes-table thead th button")
    assert console.one("#routes-table thead th").get_attribute("aria-sort") == "ascending"
    names = console.run(
        "return [...document.querySelectorAll('#routes-table tbody button')].map(one => one.textContent)"
    )
    assert names == sorted(names)


def test_a_route_opens_what_is_known_about_it(console, edge, servers):
    pylon = edge(forwarding(servers(1)))
    pylon.get("/x")
    console.open(pylon.admin)
    console.until(lambda: (console.row("#routes-table", "site") or {}).get("Total") == "1", "the request")
    console.run("[...document.querySelectorAll('#routes-table button')].find(b => b.textContent === 'site').click()")
    console.until_text("#detail-title", "Route site")
    console.until_text("#detail-body", r"(?s)forward to web.*/\*\*.*forwarded: 1.*200: 1")
    console.keys(Keys.ESCAPE)
    console.until(lambda: not console.one("#detail").is_displayed(), "the dialog is closed")


def test_what_turns_clients_away_and_what_is_left_out_is_shown(console, edge):
    pylon = edge(
        {
            "upstreams": {"later": {"endpoints": ["${NOT_SET_HERE}"], "optional": True}},
            "routes": [{"name": "later", "path": "/later/**", "upstream": "later"}],
        }
    )
    assert pylon.get("/", headers={"Host": "a b"}).status_code == 400
    console.open(pylon.admin)
    console.until(lambda: (console.row("#rejected-table", "host") or {}).get("Count") == "1", "the reason")
    console.until_text("#left-out", "(?s)later.*NOT_SET_HERE is not set")
    assert str(pylon.file) in console.text("#configuration-facts")
    assert pylon.api("status")["config"]["hash"] in console.text("#configuration-facts")
