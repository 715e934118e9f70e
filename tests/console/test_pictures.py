"""Pictures of the console for the README: `PYLON_SCREENSHOTS=DIR make test`, or this file alone."""

import base64
import itertools
import os
import pathlib
import threading

import pytest

from console import PHONE
from edge import QUICK

pytestmark = pytest.mark.skipif("PYLON_SCREENSHOTS" not in os.environ, reason="PYLON_SCREENSHOTS names no directory")
SMALL, DESKTOP = 150_000, (1200, 780)
# What each pool has: how many servers, how long they take, how much they answer, and how often each of them is asked.
POOLS = {
    "portal": (2, 0.004, 9_000, 4),
    "rest-server": (3, 0.012, 2_000, 3),
    "notebooks": (2, 0.03, 40_000, 2),
    "grafana": (2, 0.008, 20_000, 1),
}
PATHS = {
    "portal": "/**",
    "rest-server": "/rest-server/**",
    "notebooks": "/notebooks/{user}/**",
    "grafana": "/grafana/**",
}


@pytest.fixture
def site(edge, servers):
    """A Pylon before a small cluster."""
    pools = {name: servers(count, seconds=seconds, size=size) for name, (count, seconds, size, _) in POOLS.items()}
    keys = {"balance": "least_requests", "health": QUICK | {"interval": "1s"}}
    routes = [
        {"name": name, "path": path, "upstream": name, "adapt": ["location", "cookies"]} for name, path in PATHS.items()
    ]
    upstreams = {name: {"endpoints": [server.url for server in pool], **keys} for name, pool in pools.items()}
    routes.append({"name": "robots", "path": "/robots.txt", "answer": {"body": "User-agent: *\nDisallow: /\n"}})
    return edge({"upstreams": upstreams, "routes": routes}), pools


def traffic(pylon, stop):
    """Requests as such a site has them, until it is enough."""
    paths = ["/", "/rest-server/api/v2/jobs", "/notebooks/ada/lab/tree", "/grafana/d/cluster"]
    for turn in itertools.count():
        for path, (*_, often) in zip(paths, POOLS.values(), strict=True):
            if turn % (5 - often) == 0:
                pylon.get(path)
        if stop.wait(0.01):
            return


def take(console, name):
    picture = console.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    file = pathlib.Path(os.environ["PYLON_SCREENSHOTS"]) / f"console-{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(base64.b64decode(picture["data"]))
    assert file.stat().st_size < SMALL, name


def points(console):
    return console.one(".spark .first").get_attribute("d").count("L")


def test_pictures(console, site):
    pylon, pools = site
    stop = threading.Event()
    clients = [threading.Thread(target=traffic, args=(pylon, stop)) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        console.look(DESKTOP)
        console.open(pylon.admin)
        console.until(lambda: points(console) > 12, "a quiet time", 90)
        pools["rest-server"][1].stop()
        for server in pools["grafana"]:
            server.stop()
        console.until(lambda: points(console) > 26, "the time after", 90)
        take(console, "light")
        console.look(PHONE)
        take(console, "phone")
        console.look(DESKTOP, dark=True)
        console.run("document.getElementById('pools').scrollIntoView()")
        take(console, "dark")
        console.look(DESKTOP)
        failed = pylon.api("requests?failed=true&limit=100")["requests"]
        tried = next(record["id"] for record in failed if len(record["attempts"]) > 1)
        console.run(f"scrollTo(0, 0); location.hash = '#why={tried}'")
        console.until_text("#detail-body", "attempt")
        take(console, "why")
    finally:
        stop.set()
        for client in clients:
            client.join()
