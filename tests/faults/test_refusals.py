"""Endpoints that take no connection, or drop it before a byte was read: others take over, for any method."""

import pytest

from client import BODY, FEW, FORMS, IDEMPOTENT, call
from origins import resets
from proxies import pool

RETRY = {"attempts": 3, "budget": "100%"}


@pytest.fixture(scope="module")
def origin(shared):
    return shared.origin()


@pytest.fixture(scope="module")
def proxy(shared, origin):
    refusing, full, resetting = shared.silent(), shared.silent(full=True), shared.origin(accept=resets)
    quick = {"connect": "300ms"}
    return shared.proxy(
        {
            "refuses": pool(refusing, timeouts=quick),
            "all-refuse": pool(refusing, shared.silent(), shared.silent()),
            "full": pool(full, timeouts=quick),
            "resets": pool(resetting),
            "one-refuses": pool(refusing, origin, retry=RETRY),
            "two-refuse": pool(refusing, shared.silent(), origin, retry={"attempts": 3, "budget": "100%"}),
            "one-is-full": pool(full, origin, retry=RETRY, timeouts=quick),
            "one-resets": pool(resetting, origin, retry=RETRY),
            "works": pool(origin),
        }
    )


def is_an_error(answer, status):
    assert (answer.status, answer.complete) == (status, True), answer


def goes_through(proxy, origin, path, form, times=4):
    """All of them, whole, and each executed once."""
    origin.forget()
    for number in range(times):
        answer = call(proxy, path, fields=[("X-Id", str(number))], **form.sends)
        assert (answer.status, answer.complete) == (200, True), answer
    assert [request["x-id"] for request in origin.executed] == [str(number) for number in range(times)]
    assert {request.body for request in origin.executed} == {form.body}
    assert {request.method for request in origin.executed} == {form.method}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_who_refuses_is_502(proxy, form):
    is_an_error(call(proxy, "/refuses/x", **form.sends), 502)


@pytest.mark.parametrize("form", FEW, ids=str)
def test_all_that_refuse_are_502(proxy, form):
    is_an_error(call(proxy, "/all-refuse/x", **form.sends), 502)


@pytest.mark.parametrize("form", FEW, ids=str)
def test_who_does_not_accept_in_time_is_504(proxy, form):
    is_an_error(call(proxy, "/full/x", **form.sends), 504)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_who_resets_at_once_is_502(proxy, form):
    is_an_error(call(proxy, "/resets/x", **form.sends), 502)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_another_takes_over_from_one_that_refuses(proxy, origin, form):
    goes_through(proxy, origin, "/one-refuses/x", form)


@pytest.mark.parametrize("form", FEW, ids=str)
def test_another_takes_over_from_two_that_refuse(proxy, origin, form):
    goes_through(proxy, origin, "/two-refuse/x", form, times=1)


@pytest.mark.parametrize("form", FEW, ids=str)
def test_another_takes_over_from_one_that_does_not_accept(proxy, origin, form):
    goes_through(proxy, origin, "/one-is-full/x", form)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_another_takes_over_from_one_that_resets(proxy, origin, method):
    origin.forget()
    for _ in range(4):
        answer = call(proxy, "/one-resets/x", method)
        assert (answer.status, answer.complete) == (200, True), answer
    assert len(origin.executed) == 4


@pytest.mark.parametrize("form", [form for form in FORMS if form.method not in IDEMPOTENT or form.body], ids=str)
def test_what_was_sent_to_one_that_resets_is_not_executed_twice(proxy, origin, form):
    # Whether a reset proves that nothing was executed is for the proxy to judge.
    origin.forget()
    answers = [call(proxy, "/one-resets/x", **form.sends) for _ in range(6)]
    assert {answer.status for answer in answers} <= {200, 502}
    assert len(origin.executed) == sum(answer.status == 200 for answer in answers) > 0
    assert {request.body for request in origin.executed} == {form.body}


def test_a_large_body_goes_whole_to_another(proxy, origin):
    origin.forget()
    body = BODY * 4000
    answer = call(proxy, "/one-refuses/x", "POST", body=body, chunked=True, timeout=60)
    second = call(proxy, "/one-refuses/x", "POST", body=body, timeout=60)
    assert (answer.status, second.status) == (200, 200)
    assert [request.body == body for request in origin.executed] == [True, True]


def test_failures_leave_the_proxy_sound(proxy):
    for path in ["/refuses/x", "/full/x", "/resets/x"]:
        call(proxy, path)
        is_an_error(call(proxy, "/works/x"), 200)
