"""The Kubernetes client of Python, through `/kubernetes`."""

import time

import pytest
import requests
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

from processes import one_by_one


@pytest.fixture(scope="module")
def api(demo):
    configuration = client.Configuration(host=f"{demo.url}/kubernetes")
    configuration.retries = 0
    with client.ApiClient(configuration) as connection:
        yield client.CoreV1Api(connection)


def names(items):
    return [item.metadata.name for item in items]


def test_lists_namespaces_pods_and_nodes(api):
    assert names(api.list_namespace().items) == ["default", "kube-system"]
    assert names(api.list_namespaced_pod("default").items) == ["worker-0", "worker-1"]
    assert names(api.list_pod_for_all_namespaces().items) == ["worker-0", "worker-1", "dns"]
    assert names(api.list_node().items) == ["node-a", "node-b"]


def test_groups_are_under_apis(api):
    answer = requests.get(f"{api.api_client.configuration.host}/apis", timeout=60)
    assert answer.json()["kind"] == "APIGroupList"


def test_an_api_error_is_the_servers_own(api):
    with pytest.raises(ApiException) as caught:
        api.read_namespaced_pod("none", "default")
    assert caught.value.status == 404
    assert '"reason":"NotFound"' in caught.value.body.replace(" ", "")


def test_watch_gets_events_as_they_happen(api):
    events = one_by_one(watch.Watch().stream(api.list_namespaced_pod, "default", _request_timeout=60))
    told = [(event["type"], event["object"].metadata.name) for event in events]
    assert told[:2] == [("ADDED", "worker-0"), ("ADDED", "worker-1")]
    assert set(told[2:]) == {("MODIFIED", "worker-0")}


def test_watch_ends_with_its_timeout(api):
    events = list(watch.Watch().stream(api.list_namespace, timeout_seconds=1, _request_timeout=60))
    assert [event["type"] for event in events] == ["ADDED", "ADDED"]


def test_logs(api):
    log = api.read_namespaced_pod_log("worker-0", "default")
    assert log.splitlines()[-1] == "worker-0: line 4 of its log"


def test_logs_are_followed(api):
    response = api.read_namespaced_pod_log("worker-0", "default", follow=True, _preload_content=False)
    text = b""
    try:
        while b"line 1 " not in text:
            text += response.read1() if hasattr(response, "read1") else response.read(1)
    finally:
        response.close()
    assert text.startswith(b"worker-0: line 0 ")


def test_exec_runs_to_its_end(api):
    output = stream(
        api.connect_get_namespaced_pod_exec,
        "worker-0",
        "default",
        command=["echo", "a b", "ü%"],
        stdout=True,
        stderr=True,
    )
    assert "You asked for: echo a b ü%" in output


def test_exec_is_a_dialogue(api):
    session = stream(
        api.connect_get_namespaced_pod_exec,
        "worker-0",
        "default",
        command=["sh"],
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    try:
        session.update(timeout=60)
        assert "What you type comes back" in read(session, "What you type comes back")
        for line in ["first\n", "x" * 200_000 + "\n", "grüße\n"]:
            session.write_stdin(line)
            assert line in read(session, line)
        session.write_stdin("exit\n")
        session.run_forever(timeout=60)
        assert session.returncode == 0
    finally:
        session.close()


def read(session, expected):
    """What the session prints until `expected` is in it."""
    text, deadline = "", time.monotonic() + 60
    while expected not in text and time.monotonic() < deadline:
        session.update(timeout=1)
        text += session.read_stdout(timeout=0) if session.peek_stdout(timeout=0) else ""
    return text
