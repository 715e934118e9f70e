"""What operators do on the page: drain, reload, levels of the log."""

import pytest
import requests
from selenium.webdriver.common.keys import Keys

from edge import forwarding
from servers import Between


def ready(pylon):
    return requests.get(f"{pylon.admin}/readyz", timeout=60).status_code


def test_drain_asks_first_and_can_be_taken_back(console, edge):
    pylon = edge()
    console.open(pylon.admin)
    console.until(lambda: console.one("#drain").is_enabled(), "the page is live")
    console.one("#drain").click()
    console.until_text("#confirm-title", "Drain this instance")
    console.until_focused("confirm-no")
    console.keys(Keys.ESCAPE)
    console.until(lambda: not console.one("#confirm").is_displayed(), "Esc closes it")
    console.until_focused("drain")
    assert ready(pylon) == 200
    console.one("#drain").click()
    console.one("#confirm-yes").click()
    console.until_text("#state", "draining")
    console.until_text("#result", "draining")
    console.until_text("#findings", "out of service")
    assert ready(pylon) == 503
    console.until_text("#drain", "Put back into service")
    console.one("#drain").click()
    console.one("#confirm-yes").click()
    console.until_text("#state", "ready")
    assert ready(pylon) == 200


def test_reload_takes_over_what_is_good_and_shows_what_is_wrong(console, edge, servers):
    config = forwarding(servers(1))
    pylon = edge(config)
    console.open(pylon.admin)
    console.until(lambda: console.one("#reload").is_enabled(), "the page is live")
    pylon.write(config | {"routes": [{"name": "broken", "path": "/x/**", "upsteam": "web"}]})
    console.one("#reload").click()
    console.until_text("#result", r"(?s)Refused: 1 problem.*:\d+:\d+.*upsteam")
    console.until_text("#findings", "last reload was refused")
    console.until_text("#configuration-facts", "refused")
    added = {"name": "added", "path": "/added", "answer": {"body": "hi"}}
    pylon.write(config | {"routes": [*config["routes"], added]})
    console.until(lambda: console.one("#reload").is_enabled(), "the button is free again")
    console.one("#reload").click()
    console.until_text("#result", "generation 2")
    console.until(lambda: console.row("#routes-table", "added"), "the new route")
    console.until_text("#findings", "Nothing needs attention")


@pytest.mark.parametrize("channel", ["error", "access"])
def test_the_level_of_a_log_is_changed_at_once(console, edge, channel):
    pylon = edge()
    console.open(pylon.admin)
    select = f'select[aria-label="Level of {channel}"]'
    console.until(lambda: console.all(select), "the levels")
    levels = {one["channel"]: one for one in pylon.api("log-level")["channels"]}
    wanted = next(level for level in levels[channel]["levels"] if level != levels[channel]["level"])
    console.run(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))",
        console.one(select),
        wanted,
    )
    console.until_text("#result", f"log {channel} now has level {wanted}")
    assert {one["channel"]: one["level"] for one in pylon.api("log-level")["channels"]}[channel] == wanted


def test_a_change_of_a_level_that_is_refused_is_told_and_undone(console, edge, keep):
    pylon = edge()
    between = keep(Between(pylon.authority))
    console.open(between.url)
    select = 'select[aria-label="Level of error"]'
    console.until(lambda: console.all(select), "the levels")
    before = console.one(select).get_attribute("value")
    between.change = lambda path, status, body: (
        (400, b'{"error": "not today"}') if path == "/api/log-level" else (status, body)
    )
    other = next(option for option in console.one(select).text.split() if option != before)
    console.run(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))", console.one(select), other
    )
    console.until_text("#result", "not today")
    console.until(lambda: console.one(select).get_attribute("value") == before, "the level that it has")
