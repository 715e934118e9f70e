"""Other endpoints while requests are under way."""

import contextlib
import threading
import time

import pytest

from client import BODY, Caller, call
from origins import KEEP, ok, reply, says
from processes import wait_until
from proxies import pool

HOW = pytest.mark.parametrize("hang_up", [True, False], ids=["sighup", "file"])
CHECK = {"http": "/healthz", "interval": "2s", "timeout": "10s", "rise": 1, "fall": 1}


def reload(proxy, pools, hang_up=True):
    proxy.write(pools)
    if hang_up:
        proxy.hang_up()


@contextlib.contextmanager
def load(proxy, threads=4, **request):
    """Clients that call all the time; their answers, in a list."""
    answers, stop = [], threading.Event()

    def work():
        while not stop.is_set():
            answers.append(call(proxy, "/all/x", **request))

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        goes_on(answers)
        yield answers
        goes_on(answers)
    finally:
        stop.set()
        for thread in running:
            thread.join()


def goes_on(answers, count=30):
    """Waits for so many more answers."""
    enough = len(answers) + count
    wait_until(lambda: len(answers) >= enough, what=f"{count} more answers")


def all_well(answers):
    wrong = [answer for answer in answers if (answer.status, answer.complete) != (200, True)]
    assert not wrong, f"{len(wrong)} of {len(answers)}: {wrong[0]}"
    assert len(answers) > 50


@HOW
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_endpoint_is_added_under_load(rig, hang_up, method):
    first, second = rig.origins(2)
    proxy = rig.proxy({"all": pool(first)})
    with load(proxy, method=method, body=BODY if method == "POST" else None) as answers:
        reload(proxy, {"all": pool(first, second)}, hang_up)
        wait_until(lambda: len(second.executed) > 20, 15, "the new one gets requests")
    all_well(answers)


@HOW
def test_an_endpoint_is_removed_under_load(rig, hang_up):
    first, second = rig.origins(2)
    proxy = rig.proxy({"all": pool(first, second)})
    with load(proxy) as answers:
        reload(proxy, {"all": pool(first)}, hang_up)

        def is_left():
            before = len(second.heads)
            time.sleep(0.3)
            return len(second.heads) == before

        wait_until(is_left, 15, "the old one gets nothing")
    all_well(answers)


def test_many_reloads_under_load(rig):
    origins = rig.origins(3)
    proxy = rig.proxy({"all": pool(*origins)})
    with load(proxy) as answers:
        for round_ in range(12):
            reload(proxy, {"all": pool(*origins[: 1 + round_ % 3])})
            time.sleep(0.1)
    all_well(answers)


def test_a_weight_of_0_drains_under_load(rig):
    first, second = rig.origins(2)
    proxy = rig.proxy({"all": pool(first, second)})
    with load(proxy) as answers:
        reload(proxy, {"all": pool(first, (second, 0))})

        def is_left():
            before = len(second.heads)
            time.sleep(0.3)
            return len(second.heads) == before

        wait_until(is_left, 15, "the draining one gets nothing")
    all_well(answers)


def test_a_request_under_way_outlives_its_endpoint(rig):
    gate = threading.Event()

    def play(wire, request):
        if request.target != "/all/held":
            return ok(wire, request)
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        gate.wait(60)
        wire.send("half")
        return KEEP

    old, new = rig.origin(play), rig.origin()
    keys = {"timeouts": {"first_byte": "60s", "idle": "60s"}}
    proxy = rig.proxy({"all": pool(old, **keys)})
    with Caller(proxy, 60) as caller:
        caller.ask("/all/held")
        wait_until(lambda: old.executed, 5, "it is under way")
        reload(proxy, {"all": pool(new, **keys)})
        wait_until(lambda: call(proxy, "/all/x").body == new.name.encode(), 10, "the new one gets requests")
        gate.set()
        answer = caller.answer()
    assert (answer.status, answer.body, answer.complete) == (200, b"halfhalf", True), answer


