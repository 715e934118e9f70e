"""Servers that were registered: who they are, whose, and for how long yet."""

import re
import time

import requests

from console import PHONE


def put(pylon, name, address="http://10.0.0.5:8787", **body):
    answer = requests.put(f"{pylon.admin}/api/instances/{name}", json={"address": address} | body, timeout=60)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def test_instances_come_and_go_without_a_reload(console, edge):
    pylon = edge()
    console.open(pylon.admin)
    console.until_text("#instances-empty", "No instance is registered")
    console.until_text("#instances-store", "kept in memory: a restart forgets them")
    made = put(pylon, "ann-1", owner="ann", groups=["staff", "ops"], ttl="1h")
    put(pylon, "free", "https://n.example")
    for name in ("ann-1", "free"):
        console.until(lambda name=name: console.row("#instances-table", name), "the instance")
    row = console.row("#instances-table", "ann-1")
    assert (row["Address"], row["Owner"].split("\n")) == ("http://10.0.0.5:8787", ["ann", "and staff, ops"])
    assert row["Expires"] == time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(made["expires"])) + row["Expires"][19:]
    assert re.fullmatch(r"alive, (59 min \d+ s|1 h( 0 min)?) left", row["State"].strip())
    row = console.row("#instances-table", "free")
    assert (row["Owner"], row["Expires"], row["State"].strip()) == ("–", "never", "stays")
    put(pylon, "ann-1", owner="ann", ttl="12s")
    console.until(lambda: "ends in" in (console.row("#instances-table", "ann-1") or {}).get("State", ""), "it is due")
    console.until(lambda: console.row("#instances-table", "ann-1") is None, "it is forgotten")
    requests.delete(f"{pylon.admin}/api/instances/free", timeout=60)
    console.until_text("#instances-empty", "No instance is registered")
    assert console.complaints() == []


def test_of_very_many_the_first_are_shown(console, edge):
    pylon = edge()
    with requests.Session() as session:
        for at in range(230):
            address = "http://a-host-with-a-rather-long-name.of-some-cluster.example.test:65535"
            body = {"address": address, "owner": "x" * 200}
            session.put(f"{pylon.admin}/api/instances/{'long-' * 10}{at:03}", json=body, timeout=60)
    console.look(PHONE)
    console.open(pylon.admin)
    console.until_text("#instances-count", "200 of 230")
    assert len(console.all("#instances-table tbody tr")) == 200
    assert console.run("return document.documentElement.scrollWidth") == PHONE[0]


def test_what_keeps_them_is_in_trouble(console, edge, tmp_path):
    file = tmp_path / "instances.json"
    pylon = edge({"instances": {"file": str(file)}})
    put(pylon, "one", "http://10.0.0.5:1", owner="<img src=x onerror=alert(1)>")
    console.open(pylon.admin)
    console.until_text("#instances-store", "kept in a file")
    console.until(lambda: console.row("#instances-table", "one"), "the instance")
    assert console.row("#instances-table", "one")["Owner"] == "<img src=x onerror=alert(1)>"
    file.write_text("oops")
    console.until_text("#instances-store", "file: .*is left as it is")
    console.until_text("#findings", "Instances cannot be changed")
    assert console.row("#instances-table", "one"), "it is served on"
