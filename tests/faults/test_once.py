"""What is repeated and what is not: nothing that may have been executed, unless that does no harm."""

import pytest

from client import BODY, FORMS, Caller, call, forms
from origins import KEEP, executions, ok, reply, resets, says
from proxies import pool

RETRY = {"attempts": 3, "budget": "100%"}
REPEATABLE = [form for form in FORMS if form.repeatable and not form.body]
UNREPEATABLE = [form for form in FORMS if not form.repeatable]
HOW = pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])


def drops(reset):
    """Reads a request, and ends the connection without an answer."""
    return resets if reset else (lambda wire, _: None)


@pytest.fixture(scope="module")
def group(shared):
    """An origin that breaks off, and one that works."""
    bad, good = shared.origin(), shared.origin()
    pools = {
        "bad": pool(bad, retry=RETRY),
        "both": pool(bad, good, retry=RETRY),
        "once": pool(bad, good, retry={"attempts": 1}),
        "statuses": pool(bad, good, retry=RETRY | {"statuses": [502, 503]}),
    }
    return shared.proxy(pools, {"route": {"upstream": "both", "retry": {"attempts": 1}}}), bad, good


@pytest.fixture
def both(group):
    for origin in group[1:]:
        origin.let_go()
        origin.forget()
    return group


@HOW
@pytest.mark.parametrize("form", UNREPEATABLE, ids=str)
def test_what_was_read_and_not_answered_is_502_and_executed_once(both, form, reset):
    proxy, bad, _ = both
    bad.play = drops(reset)
    answer = call(proxy, "/bad/x", **form.sends)
    assert (answer.status, answer.complete) == (502, True), answer
    assert [request.body for request in bad.executed] == [form.body]


@HOW
@pytest.mark.parametrize("form", UNREPEATABLE, ids=str)
def test_on_a_kept_connection_too(both, form, reset):
    """An end of a kept connection looks like one that idled too long; but this request was executed."""
    proxy, bad, _ = both
    bad.play = lambda wire, request: ok(wire, request) if request.method == "GET" else drops(reset)(wire, request)
    for _ in range(3):
        assert call(proxy, "/bad/x").status == 200
        answer = call(proxy, "/bad/x", **form.sends)
        assert (answer.status, answer.complete) == (502, True), answer
    assert [request.method for request in bad.executed] == ["GET", form.method] * 3


@HOW
@pytest.mark.parametrize("form", UNREPEATABLE, ids=str)
def test_no_other_endpoint_gets_what_one_has_read(both, form, reset):
    proxy, bad, good = both
    bad.play = drops(reset)
    statuses = [call(proxy, "/both/x", fields=[("X-Id", str(at))], **form.sends).status for at in range(6)]
    assert sorted(statuses) == [200] * len(good.executed) + [502] * len(bad.executed)
    assert executions(bad, good) == {str(at): 1 for at in range(6)}
    assert bad.executed and good.executed


@HOW
@pytest.mark.parametrize("form", REPEATABLE, ids=str)
def test_what_does_no_harm_is_repeated_elsewhere(both, form, reset):
    proxy, bad, good = both
    bad.play = drops(reset)
    answers = [call(proxy, "/both/x", **form.sends) for _ in range(6)]
    assert [(answer.status, answer.complete) for answer in answers] == [(200, True)] * 6
    assert len(good.executed) == 6
    assert bad.executed


@HOW
@pytest.mark.parametrize("form", forms("PUT-length", "PUT-chunked"), ids=str)
def test_what_is_repeated_has_its_whole_body(both, form, reset):
    proxy, bad, good = both
    bad.play = drops(reset)
    answers = [call(proxy, "/both/x", **form.sends) for _ in range(6)]
    assert {answer.status for answer in answers} <= {200, 502}
    assert len(good.executed) == sum(answer.status == 200 for answer in answers) > 0
    assert {request.body for request in good.executed} == {BODY}


@HOW
def test_a_large_put_is_whole_or_not_repeated(both, reset):
    proxy, bad, good = both
    bad.play = drops(reset)
    body = BODY * 3000
    for chunked in [False, True] * 3:
        answer = call(proxy, "/both/x", "PUT", body=body, chunked=chunked, timeout=60)
        assert answer.status in (200, 502), answer
    assert good.executed and all(request.body == body for request in good.executed)


@pytest.mark.parametrize("path", ["/once/x", "/route/x"], ids=["pool", "route"])
def test_one_attempt_is_one(both, path):
    proxy, bad, good = both
    bad.play = drops(False)
    statuses = [call(proxy, path).status for _ in range(10)]
    assert statuses.count(200) == len(good.executed) > 0
    assert statuses.count(502) == len(bad.executed) > 0
    assert len(bad.executed) + len(good.executed) == 10


