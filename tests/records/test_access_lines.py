"""Lines of both formats stay lines, whatever clients send, and show no secrets."""

import datetime
import json
import re
import urllib.parse

import pytest

from instance import LOGS, forward
from processes import wait_until
from rig import mark

# As nginx, Apache and GoAccess read it. Of characters that are escaped, each is two hexadecimal digits.
TEXT = r'(?:[^"\\\x00-\x1f\x7f]|\\x[0-9A-F]{2})*'
COMBINED = re.compile(
    rf"(?P<client>[0-9a-f.:]+) - (?P<user>\S+) \[(?P<date>\d\d/\w{{3}}/\d{{4}}:\d\d:\d\d:\d\d \+0000)\] "
    rf'"(?P<method>[A-Z]+) (?P<target>{TEXT}) (?P<protocol>HTTP/\d\.\d)" (?P<status>\d{{3}}) (?P<bytes>\d+) '
    rf'"(?P<referer>{TEXT})" "(?P<agent>{TEXT})"'
)
TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z +(INFO|WARN) [^\x00-\x1f\x7f-\x9f]+")
SECRETS = "token access_token Api-Key password code sig X-Amz-Signature session_id jwt delegation own-name".split()
WHATEVER = [
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xe2\x80\xa8",
    b'"',
    b"\\",
    b'\\"',
    b"'",
    b"\t",
    b"%0d%0a",
    b'", "status": 200, "x": "',
    b"\xc2\x85",
    b"\x1b[31m",
]


@pytest.fixture(scope="module", params=["json", "combined"])
def instance(request, start, rig):
    access = {"to": "./access.log", "format": request.param, "redact": ["Own-Name"]}
    log = LOGS | {"access": access, "format": "json" if request.param == "json" else "text"}
    instance = start(log=log, upstreams={"rig": {"endpoints": [rig.url]}}, routes=[forward("rig")])
    instance.form = request.param
    return instance


def line(instance, text):
    """The line of a request, as its fields."""
    if instance.form == "json":
        return instance.entry(text)
    whole = lambda: instance.text_of("access.log").rpartition("\n")[0].split("\n")  # noqa: E731
    [found] = wait_until(lambda: [one for one in whole() if text in one], what=text)
    matched = COMBINED.fullmatch(found)
    assert matched, found
    return matched.groupdict()


def all_are_lines(instance, count):
    """Waits for the last lines; each of all must be one."""
    wait_until(lambda: instance.text_of("access.log").count("\n") >= count, what="all lines")
    content = (instance.directory / "access.log").read_bytes()
    assert content.endswith(b"\n")
    lines = content.decode().split("\n")[:-1]
    assert len(lines) == count
    for one in lines:
        if instance.form == "json":
            assert json.loads(one)["status"] in (200, 400, 404) and "\x1b" not in one
        else:
            assert COMBINED.fullmatch(one), one


def test_combined_lines(instance, rig):
    if instance.form == "json":
        return
    text, begin = mark("line"), datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    instance.ask(f"/rig/bytes/1234?{text}", "User-Agent: Agent/1.0 (x; y)", "Referer: https://ref.test/page?q=1")
    found = line(instance, text)
    when = datetime.datetime.strptime(found.pop("date"), "%d/%b/%Y:%H:%M:%S %z")
    assert begin <= when <= datetime.datetime.now(datetime.UTC)
    assert found == {
        "client": "127.0.0.1",
        "user": "-",
        "method": "GET",
        "target": f"/rig/bytes/1234?{text}",
        "protocol": "HTTP/1.1",
        "status": "200",
        "bytes": "1234",
        "referer": "https://ref.test/page?q=1",
        "agent": "Agent/1.0 (x; y)",
    }
    instance.ask(f"/rig/?{(text := mark('bare'))}")
    assert (line(instance, text)["referer"], line(instance, text)["agent"]) == ("-", "-")


@pytest.mark.parametrize("place", ["agent", "referer", "path", "query", "host"])
def test_nothing_breaks_a_line(instance, place):
    """Requests that are turned away before they are requests have no line; all others have just one."""
    for bad in WHATEVER:
        for sent in (bad, b"a" + bad + b"b", bad + b"\n" + bad, bad + b"\r\n " + bad, bad + b"\r" + bad, b"\0" + bad):
            spots = {name: b"x" for name in ("agent", "referer", "path", "query")} | {"host": b"localhost"}
            spots |= {place: sent if place != "host" else b"h" + sent}
            with instance.peer() as peer:
                head = (
                    b"GET /rig/%(path)b?%(query)b HTTP/1.1\r\nHost: %(host)b\r\nUser-Agent: %(agent)b\r\nReferer: %(referer)b"
                )
                peer.send(head % {name.encode(): value for name, value in spots.items()} + b"\r\n\r\n")
                assert peer.answer().status in (200, 400)
    instance.settled()
    all_are_lines(instance, int(instance.total("pylon_http_requests_total")))
    for one in (instance.directory / "error.log").read_bytes().decode().split("\n")[:-1]:
        if instance.form == "json":
            assert json.loads(one)["level"] in ("INFO", "WARN")
        else:
            assert TEXT_LINE.fullmatch(one), one


def test_bytes_that_are_no_text_are_shown_all_the_same(instance):
    if instance.form == "json":
        return
    instance.ask(f"/rig/?{(text := mark('agent'))}", 'User-Agent: caf\u00e9 "quoted" back\\slash')
    assert line(instance, text)["agent"] == r"café \x22quoted\x22 back\x5Cslash"


@pytest.mark.parametrize(
    "name", [form(name) for name in SECRETS for form in (str, str.upper, urllib.parse.quote)] + ["%74oken", "own%2Dname"]
)
def test_secrets_are_not_shown(instance, name):
    text, secret = mark("hidden"), "hunter2" + mark()
    lines = [f"Referer: https://me:{secret}@ref.test/x?{name}={secret}&a=1#{secret}"]
    assert instance.ask(f"/rig/?a=1&{name}={secret}&{text}&b={text};{name}={secret}", *lines).status == 200
    found = line(instance, text)
    asked = found["query"] if instance.form == "json" else found["target"].partition("?")[2]
    assert asked == f"a=1&{name}=***&{text}&b={text};{name}=***"
    if instance.form == "combined":
        assert found["referer"] == f"https://***@ref.test/x?{name}=***&a=1"
    for log in ("access.log", "error.log"):
        assert secret not in instance.text_of(log)


def test_what_is_no_secret_is_shown(instance):
    text = mark("shown")
    query = f"op=LISTSTATUS&user.name=me&monkey=3&decode=1&page=2&{text}"
    instance.ask(f"/rig/?{query}")
    found = line(instance, text)
    assert query in (found["query"] if instance.form == "json" else found["target"])


def test_secrets_of_requests_that_fail_are_not_shown_either(instance):
    """Nor in the reason, nor in the error log."""
    secret = "hunter2" + mark()
    for target in (
        f"/none?token={secret}",
        f"/rig/reset?password={secret}",
        f"/rig/%zz?token={secret}",
        f"/rig/<?token={secret}",
    ):
        assert instance.ask(target).status in (400, 404, 502)
    wait_until(lambda: "upstream_broken" in instance.text_of("error.log"), what="the line of the error log")
    text = mark("last")
    instance.ask(f"/rig/?{text}")
    line(instance, text)
    for log in ("access.log", "error.log"):
        assert secret not in instance.text_of(log)
