"""Active checks: what they ask, what they take for an answer, and what becomes of an endpoint."""

import time

import pytest

from client import call
from origins import ok, reply, says
from processes import wait_until
from proxies import pool

CHECK = {"http": "/healthz", "interval": "100ms", "timeout": "5s", "rise": 1, "fall": 1}


@pytest.fixture
def two(rig):
    """An endpoint that is checked, and one that is always well."""
    return rig.origin(), rig.origin()


def checked(rig, two, **keys):
    return rig.proxy({"all": pool(*two, health=CHECK | keys)})


def asked(proxy, count=20):
    """Who answers, of so many requests."""
    answers = [call(proxy, "/all/x") for _ in range(count)]
    assert {answer.status for answer in answers} == {200}
    return {answer["x-origin"] for answer in answers}


def is_down(proxy, two):
    proxy.until(two[0], "unhealthy")
    assert asked(proxy) == {two[1].name}


def is_up(proxy, two):
    proxy.until(two[0], "healthy")
    assert asked(proxy) == {two[0].name, two[1].name}


def test_an_endpoint_goes_down_and_comes_up(rig, two):
    proxy = checked(rig, two)
    is_up(proxy, two)
    for _ in range(2):
        two[0].probe = says("500 Internal Server Error")
        is_down(proxy, two)
        two[0].probe = ok
        is_up(proxy, two)


def closes(wire, _):
    return None


SICK = {
    "closes": closes,
    "resets": lambda wire, _: wire.reset(),
    "silent": lambda wire, _: wire.until_left(),
    "garbage": lambda wire, _: wire.send("garbage\r\n\r\n"),
    "a-part-of-a-head": lambda wire, _: wire.send("HTTP/1.1 200"),
    "404": says("404 Not Found"),
    "503": says("503 Service Unavailable"),
}


@pytest.mark.parametrize("how", SICK)
def test_what_makes_an_endpoint_unhealthy(rig, two, how):
    two[0].probe = SICK[how]
    is_down(checked(rig, two, **({"timeout": "2s"} if how == "silent" else {})), two)


def test_one_that_refuses_is_unhealthy(rig, two):
    two[0].down()
    proxy = checked(rig, two)
    is_down(proxy, two)
    two[0].up()
    is_up(proxy, two)


def test_one_that_refuses_is_unhealthy_by_tcp(rig, two):
    proxy = rig.proxy({"all": pool(*two, health={key: CHECK[key] for key in CHECK if key != "http"} | {"tcp": True})})
    is_up(proxy, two)
    two[0].down()
    is_down(proxy, two)
    two[0].up()
    is_up(proxy, two)
    assert not two[0].probes


@pytest.mark.parametrize(
    ("statuses", "status", "well"),
    [
        (["200-399"], 302, True),
        (["200-399"], 400, False),
        (["200"], 204, False),
        (["204"], 204, True),
        (["200", "418"], 418, True),
        (["500-599"], 503, True),
        (["500-599"], 200, False),
    ],
)
def test_statuses_decide(rig, two, statuses, status, well):
    for origin in two:
        origin.probe = says(f"{status} X", b"")
    if not well:
        two[1].probe = says(f"{statuses[0].split('-')[0]} X", b"")
    proxy = checked(rig, two, statuses=statuses)
    (is_up if well else is_down)(proxy, two)


@pytest.mark.parametrize(
    ("pattern", "body", "well"),
    [
        ("ok", b"all is ok here", True),
        ("^ok$", b"not ok", False),
        ('"status": *"up"', b'{"status": "up"}', True),
        ('"status": *"up"', b'{"status": "down"}', False),
        ("end$", b"x" * 5000 + b"end", True),
        ("ok", b"", False),
    ],
)
def test_the_body_decides(rig, two, pattern, body, well):
    two[0].probe = says("200 OK", body)
    two[1].probe = says("200 OK", b'ok ok "status": "up" end' if pattern != "^ok$" else b"ok")
    (is_up if well else is_down)(checked(rig, two, body=pattern), two)


def test_a_body_that_never_ends_is_unhealthy(rig, two):
    def play(wire, _):
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            wire.send("1000\r\n" + "x" * 4096 + "\r\n")

    two[0].probe = play
    two[1].probe = says("200 OK", b"never in it")
    is_down(checked(rig, two, body="never in it"), two)


