"""Signed requests, checked by Pylon: a client that signs, all that can be altered on the way, and where secrets are."""

import hmac
import json
import time

import pytest

import signed_requests
from processes import wait_until
from signed_requests import ACCESS, NEW, OLD, SECRET, Signer, now, of_another_day

TARGET = "/v4/x?a=1&b=%2F"


def auth(**keys):
    step = {
        "schemes": ["BackendAI", "Sorna"],
        "date": ["Date", "X-BackendAI-Date"],
        "version": "X-BackendAI-Version",
        "unsigned_body_from": NEW,
        "keys": keys,
    }
    return {"signed_request": step}


def in_file(gate_directory, keys):
    path = gate_directory / "keys.json"
    path.write_text(json.dumps(keys))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def keys(tmp_path):
    known = {ACCESS: {"secret": SECRET, "user": "ann"}, "AKIAOTHERTESTTESTTES": "another-secret-of-some-length"}
    return in_file(tmp_path, known)


@pytest.fixture
def checked(gate, keys):
    return gate(auth=auth(file=keys), identity={"X-User": "{user}", "X-Key": "{claim:access_key}"}, target="raw")


def send(gate, signer=None, method="GET", target=TARGET, more=None, body=b"", host=None):
    headers = (signer or Signer()).headers(method, target, host or gate.authority, body) | (more or {})
    headers = {name: value for name, value in headers.items() if value is not None}
    import requests

    with requests.Session() as session:
        request = requests.Request(method, gate.url, headers=headers, data=body).prepare()
        request.url = gate.url + target
        return session.send(request, timeout=60)


@pytest.mark.parametrize(
    "signer",
    [
        Signer(),
        Signer(scheme="Sorna"),
        Signer(date_header="X-BackendAI-Date"),
        Signer(date=signed_requests.for_mail(now())),
        Signer(date=of_another_day()),
        Signer(date=now(9).strftime("%Y-%m-%dT%H:%M:%S%z")),
        Signer(content_type="application/json; charset=utf-8"),
        Signer(content_type="multipart/form-data; boundary=x", version=OLD),
    ],
    ids=["new", "other scheme", "other date header", "mail date", "other day", "basic offset", "parameters", "parts"],
)
def test_good_signatures_pass(checked, signer):
    for method, body in (("GET", b""), ("POST", b"a body")):
        answer = send(checked, signer, method, body=body)
        assert answer.status_code == 200, checked.tail()
        seen = answer.json()
        assert (seen["X-User"], seen["X-Key"]) == ("ann", ACCESS)


def altered(name, value):
    return {"more": {name: value}}


AUTHORIZATION = "BackendAI signMethod=HMAC-SHA256, credential="
ALTERED = {
    "version": altered("X-BackendAI-Version", "v5.20191215"),
    "no version": altered("X-BackendAI-Version", None),
    "type": altered("Content-Type", "text/plain"),
    "no type": altered("Content-Type", None),
    "host": altered("Host", "elsewhere"),
    "date": altered("Date", signed_requests.for_mail(now())),
    "no date": altered("Date", None),
    "method of hash": altered("Authorization", "BackendAI signMethod=HMAC-MD5, credential=a:b"),
    "no signature": altered("Authorization", f"{AUTHORIZATION}{ACCESS}:"),
    "no credential": altered("Authorization", "BackendAI signMethod=HMAC-SHA256"),
    "no key": altered("Authorization", f"{AUTHORIZATION}:00"),
    "rubbish": altered("Authorization", "BackendAI \xff\x01=,=,:".encode("latin-1").replace(b"\x01", b"")),
    "another's secret": {"signer": Signer(secret="another-secret-of-some-length")},
    "too old": {"signer": Signer(date=(now() - signed_requests.datetime.timedelta(minutes=15, seconds=1)).isoformat())},
    "too early": {"signer": Signer(date=(now() + signed_requests.datetime.timedelta(minutes=40)).isoformat())},
    "no date at all": {"signer": Signer(date_header="X-Other")},
    "an old version with a body": {"signer": Signer(version=OLD), "method": "POST", "body": b"x"},
}


@pytest.mark.parametrize("change", ALTERED)
def test_what_was_altered_is_refused(checked, origin, change):
    assert send(checked).status_code == 200
    seen = origin.seen.total()
    answer = send(checked, **ALTERED[change])
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "BackendAI signMethod=HMAC-SHA256"
    assert SECRET not in answer.text and origin.seen.total() == seen


