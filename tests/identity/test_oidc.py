"""`auth: { oidc: … }`: people sign in at a provider, and Pylon keeps nothing of it."""

import urllib.parse

import httpx
import pytest
from processes import wait_until
from rig import Browser, Gate, Provider, key_file, told
from site_files import Site

SESSION, LOGIN = "pylon-session", "pylon-session.login."


@pytest.fixture(scope="module")
def provider(start):
    return start(Provider)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return key_file(tmp_path_factory.mktemp("keys") / "keys")


class Desk:
    """Pylon as a client of the provider, with its routes."""

    def __init__(self, start, provider, keys, client="pylon", secret="a secret of the client", scheme="http", **more):
        self.provider, self.listeners = provider, more.pop("listeners", {"http": {}})
        session = {"keys": keys} | more.pop("session", {})
        claims = {"user": "preferred_username"}
        of_client = {"issuer": provider.issuer, "client_id": client, "timeout": "60s"}
        self.step = {"oidc": of_client | {"claims": claims, "session": session}}
        if secret:
            self.step["oidc"]["client_secret"] = secret
        self.step["oidc"] |= more
        routes = {
            "/app/**": {"auth": self.step},
            "/staff/**": {"auth": self.step, "require": {"groups": "staff"}},
            "/here/**": {"auth": self.step, "answer": {"body": "let in"}},
            "/open/**": {},
        }
        self.gate = start(Gate, routes, listeners=self.listeners)
        self.url = self.gate.url.replace("http:", f"{scheme}:")
        self.register(client, secret, self.url)

    def register(self, client, secret, *urls):
        back = [f"{url}/oauth2/callback" for url in urls]
        after = [f"{url}/open/bye" for url in urls]
        self.provider.register(client_id=client, client_secret=secret, redirect_uris=back, after_logout=after)


@pytest.fixture(scope="module")
def desk(start, provider, keys):
    return Desk(start, provider, keys, after_logout="/open/bye")


@pytest.fixture
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture
def quick(provider):
    """Tokens of the provider last for seconds only."""
    provider.change(lifetime=4)
    yield
    provider.change(lifetime=36_000)


def test_somebody_signs_in_and_comes_back_to_the_page(desk, browser):
    answer = browser.to(f"{desk.url}/app/page?x=1&y=a%2Fb")
    assert str(answer.url) == f"{desk.url}/app/page?x=1&y=a%2Fb"
    assert answer.json()["line"] == "GET /app/page?x=1&y=a%2Fb HTTP/1.1"
    headers = told(answer)
    assert (headers["x-user"], headers["x-mail"], headers["x-name"]) == ("ann", "ann@example.org", "Ann Example")
    assert "pylon" not in headers.get("cookie", "")
    assert list(browser.named("pylon")) == [SESSION]
    again = browser.get(f"{desk.url}/app/other", headers={"X-User": "root", "X_User": "root", "X-Groups": "staff"})
    headers = told(again)
    assert headers["x-user"] == "ann"
    assert "x_user" not in headers
    assert "staff" not in headers.get("x-groups", "")
    assert "set-cookie" not in again.headers


def test_programs_are_not_sent_to_a_form(desk, browser):
    for headers in [{}, {"Accept": "application/json"}, {"Accept": "*/*"}, Browser.PAGE | {"Sec-Fetch-Mode": "cors"}]:
        answer = desk.gate.get("/app/", headers)
        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"].startswith("Cookie realm=")
    assert httpx.post(f"{desk.url}/app/", headers=Browser.PAGE, timeout=60).status_code == 401
    browser.to(f"{desk.url}/app/")
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.named("pylon").items())}
    assert told(desk.gate.get("/app/", cookie))["x-user"] == "ann"
    assert "x-user" not in told(desk.gate.get("/open/", cookie | {"X-User": "root"}))


def test_cookies_are_for_pylon_alone(desk, browser):
    answer = browser.get(f"{desk.url}/app/")
    assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-store")
    [line] = answer.headers.get_list("set-cookie")
    assert line.startswith(LOGIN)
    assert line.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=600")
    sent = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)
    assert sent["code_challenge_method"] == ["S256"]
    assert sent["redirect_uri"] == [f"{desk.url}/oauth2/callback"]


