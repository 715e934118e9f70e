"""The admin port goes away, refuses, or wants a token: the page says so, and recovers by itself."""

from edge import Edge
from servers import Between

TOKEN = "a-token-of-32-characters-or-more-1"


def test_pylon_ends_and_comes_back(console, tmp_path):
    pylon = Edge(tmp_path, {})
    try:
        console.open(pylon.admin)
        before = pylon.api("status")["pid"]
        console.until_text("#instance", f"process {before}")
    finally:
        pylon.stop()
    told = console.until_text("#trouble-text", "cannot be reached")
    assert "What is shown is from" in told
    console.until(lambda: not console.one("#drain").is_enabled(), "nothing can be pressed")
    again = Edge(tmp_path, {}, ports=pylon.ports)
    try:
        after = again.api("status")["pid"]
        console.until_text("#instance", f"process {after}")
        console.until(lambda: not console.one("#trouble").is_displayed(), "the trouble is over")
        console.until(lambda: console.one("#drain").is_enabled(), "the page is live")
    finally:
        again.stop()


def test_errors_of_the_api_are_shown_and_asked_about_less_and_less(console, edge, keep):
    between = keep(Between(edge().authority))
    console.open(between.url)
    between.change = lambda path, status, body: (503, b'{"error": "busy", "cure": "wait"}')
    console.until_text("#trouble-text", "503.*busy.*wait")
    console.until_text("#trouble-next", r"Next try in ([4-9]|\d\d) s")
    between.change = lambda path, status, body: (status, body)
    console.one("#retry").click()
    console.until(lambda: not console.one("#trouble").is_displayed(), "the trouble is over")


def test_what_still_answers_is_shown_when_a_part_does_not(console, edge, keep):
    between = keep(Between(edge().authority))
    console.open(between.url)
    between.change = lambda path, status, body: (500, b"oops") if path == "/api/upstreams" else (status, body)
    console.until_text("#trouble-text", "500 to api/upstreams")
    console.run("document.querySelector('#instance').textContent = ''")
    console.until_text("#instance", "process")


def test_a_token_is_asked_for_kept_in_the_tab_and_sent(console, edge):
    pylon = edge(token=TOKEN)
    console.open(pylon.admin, ready=False)
    console.until(lambda: console.one("#token").is_displayed(), "the question for the token")
    console.until_focused("token-field")
    assert console.one("#token-field").get_attribute("type") == "password"
    console.keys("wrong-token\n")
    console.until_text("#token-error", "not accepted")
    console.keys(TOKEN + "\n")
    console.until(lambda: console.text("#tile-in-flight").isdigit(), "the numbers")
    console.until(lambda: not console.one("#token").is_displayed(), "the question is gone")
    assert TOKEN not in console.run("return document.documentElement.outerHTML")
    assert console.run("return [Object.values(sessionStorage), Object.values(localStorage), document.cookie]") == [
        [TOKEN],
        [],
        "",
    ]
    console.driver.refresh()
    console.until(lambda: console.text("#tile-in-flight").isdigit(), "the numbers, without another question")


def test_a_token_that_ends_while_the_page_is_open_is_asked_for_again(console, edge, keep):
    between = keep(Between(edge(token=TOKEN).authority))
    console.open(between.url, ready=False)
    console.until(lambda: console.one("#token").is_displayed(), "the question for the token")
    console.until_focused("token-field")
    console.keys(TOKEN + "\n")
    console.until(lambda: console.text("#tile-in-flight").isdigit(), "the numbers")
    between.change = lambda path, status, body: (401, b'{"error": "no"}')
    console.until(lambda: console.one("#token").is_displayed(), "the question for another token")
    console.until_focused("token-field")
    console.until_text("#token-error", "not accepted")
    asked = between.count("/api/status")
    between.change = lambda path, status, body: (status, body)
    console.keys(TOKEN + "\n")
    console.until(lambda: not console.one("#trouble").is_displayed(), "the trouble is over")
    console.until(lambda: between.count("/api/status") > asked, "it asks again")
