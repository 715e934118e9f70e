"""What `static` can be told, and how it goes with the other steps of a route."""

import gzip
import json
import subprocess

import pytest
from processes import BINARY, wait_until


@pytest.fixture(scope="module")
def pylon(start, folder):
    for name, text in [
        ("index.html", "<p>root</p>"),
        ("docs/index.htm", "<p>docs</p>"),
        ("a b/index.html", "<p>spaces</p>"),
        ("404.html", "<p>gone</p>"),
        ("app.js", "let a;"),
        ("plain.unknown", "?"),
    ]:
        folder.write(name, text)
    folder.write("app.js.gz", gzip.compress(b"let a;"))
    path = str(folder.path)
    more = {
        "folder": path,
        "index": ["index.htm", "index.html"],
        "precompressed": ["br", "gzip"],
        "cache_control": "public, max-age=60",
        "not_found": "404.html",
    }
    return start(
        {"name": "plain", "path": "/plain/**", "static": path},
        {
            "name": "more",
            "path": "/more/**",
            "static": more,
            "headers": {"response": {"set": {"X-Path": "{**}"}, "remove": ["Accept-Ranges"]}},
        },
        {"name": "spa", "path": "/spa/**", "static": {"folder": path, "fallback": "index.html", "cache_control": "max-age=9"}},
        {"name": "icon", "path": ["/favicon.ico", "/icon"], "static": {"file": f"{path}/app.js"}},
        {"name": "closed", "path": "/closed/**", "static": path, "access": {"deny": ["127.0.0.1"]}},
        {"name": "pages", "path": "/pages/**", "static": path, "errors": {404: {"body": "none: {status}"}}},
        {"name": "posts", "path": "/posts/**", "methods": ["GET", "POST"], "static": path},
    )


def test_get_and_head_alone(pylon):
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]:
        answer = pylon.ask("/plain/app.js", "Content-Length: 3", method=method, body=b"abc")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD"), method
    assert pylon.ask("/posts/app.js", "Content-Length: 0", method="POST").status == 405
    got, head = pylon.ask("/plain/app.js"), pylon.ask("/plain/app.js", method="HEAD")
    assert head.status == 200 and head.body == b""
    drop = lambda headers: {name: value for name, value in headers.items() if name != "date"}
    assert drop(got.headers) == drop(head.headers)


def test_types(pylon):
    for name, kind in [
        ("app.js", "text/javascript; charset=utf-8"),
        ("index.html", "text/html; charset=utf-8"),
        ("app.js.gz", "application/gzip"),
        ("plain.unknown", "application/octet-stream"),
    ]:
        answer = pylon.ask(f"/plain/{name}")
        assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == (kind, "nosniff")
        assert "content-encoding" not in answer.headers


def test_folders(pylon):
    for target, to in [
        ("/plain/docs", "/plain/docs/"),
        ("/plain/docs?a=%2F&b", "/plain/docs/?a=%2F&b"),
        ("/plain/a%20b", "/plain/a%20b/"),
        ("/plain", "/plain/"),
        ("/plain?x", "/plain/?x"),
        ("//plain//docs", "/plain/docs/"),
    ]:
        answer = pylon.ask(target, host="public.test:8443")
        assert (answer.status, answer.headers["location"]) == (301, f"http://public.test:8443{to}"), target
    assert pylon.ask("/plain/docs/").status == 404  # it has none of the index files: it is not listed
    assert pylon.ask("/more/docs/").body == b"<p>docs</p>"
    assert pylon.ask("/more/").body == b"<p>root</p>"


