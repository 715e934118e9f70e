"""Who passes the router, and where they come out: one table, as the original's own rules decide."""

import base64
import json
import subprocess
import time

import pytest

from peers import Peer, request
from processes import BINARY, free_port, wait_until
from router import HERE, KEY, THERE, Router, auth, coded, cookies, field, moment, port, sess

LONG = "n" * 50


def wider(cookie):
    """A cookie with fields besides those that are signed."""
    return coded(**json.loads(base64.b64decode(cookie)), more=[1, {"a": None}], other={"b": True}, third=1.5, fourth=None)


def table(router):
    """Who asks → their cookies."""
    ok = cookies(router)
    session, who = ok["jb_sess"], ok["jb_auth"]
    old = cookies(router, days=31)
    return {
        "nobody": {},
        "session": ok,
        "quoted": {name: f'"{value}"' for name, value in ok.items()},
        "session only": {"jb_sess": session},
        "sign-in only": {"jb_auth": who},
        "no sign-in": cookies(router, signed_in=False),
        "sign-in lost": {name: value for name, value in ok.items() if name != "jb_auth"},
        "another sign-in": ok | {"jb_auth": auth("bob@example.org")},
        "another session": ok | {"jb_sess": sess(c="/bob")},
        "another key": ok | {"jb_sess": sess(key=KEY + "!")},
        "changed session": ok | {"jb_sess": coded(c="/eve", i=HERE, t=moment(), x=field(session, "x"))},
        "not JSON": ok | {"jb_sess": "bm8="},
        "not base64": ok | {"jb_sess": "%%%"},
        "empty": ok | {"jb_sess": ""},
        "unsigned": ok | {"jb_sess": coded(c="/ann", i=HERE, t=moment())},
        "old": old,
        "more fields": ok | {name: wider(ok[name]) for name in ("jb_auth", "jb_sess", "jp_file")},
        "time without a zone": ok | {"jb_sess": sess(t=moment()[:-6])},
        "old time without a zone": ok | {"jb_sess": sess(t=moment(days=31)[:-6])},
        "seconds": ok | {"jb_sess": sess(t=str(time.time()))},
        "no time": ok | {"jb_sess": sess(t="yesterday")},
        "swapped ports": ok | {"jp_nb": ok["jp_file"]},
        "port of a key": ok | {"jp_nb": port("nb", 4200, session, who, key="x")},
        "port that is none": ok | {"jp_nb": port("nb", "4200/x", session, who)},
        "empty port": ok | {"jp_nb": port("nb", "", session, who)},
        "low port": ok | {"jp_nb": port("nb", 22, session, who)},
        "port as text": ok | {"jp_nb": port("nb", str(router.notebook.port), session, who)},
        "own port": ok | {"jp_nb": port("nb", router.port, session, who)},
        "far": cookies(router, THERE),
        "far by cookie": cookies(router, THERE, iid=THERE),
        "here by name": cookies(router, "localhost", iid="localhost"),
        "here by nothing": cookies(router, ""),
        "steered": cookies(router, HERE, iid=THERE),
        "elsewhere": cookies(router, "127.0.0.3", iid="127.0.0.3"),
        "steered elsewhere": cookies(router, HERE, iid="127.0.0.3"),
        "numbered": cookies(router, "i-0a1b2c.invalid"),
        "numbered far": cookies(router, "i-0a1b2c.invalid", iid=THERE),
        "numbered elsewhere": cookies(router, "i-0a1b2c.invalid", iid="127.0.0.3"),
        "iid far": {"jb_iid": THERE},
        "iid of nothing": {"jb_iid": "nobody.invalid"},
        "iid elsewhere": {"jb_iid": "127.0.0.3"},
        "iid odd": {"jb_iid": "evil/../x"},
        "iid here": {"jb_iid": "127.0.0.1"},
    }