def test_a_check_asks_as_it_is_told(rig, two):
    checked(rig, two, host="checked.test", headers={"X-Check": "yes", "Authorization": "Basic eDp5"})
    wait_until(lambda: two[0].probes, 5, "a check")
    probe = two[0].probes[0]
    assert (probe.method, probe.target) == ("GET", "/healthz")
    assert (probe["host"], probe["x-check"], probe["authorization"]) == ("checked.test", "yes", "Basic eDp5")
    assert len([name for name, _ in probe.fields if name == "host"]) == 1


def test_a_check_goes_to_its_port(rig, two):
    third = rig.origin(probe=says("503 Service Unavailable"))
    proxy = rig.proxy({"all": pool(two[0], health=CHECK | {"port": third.port})})
    proxy.until(two[0], "unhealthy")
    third.probe = ok
    proxy.until(two[0], "healthy")
    assert third.probes and not two[0].probes


def counted(play):
    """The play, and a list of what it has answered."""
    answered = []

    def counts(wire, request):
        answered.append(request)
        return play(wire, request)

    return counts, answered


def test_fall_counts(rig, two):
    proxy = checked(rig, two, fall=4)
    is_up(proxy, two)
    two[0].probe, answered = counted(says("500 Internal Server Error"))
    proxy.until(two[0], "unhealthy")
    assert len(answered) >= 4


def test_rise_counts(rig, two):
    two[0].probe = says("500 Internal Server Error")
    proxy = checked(rig, two, rise=4)
    is_down(proxy, two)
    two[0].probe, answered = counted(ok)
    proxy.until(two[0], "healthy")
    assert len(answered) >= 4


def test_single_failures_do_not_add_up(rig, two):
    proxy = checked(rig, two, fall=2)
    is_up(proxy, two)
    count = iter(range(10_000))

    def play(wire, request):
        return says("500 Internal Server Error")(wire, request) if next(count) % 2 else ok(wire, request)

    two[0].probe = play
    wait_until(lambda: len(two[0].probes) > 15, 10, "checks")
    assert '"unhealthy"' not in proxy.shown(two[0]).lower()


def test_checks_go_on_at_their_interval(rig, two):
    checked(rig, two, interval="400ms", jitter="20%")
    wait_until(lambda: len(two[0].probes) >= 8, what="checks")
    gaps = sorted(after.at - before.at for before, after in zip(two[0].probes, two[0].probes[1:]))
    # On a busy machine one comes late, and the next one all the sooner after it.
    assert gaps[len(gaps) // 2] > 0.2, gaps


def test_all_that_are_down_are_tried(rig, two):
    for origin in two:
        origin.probe = says("500 Internal Server Error")
    proxy = checked(rig, two)
    for origin in two:
        proxy.until(origin, "unhealthy")
    assert asked(proxy) == {two[0].name, two[1].name}


def test_weight_0_is_not_tried_when_all_are_down(rig, two):
    for origin in two:
        origin.probe = says("500 Internal Server Error")
    proxy = rig.proxy({"all": pool((two[0], 0), (two[1], 1), health=CHECK)})
    proxy.until(two[1], "unhealthy")
    assert asked(proxy) == {two[1].name}


def test_a_slow_start_gives_little_at_first(rig, two):
    two[0].probe = says("500 Internal Server Error")
    proxy = rig.proxy({"all": pool(*two, health=CHECK, slow_start="30m")})
    is_down(proxy, two)
    two[0].probe = ok
    proxy.until(two[0], "healthy")
    for origin in two:
        origin.forget()
    for _ in range(200):
        assert call(proxy, "/all/x").status == 200
    assert len(two[0].executed) < 60, "as if it had been there all the time"


def test_a_check_says_why(rig, two):
    two[0].probe = lambda wire, _: wire.send(reply(b"", status="503 Service Unavailable"))
    proxy = checked(rig, two)
    proxy.until(two[0], "unhealthy")
    assert "503" in proxy.shown(two[0])


def test_requests_pass_before_the_first_check(rig, two):
    two[0].probe = two[1].probe = lambda wire, _: wire.until_left()
    proxy = checked(rig, two, timeout="60s", interval="60s")
    assert call(proxy, "/all/x").status == 200


def test_silent_checks_do_not_pile_up(rig, two):
    two[0].probe = lambda wire, _: wire.until_left()
    begun = time.monotonic()
    checked(rig, two, interval="100ms", timeout="400ms")
    wait_until(lambda: len(two[0].probes) > 8, what="checks")
    wait_until(lambda: two[0].open() <= 4, what="few are open")
    assert len(two[0].probes) <= (time.monotonic() - begun) / 0.1 + 3
