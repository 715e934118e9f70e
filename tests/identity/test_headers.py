"""`auth: { trusted_headers: … }`: a sign-in proxy is believed, and nobody else."""

import pytest
from rig_plain import Gated, check

PROXY, OTHER = "127.0.0.9", "127.0.0.8"
NAMES = ["REMOTE_USER", "AUTHENTICATE_GIVENNAME", "AUTHENTICATE_SN", "AUTHENTICATE_MAIL", "AUTHORIZE_MEMBEROF"]
ANN = [
    "REMOTE_USER: ann",
    "AUTHENTICATE_GIVENNAME: Ann",
    "AUTHENTICATE_SN: Smith",
    "AUTHENTICATE_MAIL: ann@example.org",
    "AUTHORIZE_MEMBEROF: CN=staff,OU=g,DC=x;CN=dev,OU=g,DC=x",
]
STEP = {
    "from": PROXY,
    "name": ["AUTHENTICATE_GIVENNAME", "AUTHENTICATE_SN"],
    "mail": "AUTHENTICATE_MAIL",
    "groups": "AUTHORIZE_MEMBEROF",
}


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    identity = {
        "REMOTE_USER": "{user}",
        "X-Name": "{name}",
        "X-Mail": "{mail}",
        "AUTHORIZE_MEMBEROF": {"each_group": "CN={group}", "separator": ";"},
    }
    routes = {
        "/in/**": {"auth": {"trusted_headers": STEP}, "identity": identity},
        "/staff/**": {"auth": {"trusted_headers": STEP}, "require": {"groups": ["admins"]}},
        "/open/**": {},
    }
    with Gated(tmp_path_factory.mktemp("headers"), routes) as gated:
        yield gated


def test_the_sign_in_proxy_tells_who_asks(gated):
    told = gated.told("/in/x", *ANN, source=PROXY)
    assert told["remote_user"] == ["ann"]
    assert (told["x-name"], told["x-mail"]) == (["Ann Smith"], ["ann@example.org"])
    assert told["authorize_memberof"] == ["CN=staff;CN=dev"]
    assert "authenticate_sn" not in told, "what came is told in other words"
    assert gated.ask("/staff/x", *ANN, source=PROXY).status == 403


def test_nobody_else_does(gated):
    forwarded = [f"X-Forwarded-For: {PROXY}", f"Forwarded: for={PROXY}", f"X-Real-IP: {PROXY}"]
    for source in (OTHER, "127.0.0.1"):
        assert gated.ask("/in/x", *ANN, *forwarded, source=source).status == 403
    for lines in [[], ["REMOTE_USER:"], ["REMOTE_USER: (null)"], ["Remote-User: ann"], [ANN[0], "remote_user: eve"]]:
        assert gated.ask("/in/x", *lines, source=PROXY).status == 403, lines


@pytest.mark.parametrize("target", ["/in/x", "/open/x"])
def test_no_copy_of_a_client_passes_on_any_route(gated, target):
    alike = [name for known in NAMES for name in (known.lower(), known.replace("_", "-"), known.title())]
    spoofed = [f"{name}: eve" for name in alike if name not in ("remote_user",)]
    if target == "/open/x":
        told = gated.told(target, *ANN, *spoofed, source=OTHER)
        assert not [name for name in told if name.upper().replace("-", "_") in NAMES], told
    else:
        # The proxy passes a client's look-alikes on beside its own.
        spoofed = [line for line in spoofed if "-" in line.partition(":")[0]]
        told = gated.told(target, *ANN, *spoofed, source=PROXY)
        assert "eve" not in sum(told.values(), []), told
        assert told["remote_user"] == ["ann"]


@pytest.mark.parametrize("target", ["/in/x", "/open/x"])
def test_servers_that_read_names_leniently_are_not_deceived(gated, target):
    # CGI of some servers makes `_` of all that is neither a letter nor a digit.
    lines = ["Remote.User: eve", "Authorize~Memberof: CN=admins", "X.Name: eve", "X+Mail: eve"]
    told = gated.told(target, *ANN, *lines, source=PROXY)
    assert "eve" not in sum(told.values(), []), told
    assert "authorize~memberof" not in told


@pytest.mark.parametrize("upgrade", [[], ["Upgrade: websocket"], ["Upgrade: other"]])
def test_a_client_cannot_nominate_away_who_asks(gated, upgrade):
    names = ", ".join(["keep-alive", *(["upgrade"] if upgrade else []), "REMOTE_USER", "X-Name"])
    told = gated.told("/in/x", *ANN, f"Connection: {names}", *upgrade, source=PROXY)
    assert (told["remote_user"], told["x-name"]) == (["ann"], ["Ann Smith"])
    assert "REMOTE_USER" not in ",".join(told.get("connection", []))


def test_everybody_is_no_proxy(tmp_path):
    for networks in (["0.0.0.0/0"], ["10.0.0.1", "::/0"], []):
        code, said = check(tmp_path, {"auth": {"trusted_headers": {"from": networks}}})
        assert code == 78 and "auth.trusted_headers.from" in said, said
