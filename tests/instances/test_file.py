"""Instances in a file: whatever ends the process, the file is whole, and has all that was answered."""

import itertools
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from processes import wait_until
from registry import Registry


@pytest.fixture
def directory(tmp_path):
    return tmp_path


@pytest.fixture
def file(directory):
    return directory / "instances.json"


@pytest.fixture
def begin(start, directory, file):
    """Starts a Pylon with the file; `like` is one whose ports it has."""
    return lambda **options: start(directory=directory, instances={"file": str(file)}, **options)


def test_instances_outlive_the_process(begin, file):
    pylon = begin()
    kept = pylon.put("kept", owner="ann", groups=["a"], ttl="1h").json()
    assert kept["durable"] is True
    short = pylon.put("short", ttl="6s").json()
    assert {"kept", "short"} == set(json.loads(file.read_text())["instances"])
    pylon.put("gone")
    pylon.delete("gone")
    pylon.kill()
    again = begin(like=pylon)
    assert again.list()["store"] == "file"
    after = again.get("kept").json()
    assert abs(after.pop("expires") - kept.pop("expires")) < 0.01 and after == kept
    wait_until(lambda: again.get("short").status_code == 404, 20, "it is forgotten")
    assert time.time() >= short["expires"] - 0.01
    wait_until(lambda: list(json.loads(file.read_text())["instances"]) == ["kept"], 20, "the file forgets it too")


def test_what_expired_while_nobody_ran_is_gone(begin):
    pylon = begin()
    expires = pylon.put("short", ttl="2s").json()["expires"]
    pylon.put("kept")
    pylon.kill()
    wait_until(lambda: time.time() > expires, 20)
    assert list(begin(like=pylon).known()) == ["kept"]


def test_a_kill_in_the_midst_of_writes_loses_nothing(begin, file):
    answered, pylon = {}, begin()
    numbers = itertools.count()
    for _ in range(4):
        stop = threading.Event()

        def write(pylon=pylon, stop=stop):
            with requests.Session() as session:
                while not stop.is_set():
                    name = f"i{next(numbers) % 40}"
                    address = f"http://10.0.{random.randrange(256)}.1:80"
                    answered.pop(name, None)  # while it is asked for, either may be there
                    try:
                        answer = session.put(
                            f"{pylon.url}/api/instances/{name}", json={"address": address}, timeout=60
                        )
                    except requests.RequestException:
                        return
                    if answer.status_code < 300:
                        answered[name] = address

        writers = [threading.Thread(target=write) for _ in range(1)]
        [writer.start() for writer in writers]
        enough = min(len(answered) + 3, 20)
        wait_until(lambda: len(answered) >= enough, what="some writes")
        deadline = time.monotonic() + random.uniform(0.05, 0.3)
        while time.monotonic() < deadline:
            json.loads(file.read_text())
        pylon.kill()
        stop.set()
        [writer.join() for writer in writers]
        stored = {name: one["address"] for name, one in json.loads(file.read_text())["instances"].items()}
        assert answered.items() <= stored.items()
        pylon = begin(like=pylon)
        assert pylon.known() == stored
    assert len(stored) > 5


def test_many_at_once_are_written_together(begin, file):
    pylon = begin()
    with ThreadPoolExecutor(16) as pool:
        url = f"{pylon.url}/api/instances/i"
        put = lambda n: requests.put(f"{url}{n}", json={"address": f"10.0.0.5:{n}"}, timeout=60).status_code  # noqa: E731
        assert set(pool.map(put, range(1, 301))) == {201}
    expected = {f"i{n}": f"http://10.0.0.5:{n}" for n in range(1, 301)}
    assert pylon.known() == expected
    assert {name: one["address"] for name, one in json.loads(file.read_text())["instances"].items()} == expected


@pytest.mark.parametrize("text", ["", "not json", '{"routes": []}', '{"pylon_instances": 1, "instances": {"a": {}}}'])
def test_a_file_of_others_stops_the_start_and_stays(start, directory, file, text):
    file.write_text(text)
    with pytest.raises(RuntimeError) as error:
        start(directory=directory, instances={"file": str(file)})
    assert f"`{file}` is left as it is" in str(error.value)
    assert file.read_text() == text


def test_a_folder_that_is_not_there_is_named(start, directory):
    with pytest.raises(RuntimeError, match="nowhere/instances.json"):
        start(directory=directory, instances={"file": f"{directory}/nowhere/instances.json"})


