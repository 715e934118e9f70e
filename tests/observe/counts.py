"""One instance whose metrics are read as numbers."""

import math

import requests
from prometheus_client.parser import text_string_to_metric_families

from peers import Edge
from processes import PATIENCE, wait_until


class Counted(Edge):
    """Pylon with a plain listener, if no others are given, and what it has counted."""

    def __init__(self, directory, listeners=None, **config):
        super().__init__(directory, listeners or {"http": {}}, **config)
        self.url = f"http://{self.authority('http')}" if "http" in self.ports else None

    def samples(self, metric, /, **labels):
        """The samples of this name that have these labels."""
        text = requests.get(f"http://{self.admin}/metrics", timeout=PATIENCE).text
        found = [one for family in text_string_to_metric_families(text) for one in family.samples if one.name == metric]
        return [one for one in found if labels.items() <= one.labels.items()]

    def value(self, metric, /, **labels):
        """Their sum; nothing, where there are none."""
        found = self.samples(metric, **labels)
        return math.fsum(one.value for one in found) if found else None

    def becomes(self, wanted, metric, /, **labels):
        """Waits until the value is this one: requests are counted when they have ended."""
        try:
            wait_until(lambda: self.value(metric, **labels) == wanted)
        except TimeoutError:
            raise AssertionError(f"{metric} {labels} is {self.value(metric, **labels)}, not {wanted}") from None

    def grows(self, metric, /, **labels):
        """Waits until the value is more than it is now."""
        before = self.value(metric, **labels) or 0
        wait_until(lambda: (self.value(metric, **labels) or 0) > before, what=f"{metric} {labels} is more than {before}")
