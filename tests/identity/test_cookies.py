"""`auth: { signed_cookie: … }`: cookies as a notebook service signs them, known to Pylon by its configuration alone."""

import base64
import datetime
import hashlib
import hmac
import json

import pytest
from rig_plain import Gated, check

KEY, OTHER = "Vx9-_k3y0123456789abcdefghijklmn", "another-key-of-the-same-length--"
AUTH = {"name": "jb_auth", "as": "auth", "signed": ["u", "t"], "signature": "x", "issued": "t", "max_age": "30d"}
SESS = {"name": "jb_sess", "as": "sess", "signed": ["c", "i", "t"], "signature": "x", "issued": "t", "max_age": "30d"}
PORTS = {"as": "port", "signature": "x", "matches": {"p": "[1-9][0-9]{4}"}}


def port_cookie(name, part):
    return PORTS | {"name": name, "signed": ["auth.x", "sess.x", part, "p"]}


def step(*cookies, secret=KEY):
    cookies = [AUTH | {"optional": True}, SESS, *cookies]
    return {"secret": secret, "hash": "sha1", "cookies": cookies, "user": ["{auth.u}", "{sess.c}"]}


def sign(text, key=KEY):
    """As the service does it."""
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()


def pack(value):
    return base64.b64encode(json.dumps(value).encode()).decode()


def ago(**time):
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(**time)).isoformat()


class Browser:
    """The cookies of somebody who signed in and started a session."""

    def __init__(self, user="ann@example.org", session="box_ann", instance="10.1.2.3", at=None, key=KEY):
        at = at or ago(hours=1)
        self.auth = {"u": user, "t": at, "x": sign(user + at, key)}
        self.sess = {"c": session, "t": at, "i": instance, "x": sign(session + instance + at, key)}
        self.ports, self.key = {}, key
        self.open("nb", 49153)
        self.open("shell", "49154")  # as text, as the container's engine tells it

    def open(self, name, number):
        text = self.auth["x"] + self.sess["x"] + name + str(number)
        self.ports[name] = {"p": number, "x": sign(text, self.key)}

    def lines(self, quote='"'):
        cookies = {"jb_auth": self.auth, "jb_sess": self.sess}
        cookies |= {f"jp_{name}": value for name, value in self.ports.items()}
        pairs = [f"{name}={quote}{pack(value)}{quote}" for name, value in cookies.items() if value is not None]
        return ["Cookie: " + "; ".join(["theme=dark", *pairs, "jb_iid=10.9.9.9"])]


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    told = {"X-User": "{user}", "X-Instance": "{claim:sess.i}", "X-Port": "{claim:port.p}"}
    named, fixed = port_cookie("jp_{name}", {"capture": "name"}), port_cookie("jp_nb", {"text": "nb"})
    routes = {
        "/jci_{name}/**": {"auth": {"signed_cookie": step(named)}, "identity": told},
        "/jbox/**": {"auth": {"signed_cookie": step()}},
        "/**": {"auth": {"signed_cookie": step(fixed, secret=[OTHER, KEY])}, "identity": told},
    }
    with Gated(tmp_path_factory.mktemp("cookies"), routes) as gated:
        yield gated


def test_what_the_service_signs_passes(gated):
    for browser in (Browser(), Browser(at=str(int(datetime.datetime.now().timestamp()))), Browser(at=ago(days=29))):
        for quote in ('"', ""):
            told = gated.told("/jci_shell/x", *browser.lines(quote))
            assert (told["x-user"], told["x-instance"]) == (["ann@example.org"], ["10.1.2.3"])
            assert told["x-port"] == ["49154"]
        assert gated.told("/notebooks/x", *browser.lines())["x-port"] == ["49153"]
        assert gated.passes("/jbox/x", *browser.lines())
    assert gated.passes("/notebooks/x", *Browser(key=OTHER).lines()), "a key that takes the place of another"
    assert not gated.passes("/jbox/x", *Browser(key=OTHER).lines())


def test_who_did_not_sign_in_passes_by_the_session(gated):
    browser = Browser()
    browser.auth = {"x": ""}
    browser.open("nb", 49153)
    assert gated.told("/notebooks/x", *browser.lines())["x-user"] == ["box_ann"]
    browser.auth = None
    assert gated.told("/notebooks/x", *browser.lines())["x-user"] == ["box_ann"]


def test_nothing_else_passes(gated):
    def changed(of, **fields):
        browser = Browser()
        getattr(browser, of).update(fields)
        return browser

    def port(**fields):
        browser = Browser()
        browser.ports["shell"] |= fields
        return browser

    def without(*names):
        browser = Browser()
        for name in names:
            setattr(browser, name, None) if name != "shell" else browser.ports.pop(name)
        return browser

    other, moved = Browser(user="bob@example.org", session="box_bob"), Browser()
    moved.sess = other.sess
    copied = Browser()
    copied.ports["shell"] = copied.ports["nb"]
    refused = [
        Browser(key=OTHER),
        Browser(at=ago(days=31)),
        Browser(at=ago(days=-1)),
        Browser(at="yesterday"),
        Browser(user=" ann@example.org"),
        Browser(user="ann@example.org\t"),
        changed("sess", i="10.9.9.9"),
        changed("sess", c="box_bob"),
        changed("sess", t=ago(minutes=1)),
        changed("sess", x=sign("x")),
        changed("sess", c={"c": 1}),
        changed("auth", u="bob@example.org"),
        port(p=49999),
        port(p=4915, x=sign("")),
        port(p=49154.0),
        port(x=Browser().sess["x"]),
        without("sess"),
        without("shell"),
        moved,
        copied,
    ]
    before = gated.counted("signed_cookie", "wrong") + gated.counted("signed_cookie", "absent")
    for browser in refused:
        answer = gated.ask("/jci_shell/x", *browser.lines())
        assert answer.status == 403, vars(browser)
        assert "www-authenticate" not in answer.headers
    assert gated.counted("signed_cookie", "wrong") + gated.counted("signed_cookie", "absent") == before + len(refused)
    assert gated.ask("/jci_shell/x").status == 403
    assert gated.ask("/jci_shell/x", "Cookie: jb_sess=" + "A" * 9000).status == 403
    # A name that takes the first digit of the port is the same text to the service, and another here.
    browser = Browser()
    browser.ports = {"shell4": {"p": "9154", "x": browser.ports["shell"]["x"]}}
    assert gated.ask("/jci_shell4/x", *browser.lines()).status == 403


def test_secrets_are_long_and_not_shown(tmp_path):
    code, said = check(tmp_path, {"auth": {"signed_cookie": step(secret="too-short")}})
    assert code == 78 and "secret: it is shorter than 16 bytes" in said and "too-short" not in said, said
