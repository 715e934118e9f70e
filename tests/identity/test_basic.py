"""`auth: { basic: … }` with files that `htpasswd` of Apache makes."""

import itertools
import os
import subprocess
import threading

import pytest
from rig_plain import Gated, basic, check
from processes import wait_until


def htpasswd(file, *arguments):
    subprocess.run(["htpasswd", *arguments[:-1], file, *arguments[-1]], check=True, capture_output=True)


def add(file, user, password, cost=4):
    flags = ["-bB", "-C", str(cost)] + ([] if file.exists() else ["-c"])
    htpasswd(file, *flags, [user, password])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("basic")
    add(folder / "users", "ann", "secret")
    add(folder / "users", "bob", "pässwörd: ü")
    add(folder / "slow", "ann", "secret", cost=11)
    (folder / "groups").write_text("staff: ann bob\nadmins: ann\n")
    return folder


@pytest.fixture(scope="module")
def gated(folder):
    step = {"file": "users", "groups": "groups", "realm": "the lab"}
    routes = {
        "/in/**": {"auth": {"basic": step}},
        "/admin/**": {"auth": {"basic": step}, "require": {"groups": "admins"}},
        "/kept/**": {"auth": {"basic": step | {"forward_credentials": True}}},
        "/slow/**": {"auth": {"basic": {"file": "slow"}}},
        "/open/**": {},
    }
    with Gated(folder, routes) as gated:
        yield gated


def test_users_of_the_file_pass_and_their_passwords_do_not(gated):
    told = gated.told("/in/x", basic("ann", "secret"))
    assert (told["x-user"], told["x-groups"]) == (["ann"], ["staff,admins"])
    assert "authorization" not in told
    assert gated.told("/in/x", basic("bob", "pässwörd: ü"))["x-user"] == ["bob"]
    assert gated.told("/kept/x", basic("ann", "secret"))["authorization"]


def test_nobody_else_passes(gated):
    before = {result: gated.counted("basic", result) for result in ("proven", "wrong", "absent", "forbidden")}
    for lines in [
        [],
        ["Authorization: Bearer x"],
        [basic("ann", "Secret")],
        [basic("ann", "")],
        [basic("eve", "secret")],
        [basic("", "secret")],
        [basic(b"ann\0", "secret")],
        [basic(b"\xff", "secret")],
        ["Authorization: Basic !"],
        [basic("ann", "secret"), basic("eve", "x")],
        [basic("eve", "x"), basic("ann", "secret")],
        [basic("ann", "secret" * 1000)],
    ]:
        answer = gated.ask("/in/x", *lines)
        assert answer.status == 401, lines
        assert answer.headers["www-authenticate"] == 'Basic realm="the lab", charset="UTF-8"'
        assert b"secret" not in answer.body
    assert gated.ask("/admin/x", basic("bob", "pässwörd: ü")).status == 403
    assert gated.passes("/admin/x", basic("ann", "secret"))
    more = {"proven": 1, "wrong": 10, "absent": 2, "forbidden": 1}
    assert {result: gated.counted("basic", result) - before[result] for result in before} == more


def test_the_file_is_taken_over_without_a_reload(gated, folder):
    users = folder / "users"
    assert not gated.passes("/in/x", basic("carol", "new"))
    add(users, "carol", "new")
    gated.soon("/in/x", basic("carol", "new"))
    add(users, "carol", "newer")
    gated.soon("/in/x", basic("carol", "new"), passes=False)
    gated.soon("/in/x", basic("carol", "newer"))
    htpasswd(users, "-D", ["carol"])
    gated.soon("/in/x", basic("carol", "newer"), passes=False)
    # Written anew beside it, and put in its place.
    (folder / "other").write_bytes(users.read_bytes())
    add(folder / "other", "dan", "x")
    os.replace(folder / "other", users)
    gated.soon("/in/x", basic("dan", "x"))
    (folder / "groups").write_text("staff: ann bob\n")
    wait_until(lambda: gated.ask("/admin/x", basic("ann", "secret")).status == 403, what="ann is no admin any more")


def test_a_broken_file_changes_nothing_and_is_logged(gated, folder):
    users = folder / "users"
    good = users.read_bytes()
    htpasswd(users, "-bs", ["erin", "x"])  # SHA-1
    wait_until(lambda: "the hash of `erin` is SHA-1" in gated.edge.text(), what="the line is named in the log")
    assert gated.passes("/in/x", basic("ann", "secret"))
    assert not gated.passes("/in/x", basic("erin", "x"))
    users.unlink()
    wait_until(lambda: "does not exist" in gated.edge.text(), what="the log says that it is gone")
    assert gated.passes("/in/x", basic("ann", "secret"))
    users.write_bytes(good)
    add(users, "erin", "y")
    gated.soon("/in/x", basic("erin", "y"))


def test_wrong_passwords_hold_nobody_up(gated):
    assert gated.passes("/slow/x", basic("ann", "secret")), "it is remembered from now on"
    answers, over = [], threading.Event()

    def guess(number):
        for turn in itertools.count():
            answers.append(gated.ask("/slow/x", basic("ann", f"wrong {number} {turn}")).status)
            if over.is_set():
                return

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: 401 in answers, what="guesses are looked at")
    before = answers.count(401)
    for _ in range(20):
        assert gated.passes("/open/x")
        assert gated.passes("/slow/x", basic("ann", "secret"))
    during = answers.count(401) - before
    over.set()
    for thread in threads:
        thread.join()
    assert during < 20, "each waited until a guess was looked at"
    assert set(answers) <= {401, 503}, answers


def test_files_that_are_not_good_are_refused_when_they_are_loaded(tmp_path):
    for flags, why in [("-bcs", "SHA-1 without a salt"), ("-bcm", "is MD5"), ("-bcp", "the password itself")]:
        htpasswd(tmp_path / "users", flags, ["ann", "secret"])
        code, said = check(tmp_path, {"auth": {"basic": {"file": "users"}}})
        assert code == 78 and "line 1: the hash of `ann`" in said and why in said, said
        assert "htpasswd -B" in said and "secret" not in said, said
    code, said = check(tmp_path, {"auth": {"basic": {"file": "nowhere"}}})
    assert code == 78 and "auth.basic.file" in said and "does not exist" in said
