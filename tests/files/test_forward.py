"""`auth: { forward: … }`: a service that lets pass, denies, redirects, hangs, and talks nonsense."""

import json
import subprocess
import threading
import time

import pytest
from processes import BINARY, wait_until
from rig import Rig
from service import Service

AUTH = {
    "headers": ["Authorization", "Cookie", "X-Custom"],
    "timeout": "30s",
    "user": "X-Who",
    "name": "X-Who-Name",
    "groups": "X-Who-Groups",
    "pass": ["X-Team"],
    "set_cookie": True,
}


@pytest.fixture(scope="module")
def service(stack):
    return stack.enter_context(Service())


@pytest.fixture(scope="module")
def rig(stack):
    return stack.enter_context(Rig())


@pytest.fixture(scope="module")
def pylon(start, service, rig, folder):
    folder.write("x.txt", "a file")
    auth = {"url": f"{service.url}/check?x=1"} | AUTH
    identity = {"X-User": "{user}", "X-Groups": "{groups}", "X-Name": "{name}"}
    app = lambda name, **more: {"name": name, "path": f"/{name}/{{do}}/**", "upstream": "rig", "rewrite": "/echo{**}"} | more
    kept = auth | {"set_cookie": False}
    by_who = lambda time: {"forward": kept | {"cache": {"time": time, "by_path": False}}}
    return start(
        app("app", auth={"forward": auth}, identity=identity),
        app("brief", auth={"forward": auth | {"timeout": "700ms"}}, identity=identity),
        app("kept", auth={"forward": kept | {"cache": {"time": "30m"}}}, identity=identity),
        app("wide", auth=by_who("30m"), identity=identity),
        app("soon", auth=by_who("1s"), identity=identity),
        app("staff", auth={"forward": auth}, require={"groups": ["root"]}),
        app("gone", auth={"forward": auth | {"url": "http://127.0.0.1:1/"}}),
        app("open"),
        {"name": "files", "path": "/files/{do}/**", "static": str(folder.path), "auth": {"forward": auth}},
        upstreams={"rig": {"endpoints": [rig.url]}},
    )


def seen(answer):
    """What the upstream saw, by name."""
    assert answer.status == 200, (answer.status, answer.body)
    found = {}
    for name, value in json.loads(answer.body):
        found.setdefault(name, []).append(value)
    return found


SPOOFED = ["X-User: root", "X_User: root", "X-Team: red", "X_Team: red", "X-Who: root", "X-Groups: root", "X-Name: root"]


def test_who_may_pass_and_who_it_is(pylon, service):
    answer = pylon.ask("/app/allow/one", "Cookie: user=ann", "Authorization: Basic eDp5", "X-Custom: c", *SPOOFED)
    got = seen(answer)
    assert got["x-user"] == ["ann"] and got["x-groups"] == ["staff,dev"]
    assert got["x-team"] == ["blue", "green"]
    assert "x_user" not in got and "x_team" not in got
    assert answer.headers["set-cookie"] == "renewed=1; HttpOnly"
    [(line, told)] = service.of("/app/allow/one")
    told = dict(told)
    assert line == "GET /check?x=1 HTTP/1.1"
    assert told["cookie"] == "user=ann" and told["authorization"] == "Basic eDp5" and told["x-custom"] == "c"
    assert (told["x-forwarded-method"], told["x-forwarded-proto"], told["x-forwarded-for"]) == ("GET", "http", "127.0.0.1")
    assert told["x-forwarded-host"] == "localhost" and told["x-forwarded-uri"] == "/app/allow/one"
    assert not {"x-user", "x-team", "x-who", "accept", "user-agent", "content-length"} & set(told)
    assert pylon.entry("/app/allow/one")["user"] == "ann"


def test_it_is_told_the_truth(pylon, service):
    lines = ["X-Forwarded-Uri: /app/allow", "X-Forwarded-Method: GET", "X-Forwarded-Host: evil", "X-Forwarded-For: 6.6.6.6"]
    answer = pylon.ask("/app/deny/%2e%2e%2fx?q=%0a", *lines, "Content-Length: 4", method="POST", body=b"body")
    assert answer.status in (400, 401)
    answer = pylon.ask("/app/deny/two?q=%0a", *lines, "Content-Length: 4", method="POST", body=b"body")
    assert answer.status == 401
    [(_, told)] = service.of("/app/deny/two")
    told = dict(told)
    assert told["x-forwarded-uri"] == "/app/deny/two?q=%0a" and told["x-forwarded-method"] == "POST"
    assert told["x-forwarded-for"] == "127.0.0.1" and told["x-forwarded-host"] == "localhost"


def test_names_that_are_reserved_pass_nowhere(pylon):
    got = seen(pylon.ask("/open/any/x", *SPOOFED, "Authorization: Basic eDp5"))
    assert not {"x-user", "x_user", "x-team", "x_team", "x-groups", "x-name"} & set(got)
    assert got["authorization"] == ["Basic eDp5"]


