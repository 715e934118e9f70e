"""`why`: what is told of a request of every fate, against the log, the upstream and the clock."""

import html
import http.client
import json
import time
import urllib.parse

import pytest

from fate import Fates, fates, names
from instance import TRUSTED
from processes import wait_until
from rig import mark

KEYS = set(
    """id trace_id time client protocol tls user method host path query listener route steps generation upstream attempts status
    upstream_status outcome failed reason meaning request_bytes response_bytes duration_ms""".split()
)
OF_ATTEMPTS = set("endpoint at_ms reused connect_ms first_byte_ms end_ms status result reason".split())
SAME = """id trace_id client user method host path query protocol tls route upstream status upstream_status outcome reason request_bytes
    response_bytes""".split()
RESULTS = set(
    """answered retried unanswered connect_failed connect_timeout tls_failed upstream_timeout request_timeout upstream_broken
    upstream_cut""".split()
)


@pytest.fixture(scope="module")
def at(stack):
    return Fates(stack)


@pytest.fixture(scope="module")
def instance(start, at):
    instance = start(resolver=at.resolver, trusted_proxies=[TRUSTED], upstreams=at.upstreams(), routes=at.routes())
    instance.fates = at
    return instance


@pytest.fixture(scope="module")
def met(instance, at):
    """The marks of requests of all fates."""
    return {fate.name: fate.meet(instance) for fate in fates(at)}


def why(instance, identity):
    """The answer of the admin port: its status, and the record."""
    # A client that leaves the path as it is.
    connection = http.client.HTTPConnection(instance.admin, timeout=60)
    connection.request("GET", "/api/why/" + urllib.parse.quote(identity, safe="").replace(".", "%2E"))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def record_of(instance, text):
    line = instance.entry(text)
    status, record = why(instance, line["id"])
    assert status == 200, record
    return line, record


@pytest.mark.parametrize("name", names())
def test_all_fates(instance, at, met, name):
    line, record = record_of(instance, met[name])
    assert KEYS <= set(record) and {key: record[key] for key in SAME} == {key: line[key] for key in SAME}
    assert (record["time"], record["listener"], record["generation"]) == (line["time"], instance.authority("http"), 1)
    assert abs(record["duration_ms"] / 1000 - line["seconds"]) < 1e-5
    assert record["failed"] == (line["status"] >= 500 or line["outcome"] == "upstream_cut")
    assert record["meaning"].endswith((".", "?")) and len(record["meaning"]) > 20
    attempts = record["attempts"]
    assert len(attempts) == line["attempts"] and all(set(one) == OF_ATTEMPTS and one["result"] in RESULTS for one in attempts)
    seen = at.rig.of(met[name])
    if seen:
        assert [one["endpoint"] for one in attempts] == [one.address for one in seen]
    if attempts:
        assert attempts[-1]["status"] == record["upstream_status"] and attempts[-1]["endpoint"] == line["endpoint"]
        times = [time for one in attempts for time in (one["at_ms"], one["first_byte_ms"] or one["at_ms"], one["end_ms"])]
        assert [0, *times, record["duration_ms"]] == sorted([0, *times, record["duration_ms"]])
        assert all((one["connect_ms"] or 0) <= one["end_ms"] - one["at_ms"] + 0.001 for one in attempts)
        assert not any(one["reused"] and one["connect_ms"] is not None for one in attempts)
    of_upstream = RESULTS - {"answered", "retried", "unanswered"}
    assert line["outcome"] not in of_upstream or attempts[-1]["result"] == line["outcome"]


def test_steps_are_those_of_the_route(instance, met):
    told = {route["name"]: route for route in instance.api("/api/routes").json()["routes"]}
    for name in ("adapt_failed", "answered", "redirected", "forwarded", "unresolved"):
        _, record = record_of(instance, met[name])
        assert record["steps"] == told[record["route"]]["steps"] and record["upstream"] == told[record["route"]]["upstream"]
    assert "substitute" in record_of(instance, met["adapt_failed"])[1]["steps"]
    assert record_of(instance, met["refused"])[1]["steps"] == []


def test_an_attempt_that_is_tried_again(instance, met):
    _, record = record_of(instance, met["retried"])
    first, second = record["attempts"]
    assert (first["result"], first["status"], second["result"], second["status"]) == ("retried", 503, "answered", 200)
    assert first["end_ms"] <= second["at_ms"] and first["reason"] and not second["reason"]
    assert first["endpoint"] != second["endpoint"]


def test_an_attempt_that_meets_nobody(instance, at):
    for _ in range(3):
        text = mark("mixed")
        instance.ask(f"/mixed/?{text}")
        _, record = record_of(instance, text)
        if len(record["attempts"]) == 2:
            break
    first, second = record["attempts"]
    assert (first["endpoint"], first["result"], first["status"]) == (at.gone, "connect_failed", None)
    assert first["reason"] and (second["endpoint"], second["result"]) == (at.rig.address, "answered")
    assert (record["outcome"], record["failed"], record["reason"]) == ("forwarded", False, None)


