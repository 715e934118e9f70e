"""Servers die while the page is open: it says which, why, and what became of each request."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from edge import QUICK, forwarding

POOL = "#pools-list table"


def state_of(console, server):
    return (console.row(POOL, server.authority) or {}).get("State", "")


@pytest.fixture
def three(console, edge, servers):
    """The console of a Pylon before three healthy servers."""
    behind = servers(3)
    pylon = edge(forwarding(behind, health=QUICK))
    console.open(pylon.admin)
    for server in behind:
        console.until(
            lambda server=server: state_of(console, server).startswith("healthy"), f"{server.name} is healthy"
        )
    return pylon, behind


def test_an_endpoint_that_dies_is_told_by_word_shape_and_reason_and_comes_back(console, three):
    _, (first, second, _) = three
    shape = "return [...document.querySelectorAll('#pools-list tbody .state use')].map(use => use.getAttribute('href'))"
    healthy = set(console.run(shape))
    assert len(healthy) == 1
    second.stop()
    console.until(lambda: state_of(console, second).startswith("unhealthy"), "the second is unhealthy")
    assert "refuses" in state_of(console, second), state_of(console, second)
    assert "bad" in console.row(POOL, second.authority)["Last probe"]
    assert state_of(console, first).startswith("healthy")
    assert len(set(console.run(shape)) - healthy) == 1, "another shape, too"
    console.until_text("#findings", f"Pool web: 1 of 3 endpoints out of use.*{second.authority} unhealthy")
    second.start()
    console.until(lambda: state_of(console, second).startswith("healthy"), "the second is healthy again")
    console.until_text("#findings", "Nothing needs attention")


def test_a_failure_appears_and_opens_with_its_endpoints_and_reasons(console, three):
    pylon, behind = three
    for server in behind:
        server.stop()
    console.until_text("#pools-list", "panic")
    answer = pylon.get("/some/where")
    assert answer.status_code in (502, 503)
    identity = answer.headers["X-Request-Id"]
    link = f'#requests-table a[href="#why={identity}"]'
    console.until_text(link, "GET .*/some/where")
    console.press(link)
    console.until_text("#detail-title", f"{answer.status_code} GET .*/some/where")
    assert console.driver.current_url.endswith(f"#why={identity}")
    record = pylon.api(f"why/{identity}")
    shown = console.text("#detail-body")
    assert record["attempts"], record
    for attempt in record["attempts"]:
        assert attempt["endpoint"] in {server.authority for server in behind}
        assert attempt["endpoint"] in shown
        assert attempt["reason"] in shown
    assert "refused" in shown
    assert record["meaning"] in shown
    assert record["route"] == "site"
    assert len(console.all("#detail .track i")) >= len(record["attempts"])
    console.keys(Keys.ESCAPE)
    console.until(lambda: not console.one("#detail").is_displayed(), "Esc closes it")
    console.until_focused(f"#why={identity}", "hash")
    console.until(lambda: "#why" not in console.driver.current_url, "the address is the page's own")


def test_the_first_try_that_failed_is_seen_when_the_second_succeeded(console, edge, servers):
    behind = servers(2)
    pylon = edge(forwarding(behind))
    behind[0].stop()
    answers = [pylon.get("/x") for _ in range(4)]
    assert {answer.status_code for answer in answers} == {200}
    identities = [answer.headers["X-Request-Id"] for answer in answers]
    record = next(
        record for record in map(lambda one: pylon.api(f"why/{one}"), identities) if len(record["attempts"]) == 2
    )
    console.open(f"{pylon.admin}/#why={record['id']}")
    console.until_text("#detail-body", "2 attempts")
    first, second = [item.text for item in console.all("#detail .attempt")]
    assert behind[0].authority in first
    assert "refused" in first
    assert behind[1].authority in second
    assert "answered" in second


def test_any_request_is_found_by_its_id(console, edge, servers):
    pylon = edge(forwarding(servers(1)))
    identity = pylon.get("/found").headers["X-Request-Id"]
    console.open(pylon.admin)
    console.one("#lookup-id").send_keys(identity, Keys.ENTER)
    console.until_text("#detail-title", "200 GET .*/found")
    console.one("#detail-close").click()
    console.one("#lookup-id").clear()
    console.one("#lookup-id").send_keys("there-is-none", Keys.ENTER)
    console.until_text("#detail-title", "no record")
    assert "there-is-none" in console.text("#detail-body")


def test_the_address_of_a_record_can_be_shared(console, edge, servers):
    pylon = edge(forwarding(servers(1)))
    identity = pylon.get("/shared").headers["X-Request-Id"]
    console.open(f"{pylon.admin}/#why={identity}")
    console.until_text("#detail-title", "200 GET .*/shared")
    console.driver.get("about:blank")
    console.driver.back()
    console.until_text("#detail-title", "200 GET .*/shared")


def test_good_requests_are_listed_when_they_are_asked_for(console, edge, servers):
    pylon = edge(forwarding(servers(1)))
    identity = pylon.get("/fine").headers["X-Request-Id"]
    console.open(pylon.admin)
    console.until_text("#requests-empty", "No request has failed")
    console.run(
        "const s = document.getElementById('requests-which'); s.value = 'false'; s.dispatchEvent(new Event('change'))"
    )
    console.until_text(f'#requests-table a[href="#why={identity}"]', "/fine")


def test_rows_stay_under_the_pointer_while_more_requests_fail(console, edge, servers):
    [gone] = servers(1)
    gone.stop()
    pylon = edge(forwarding([gone]))
    first = pylon.get("/first").headers["X-Request-Id"]
    console.open(pylon.admin)
    link = f'#requests-table a[href="#why={first}"]'
    console.until(lambda: console.all(link), "the first failure")
    ActionChains(console.driver).move_to_element(console.one(link)).perform()
    second = pylon.get("/second").headers["X-Request-Id"]
    console.until_text("#requests-new", "Show 1 more")
    assert len(console.all("#requests-table tbody tr")) == 1
    console.press("#requests-new")
    console.until(lambda: console.all(f'#requests-table a[href="#why={second}"]'), "the second failure")
    assert len(console.all("#requests-table tbody tr")) == 2