def test_compressed_beforehand(pylon):
    for accept, coding in [
        ("gzip", "gzip"),
        ("br, gzip;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
        ("*", "gzip"),
        ("br", None),
    ]:
        answer = pylon.ask("/more/app.js", f"Accept-Encoding: {accept}")
        assert answer.headers.get("content-encoding") == coding, accept
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["vary"].lower() == "accept-encoding"
        assert (gzip.decompress(answer.body) if coding else answer.body) == b"let a;"
    tags = {pylon.ask("/more/app.js", f"Accept-Encoding: {accept}").headers["etag"] for accept in ["gzip", "br"]}
    assert len(tags) == 2
    part = pylon.ask("/more/app.js", "Accept-Encoding: gzip", "Range: bytes=0-1")
    assert (part.status, part.body, part.headers["content-encoding"]) == (206, b"\x1f\x8b", "gzip")
    assert pylon.ask("/more/app.js", "Accept-Encoding: gzip", "Range: bytes=0-0,3-3").status == 200


def test_headers_of_the_route(pylon):
    answer = pylon.ask("/more/app.js")
    assert answer.headers["x-path"] == "/app.js" and "accept-ranges" not in answer.headers
    assert answer.headers["cache-control"] == "public, max-age=60"


def test_what_is_not_there(pylon):
    answer = pylon.ask("/more/none.js", "Range: bytes=0-0", "If-None-Match: *")
    assert (answer.status, answer.body) == (404, b"<p>gone</p>")
    assert answer.headers["content-type"].startswith("text/html") and answer.headers["cache-control"] == "no-store"
    answer = pylon.ask("/spa/any/where")
    assert (answer.status, answer.body, answer.headers["cache-control"]) == (200, b"<p>root</p>", "no-cache")
    assert pylon.ask("/spa/app.js").headers["cache-control"] == "max-age=9"
    assert pylon.ask("/pages/none").body == b"none: 404"
    problem = pylon.ask("/plain/none", "Accept: application/json")
    assert problem.status == 404 and json.loads(problem.body)["detail"] == "there is no such file"


def test_one_file(pylon):
    for path in ["/favicon.ico", "/icon"]:
        assert pylon.ask(path).body == b"let a;"


def test_steps_before(pylon):
    assert pylon.ask("/closed/app.js").status == 403


def test_explain(pylon, folder):
    def explain(path):
        done = subprocess.run(
            [BINARY, "explain", "-c", pylon.file, "GET", f"http://{pylon.authority('http')}{path}"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"file      {folder.path}/a b/x.js" in explain("/plain/a%20b/x.js")
    assert "none is served under such a name" in explain("/plain/.env")


def test_a_new_folder_takes_the_place_of_the_old(start, folder):
    """A deployment puts another folder into place, by its link."""
    for version in ["one", "two"]:
        (folder.outside / version).mkdir()
        (folder.outside / version / "version").write_text(version)
    link = folder.outside / "current"
    link.symlink_to("one")
    pylon = start({"name": "site", "path": "/**", "static": str(link)})
    assert pylon.ask("/version").body == b"one"
    fresh = folder.outside / "fresh"
    fresh.symlink_to("two")
    fresh.replace(link)
    assert pylon.ask("/version").body == b"two"
    link.unlink()
    answer = pylon.ask("/version-gone")
    assert answer.status == 500
    assert pylon.entry("/version-gone")["outcome"] == "file_failed"


def test_mistakes_are_load_errors(pylon, folder, tmp_path):
    path = str(folder.path)
    for route, said in [
        ({"static": "/nowhere/at/all"}, "routes[0].static.folder: the folder `/nowhere/at/all` cannot be opened"),
        ({"static": f"{path}/app.js"}, "cannot be opened"),
        ({"static": {}}, "it is missing"),
        ({"static": {"folder": path, "file": path}}, "`folder` is there as well"),
        ({"static": {"folder": path, "listing": True}}, "listing"),
        ({"static": path, "compress": ["gzip"]}, "write `precompressed`"),
        ({"static": path, "rewrite": "/{**}"}, "`rewrite` does nothing"),
        ({"static": path, "substitute": [{"find": "a", "replace": "b"}]}, "`substitute` does nothing"),
        ({"static": path, "headers": {"request": {"set": {"X": "y"}}}}, "`headers.request` does nothing"),
        ({"static": path, "answer": {}}, "`answer` and `static`"),
        ({"static": path, "path": "/exact"}, "end it with `/**`"),
    ]:
        config = {"listeners": [{"address": "127.0.0.1:1"}], "routes": [{"name": "x", "path": "/**"} | route]}
        file = tmp_path / "x.yaml"
        file.write_text(json.dumps(config))
        done = subprocess.run([BINARY, "check", file], capture_output=True, text=True, timeout=60)
        text = done.stdout + done.stderr
        assert done.returncode == 78 and said in text, (route, text)


def test_a_relative_folder_is_beside_the_config(start, folder, tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "x.txt").write_text("beside")
    (tmp_path / "x.yaml").write_text('{"listeners": [{"address": "127.0.0.1:1"}], "routes": [{"name": "x", "path": "/**", "static": "www"}]}')
    done = subprocess.run([BINARY, "check", tmp_path / "x.yaml"], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


def test_error_pages_from_files(start, folder, tmp_path):
    page = tmp_path / "late.html"
    page.write_text("<p>{status} <b>{request_id}</b></p>")
    errors = {502: {"file": str(page), "status": 503}, 404: {"file": str(page)}}
    pylon = start(
        {"name": "away", "path": "/away/**", "upstream": "away", "errors": errors},
        {"name": "files", "path": "/files/**", "static": str(folder.path), "errors": errors},
        upstreams={"away": {"endpoints": ["http://127.0.0.1:1"]}},
        trusted_proxies=["127.0.0.1"],
    )
    answer = pylon.ask("/away/x", "X-Request-Id: <i>")
    assert (answer.status, answer.body) == (503, b"<p>503 <b>&lt;i&gt;</b></p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert pylon.ask("/files/none").body.startswith(b"<p>404 <b>")
    page.write_text("<p>another</p>")
    wait_until(lambda: pylon.ask("/away/x").body == b"<p>another</p>", 20, "the page is read anew")
    page.unlink()
    done, said = pylon.reload()
    assert not done and str(page) in said
    assert pylon.ask("/away/x").body == b"<p>another</p>"