@pytest.mark.parametrize(("name", "least"), [("connect_timeout", 150), ("upstream_timeout", 150), ("request_timeout", 1000)])
def test_timeouts_took_their_time(instance, met, name, least):
    _, record = record_of(instance, met[name])
    [attempt] = record["attempts"]
    assert attempt["end_ms"] - attempt["at_ms"] >= least - 10 and attempt["reason"]


def test_times_are_those_that_the_upstream_took(instance, at):
    """On a busy machine the upstream may be late to take the time, so that one of several has to agree."""

    def agree():
        text, begin = mark("slowly"), time.time()
        instance.ask(f"/rig/wait/250?{text}")
        _, record = record_of(instance, text)
        [attempt], [seen] = record["attempts"], at.rig.of(text)
        assert begin - 0.01 <= record["time"] and record["time"] + record["duration_ms"] / 1000 <= time.time() + 0.01
        assert attempt["first_byte_ms"] - attempt["at_ms"] >= 240
        return 250 <= (seen.over - seen.at) * 1000 <= attempt["first_byte_ms"] - attempt["at_ms"] + 10

    wait_until(agree, what="times agree")


def test_reused_connections(instance):
    first, second = mark("one"), mark("two")
    with instance.peer() as peer:
        peer.ask(f"/rig/?{first}")
        peer.ask(f"/rig/?{second}")
    [attempt] = record_of(instance, second)[1]["attempts"]
    assert attempt["reused"] and attempt["connect_ms"] is None


def test_a_request_is_known_as_soon_as_its_answer_is(instance):
    """Nobody who asks with the id of an answer has to wait."""
    for _ in range(50):
        answer = instance.ask("/gone/")
        status, record = why(instance, answer.headers["x-request-id"])
        assert status == 200 and record["outcome"] == "connect_failed"


def test_secrets_are_not_told(instance):
    text, secret = mark("hidden"), "hunter2" + mark()
    instance.ask(f"/rig/?token={secret}&{text}")
    _, record = record_of(instance, text)
    assert record["query"] == f"token=***&{text}"
    assert secret not in instance.api("/api/requests?limit=500").text


@pytest.mark.parametrize("name", ["forwarded", "retried", "connect_failed", "refused", "upgraded"])
def test_on_the_command_line(instance, met, name):
    line, record = record_of(instance, met[name])
    code, said, _ = instance.cli("why", line["id"], "--json")
    assert (code, json.loads(said)) == (0, record)
    code, said, _ = instance.cli("why", line["id"])
    assert code == 0
    for text in [
        line["id"],
        line["outcome"],
        record["meaning"],
        str(line["status"]),
        *(one["endpoint"] for one in record["attempts"]),
    ]:
        assert text in said
    assert all(text in said for text in [line["route"] or "none", line["reason"] or "", line["path"], line["trace_id"]])


def test_ids_that_nobody_knows(instance):
    status, answer = why(instance, "0" * 32)
    assert status == 404 and answer["error"] and answer["cure"]
    code, said, complaint = instance.cli("why", "0" * 32)
    assert code == 1 and "0" * 32 in complaint
    assert instance.cli("why", "0" * 32, "--json")[0] == 1


ODD = [
    "a b",
    "a/b/../c",
    "a?b=c&d",
    "a#b",
    "a%20b",
    "a%2Fb",
    "%",
    "..",
    ".",
    '"quoted"',
    "a\\b",
    "<script>x</script>",
    "{id}",
    "a\tb",
    "+",
    "x" * 128,
]


@pytest.mark.parametrize("identity", [*ODD, "früh", "请求"])
def test_odd_ids_of_trusted_proxies(instance, at, identity):
    text, missing = mark("odd"), mark("missing")
    instance.ask(f"/rig/?{text}", f"X-Request-Id: {identity}", source=TRUSTED)
    line, record = record_of(instance, text)
    assert line["id"] == record["id"] == identity
    assert at.rig.of(text)[0].one("x-request-id").encode("latin-1").decode() == identity
    code, said, _ = instance.cli("why", "--json", "--", identity)
    assert code == 0 and json.loads(said)["query"] == text
    answer = instance.ask(f"/none?{missing}", f"X-Request-Id: {identity}", "Accept: text/html", source=TRUSTED)
    assert answer.headers["x-request-id"].encode() == identity.encode()
    assert b"<script>" not in answer.body and identity in html.unescape(answer.body.decode())
    assert instance.entry(missing)["id"] == identity


@pytest.mark.parametrize("identity", ["", "x" * 129])
def test_ids_that_are_none_are_replaced(instance, at, identity):
    text = mark("replaced")
    instance.ask(f"/rig/?{text}", f"X-Request-Id: {identity}", source=TRUSTED)
    line = instance.entry(text)
    assert len(line["id"]) == 32 and at.rig.of(text)[0].one("x-request-id") == line["id"]


def test_of_several_requests_with_an_id_the_last_is_told_of(instance):
    for number in range(3):
        instance.ask(f"/rig/status/40{number}?{(text := mark('same'))}", "X-Request-Id: same", source=TRUSTED)
    instance.entry(text)
    assert why(instance, "same")[1]["status"] == 402
