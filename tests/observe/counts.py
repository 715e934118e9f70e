"""One instance whose metrics are read as numbers."""

import contextlib
import math

import requests
from prometheus_client.parser import text_string_to_metric_families

from peers import Edge
from processes import wait_until


class Counted(Edge):
    """Pylon with a plain listener, if no others are given, and what it has counted."""

    def __init__(self, directory, listeners=None, **config):
        super().__init__(directory, listeners or {"http": {}}, **config)
        self.url = f"http://{self.authority('http')}" if "http" in self.ports else None

    def samples(self, name, **labels):
        """The samples of this name that have these labels."""
        text = requests.get(f"http://{self.admin}/metrics", timeout=10).text
        found = [one for family in text_string_to_metric_families(text) for one in family.samples if one.name == name]
        return [one for one in found if labels.items() <= one.labels.items()]

    def value(self, name, **labels):
        """Their sum; nothing, where there are none."""
        found = self.samples(name, **labels)
        return math.fsum(one.value for one in found) if found else None

    def becomes(self, wanted, name, **labels):
        """Waits until the value is this one: requests are counted when they have ended."""
        try:
            wait_until(lambda: self.value(name, **labels) == wanted, 8)
        except TimeoutError:
            raise AssertionError(f"{name} {labels} is {self.value(name, **labels)}, not {wanted}") from None

    def grows(self, name, **labels):
        """Waits until the value is more than it is now."""
        before = self.value(name, **labels) or 0
        wait_until(lambda: (self.value(name, **labels) or 0) > before, 8, f"{name} {labels} is more than {before}")

    @contextlib.contextmanager
    def counts(self, number, name, **labels):
        """Within it the value rises by just as much."""
        before = self.value(name, **labels) or 0
        yield
        self.becomes(before + number, name, **labels)