CASES = [
    # Of the session manager's pages some need no session …
    ("nobody", "/", "manager /"),
    ("nobody", "/?next=%2Fx", "manager /?next=%2Fx"),
    ("nobody", "/jboxauth/google/", "manager /jboxauth/google/"),
    ("nobody", "/jboxauth/x?a=b", "manager /jboxauth/x?a=b"),
    ("nobody", "/jboxplugin/a/jboxauth/x", "manager /jboxplugin/a/jboxauth/x"),
    ("nobody", "/jboxcors/", "manager /jboxcors/"),
    ("nobody", "/jboxcors/x/y", "manager /jboxcors/x/y"),
    ("nobody", "/jboxplugin/jboxcors/", "manager /jboxplugin/jboxcors/"),
    ("another key", "/jboxauth/x", "manager /jboxauth/x"),
    # … all others do.
    ("nobody", "/jboxauth/", 403),
    ("nobody", "/jboxplugin/jboxauth/", 403),
    ("nobody", "/jboxauth", 403),
    ("nobody", "/jboxcors", 403),
    ("nobody", "/jboxadmin/", 403),
    ("nobody", "/jboxadmin/x/jboxauthx/y", 403),
    ("nobody", "/jboxadmin/?x=/jboxauth/y", 403),
    ("session", "/jboxauth/", "manager /jboxauth/"),
    ("session", "/jboxadmin/", "manager /jboxadmin/"),
    ("session", "/jboxadmin/x%20y?q=%2F", "manager /jboxadmin/x%20y?q=%2F"),
    ("session", f"/jbox{LONG}/x", f"manager /jbox{LONG}/x"),
    ("session", f"/jbox{LONG}n/x", f"notebook /jbox{LONG}n/x"),
    ("session", "/jbox/x", "notebook /jbox/x"),
    ("session", "/jbox.a/x", "notebook /jbox.a/x"),
    ("session", "/a/jboxadmin/x", "notebook /a/jboxadmin/x"),
    ("session only", "/jboxadmin/x", "manager /jboxadmin/x"),
    ("quoted", "/jboxadmin/x", "manager /jboxadmin/x"),
    ("sign-in only", "/jboxadmin/x", 403),
    ("another key", "/jboxadmin/x", 403),
    ("changed session", "/jboxadmin/x", 403),
    ("not JSON", "/jboxadmin/x", 403),
    ("not base64", "/jboxadmin/x", 403),
    ("empty", "/jboxadmin/x", 403),
    ("unsigned", "/jboxadmin/x", 403),
    ("old", "/jboxadmin/x", 403),
    # What runs in a session: each port with its own cookie; the prefix is gone there.
    ("session", "/jci_file/", "files /"),
    ("session", "/jci_file/a/b?c=d%20e", "files /a/b?c=d%20e"),
    ("session", "/jws_file/a%2Fb", "files /a%2Fb"),
    ("session", "/jci_nb/x", "notebook /x"),
    ("quoted", "/jci_file/x", "files /x"),
    ("no sign-in", "/jci_file/x", "files /x"),
    ("port as text", "/jci_nb/x", "notebook /x"),
    ("more fields", "/jci_file/x", "files /x"),
    ("more fields", "/jboxadmin/x", "manager /jboxadmin/x"),
    ("time without a zone", "/jboxadmin/x", "manager /jboxadmin/x"),
    ("old time without a zone", "/jboxadmin/x", 403),
    ("seconds", "/jboxadmin/x", "manager /jboxadmin/x"),
    ("no time", "/jboxadmin/x", 403),
    ("session", "/jci_shell/x", 403),
    ("session", f"/jci_{LONG}/x", 403),
    ("session", f"/jci_{LONG}n/x", f"notebook /jci_{LONG}n/x"),
    ("session", "/jci_/x", "notebook /jci_/x"),
    ("session", "/jci_file", "notebook /jci_file"),
    ("session", "/jws_file", "notebook /jws_file"),
    ("session", "/x/jci_file/y", "notebook /x/jci_file/y"),
    ("session", "/jcx_file/y", "notebook /jcx_file/y"),
    ("nobody", "/jci_file/x", 403),
    ("session only", "/jci_file/x", 403),
    ("sign-in lost", "/jci_file/x", 403),
    ("another sign-in", "/jci_file/x", 403),
    ("another session", "/jci_file/x", 403),
    ("another key", "/jci_file/x", 403),
    ("old", "/jci_file/x", 403),
    ("swapped ports", "/jci_nb/x", 403),
    ("port of a key", "/jci_nb/x", 403),
    ("port that is none", "/jci_nb/x", 403),
    ("empty port", "/jci_nb/x", 403),
    ("low port", "/jci_nb/x", 403),
    ("own port", "/jci_nb/x", 403),
    # Everything else is the notebook's.
    ("session", "/notebooks/a.ipynb?x=1", "notebook /notebooks/a.ipynb?x=1"),
    ("session", "/api/kernels/", "notebook /api/kernels/"),
    ("session", "/assets", "notebook /assets"),
    ("no sign-in", "/tree", "notebook /tree"),
    ("nobody", "/tree", 403),
    ("session only", "/tree", 403),
    ("sign-in lost", "/tree", 403),
    ("another session", "/tree", 403),
    ("swapped ports", "/tree", 403),
    ("empty port", "/tree", 403),
    ("old", "/tree", 403),
    # Files need nothing.
    ("nobody", "/favicon.ico", "icon"),
    ("nobody", "/assets/js/app.js", "app()"),
    ("nobody", "/assets/js/none.js", 404),
    ("nobody", "/assets/../timedout.html", 404),
    ("nobody", "/timedout.html", 404),
    # A session that lives elsewhere: that machine's own router finishes the job.
    ("far", "/jci_file/a?b=c", "far router /jci_file/a?b=c"),
    ("far", "/jws_file/a", "far router /jws_file/a"),
    ("far", "/tree", "far router /tree"),
    ("far", "/jci_file", "far router /jci_file"),
    ("far by cookie", "/jci_file/a", "far router /jci_file/a"),
    ("far", "/jboxadmin/x", "far manager /jboxadmin/x"),
    ("here by name", "/jci_file/a", "files /a"),
    ("here by name", "/jboxadmin/x", "manager /jboxadmin/x"),
    ("here by nothing", "/jci_file/a", "files /a"),
    ("iid far", "/", "far manager /"),
    ("iid far", "/jboxauth/x", "far manager /jboxauth/x"),
    ("iid far", "/jboxcors/x", "far manager /jboxcors/x"),
    ("iid here", "/", "manager /"),
    # What anybody can write does not lead where INSTANCES does not, nor away from where a session was signed for.
    ("steered", "/jci_file/a", "files /a"),
    ("steered", "/tree", "notebook /tree"),
    ("steered elsewhere", "/jci_file/a", "files /a"),
    ("steered elsewhere", "/", "manager /"),
    ("elsewhere", "/jci_file/a", 403),
    ("elsewhere", "/tree", 403),
    ("elsewhere", "/jboxadmin/x", 403),
    ("iid elsewhere", "/jboxcors/x", 403),
    # … but nobody is locked out of a sign-in by a cookie that names a machine which is gone.
    ("iid elsewhere", "/", "manager /"),
    ("iid elsewhere", "/jboxauth/x", "manager /jboxauth/x"),
    ("iid odd", "/", "manager /"),
    ("iid of nothing", "/", "manager /"),
    # A session may be signed for a number of a machine, which is no name of it.
    ("numbered", "/jci_file/a", "files /a"),
    ("numbered", "/jboxadmin/x", "manager /jboxadmin/x"),
    ("numbered far", "/jci_file/a", "far router /jci_file/a"),
    ("numbered far", "/jboxadmin/x", "far manager /jboxadmin/x"),
    ("numbered elsewhere", "/tree", 403),
]