def test_denials_go_to_the_client(pylon, rig):
    before = len(rig.seen)
    answer = pylon.ask("/app/deny/x")
    assert (answer.status, answer.body) == (401, b"who are you?")
    assert answer.headers["www-authenticate"] == 'Bearer realm="svc"'
    answer = pylon.ask("/app/forbid/x")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (403, b"<p>no</p>", "text/html")
    assert "server" not in answer.headers
    with pylon.peer() as peer:
        peer.send(b"GET /app/redirect/x?y=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = peer.file.read().decode()
    assert text.startswith("HTTP/1.1 302 ") and "https://id.test/?rd=http://localhost/app/redirect/x?y=1" in text
    assert "state=1" in text and "more=2" in text
    assert pylon.ask("/app/deny/x", method="HEAD").status == 401
    assert pylon.ask("/files/deny/x.txt").status == 401
    assert len(rig.seen) == before
    assert pylon.entry("/app/forbid/x")["outcome"] == "unauthenticated"


def test_what_is_not_required_does_not_pass(pylon, rig):
    before = len(rig.seen)
    assert pylon.ask("/staff/allow/x", "Cookie: user=ann").status == 403
    assert len(rig.seen) == before


NOTHING_PASSES = [
    "nameless", "two", "hang", "drip", "garbage", "reset", "cut", "huge", "many", "flood", "body", "status/500", "status/404",
    "status/302", "status/304", "status/429", "status/400", "status/206x", "status/999",
]  # fmt: skip


@pytest.mark.parametrize("do", NOTHING_PASSES)
def test_without_a_clear_answer_nothing_passes(pylon, rig, do):
    before, began = len(rig.seen), time.monotonic()
    answer = pylon.ask(f"/brief/{do}/z")
    assert answer.status == 503, (answer.status, answer.body)
    assert time.monotonic() - began < 25
    assert len(rig.seen) == before
    entry = pylon.entry(f"/brief/{do}/z")
    assert entry["outcome"] == "auth_unavailable" and "forward" in entry["reason"], entry


def test_a_service_that_is_away(pylon):
    assert pylon.ask("/gone/allow/x").status == 503


def test_files_behind_it(pylon):
    answer = pylon.ask("/files/allow/x.txt")
    assert (answer.status, answer.body) == (200, b"a file")
    assert answer.headers["set-cookie"] == "renewed=1; HttpOnly"


def test_answers_are_kept_apart(pylon, service):
    for user in ["ann", "bob", "ann", "bob"]:
        got = seen(pylon.ask("/kept/quiet/k", f"Cookie: user={user}"))
        assert got["x-user"] == [user]
    assert len(service.of("/kept/quiet/k")) == 2
    pylon.ask("/kept/quiet/k2", "Cookie: user=ann")
    pylon.ask("/kept/quiet/k2", "Cookie: user=ann", method="DELETE")
    pylon.ask("/kept/quiet/k2", "Cookie: user=ann", host="other.test")
    pylon.ask("/kept/quiet/k2", "Cookie: user=ann", "X-Custom: 1")
    assert len(service.of("/kept/quiet/k2")) == 4
    for _ in range(3):
        assert pylon.ask("/kept/deny/k3").status == 401
    assert len(service.of("/kept/deny/k3")) == 3
    assert pylon.reload()[0]
    pylon.ask("/kept/quiet/k", "Cookie: user=ann")
    assert len(service.of("/kept/quiet/k")) == 2 + len(service.of("/kept/quiet/k2"))


def test_by_who_asks_alone(pylon, service):
    for path in ["a", "b", "c"]:
        assert seen(pylon.ask(f"/wide/quiet/{path}", "Cookie: user=wide1"))["x-user"] == ["wide1"]
    assert len(service.of("wide1")) == 1
    wait_until(lambda: pylon.ask("/soon/quiet/a", "Cookie: user=soon1") and len(service.of("soon1")) > 1, what="asked anew")


def test_those_that_wait_share_one_question(pylon, service):
    service.gate.clear()
    answers = []
    ask = lambda: answers.append(pylon.ask("/kept/held/x", "Cookie: user=many"))
    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: service.of("user=many"), what="a question")
    # The others have come as well: they are under way, and wait.
    wait_until(lambda: pylon.total("pylon_http_requests_in_flight", route="kept") == 20, what="all wait")
    service.gate.set()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 20
    assert len(service.of("user=many")) == 1
    service.gate.clear()


def test_mistakes(pylon, tmp_path):

    for auth, said in [
        ({}, "auth.forward.url: it is missing"),
        ({"url": "auth:80/x"}, "is not a URL"),
        ({"url": "http://a:pw123@h/"}, "without a user"),
        ({"url": "http://h/", "timeout": "2m"}, "auth.forward.timeout: it is 120s"),
        ({"url": "http://h/", "cache": {"time": "2h"}}, "auth.forward.cache.time"),
        ({"url": "http://h/", "headers": ["Host"]}, "auth.forward.headers[0]: `host`"),
        ({"url": "http://h/", "pass": ["X-Forwarded-For"]}, "auth.forward.pass[0]"),
        ({"url": "http://h/", "pass": ["Cookie"]}, "auth.forward.pass[0]"),
        ({"url": "https://h/", "ca": "/nowhere.pem"}, "auth.forward.ca: `/nowhere.pem` cannot be read"),
        ({"url": "http://h/", "body": True}, "body"),
    ]:
        route = {"name": "x", "path": "/**", "answer": {}, "auth": {"forward": auth}}
        file = tmp_path / "x.yaml"
        file.write_text(json.dumps({"listeners": [{"address": "127.0.0.1:1"}], "routes": [route]}))
        done = subprocess.run([BINARY, "check", file], capture_output=True, text=True, timeout=60)
        text = done.stdout + done.stderr
        assert done.returncode == 78 and said in text and "pw123" not in text, (auth, text)
