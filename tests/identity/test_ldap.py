"""`auth: { ldap: … }` with OpenLDAP's server."""

import contextlib

import pytest
import trustme
from directory import BASE, OWN, OWN_PASSWORD, PASSWORD, Relay, Slapd
from rig_plain import Gated, basic

NAMED = {"user_dn": f"uid={{user}},ou=people,{BASE}"}
SEARCHED = {
    "bind_dn": OWN,
    "bind_password": OWN_PASSWORD,
    "search": {"base": BASE, "filter": "(&(objectClass=inetOrgPerson)(uid={user}))"},
}
GROUPS = {"group_search": {"base": f"ou=groups,{BASE}", "filter": "(&(objectClass=groupOfNames)(member={dn}))"}}
TIMES = {"timeout": "30s", "connect_timeout": "15s"}  # of a busy machine
FORGET = {"remember": "0s", "remember_bad": "0s"}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts directories, which are stopped at the end."""
    with contextlib.ExitStack() as stack:

        def launch(**options):
            slapd = Slapd(tmp_path_factory.mktemp("slapd"), **options)
            stack.callback(lambda: slapd.process.poll() is None and slapd.stop())
            return slapd

        yield launch


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("site", "foreign"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / f"{name}.ca")
        issued = authority.issue_cert("127.0.0.1", "localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return folder


@pytest.fixture(scope="module")
def slapd(start, certificate):
    return start(certificate=certificate / "site.pem")


@pytest.fixture(scope="module")
def gated(slapd, certificate, tmp_path_factory):
    plain, tls = slapd.urls

    def route(**step):
        told = {"X-User": "{user}", "X-Name": "{name}", "X-Mail": "{mail}", "X-Groups": "{groups}"}
        return {"auth": {"ldap": {"url": plain} | TIMES | step}, "identity": told}

    ca, foreign = str(certificate / "site.ca"), str(certificate / "foreign.ca")
    told = {"X-Kind": "{claim:kind}"}
    routes = {
        "/named/**": route(**NAMED, **FORGET),
        "/searched/**": route(**SEARCHED, **FORGET),
        "/admins/**": route(**SEARCHED) | {"require": {"groups": "admins"}},
        "/groups/**": route(**NAMED, **GROUPS, groups="", claims={"kind": "employeeType"}) | {"identity": told},
        "/both/**": route(**SEARCHED, **GROUPS, groups=""),
        "/tls/**": route(**NAMED) | {"auth": {"ldap": {"url": tls, "ca": ca} | TIMES | NAMED}},
        "/starttls/**": {"auth": {"ldap": {"url": plain, "ca": ca, "starttls": True} | TIMES | NAMED}},
        "/foreign/**": {"auth": {"ldap": {"url": tls, "ca": foreign} | TIMES | NAMED}},
        "/foreign-starttls/**": {"auth": {"ldap": {"url": plain, "ca": foreign, "starttls": True} | TIMES | NAMED}},
        "/unknown/**": route(**SEARCHED | {"bind_password": "wrong"}),
    }
    with Gated(tmp_path_factory.mktemp("ldap"), routes) as gated:
        yield gated


def test_the_directory_says_who_somebody_is(gated):
    for target in ("/named/x", "/searched/x"):
        told = gated.told(target, basic("ann", PASSWORD))
        assert (told["x-user"], told["x-name"], told["x-mail"]) == (["ann"], ["Ann Smith"], ["ann@example.org"])
        assert sorted(told["x-groups"][0].split(",")) == ["admins", "staff"]
        assert "authorization" not in told
    assert gated.told("/groups/x", basic("ann", PASSWORD))["x-kind"] == ["tester"]
    assert sorted(gated.told("/both/x", basic("ann", PASSWORD))["x-groups"][0].split(",")) == ["admins", "staff"]
    assert gated.told("/searched/x", basic("bob", PASSWORD))["x-groups"] == ["staff"]
    assert gated.passes("/admins/x", basic("ann", PASSWORD))
    assert gated.ask("/admins/x", basic("bob", PASSWORD)).status == 403
    for target in ("/named/x", "/searched/x"):
        assert gated.told(target, basic("o,brien", PASSWORD))["x-user"] == ["o,brien"]
        assert gated.told(target, basic("zoë", PASSWORD))["x-mail"] == ["zoe@example.org"]


def test_a_user_is_the_same_however_it_is_written(gated):
    for user in ("ANN", " ann", "ann  ", "Ann"):
        for target in ("/named/x", "/searched/x"):
            assert gated.told(target, basic(user, PASSWORD))["x-user"] == ["ann"], user


def test_nobody_else_passes(gated):
    users = [
        ("ann", "wrong"),
        ("ann", ""),
        ("ann", " "),
        ("", PASSWORD),
        ("nobody", PASSWORD),
        ("nobody", ""),
        ("twin", "wrong"),
        # What would be of meaning in a filter or a name.
        ("*", PASSWORD),
        ("a*", PASSWORD),
        ("an?", PASSWORD),
        ("*)(uid=*", PASSWORD),
        ("ann)(cn=Ann*", PASSWORD),
        ("x)(|(uid=ann)", PASSWORD),
        ("ann))(|(uid=ann", PASSWORD),
        (r"\61nn", PASSWORD),
        (r"ann\2a", PASSWORD),
        ("ann,ou=people", PASSWORD),
        (f"ann,ou=people,{BASE}", PASSWORD),
        ("bob,ou=others,dc=example,dc=org#", PASSWORD),
        ("ann+cn=Ann Smith", PASSWORD),
        ("x,uid=ann", PASSWORD),
        ('"ann"', PASSWORD),
        ("#616e6e", PASSWORD),
        ("{user}", PASSWORD),
        ("ann;", PASSWORD),
        (b"ann\0", PASSWORD),
        (b"\0", PASSWORD),
        (b"ann\n", PASSWORD),
        (b"ann\xff", PASSWORD),
        ("ann" * 100, PASSWORD),
    ]
    for target in ("/named/x", "/searched/x"):
        for user, password in users:
            answer = gated.ask(target, basic(user, password))
            assert answer.status == 401, (target, user, answer.status, answer.body)
            assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert gated.ask("/named/x", basic("bob", PASSWORD)).status == 401, "bob is elsewhere"
    assert gated.ask("/searched/x", basic("twin", PASSWORD)).status == 401, "there are two"
    assert gated.passes("/named/x", basic("twin", PASSWORD))
    assert gated.ask("/named/x").status == 401


def test_connections_are_private_where_that_is_asked_for(gated):
    for target in ("/tls/x", "/starttls/x"):
        assert gated.told(target, basic("ann", PASSWORD))["x-user"] == ["ann"]
        assert gated.ask(target, basic("ann", "wrong")).status == 401
    for target in ("/foreign/x", "/foreign-starttls/x"):
        assert gated.ask(target, basic("ann", PASSWORD)).status == 503


def test_a_directory_that_does_not_know_pylon_lets_nobody_pass(gated):
    before = gated.counted("ldap", "unavailable")
    assert gated.ask("/unknown/x", basic("ann", PASSWORD)).status == 503
    assert gated.ask("/unknown/x", basic("ann", "wrong")).status == 503
    assert gated.counted("ldap", "unavailable") == before + 2


def test_who_is_not_there_is_asked_for_as_who_is(start, tmp_path):
    slapd = start(told="stats")
    route = {"auth": {"ldap": {"url": slapd.urls[0]} | TIMES | SEARCHED | FORGET}}
    with Gated(tmp_path, {"/**": route}) as gated:
        begun = len(slapd.operations())
        said = lambda: sum(slapd.operations()[begun:], [])  # noqa: E731
        for user in ("ann", "nobody", "twin"):
            before = said()
            assert gated.ask("/", basic(user, "wrong")).status == 401
            asked = [what for what in said()[len(before) :] if what != "ACCEPT"]
            assert asked == ["BIND", "SRCH", "BIND"], user
        for _ in range(5):
            assert gated.told("/", basic("ann", PASSWORD))["x-user"] == ["ann"]
        assert said().count("ACCEPT") == 1, "the connection is kept"
        # What was kept is of no use when the directory is another; nobody notices.
        slapd.stop()
        assert gated.ask("/", basic("ann", PASSWORD)).status == 503
        slapd.start()
        assert gated.told("/", basic("ann", PASSWORD))["x-user"] == ["ann"]
        slapd.stop()
        slapd.start()
        assert gated.told("/", basic("ann", PASSWORD))["x-user"] == ["ann"]


def test_a_kept_connection_that_is_forgotten_does_not_take_all_the_time(slapd, tmp_path):
    own = {"bind_dn": OWN, "bind_password": OWN_PASSWORD}
    with contextlib.closing(Relay(slapd.port)) as relay:
        ldap = {"url": relay.url, "timeout": "12s", "connect_timeout": "6s"} | FORGET
        routes = {
            "/searched/**": {"auth": {"ldap": ldap | SEARCHED}},
            "/named/**": {"auth": {"ldap": ldap | NAMED | own}},
        }
        good, wrong = basic("ann", PASSWORD), basic("ann", "wrong")
        with Gated(tmp_path, routes) as gated:
            for count, path in enumerate(("/searched/x", "/named/x")):
                for _ in range(2):
                    assert gated.passes(path, good)
                assert gated.ask(path, wrong).status == 401
                assert len(relay.open) == 2 * count + 1, "the connection is kept"
                relay.forget()
                assert gated.passes(path, good), "a new one tells"
                assert gated.passes(path, good)
                assert len(relay.open) == 2 * count + 2, "the new one is kept"


def test_a_directory_that_is_away_or_hangs(start, tmp_path):
    first, second = start(), start()
    short = {"timeout": "6s", "connect_timeout": "3s"}
    routes = {
        "/one/**": {"auth": {"ldap": {"url": first.urls[0]} | NAMED | short | FORGET}},
        "/kept/**": {"auth": {"ldap": {"url": first.urls[0]} | NAMED | short}},
        "/two/**": {"auth": {"ldap": {"url": [first.urls[0], second.urls[0]]} | NAMED | short | FORGET}},
    }
    with Gated(tmp_path, routes) as gated:
        good, wrong = basic("ann", PASSWORD), basic("ann", "wrong")
        assert all(gated.passes(f"/{name}/x", good) for name in ("one", "kept", "two"))
        for out, back in [(first.hang, lambda: first.hang(False)), (first.stop, first.start)]:
            out()
            assert gated.ask("/one/x", good).status == 503
            assert gated.ask("/one/x", wrong).status == 503
            assert gated.passes("/kept/x", good), "it is remembered"
            assert gated.ask("/kept/x", wrong).status == 503
            assert gated.passes("/two/x", good), "the other one answers"
            assert gated.ask("/two/x", wrong).status == 401
            back()
            assert gated.passes("/one/x", good)
            assert gated.ask("/one/x", wrong).status == 401
        reasons = gated.edge.text()
        assert "no answer within" in reasons and PASSWORD not in reasons
