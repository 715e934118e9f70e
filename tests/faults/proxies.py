"""The proxy before the origins: Pylon, with a pool for each part of a test."""

import contextlib
import json
import os
import pathlib
import signal
import urllib.request

from processes import BINARY, PATIENCE, Program, answers, free_port, wait_until

USUAL = {"connect": "5s", "first_byte": "15s", "idle": "15s"}


def pool(*endpoints, **keys):
    """A pool of origins, or `(origin, weight)`. Nothing is ejected unless a test asks for it."""
    urls = [{"url": one[0].url, "weight": one[1]} if isinstance(one, tuple) else one.url for one in endpoints]
    timeouts = USUAL | keys.pop("timeouts", {})
    return {"endpoints": urls, "timeouts": timeouts, "ejection": {"enabled": False}} | keys


class Proxy(Program):
    """Pylon: `/NAME/...` leads to the pool NAME, and to the routes that a test adds."""

    def __init__(self, directory, pools, routes=None):
        self.authority = f"127.0.0.1:{free_port()}"
        self.admin = f"127.0.0.1:{free_port()}"
        self.file = pathlib.Path(directory) / f"pylon-{free_port()}.yaml"
        self.write(pools, routes)
        super().__init__(
            [BINARY, "run", "-c", self.file], directory, ready=answers(f"http://{self.authority}/healthz")
        )

    def write(self, pools, routes=None):
        """The configuration; JSON is YAML too. It is put into place at once, as an editor does."""
        led = {name: {"upstream": name} for name in pools} | (routes or {})
        config = {
            "listeners": [{"address": self.authority}],
            "admin": {"address": self.admin},
            "log": {"access": False},
            "upstreams": pools,
            "routes": [{"name": name, "path": f"/{name}/**"} | keys for name, keys in led.items()],
        }
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(config, indent=1))
        os.replace(fresh, self.file)

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def shown(self, origin):
        """What the admin port says of an endpoint, as text: the smallest part that names its address."""
        with urllib.request.urlopen(f"http://{self.admin}/api/upstreams", timeout=PATIENCE) as answer:
            return smallest(json.load(answer), origin.address) or ""

    def waiting(self, name):
        """How many requests queue for a pool."""
        with urllib.request.urlopen(f"http://{self.admin}/api/upstreams", timeout=PATIENCE) as answer:
            return sum(one["waiting"] for one in json.load(answer)["upstreams"] if one["name"] == name)

    def until(self, origin, state):
        """Waits until an endpoint is shown so."""
        seen = ""

        def is_so():
            nonlocal seen
            with contextlib.suppress(OSError):
                seen = self.shown(origin)
            return f'"{state}"' in seen.lower()

        try:
            wait_until(is_so, what=f"{origin.address} is {state}")
        except TimeoutError as error:
            raise AssertionError(f"{error}; last: {seen}") from None


def smallest(value, text):
    """The innermost object in some JSON that has the text in a value of its own, or below a key with it."""
    if isinstance(value, list):
        return next((found for one in value if (found := smallest(one, text))), None)
    if not isinstance(value, dict):
        return None
    for key, inner in value.items():
        if text in key:
            return json.dumps({key: inner})
        if found := smallest(inner, text):
            return found
    plain = any(isinstance(inner, str) and text in inner for inner in value.values())
    return json.dumps(value) if plain else None