def test_two_tabs_finish_in_any_order(desk, browser):
    back = f"{desk.url}/oauth2/callback"
    first = browser.until(f"{desk.url}/app/one", back)
    second = browser.until(f"{desk.url}/app/two", back)
    assert len(browser.named(LOGIN)) == 2
    for url, page in [(second, "/app/two"), (first, "/app/one")]:
        answer = browser.to(url)
        assert (answer.status_code, answer.url.path) == (200, page)
    assert browser.named(LOGIN) == {}


def test_a_way_back_counts_in_its_browser_and_once(desk, browser):
    url = browser.until(f"{desk.url}/app/", f"{desk.url}/oauth2/callback")
    with Browser() as other:
        answer = other.get(url)
        assert answer.status_code == 400
        assert other.named(SESSION) == {}
        # Neither does a sign-in that somebody else began.
        other.get(f"{desk.url}/app/")
        assert other.get(url).status_code == 400
    assert browser.get(url).status_code == 302
    assert browser.get(url).status_code == 400


def test_errors_of_the_provider_are_pages_without_its_words(desk, browser):
    answer = browser.get(f"{desk.url}/app/")
    sent = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)
    words = "error=%3Cscript%3Ealert(1)%3C/script%3E&error_description=%3Cb%3Ebold"
    answer = browser.get(f"{desk.url}/oauth2/callback?state={sent['state'][0]}&{words}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "<" not in answer.text
    assert browser.named("pylon") == {}
    answer = browser.get(f"{desk.url}/oauth2/callback?state=%3Cscript%3E&{words}")
    assert (answer.status_code, "<" in answer.text) == (400, False)


def test_no_page_leads_elsewhere(desk, browser):
    answer = browser.get(f"{desk.url}/app//evil.test/%2e%2e/x")
    asked = []
    while answer.is_redirect:
        url = urllib.parse.urljoin(str(answer.url), answer.headers["location"])
        assert urllib.parse.urlsplit(url).hostname == "127.0.0.1", url
        asked.append(urllib.parse.urlsplit(url).path)
        answer = browser.to(url) if "/login/" in url else browser.get(url)
    assert asked, "it began with a redirect"
    assert answer.status_code == 200, answer.text


def test_a_session_counts_wherever_its_key_is_known(start, provider, desk, keys, browser, tmp_path):
    browser.to(f"{desk.url}/app/")
    new_key = open(key_file(tmp_path / "one")).read().strip()
    old_key = open(keys).read().strip()
    both = key_file(tmp_path / "both", new_key, old_key)
    same = Desk(start, provider, keys)
    more = Desk(start, provider, both)
    other = Desk(start, provider, key_file(tmp_path / "other"))
    desk.register("pylon", "a secret of the client", desk.url, same.url, more.url, other.url)
    cookie = {"Cookie": f"{SESSION}={browser.named(SESSION)[SESSION]}"}
    assert told(same.gate.get("/app/", cookie))["x-user"] == "ann"
    assert told(more.gate.get("/app/", cookie))["x-user"] == "ann"
    assert other.gate.get("/app/", cookie).status_code == 401
    # What the new key seals, who has the old one alone does not open.
    browser.cookies.clear()
    browser.to(f"{more.url}/app/")
    cookie = {"Cookie": f"{SESSION}={browser.named(SESSION)[SESSION]}"}
    assert same.gate.get("/app/", cookie).status_code == 401
    assert told(more.gate.get("/app/", cookie))["x-user"] == "ann"
    # A browser begins anew, without a word.
    assert browser.get(f"{same.url}/app/").status_code == 302


def test_a_session_that_was_changed_is_none(desk, browser):
    browser.to(f"{desk.url}/app/")
    value = browser.named(SESSION)[SESSION]
    for at in range(0, len(value), 101):
        for bad in (value[:at], value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]):
            answer = desk.gate.get("/app/", {"Cookie": f"{SESSION}={bad}"})
            assert answer.status_code == 401, at


