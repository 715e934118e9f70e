"""The explain box, by the keyboard alone, says what the API says."""

from selenium.webdriver.common.keys import Keys

from edge import forwarding

ROUTES = [
    {
        "name": "users",
        "path": "/users/{id}/**",
        "upstream": "web",
        "rewrite": "/people/{id}{**}",
        "adapt": ["location"],
    },
    {"name": "old", "path": "/old", "redirect": {"to": "/users/1/", "status": 301}},
    {"name": "fixed", "path": "/fixed", "answer": {"body": "hi"}},
    {"name": "staff", "path": "/users/{id}/**", "methods": ["DELETE"], "answer": {"status": 403, "body": "no"}},
]


def explained(console, url, *, method=None, headers=None):
    """Fills the box as the keyboard does, and waits for what it says."""
    console.tab_to("explain-method")
    if method:
        console.keys(Keys.CONTROL, "a")
        console.keys(method)
    console.keys(Keys.TAB)
    console.until_focused("explain-url")
    console.keys(Keys.CONTROL, "a")
    console.keys(url)
    if headers:
        console.keys(Keys.TAB)
        console.keys(headers)
        console.keys(Keys.TAB, Keys.TAB)
        console.until_focused("Explain", "textContent")
    console.keys(Keys.ENTER)
    return console.until_text("#explain-summary", "^(Route|No route)")


def test_a_request_is_explained_by_the_keyboard_alone(console, edge, servers):
    pylon = edge(forwarding(servers(1)) | {"routes": ROUTES})
    console.open(pylon.admin)
    summary = explained(console, "http://pylon/users/7/files?x=1", headers="X-Kind: test")
    asked = pylon.api("explain?method=GET&url=http://pylon/users/7/files%3Fx=1&header=X-Kind:%20test")
    upstream = asked["verdict"]["upstream"]
    assert asked["route"] == "users"
    assert "Route users" in summary
    assert upstream["url"] in summary
    result = console.text("#explain-result")
    assert "{id} = 7" in result
    for step in asked["verdict"]["steps"]:
        assert step in result
    assert ["x-kind", "test"] in upstream["headers"]
    for name, value in upstream["headers"]:
        assert name in result
        assert value in result
    console.press("#explain-result details:not([open]) summary")
    result = console.text("#explain-result")
    for other in asked["others"]:
        assert other["route"] in result
        assert other["why"] in result


def test_each_verdict_is_told(console, edge, servers):
    pylon = edge(forwarding(servers(1)) | {"routes": ROUTES})
    console.open(pylon.admin)
    for method, path, told in [
        ("GET", "/old", "Route old: redirected by 301 to http://pylon/users/1/"),
        ("GET", "/fixed", "Route fixed: answered by Pylon itself"),
        ("GET", "/nowhere", "No route: refused with 404"),
        ("DELETE", "/users/1/x", "Route staff: answered by Pylon itself"),
    ]:
        explained(console, f"http://pylon{path}", method=method)
        console.until_text("#explain-summary", told)


def test_who_may_pass_is_told(console, edge):
    auth = {"auth": {"trusted_headers": {"from": "10.0.0.5"}}, "require": {"groups": ["staff"]}}
    pylon = edge({"routes": [{"name": "in", "path": "/in", "answer": {"body": "hi"}} | auth]})
    console.open(pylon.admin)
    explained(console, "http://pylon/in")
    result = console.text("#explain-result")
    for line in ("trusted_headers the header REMOTE_USER and others, from 10.0.0.5", "required: the group staff", "others get 403"):
        assert line in result, result


def test_what_cannot_be_explained_is_told_with_the_cure(console, edge):
    pylon = edge()
    console.open(pylon.admin)
    console.one("#explain-url").send_keys("no-url", Keys.ENTER)
    console.until_text("#explain-summary", "no-url")
    assert "bad" in console.one("#explain-summary").get_attribute("class").split()


def test_a_record_leads_to_its_explanation(console, edge, servers):
    pylon = edge(forwarding(servers(1)) | {"routes": ROUTES})
    identity = pylon.get("/users/9/a").headers["X-Request-Id"]
    console.open(f"{pylon.admin}/#why={identity}")
    console.until_text("#detail-title", "200 GET .*/users/9/a")
    console.one("#detail-body button").click()
    console.until_text("#explain-summary", "Route users: forwarded to .*/people/9/a")
    console.until_focused("explain-url")
