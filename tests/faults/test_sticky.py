"""Clients that stay with an endpoint by a cookie."""

import collections

import pytest

from client import call
from processes import wait_until
from proxies import pool

SECRET = "0123456789abcdef0123"
RETRY = {"attempts": 3, "budget": "100%"}


@pytest.fixture
def three(rig):
    return rig.origins(3)


def proxy_of(rig, three, **keys):
    return rig.proxy({"all": pool(*three, sticky={"cookie": "route", "secret": SECRET} | keys, retry=RETRY)})


def visit(proxy, cookie=None):
    """The answer, and the value of the cookie that it sets."""
    answer = call(proxy, "/all/x", fields=[("Cookie", f"a=b; route={cookie}; c=d")] if cookie else [])
    assert (answer.status, answer.complete) == (200, True), answer
    found = [value for name, value in answer.fields if name == "set-cookie" and value.startswith("route=")]
    return answer, found[0].split(";")[0].removeprefix("route=") if found else None


def test_who_has_the_cookie_stays(rig, three):
    proxy = proxy_of(rig, three)
    for _ in range(6):
        answer, cookie = visit(proxy)
        assert cookie, answer
        assert {visit(proxy, cookie)[0]["x-origin"] for _ in range(10)} == {answer["x-origin"]}


def test_who_has_no_cookie_is_spread(rig, three):
    proxy = proxy_of(rig, three)
    assert len(collections.Counter(visit(proxy)[0]["x-origin"] for _ in range(30))) == 3


def test_the_cookie_names_no_address(rig, three):
    _, cookie = visit(proxy_of(rig, three))
    assert not [origin for origin in three if str(origin.port) in cookie]


def test_the_cookie_has_its_age(rig, three):
    answer, _ = visit(proxy_of(rig, three, max_age="1d"))
    assert "max-age=86400" in answer["set-cookie"].lower()


@pytest.mark.parametrize("kind", ["changed", "cut", "garbage", "empty", "long", "of-another-secret"])
def test_a_cookie_that_is_not_ours_is_ignored(rig, three, kind):
    proxy = proxy_of(rig, three)
    _, cookie = visit(proxy)
    other = proxy_of(rig, three, secret="another secret of some length") if kind == "of-another-secret" else proxy
    value = {
        "changed": cookie[:-1] + ("A" if cookie[-1] != "A" else "B"),
        "cut": cookie[: len(cookie) // 2],
        "garbage": "%00\x80 garbage",
        "empty": "",
        "long": "x" * 4000,
        "of-another-secret": visit(other)[1],
    }[kind]
    found = [visit(proxy, value or " ") for _ in range(12)]
    assert len({answer["x-origin"] for answer, _ in found}) > 1
    assert all(fresh for _, fresh in found)


def test_who_stays_with_one_that_is_gone_moves(rig, three):
    proxy = proxy_of(rig, three)
    answer, cookie = visit(proxy)
    gone = next(origin for origin in three if origin.name == answer["x-origin"])
    gone.down()
    moved, fresh = visit(proxy, cookie)
    assert moved["x-origin"] != gone.name
    assert fresh, "no new cookie"
    assert {visit(proxy, fresh)[0]["x-origin"] for _ in range(6)} == {moved["x-origin"]}


def test_who_stays_with_one_that_is_unhealthy_moves(rig, three):
    health = {"tcp": True, "interval": "100ms", "timeout": "5s", "rise": 1, "fall": 1}
    sticky = {"cookie": "route", "secret": SECRET}
    proxy = rig.proxy({"all": pool(*three, sticky=sticky, health=health, retry=RETRY)})
    answer, cookie = visit(proxy)
    gone = next(origin for origin in three if origin.name == answer["x-origin"])
    gone.down()
    proxy.until(gone, "unhealthy")
    moved, fresh = visit(proxy, cookie)
    assert moved["x-origin"] != gone.name
    assert fresh, "no new cookie"


def test_a_cookie_is_good_after_a_restart(rig, three):
    """Its secret is all that it needs: several Pylons understand each other's."""
    first, second = proxy_of(rig, three), proxy_of(rig, three[::-1])
    for _ in range(4):
        answer, cookie = visit(first)
        assert {visit(second, cookie)[0]["x-origin"] for _ in range(5)} == {answer["x-origin"]}


def test_a_cookie_leads_to_weight_0_until_it_drains(rig, three):
    """Those who stay with a draining endpoint are served, there or elsewhere; newcomers are not led there."""
    sticky = {"cookie": "route", "secret": SECRET}
    before = rig.proxy({"all": pool(*three, sticky=sticky)})
    after = rig.proxy({"all": pool((three[0], 0), *three[1:], sticky=sticky)})
    found = wait_until(lambda: (one := visit(before))[0]["x-origin"] == three[0].name and one, what="the first one")
    assert visit(after, found[1])[0].status == 200
    assert three[0].name not in {visit(after)[0]["x-origin"] for _ in range(12)}
