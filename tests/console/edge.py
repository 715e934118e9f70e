"""Pylon with a configuration that can change, and its admin API."""

import json
import pathlib

import requests

from processes import BINARY, Program, answers, free_port

QUICK = {"http": "/healthz", "interval": "100ms", "timeout": "2s", "fall": 2, "rise": 1}


class Edge(Program):
    def __init__(self, directory, config, *, token=None, ports=None):
        self.ports = ports or (free_port(), free_port())
        self.url, self.authority = (f"http://127.0.0.1:{self.ports[0]}", f"127.0.0.1:{self.ports[1]}")
        self.admin = f"http://{self.authority}"
        self.token = token
        self.file = pathlib.Path(directory) / f"pylon-{self.ports[0]}.yaml"
        self.write(config)
        arguments = [BINARY, "run", "-c", self.file]
        super().__init__(arguments, directory, ready=answers(f"{self.url}/healthz"))

    def write(self, config):
        """Replaces the configuration; Pylon takes it over by itself or when it is told to."""
        admin = {"address": self.authority} | ({"token": self.token} if self.token else {})
        whole = {"listeners": [{"address": f"127.0.0.1:{self.ports[0]}"}], "admin": admin} | config
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(whole))
        new.replace(self.file)

    def api(self, path, body=None):
        """What the API says, as a client on this machine sees it."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{self.admin}/api/{path}"
        if body is None:
            answer = requests.get(url, headers=headers, timeout=60)
        else:
            answer = requests.post(url, json=body, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def get(self, path, **options):
        return requests.get(self.url + path, timeout=60, **options)


def forwarding(servers, **pool):
    """One route that leads everything to one pool of these servers."""
    endpoints = [server.url for server in servers]
    return {
        "upstreams": {"web": {"endpoints": endpoints, **pool}},
        "routes": [{"name": "site", "path": "/**", "upstream": "web"}],
    }
