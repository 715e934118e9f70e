"""A real Prometheus with the project's rules, which scrapes every two seconds."""

import json
import math
import shutil
import time
from urllib.parse import quote

import pytest
import requests

import manual
from processes import Program, answers, free_port

STEP = 2  # seconds between the points of a graph


class Prometheus(Program):
    def __init__(self, directory, targets):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.began = time.time()
        own = {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        pylons = {"job_name": "pylon", "static_configs": [{"targets": targets}]}
        config = directory / "prometheus.yml"
        settings = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
            "rule_files": [str(file) for file in manual.FILES],
            "scrape_configs": [pylons, own],
        }
        config.write_text(json.dumps(settings))  # JSON is YAML
        arguments = [
            shutil.which("prometheus") or pytest.fail("Prometheus is not installed; `make test` does it"),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        super().__init__(arguments, directory, ready=answers(f"{self.url}/-/ready"))

    def get(self, path, **parameters):
        answer = requests.get(f"{self.url}/api/v1/{path}", parameters, timeout=60).json()
        assert answer["status"] == "success", (path, parameters, answer)
        return answer["data"]

    def query(self, text, *, instant=True):
        """The series that a panel would show, as labels and numbers; those without any number are none."""
        if instant:
            result = self.get("query", query=text)["result"]
        else:
            now = time.time()
            result = self.get("query_range", query=text, start=now - 120, end=now, step=STEP)["result"]
        found = []
        for one in result:
            points = one["values"] if "values" in one else [one["value"]]
            numbers = [number for _, value in points if math.isfinite(number := float(value))]
            if numbers:
                found.append((one["metric"], numbers))
        return found

    def label_values(self, definition):
        """What a variable offers: `label_values(SELECTOR, LABEL)`."""
        selector, _, label = definition.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        return self.get(f"label/{quote(label)}/values", **{"match[]": selector})

    def rules(self):
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]