def test_a_full_disk_changes_nothing(begin, file):
    pylon = begin()
    pylon.put("one")
    before = file.read_bytes()
    file.with_name("instances.json.new").symlink_to("/dev/full")
    answer = pylon.put("two")
    assert (answer.status_code, "No space left" in answer.json()["error"]) == (507, True)
    assert (file.read_bytes(), list(pylon.known())) == (before, ["one"])
    # The way is free again.
    wait_until(lambda: pylon.put("two").status_code == 201, 20, "it can be written")
    assert list(json.loads(file.read_text())["instances"]) == ["one", "two"]
    assert pylon.metric("pylon_instances_store_errors_total") >= 1


def test_a_file_that_was_broken_by_hand_is_not_written_over(begin, file):
    pylon = begin()
    pylon.put("one")
    whole = file.read_text()
    file.write_text("oops")
    wait_until(pylon.is_away, 20, "it is noticed")
    answer = pylon.put("two")
    assert (answer.status_code, "is left as it is" in answer.json()["error"]) == (503, True)
    assert (file.read_text(), list(pylon.known())) == ("oops", ["one"])
    assert "degraded: instances: " in pylon.ready()[1] and pylon.ready()[0] == 200
    pylon.said("instances cannot be kept")
    file.write_text(whole.replace("10.0.0.5", "10.0.0.6"))
    wait_until(pylon.knows("one", "http://10.0.0.6:8787"), 20, "what was written by hand is taken over")
    wait_until(pylon.is_up, what="it is used again")
    assert pylon.put("two").status_code == 201


def test_two_processes_share_a_file(begin):
    one, other = begin(), begin()
    one.put("a")
    wait_until(other.knows("a"), 20, "the other knows it")

    def put(pylon, number):
        url = f"{pylon.url}/api/instances/{'x' if pylon is one else 'y'}{number}"
        return requests.put(url, json={"address": "10.0.0.1"}, timeout=60).status_code

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(put, [one, other] * 40, range(80)))
    assert set(results) == {201}
    wait_until(lambda: len(one.known()) == len(other.known()) == 81, 20, "both know all")
    assert one.known() == other.known()


def test_another_port_does_not_matter(start, directory, file):
    """A path that is not absolute is one beside the configuration."""
    pylon = start(Registry, directory=directory, instances={"file": "instances.json"})
    pylon.put("one")
    assert "one" in file.read_text()


def test_an_instance_that_is_not_allowed_any_more_is_held_back(start, directory, file):
    def begin(allow, **options):
        return start(directory=directory, instances={"file": str(file), "allow": [allow]}, **options)

    def stored():
        return {name: one["address"] for name, one in json.loads(file.read_text())["instances"].items()}

    wide = begin("10.0.0.0/8")
    for name, address in {"in": "10.0.0.1:1", "out": "10.9.0.1:1", "gone": "10.9.0.2:1", "anew": "10.9.0.3:1"}.items():
        assert wide.put(name, address).status_code == 201
    assert wide.put("short", "10.9.0.4:1", ttl="10s").status_code == 201
    wide.stop()
    narrow = begin("10.0.0.0/16", like=wide)
    assert narrow.known() == {"in": "http://10.0.0.1:1"}
    narrow.said("is passed over: address: 10.9.0.", times=4)
    assert narrow.get("out").status_code == 404
    assert narrow.put("out", "10.9.0.1:1").status_code == 400
    # It can be put anew and removed, like any other.
    gone = narrow.delete("gone")
    assert (gone.status_code, gone.json()["address"]) == (200, "http://10.9.0.2:1")
    assert narrow.delete("gone").status_code == 404
    assert narrow.put("anew", "10.0.0.3:1", headers={"If-None-Match": "*"}).status_code == 201
    wait_until(lambda: narrow.put("in", "10.0.0.1:2").status_code == 200 and "short" not in stored(), 20, "it is over")
    assert stored() == {"in": "http://10.0.0.1:2", "anew": "http://10.0.0.3:1", "out": "http://10.9.0.1:1"}
    wait_until(narrow.is_up, what="it is used")
    assert narrow.delete("anew").status_code == 200
    narrow.stop()
    # Had it been a mistake, nothing is lost.
    again = begin("10.0.0.0/8", like=wide)
    assert again.known() == {"in": "http://10.0.0.1:2", "out": "http://10.9.0.1:1"}