@pytest.fixture(scope="module")
def people(router):
    return table(router)


@pytest.mark.parametrize(("who", "target", "expected"), CASES, ids=[f"{who} {target}" for who, target, _ in CASES])
def test_where_a_request_comes_out(router, people, who, target, expected):
    assert router.leads(target, people[who]) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/here/sum/", "api /here/sum/"),
        ("/here/sum/1/2?x=%20", "api /here/sum/1/2?x=%20"),
        ("/far/sum/1", "far api /far/sum/1"),
        ("/other/sum/1", "far api /other/sum/1"),  # a preferred one
        ("/evil/sum/1", 403),
        ("/here/sum", 403),
        ("/here/-sum/1", 403),
        ("/here/s.u-m/1", "api /here/s.u-m/1"),
        (f"/{LONG}/sum/1", f"far api /{LONG}/sum/1"),
        (f"/{LONG}n/sum/1", 403),
        ("/he.re/sum/1", 403),
        ("/", 403),
    ],
)
@pytest.mark.parametrize("host", ["api.example.org", "API.x:8080"])
def test_functions_go_where_the_api_manager_says(router, target, expected, host):
    assert router.leads(target, host=host) == expected


def test_functions_go_to_those_that_are_allowed(router):
    assert {router.leads("/mixed/sum/1", host="api.x") for _ in range(20)} == {"api /mixed/sum/1"}


