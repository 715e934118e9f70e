"""A Pylon whose routes ask who asks, before an upstream that tells what it was sent; an OpenID provider; a browser."""

import base64
import pathlib
import re
import secrets
import sys
import urllib.parse

import httpx
from peers import Edge, Teller
from processes import Program, answers, free_port

TOLD = {"X-User": "{user}", "X-Mail": "{mail}", "X-Name": "{name}", "X-Groups": "{groups}"}
HERE = pathlib.Path(__file__).parent


class Gate(Edge):
    """Pylon with these routes, `path: steps`; all go to one upstream, which is told who asks."""

    def __init__(self, directory, routes, *, teller=None, **options):
        self.teller = teller or Teller().__enter__()
        self.owns = teller is None
        super().__init__(
            directory,
            options.pop("listeners", {"http": {}}),
            upstreams={"teller": {"endpoints": [self.teller.url]}},
            routes=[self.route(path, steps) for path, steps in routes.items()],
            **options,
        )
        self.url = f"http://127.0.0.1:{self.ports['http']}"

    def route(self, path, steps):
        name = re.sub(r"\W+", "-", path).strip("-") or "all"
        if "answer" in steps:
            return {"name": name, "path": path} | steps
        told = {"identity": TOLD} if "auth" in steps else {}
        return {"name": name, "path": path, "upstream": "teller"} | told | steps

    def stop(self):
        super().stop()
        if self.owns:
            self.teller.__exit__()

    def get(self, target, headers=(), **options):
        """A request of a program, on a connection of its own."""
        return httpx.get(self.url + target, headers=headers, timeout=60, **options)


def told(answer):
    """The headers that the upstream was sent: name → value; one that comes twice is a list."""
    assert answer.status_code == 200, (answer.status_code, answer.text)
    found = {}
    for name, value in answer.json()["headers"]:
        found[name] = value if name not in found else [found[name], value]
    return found


class Provider(Program):
    """The OpenID provider. One that is stopped can be started again at its address."""

    def __init__(self, directory, port=None):
        self.directory, self.port = pathlib.Path(directory), port or free_port()
        self.issuer = f"http://127.0.0.1:{self.port}/o"
        arguments = [sys.executable, HERE / "provider.py", self.port, self.directory]
        super().__init__(arguments, directory, ready=answers(f"{self.issuer}/.well-known/openid-configuration"))

    def register(self, **client):
        self.ask("register", client)

    def change(self, **wanted):
        return self.ask("change", wanted)

    def ask(self, what, wanted):
        answer = httpx.post(f"http://127.0.0.1:{self.port}/test/{what}", json=wanted, timeout=60)
        answer.raise_for_status()
        return answer.json()


class Browser(httpx.Client):
    """Goes from page to page as a browser does, signs in where it is asked to, and keeps its cookies."""

    PAGE = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

    def __init__(self, **options):
        super().__init__(headers=self.PAGE, timeout=60, **options)

    def to(self, url, user="ann", password="correct horse"):
        """The page that a browser ends at, after all redirects and the form of the provider."""
        answer = self.get(url)
        for _ in range(15):
            if answer.is_redirect:
                answer = self.get(urllib.parse.urljoin(str(answer.url), answer.headers["location"]))
            elif "csrfmiddlewaretoken" in answer.text:
                token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', answer.text)[1]
                form = {"csrfmiddlewaretoken": token, "username": user, "password": password}
                answer = self.post(str(answer.url), data=form, headers={"Referer": str(answer.url)})
            else:
                return answer
        raise AssertionError("it goes round and round")

    def until(self, url, stop):
        """Goes until it is sent to an address that begins so, which is given back and not gone to."""
        answer = self.get(url)
        for _ in range(15):
            if answer.is_redirect:
                next_url = urllib.parse.urljoin(str(answer.url), answer.headers["location"])
                if next_url.startswith(stop):
                    return next_url
                answer = self.get(next_url)
            else:
                token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', answer.text)[1]
                form = {"csrfmiddlewaretoken": token, "username": "ann", "password": "correct horse"}
                answer = self.post(str(answer.url), data=form, headers={"Referer": str(answer.url)})
        raise AssertionError("it goes round and round")

    def named(self, begin):
        """Cookies whose names begin so."""
        return {one.name: one.value for one in self.cookies.jar if one.name.startswith(begin)}


def key_file(path, *keys):
    """A file with keys of sessions; new ones unless they are given."""
    keys = keys or (base64.b64encode(secrets.token_bytes(32)).decode(),)
    pathlib.Path(path).write_text("\n".join(keys) + "\n")
    return str(path)