def test_a_session_is_of_one_provider(start, provider, desk, keys, browser):
    # Another provider can have a client of the same name, and a user too.
    other = Desk(start, start(Provider), keys)
    assert told(browser.to(f"{other.url}/app/"))["x-user"] == "ann"
    cookie = {"Cookie": f"{SESSION}={browser.named(SESSION)[SESSION]}"}
    assert other.gate.get("/app/", cookie).status_code == 200
    assert desk.gate.get("/app/", cookie).status_code == 401


def test_no_upstream_gets_a_session(start, provider, keys, browser):
    desk = Desk(start, provider, keys)
    provider.change(groups=[f"a-group-with-a-long-name-{number:03}" for number in range(150)])
    try:
        browser.to(f"{desk.url}/app/")
    finally:
        provider.change(groups=[])
    browser.get(f"{desk.url}/app/", headers={"Cookie": ""})
    assert browser.named(LOGIN)
    browser.cookies.set("own", "1")
    headers = told(browser.get(f"{desk.url}/open/"))
    assert "own=1" in headers["cookie"] and "pylon" not in headers["cookie"]


def test_an_answer_with_a_session_is_for_its_browser_alone(desk, provider, quick, browser):
    browser.to(f"{desk.url}/app/")
    first = browser.named(SESSION)
    answers = []

    def renewed():
        answers.append(browser.get(f"{desk.url}/app/"))
        return browser.named(SESSION) != first

    wait_until(renewed, what="the session is renewed")
    assert answers[-1].headers["cache-control"] == "private"
    assert "cache-control" not in answers[0].headers or len(answers) == 1