def test_attempts_are_counted(rig):
    five = rig.origins(5, drops(False))
    proxy = rig.proxy({"five": pool(*five, retry=RETRY)})
    assert call(proxy, "/five/x").status == 502
    assert 1 < sum(len(origin.executed) for origin in five) <= 3


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable"])
@pytest.mark.parametrize("form", REPEATABLE, ids=str)
def test_a_status_that_is_named_is_repeated(both, form, status):
    proxy, bad, good = both
    bad.play = lambda wire, request: wire.send(reply(b"" if form.method == "HEAD" else b"no", status=status)) or KEEP
    answers = [call(proxy, "/statuses/x", **form.sends) for _ in range(6)]
    assert [(answer.status, answer.complete) for answer in answers] == [(200, True)] * 6
    assert len(good.executed) == 6


@pytest.mark.parametrize("form", UNREPEATABLE, ids=str)
def test_a_status_that_is_named_is_not_repeated_where_it_does_harm(both, form):
    proxy, bad, good = both
    bad.play = says("503 Service Unavailable", b"the origin's own")
    answers = [call(proxy, "/statuses/x", fields=[("X-Id", str(at))], **form.sends) for at in range(6)]
    assert executions(bad, good) == {str(at): 1 for at in range(6)}
    refused = [answer.body for answer in answers if answer.status == 503]
    assert refused == [b"the origin's own"] * len(bad.executed) != []


@pytest.mark.parametrize("path", ["/both/x", "/statuses/x"])
def test_a_status_that_is_not_named_passes(both, path):
    proxy, bad, good = both
    bad.play = good.play = says("500 Internal Server Error", b"the origin's own")
    answers = [call(proxy, path) for _ in range(4)]
    good.play = ok
    assert [(answer.status, answer.body) for answer in answers] == [(500, b"the origin's own")] * 4
    assert len(bad.executed) + len(good.executed) == 4


def test_the_last_answer_passes_when_all_have_a_status_that_is_named(rig):
    all_bad = rig.origins(2, says("503 Service Unavailable", b"the origin's own"))
    proxy = rig.proxy({"all": pool(*all_bad, retry=RETRY | {"statuses": [503]})})
    answer = call(proxy, "/all/x")
    assert (answer.status, answer.complete) == (503, True), answer
    assert 1 < sum(len(origin.executed) for origin in all_bad) <= 3


@pytest.mark.parametrize("form", UNREPEATABLE, ids=str)
def test_silence_is_504_and_executed_once(rig, form):
    silent, other = rig.origin(lambda wire, _: wire.until_left()), rig.origin()
    proxy = rig.proxy({"both": pool(silent, other, retry=RETRY, timeouts={"first_byte": "2s", "idle": "2s"})})
    statuses = [call(proxy, "/both/x", fields=[("X-Id", str(at))], **form.sends).status for at in range(4)]
    assert executions(silent, other) == {str(at): 1 for at in range(4)}
    assert sorted(statuses) == [200] * len(other.executed) + [504] * len(silent.executed)


def test_nothing_is_repeated_once_a_part_was_relayed(both):
    proxy, bad, good = both
    bad.play = lambda wire, _: wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "x" * 50_000)
    answers = [call(proxy, "/both/x") for _ in range(6)]
    assert all(answer.complete or answer.cut for answer in answers)
    for answer in answers:
        assert answer.body in (good.name.encode(), b"x" * len(answer.body)), "two answers in one"


@pytest.mark.parametrize("budget", ["20%", None], ids=["named", "default"])
def test_repeats_are_budgeted(rig, budget):
    three = rig.origins(3, drops(True))
    retry = {"attempts": 3} | ({"budget": budget} if budget else {})
    proxy = rig.proxy({"three": pool(*three, retry=retry)})
    statuses = [call(proxy, "/three/x").status for _ in range(300)]
    assert statuses == [502] * 300
    total = sum(len(origin.executed) for origin in three)
    assert 300 < total <= 300 * 1.2 + 20


def test_a_client_that_goes_on_after_a_failure_is_served(both):
    """On the same connection if Pylon keeps it, else on a new one."""
    proxy, bad, _ = both
    bad.play = lambda wire, request: ok(wire, request) if request.method == "GET" else None
    with Caller(proxy) as caller:
        assert caller.ask("/bad/x", "POST", body=BODY).answer().status == 502
        answer = caller.ask("/bad/x").answer()
    assert answer.status == 200 or answer.why in ("eof", "reset"), answer
    assert call(proxy, "/bad/x").status == 200