def test_health_is_kept(rig):
    """Who was down before stays so, although the next check is far away."""
    sick, well, new = rig.origin(probe=says("500 Internal Server Error")), rig.origin(), rig.origin()
    proxy = rig.proxy({"all": pool(sick, well, health=CHECK | {"interval": "10m"})})
    proxy.until(sick, "unhealthy")
    sick.probe = ok
    sick.forget()
    reload(proxy, {"all": pool(sick, well, new, health=CHECK | {"interval": "10m"})})
    seen = set()

    def is_reloaded():
        seen.add(call(proxy, "/all/x")["x-origin"])
        return new.name in seen

    wait_until(is_reloaded, 10, "the new one gets requests")
    for _ in range(40):
        assert call(proxy, "/all/x").status == 200
    assert not sick.executed
    assert '"unhealthy"' in proxy.shown(sick).lower()


def test_ejections_are_kept(rig):
    bad, good, new = rig.origin(lambda wire, _: None), rig.origin(), rig.origin()
    keys = {"ejection": {"failures": 3, "time": "10m", "max_time": "10m", "max_share": "50%"}, "retry": {"attempts": 3, "budget": "100%"}}
    proxy = rig.proxy({"all": pool(bad, good, **keys)})
    for _ in range(20):
        call(proxy, "/all/x")
    proxy.until(bad, "ejected")
    bad.forget()
    reload(proxy, {"all": pool(bad, good, new, **keys)})
    wait_until(lambda: call(proxy, "/all/x") and new.executed, 10, "the new one gets requests")
    for _ in range(40):
        assert call(proxy, "/all/x").status == 200
    assert not bad.heads


def test_a_new_endpoint_is_checked(rig):
    well, sick = rig.origin(), rig.origin(probe=says("500 Internal Server Error"))
    proxy = rig.proxy({"all": pool(well, health=CHECK)})
    reload(proxy, {"all": pool(well, sick, health=CHECK)})
    proxy.until(sick, "unhealthy")
    assert {call(proxy, "/all/x")["x-origin"] for _ in range(20)} == {well.name}


def test_a_removed_endpoint_is_not_checked_any_more(rig):
    well, gone = rig.origins(2)
    check = CHECK | {"interval": "100ms"}
    proxy = rig.proxy({"all": pool(well, gone, health=check)})
    wait_until(lambda: gone.probes, 5, "a check")
    reload(proxy, {"all": pool(well, health=check)})

    def is_left():
        before = len(gone.probes)
        time.sleep(0.5)
        return len(gone.probes) == before

    wait_until(is_left, 15, "no more checks")
    assert well.probes


def test_many_reloads_leave_one_check(rig):
    well, other, last = rig.origins(3)
    check = CHECK | {"interval": "400ms"}
    proxy = rig.proxy({"all": pool(well, health=check)})
    for round_ in range(10):
        reload(proxy, {"all": pool(well, *[other][: round_ % 2], health=check)})
        time.sleep(0.05)
    reload(proxy, {"all": pool(well, last, health=check)})
    wait_until(lambda: last.probes and not proxy.shown(other), what="the last reload")
    well.forget()
    wait_until(lambda: len(well.probes) >= 8, what="checks")
    gaps = sorted(after.at - before.at for before, after in zip(well.probes, well.probes[1:]))
    assert gaps[len(gaps) // 2] > 0.2, gaps


def test_a_mistake_changes_nothing(rig):
    origin = rig.origin()
    proxy = rig.proxy({"all": pool(origin)})
    reload(proxy, {"all": pool(origin, balance="by no means")})
    time.sleep(0.5)  # nothing is to be seen of it
    assert [call(proxy, "/all/x").status for _ in range(10)] == [200] * 10


def test_a_reload_keeps_who_queues(rig):
    gate = threading.Event()
    origin = rig.origin(lambda wire, _: gate.wait(60) and (wire.send(reply(b"served")) or KEEP))
    limits = {"requests": 1, "queue": 5, "queue_timeout": "60s"}
    keys = {"limits": limits, "timeouts": {"first_byte": "60s", "idle": "60s"}}
    proxy = rig.proxy({"all": pool(origin, **keys)})
    callers = [Caller(proxy, 60).ask("/all/x") for _ in range(3)]
    wait_until(lambda: origin.busy == 1, 5, "one is under way")
    added = rig.origin()
    reload(proxy, {"all": pool(origin, added, **keys)})
    wait_until(lambda: proxy.shown(added), what="the reload")
    gate.set()
    assert [caller.answer().status for caller in callers] == [200] * 3
    for caller in callers:
        caller.wire.sock.close()