@pytest.mark.parametrize("other", ["/v4/x?a=1&b=/", "/v4/x?b=%2F&a=1", "/v4/x", "/v4//x?a=1&b=%2F", "/v4/y?a=1&b=%2F"])
def test_the_target_is_signed_byte_for_byte(checked, other):
    headers = Signer().headers("GET", TARGET, checked.authority)
    answer = checked.get(other, headers=headers)
    assert answer.status_code == 401
    assert send(checked, method="PUT", more=Signer().headers("POST", TARGET, checked.authority)).status_code == 401


def test_who_does_not_sign_is_asked_to(checked):
    for headers in ({}, {"Authorization": "Bearer x"}, {"X-User": "ann"}):
        assert checked.get(TARGET, headers=headers).status_code == 401


def test_only_a_good_signature_spends_the_budget(gate, keys):
    limit = {"by": "claim.access_key", "requests": 3, "window": "900s"}
    gate = gate(auth=auth(file=keys), limit=limit, target="raw")
    for _ in range(5):
        assert send(gate, Signer(secret="forged-forged-forged")).status_code == 401
    assert [send(gate).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_a_changed_file_is_taken_over(gate, keys, tmp_path):
    gate = gate(auth=auth(file=keys), target="raw")
    assert send(gate).status_code == 200
    in_file(tmp_path, {"AKIAOTHERTESTTESTTES": SECRET})
    wait_until(lambda: send(gate).status_code == 401, what="the key is gone")
    (tmp_path / "keys.json").write_text("{")
    wait_until(lambda: gate.logged("not taken over"), what="the broken file is told")
    in_file(tmp_path, {ACCESS: SECRET})
    wait_until(lambda: send(gate).status_code == 200, what="the key is there again")
    assert not gate.logged(SECRET)


def test_a_file_that_is_being_written_is_not_taken_over(gate, keys, tmp_path):
    gate = gate(auth=auth(file=keys), target="raw")
    assert send(gate).status_code == 200
    # An editor writes slowly: what is there first is sound, and not all of it.
    with (tmp_path / "keys.json").open("w", buffering=1) as file:
        file.write("AKIAOTHERTESTTESTTES: another-secret-of-some-length\n")
        longest, statuses = 0, []
        for number in range(40):
            file.write(f"# {number}\n")
            written = time.monotonic()
            statuses.append(send(gate).status_code)
            time.sleep(0.05)
            longest = max(longest, time.monotonic() - written)
        # Unless this machine was so busy that the writer paused for as long as one that has ended.
        assert set(statuses) == {200} or longest > 0.4, (statuses, longest)
        file.write(f"{ACCESS}: {SECRET}\nAKIATHIRDTESTTESTTES: {SECRET}\n")
    wait_until(lambda: gate.logged("taken over"), what="the new file is there")
    wait_until(lambda: send(gate).status_code == 200, what="the key is there")


def test_secrets_may_be_in_redis(gate, start_redis):
    redis = start_redis()
    url = {"url": redis.url, "database": 1, "deadline": "5s"}
    gate = gate(auth=auth(redis=url, prefix="key:", cache="1s"), identity={"X-User": "{user}", "X-G": "{groups}"}, target="raw")
    assert send(gate).status_code == 401
    redis.client.hset(f"key:{ACCESS}", mapping={"secret": SECRET, "user": "ann", "groups": "a, b"})
    answer = wait_until(lambda: (one := send(gate)).status_code == 200 and one, what="the new key is seen").json()
    assert (answer["X-User"], answer["X-G"]) == ("ann", "a,b")
    redis.client.delete(f"key:{ACCESS}")
    wait_until(lambda: send(gate).status_code == 401, what="the key is gone")
    redis.kill()
    assert wait_until(lambda: send(gate).status_code == 503, what="nothing passes that cannot be checked")


def test_the_client_of_the_tests_signs_as_the_rules_say():
    """The other side of the tests is not made of the same mistakes: a signature by hand."""
    date = "2018-12-15T23:30:00+00:00"
    signed = Signer(date=date).headers("GET", "/x", "h")["Authorization"]
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    text = f"GET\n/x\n{date}\nhost:h\ncontent-type:application/json\nx-backendai-version:{NEW}\n{empty}"
    key = hmac.digest(hmac.digest(SECRET.encode(), b"20181215", "sha256"), b"h", "sha256")
    assert signed == f"{AUTHORIZATION}{ACCESS}:{hmac.new(key, text.encode(), 'sha256').hexdigest()}"
