"""How the page looks: on a phone, in the dark, to the keyboard, to a screen reader."""

import itertools
import pathlib

import pytest
from selenium.webdriver.common.keys import Keys

from console import DESKTOP, PHONE
from edge import QUICK, forwarding

CONTRAST = (pathlib.Path(__file__).parent / "contrast.js").read_text()
AA = 4.5


@pytest.fixture
def busy(console, edge, servers):
    """The console of a Pylon with something to show everywhere: an endpoint that is down, failures, refusals."""
    good, gone, alone = servers(3)
    gone.stop()
    alone.stop()
    config = forwarding([good, gone], health=QUICK, balance="least_requests", retry={"attempts": 3})
    config["upstreams"]["reports"] = {"endpoints": [alone.url], "health": QUICK, "breaker": {}}
    config["routes"] += [
        {"name": "reports", "path": "/reports/**", "upstream": "reports", "adapt": ["location"]},
        {"name": "welcome", "path": "/welcome", "answer": {"body": "hi"}},
    ]
    pylon = edge(config)
    pylon.get("/", headers={"Host": "a b"})
    for path in ["/x", "/welcome", "/reports/today"] * 5:
        pylon.get(path)
    console.open(pylon.admin)
    console.until_text("#pools-list", "unhealthy")
    console.until(lambda: console.all("#requests-table tbody tr"), "failures")
    return pylon


def states_of_the_page(console, pylon):
    """The page, then its dialogs, and the page with results in it."""
    yield "page"
    console.run("document.querySelector('#requests-table tbody a').click()")
    console.until_text("#detail-body", "attempt")
    yield "record"
    console.keys(Keys.ESCAPE)
    console.run("document.getElementById('drain').click()")
    console.until(lambda: console.one("#confirm").is_displayed(), "the question")
    yield "question"
    console.keys(Keys.ESCAPE)
    console.one("#explain-url").send_keys("http://pylon/reports/x\n")
    console.until_text("#explain-summary", "Route reports")
    console.one("#reload").click()
    console.until_text("#result", "generation")
    yield "results"
    console.run("document.getElementById('token').showModal()")
    yield "token"
    pylon.stop()
    console.run("document.getElementById('token').close()")
    console.until_text("#trouble-text", "cannot be reached")
    yield "trouble"


def sticks_out(console):
    """What is wider than the screen, outside of the boxes that scroll by themselves."""
    return console.run("""
        return [...document.querySelectorAll('body *')].filter(element => {
          const box = element.getBoundingClientRect();
          const scrolls = element.closest('.box, nav, .hidden-text, .skip, dialog:not([open])');
          return box.width && box.right > innerWidth + 1 && !scrolls;
        }).map(element => `${element.tagName} ${element.id || element.className} ${element.textContent.slice(0, 30)}`)""")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_all_texts_have_contrast_and_nothing_sticks_out(console, busy, size, dark):
    console.look(size, dark=dark)
    for state in states_of_the_page(console, busy):
        measured = console.run(CONTRAST)
        assert len(measured) > 50, state
        low = [one for one in measured if one[0] < AA]
        assert not low, (state, low)
        assert console.run("return [innerWidth, document.documentElement.scrollWidth]") == [size[0]] * 2, (
            state,
            sticks_out(console),
        )
        assert sticks_out(console) == [], state


def test_the_measure_of_contrast_sees_what_is_too_faint(console, busy):
    faint = console.one("#routes-count")
    console.run("arguments[0].style.color = 'rgb(150, 155, 160)'", faint)
    ratio, _, _, text = console.run(CONTRAST)[0]
    assert ratio < AA
    assert text == faint.text


def test_the_colours_follow_the_system(console, busy):
    def brightness():
        return sum(
            int(part)
            for part in console.one("body").value_of_css_property("background-color").strip("rgba()").split(",")[:3]
        )

    console.look(dark=False)
    assert brightness() > 3 * 200
    console.look(dark=True)
    assert brightness() < 3 * 60


def test_nothing_moves_for_who_wants_it_still(console, busy):
    moving = """
        const moves = style => style.scrollBehavior === 'smooth'
          || parseFloat(style.transitionDuration) || parseFloat(style.animationDuration);
        return [...document.querySelectorAll('*')].filter(element => moves(getComputedStyle(element))).length"""
    assert console.run(moving) == 0
    console.look(still=False)
    assert console.run(moving) > 0


def test_every_control_has_a_name_and_headings_are_in_order(console, busy):
    controls = [
        one
        for one in console.all("button, input, select, textarea, a[href], [tabindex='0'], dialog")
        if one.is_displayed()
    ]
    assert len(controls) > 25
    nameless = [one.get_attribute("outerHTML")[:120] for one in controls if not one.accessible_name.strip()]
    assert nameless == []
    levels = console.run("return [...document.querySelectorAll('main h2, main h3, h1')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels)), levels
    for landmark in ["banner", "navigation", "main"]:
        assert [one.aria_role for one in console.all("header.top, nav, main")].count(landmark) == 1, landmark
    assert console.all(
        "#result[role=status], #findings[aria-live=polite], #trouble-text[role=alert], #state[role=status]"
    )[3:]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_tables_are_tables_for_a_screen_reader_even_as_cards(console, busy, size):
    console.look(size)
    tables = [table for table in console.all("table") if table.is_displayed()]
    assert len(tables) >= 5
    for table in tables:
        assert table.aria_role == "table"
        assert [row.aria_role for row in table.find_elements("css selector", "tbody tr")[:3]].count("row") >= 1
        assert table.find_element("css selector", "tbody td").aria_role == "cell"


def test_the_keyboard_comes_everywhere_and_is_seen_there(console, busy):
    wanted = console.run("""
        return [...document.querySelectorAll('button, input, select, textarea, a[href]')]
          .filter(one => one.checkVisibility() && !one.disabled).map(one => one.outerHTML)""")
    console.run("document.activeElement.blur()")
    seen, outlined = set(), []
    for _ in range(len(wanted) * 2 + 60):
        console.keys(Keys.TAB)
        html, outline = console.run("""
            const one = document.activeElement, style = getComputedStyle(one);
            return [one.outerHTML, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]""")
        if html.startswith("<body"):
            break
        seen.add(html)
        outlined.append((outline, html[:80]))
    missed = [html[:120] for html in wanted if html not in seen]
    assert missed == []
    assert [html for outline, html in outlined if not outline] == []


def test_the_keyboard_stays_in_a_dialog(console, busy):
    console.run("document.querySelector('#requests-table tbody a').click()")
    console.until_text("#detail-body", "attempt")
    for _ in range(12):
        console.keys(Keys.TAB)
        inside = console.run(
            "const one = document.activeElement; return one === document.body || Boolean(one.closest('#detail'))"
        )
        assert inside, console.focused("outerHTML")[:120]
