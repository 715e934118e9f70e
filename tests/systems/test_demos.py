"""`pylon demo` of each system, as somebody has it who opens it in a browser."""

import contextlib

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By

from console import browser
from processes import BINARY, Program, answers, free_port, wait_until


class Demo(Program):
    def __init__(self, directory, system):
        self.port = free_port()
        arguments = [BINARY, "demo", "--system", system, "--listen", f"127.0.0.1:{self.port}"]
        arguments += ["--admin", f"127.0.0.1:{free_port()}"]
        super().__init__(arguments, directory, ready=answers(f"http://127.0.0.1:{self.port}/healthz"))


@pytest.fixture(scope="module")
def driver():
    chromium = browser()
    yield chromium.driver
    chromium.close()


class Page:
    """What is open in the browser."""

    def __init__(self, driver, demo, host="localhost"):
        self.driver, self.port = driver, demo.port
        self.open(host, "/")

    def open(self, host, path):
        self.driver.get(f"http://{host}:{self.port}{path}")

    def text(self, selector="body"):
        script = "return [...document.querySelectorAll(arguments[0])].map(found => found.innerText).join(' ')"
        return self.driver.execute_script(script, selector)

    def click(self, xpath):
        def clicked():
            with contextlib.suppress(StaleElementReferenceException):  # the page was made anew meanwhile
                for found in self.driver.find_elements(By.XPATH, xpath)[:1]:
                    found.click()
                    return True
            return False

        wait_until(clicked, what=f"there is {xpath}")

    def shows(self, text, selector="body"):
        wait_until(lambda: text in self.text(selector), what=f"{text!r}, in place of {self.text(selector)!r}")


def test_juliabox(start, driver):
    page = Page(driver, start(Demo, "juliabox"))
    page.shows("Its style sheet and script are files.")
    page.click("//a[text()='A page of the session manager']")
    page.shows("403")
    page.open("localhost", "/")
    page.click("//button[text()='Sign in']")
    page.shows("Session: nb")
    page.shows("WebSocket", "#echo")
    page.open("localhost", "/jci_files/")
    page.shows("Session: files")
    page.open("localhost", "/jboxuser/slow")
    page.shows("Session: slow")
    page.open("localhost", "/jboxauth/signout")
    page.open("localhost", "/tree")
    page.shows("403")


def test_mliy(start, driver):
    page = Page(driver, start(Demo, "mliy"))
    page.shows("Who are you?")
    page.click("//button[@value='ann']")
    page.shows("You are ann.")
    page.shows("ann@example.org")
    page.click("//tr[td='i-ann1']//button[text()='start']")
    wait_until(lambda: "rstudio" in page.text("table"), what="the instance runs")
    for name in ("rstudio", "ipython"):
        page.open("mliy-i-ann1.localhost", f"/{name}")
        if "Who are you?" in page.text():
            page.click("//button[@value='ann']")
        page.shows("A stand-in.")
        page.shows("WebSocket", "#echo")
        assert "did not load" not in page.text("header")
        assert driver.current_url == f"http://mliy-i-ann1.localhost:{page.port}/{name}/home"
    # Somebody else does not enter.
    page.open("mliy-i-ann1.localhost", "/oauth2/logout")
    page.open("mliy-i-ann1.localhost", "/rstudio/")
    page.click("//button[@value='bob']")
    page.shows("403")


def test_backend_ai(start, driver):
    page = Page(driver, start(Demo, "backend-ai"))
    page.click("//button[text()='Ask']")
    page.shows("200 OK", "#said")
    driver.find_element(By.ID, "secret").send_keys("x")
    page.click("//button[text()='Ask']")
    page.shows("401", "#said")
    page.click("//button[text()='Send']")
    page.shows("Hello", "#echo")
