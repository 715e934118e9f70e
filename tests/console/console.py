"""Chromium without a window, and the console in it as somebody at the screen has it."""

import re
import shutil

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from processes import wait_until

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",  # it does not start as root otherwise
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-lcd-text",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--proxy-server=direct://",
]
DESKTOP, PHONE = (1280, 900), (360, 780)
SECONDS = 60.0


class browser:  # noqa: N801
    """Starts Chromium; `driver` drives it."""

    def __init__(self):
        programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
        if not all(programs):
            pytest.fail("Chromium is not installed; `make test` does it")
        options = webdriver.ChromeOptions()
        options.binary_location = programs[0]
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(programs[1]))
        self.driver.set_script_timeout(SECONDS)

    def close(self):
        self.driver.quit()


class Console:
    def __init__(self, driver):
        self.driver = driver

    def clear(self):
        """An empty tab, with nothing left of the test before."""
        first, *others = self.driver.window_handles
        for other in others:
            self.driver.switch_to.window(other)
            self.driver.close()
        self.driver.switch_to.window(first)
        self.driver.get("about:blank")
        self.look()
        self.driver.get_log("browser")

    def look(self, size=DESKTOP, *, dark=False, still=True):
        """The screen: its size, its colours, and whether things may move."""
        width, height = size
        phone = width < 600
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        wishes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, url, *, ready=True):
        """Opens the console of an admin port, and waits for the first numbers."""
        self.driver.get(url)
        if ready:
            self.until(lambda: self.text("#tile-in-flight").isdigit(), "the first numbers")
        return self

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """The text that can be seen there; empty when there is nothing."""
        try:
            return " ".join(element.text for element in self.all(selector))
        except StaleElementReferenceException:
            return ""

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, condition, what, seconds=SECONDS):
        return wait_until(condition, seconds, what)

    def until_text(self, selector, pattern):
        """Waits until a text is seen there, which is returned."""

        def seen():
            text = self.text(selector)
            return text if re.search(pattern, text) else None

        try:
            return self.until(seen, f"/{pattern}/ in {selector}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; there is {self.text(selector)!r}") from None

    def row(self, table, name):
        """The cells of a table's row by their label."""
        script = """
            for (const row of document.querySelectorAll(arguments[0] + ' tbody tr'))
              if (row.cells[0].innerText.split('\\n')[0] === arguments[1])
                return Object.fromEntries([...row.cells].map(cell => [cell.dataset.label, cell.innerText]));
            return null;"""
        return self.run(script, table, name)

    def keys(self, *keys):
        """Presses keys, wherever the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def press(self, selector):
        """Goes to an element and presses it, wherever it is on the page."""
        self.run("arguments[0].focus()", self.one(selector))
        self.keys(Keys.ENTER)

    def focused(self, property="id"):
        return self.run("return document.activeElement?.[arguments[0]] ?? ''", property)

    def until_focused(self, wanted, property="id"):
        """Waits until the focus is there."""
        self.until(lambda: self.focused(property) == wanted, f"the focus is on {wanted}")

    def tab_to(self, identity, limit=400):
        """Goes to an element as the keyboard does."""
        for _ in range(limit):
            if self.focused() == identity:
                return
            self.keys(Keys.TAB)
        raise AssertionError(f"the keyboard does not come to {identity}")

    def complaints(self):
        """What the browser has to say against the page since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