def test_questions_are_few_and_signed_anew(router):
    router.leads("/here/sum/1", host="api.example.org")
    before, begun = sum(router.api.questions.values()), time.monotonic()
    assert before >= 1
    for _ in range(20):
        router.leads("/here/sum/1", host="api.example.org")
    # It asks anew each minute.
    assert sum(router.api.questions.values()) <= before + 1 + (time.monotonic() - begun) / 60
    assert max(router.api.questions.values()) == 1, "no number comes twice"


def test_what_the_servers_see(router, people):
    before = len(router.files.seen)
    answer = router.ask("/jci_file/up", people["session"], "Content-Length: 5", method="POST", body=b"hello")
    assert answer.status == 200
    seen = router.files.seen[before]
    assert (seen["method"], seen["body"]) == ("POST", 5)
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert (headers["host"], headers["x-real-ip"], headers["x-forwarded-for"]) == ("site.example.org", HERE, HERE)
    assert headers["x-forwarded-prefix"] == "/jci_file"
    assert "jb_sess=" in headers["cookie"]


def test_bodies_end_at_20_mib(router, people):
    most = 20 << 20
    with Peer(router.port) as peer:
        pairs = "; ".join(f"{name}={value}" for name, value in people["session"].items())
        lines = [f"Cookie: {pairs}", f"Content-Length: {most + 1}"]
        peer.send(request("/jci_file/up", *lines, method="PUT"))
        assert peer.answer().status == 413
    answer = router.ask(
        "/jci_file/up", people["session"], f"Content-Length: {most}", method="PUT", body=b"x" * most
    )
    assert answer.status == 200


def test_an_upstream_that_is_down_shows_the_page(router, people):
    session, who = people["session"]["jb_sess"], people["session"]["jb_auth"]
    down = people["session"] | {"jp_nb": port("nb", free_port(), session, who)}
    answer = router.ask("/tree", down)
    assert (answer.status, answer.body) == (502, b"<html>timed out</html>")


def test_the_page_may_be_missing(tmp_path):
    router = Router(tmp_path)
    (tmp_path / "www/timedout.html").unlink()
    with router:
        made = cookies(router)
        made["jp_nb"] = port("nb", free_port(), made["jb_sess"], made["jb_auth"])
        answer = router.ask("/tree", made)
        assert answer.status == 502 and answer.body.startswith(b"502 Bad Gateway")
        wait_until(lambda: "timedout.html" in router.tail(), what="it is told")


def test_refusals_say_nothing_of_what_is_inside(router, people):
    answer = router.ask("/jci_file/x", people["elsewhere"])
    assert answer.status == 403
    for inside in (b"127.0.0.", KEY.encode(), str(router.files.port).encode()):
        assert inside not in answer.body


def test_explain_names_the_target_that_is_still_to_be_told(router):
    url = f"http://site.example.org:{router.port}/jci_file/x?y"
    arguments = [BINARY, "explain", "--system", "juliabox", "GET", url]
    done = subprocess.run(arguments, env=router.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "same://{claim:sess.i}|{cookie:jb_iid}:same/jci_file/x?y" in done.stdout
    assert "signed_cookie, dynamic, wait for" in done.stdout
    assert KEY not in done.stdout