def test_another_site_signs_nobody_out(desk, browser):
    browser.to(f"{desk.url}/app/")
    out = f"{desk.url}/oauth2/logout"
    for method in ("GET", "POST"):
        answer = browser.request(method, out, headers={"Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, answer.headers.get_list("set-cookie")) == (403, [])
    assert told(browser.get(f"{desk.url}/app/"))["x-user"] == "ann"
    assert browser.get(out, headers={"Sec-Fetch-Site": "same-origin"}).is_redirect
    assert browser.named(SESSION) == {}


def test_groups_decide_and_come_with_the_next_sign_in(desk, provider, browser):
    browser.to(f"{desk.url}/app/")
    assert browser.get(f"{desk.url}/staff/").status_code == 403
    provider.change(groups=["staff", "dev"])
    try:
        with Browser() as other:
            headers = told(other.to(f"{desk.url}/staff/"))
            assert sorted(headers["x-groups"].split(",")) == ["dev", "staff"]
    finally:
        provider.change(groups=[])


def test_long_sessions_are_in_parts(desk, provider, browser):
    provider.change(groups=[f"a-group-with-a-long-name-{number:03}" for number in range(150)])
    try:
        headers = told(browser.to(f"{desk.url}/app/"))
    finally:
        provider.change(groups=[])
    assert len(headers["x-groups"].split(",")) == 150
    assert "pylon" not in headers.get("cookie", "")
    assert sorted(browser.named(SESSION))[:2] == [f"{SESSION}.0", f"{SESSION}.1"]
    with Browser() as other:
        other.cookies.update({name: value for name, value in browser.named(SESSION).items() if not name.endswith(".1")})
        assert other.get(f"{desk.url}/app/").status_code == 302


def test_tokens_are_renewed_and_the_browser_notices_nothing(desk, provider, quick, browser):
    browser.to(f"{desk.url}/app/")
    first = browser.named(SESSION)

    def renewed():
        assert told(browser.get(f"{desk.url}/app/"))["x-user"] == "ann"
        return browser.named(SESSION) != first

    wait_until(renewed, what="the session is renewed")
    second = browser.named(SESSION)
    # What was under way with the old cookie passes too.
    for session in (first, second):
        cookie = {"Cookie": f"{SESSION}={session[SESSION]}"}
        assert told(desk.gate.get("/app/", cookie))["x-user"] == "ann"


def test_answers_of_pylon_bring_the_renewed_session_too(desk, quick, browser):
    browser.to(f"{desk.url}/app/")
    first = browser.named(SESSION)

    def renewed():
        answer = browser.get(f"{desk.url}/here/")
        assert (answer.status_code, answer.text) == (200, "let in")
        return "set-cookie" in answer.headers and answer

    answer = wait_until(renewed, what="the session is renewed")
    assert len(answer.headers.get_list("set-cookie")) == 1
    assert answer.headers["cache-control"] == "private"
    assert browser.named(SESSION) != first


def test_who_is_signed_out_at_the_provider_is_signed_out_here(desk, provider, quick, browser):
    browser.to(f"{desk.url}/app/")
    cookie = {"Cookie": f"{SESSION}={browser.named(SESSION)[SESSION]}"}
    provider.change(end=True)
    wait_until(lambda: desk.gate.get("/app/", cookie).status_code == 401, what="the session is over")
    assert browser.get(f"{desk.url}/app/").status_code == 302


def test_a_session_ends_here_and_there(desk, browser):
    browser.to(f"{desk.url}/app/")
    session = browser.named(SESSION)
    answer = browser.to(f"{desk.url}/oauth2/logout")
    assert str(answer.url) == f"{desk.url}/open/bye"
    assert browser.named("pylon") == {}
    # The provider asks for the password again.
    page = browser.get(f"{desk.url}/app/")
    while page.is_redirect:
        page = browser.get(urllib.parse.urljoin(str(page.url), page.headers["location"]))
    assert "csrfmiddlewaretoken" in page.text
    cookie = {"Cookie": f"{SESSION}={session[SESSION]}"}
    assert desk.gate.get("/app/", cookie).status_code == 401


def test_over_https_cookies_are_bound_to_the_host(start, provider, keys, tmp_path):
    site = Site(tmp_path)
    site.issue("site", "127.0.0.1")
    desk = Desk(start, provider, keys, "over-https", scheme="https", listeners={"http": site.tls("site")})
    with Browser(verify=site.context()) as browser:
        headers = told(browser.to(f"{desk.url}/app/"))
        assert headers["x-user"] == "ann"
        assert list(browser.named("__Host-")) == ["__Host-pylon-session"]
        assert "pylon" not in headers.get("cookie", "")
        [one] = [one for one in browser.cookies.jar if one.name.startswith("__Host-")]
        assert (one.secure, one.path, one.domain_specified) == (True, "/", False)


def test_a_public_client_needs_no_secret(start, provider, keys, browser):
    desk = Desk(start, provider, keys, "public", secret=None, userinfo=False, redirect_path="/back", logout_path="/bye")
    provider.register(client_id="public", redirect_uris=[f"{desk.url}/back"])
    assert told(browser.to(f"{desk.url}/app/"))["x-user"] == "ann"
    browser.to(f"{desk.url}/bye")
    assert browser.named("pylon") == {}


def test_a_secret_that_is_wrong_lets_nobody_in(start, provider, keys, browser):
    desk = Desk(start, provider, keys, "wrong")
    provider.register(client_id="wrong", client_secret="another", redirect_uris=[f"{desk.url}/oauth2/callback"])
    assert browser.to(f"{desk.url}/app/").status_code == 503
    assert SESSION not in browser.named(SESSION)


def test_a_provider_that_is_away_stops_sign_ins_and_not_sessions(start, keys, browser):
    provider = start(Provider)
    desk = Desk(start, provider, keys)
    browser.to(f"{desk.url}/app/")
    back = None
    with Browser() as other:
        back = other.until(f"{desk.url}/app/", f"{desk.url}/oauth2/callback")
        provider.stop()
        assert other.get(back).status_code == 503
        assert SESSION not in other.named(SESSION)
    assert told(browser.get(f"{desk.url}/app/"))["x-user"] == "ann"
    late = start(Gate, {"/app/**": {"auth": desk.step}})
    assert late.get("/app/", Browser.PAGE).status_code == 503
    assert late.get("/app/").status_code == 401
    cookie = {"Cookie": f"{SESSION}={browser.named(SESSION)[SESSION]}"}
    assert told(late.get("/app/", cookie))["x-user"] == "ann"
    start(lambda directory: Provider(provider.directory, provider.port))
    wait_until(lambda: late.get("/app/", Browser.PAGE).status_code == 302, what="the provider is back")
