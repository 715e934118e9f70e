"""Paths that lead out of the folder, or to what is not a file, get nothing."""

import os
import socket
import threading

import pytest
from folder import SECRET
from peers import Answer, Http2, Peer

ROUTES = ("files", "root", "known", "captured")

# What stands behind the prefix of a route; nothing of it names a file that is served.
HOSTILE = [
    "/../secret",
    "/../www-other/secret",
    "/..",
    "/../",
    "/a/../../secret",
    "/a/b/../../../secret",
    "/./../secret",
    "/.%2e/secret",
    "/%2e./secret",
    "/%2e%2e/secret",
    "/%2E%2E/secret",
    "/%2e%2e%2fsecret",
    "/..%2fsecret",
    "/..%2Fsecret",
    "/a/..%2f..%2fsecret",
    "/a%2f..%2f..%2fsecret",
    "/%252e%252e/secret",
    "/%252e%252e%252fsecret",
    "/..%252fsecret",
    "/%25252e%25252e/secret",
    "/..\\secret",
    "/..%5csecret",
    "/..%5Csecret",
    "/%2e%2e%5csecret",
    "/a\\..\\..\\secret",
    "/a/..;/..;/secret",
    "/..;/secret",
    "/..;x=1/secret",
    "/%c0%ae%c0%ae/secret",
    "/%c0%ae%c0%ae%c0%afsecret",
    "/..%c0%afsecret",
    "/%e0%80%ae%e0%80%ae/secret",
    "/%uff0e%uff0e/secret",
    "/\uff0e\uff0e/secret",
    "/..%00/secret",
    "/%00/../secret",
    "/a.txt%00",
    "/a.txt%00.html",
    "/%00",
    "/a.txt%0a",
    "/a.txt%0d%0aX-Evil:%201",
    "/a.txt%7f",
    "/.env",
    "/%2eenv",
    "/%2Eenv",
    "/.git/config",
    "/%2egit/config",
    "/.git%2fconfig",
    "/a/.hidden",
    "/a/%2ehidden",
    "/./.env",
    "/a/../.env",
    "/...",
    "/....//secret",
    "/..../secret",
    "/etc/passwd",
    "//etc/passwd",
    "/%2fetc%2fpasswd",
    "/file:///etc/passwd",
    "/link-out",
    "/link-out-absolute",
    "/link-folder/secret",
    "/link-parent/secret",
    "/link-chain",
    "/link-loop",
    "/link-proc/environ",
    "/link-fd",
    "/pipe",
    "/socket",
    "/nothing",
    "/nothing/",
    "/a.txt/",
    "/a.txt/x",
    "/a.txt/..%2f..%2fsecret",
    "/" + "a" * 300,
    "/" + "a/" * 1500,
    "/" + "../" * 500 + "secret",
    "/" + "%2e%2e/" * 300 + "secret",
    "/" + "..%2f" * 300 + "secret",
    "/a~1.txt",
    "/A.TXT",
    "/a.txt::$DATA",
    "/a.txt%20",
    "/a.txt.",
    "/%ff%fe",
    "/*",
    "/?/../secret",
    "/a.txt#/../../secret",
    "/%",
    "/%2",
    "/%zz",
]


@pytest.fixture(scope="module")
def tree(folder):
    folder.write("a.txt", "the a")
    folder.write("a/b/c.txt", "the c")
    folder.write("index.html", "<p>the index</p>")
    folder.write(".env", SECRET)
    folder.write(".git/config", SECRET)
    folder.write("a/.hidden", SECRET)
    folder.write(".well-known/it", "well known")
    path = folder.path
    links = {
        "link-out": "../secret",
        "link-out-absolute": str(folder.outside / "secret"),
        "link-folder": "..",
        "link-parent": "a/../..",
        "link-chain": "link-out",
        "link-loop": "link-loop",
        "link-proc": "/proc/self",
        "link-fd": "/proc/self/fd/0",
        "link-in": "a/b/c.txt",
    }
    for name, target in links.items():
        os.symlink(target, path / name)
    os.mkfifo(path / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.relpath(path / "socket"))
    yield folder
    listener.close()


@pytest.fixture(scope="module")
def pylon(start, tree):
    path = str(tree.path)
    return start(
        {"name": "files", "path": "/files/**", "static": path},
        {"name": "root", "host": "root.test", "path": "/**", "static": path},
        {"name": "known", "path": "/known/**", "static": {"folder": path, "hidden": [".well-known"]}},
        {"name": "captured", "path": "/of/{name}/**", "static": {"folder": path, "path": "/{name}/{**}"}},
    )


def whole(answer, file):
    """The answer with all that follows it on its connection."""
    return answer.body + file.read()


def raw(port, target, host):
    """Says exactly this on a connection of its own: the status, and all the bytes that came."""
    with Peer(port) as peer:
        peer.send(b"GET " + target.encode() + f" HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = Answer(peer.file)
        return answer, whole(answer, peer.file)


@pytest.mark.parametrize("rest", HOSTILE, ids=lambda rest: rest[:40])
def test_hostile_paths(pylon, rest):
    for prefix, host in [("/files", "x"), ("", "root.test"), ("/known", "x"), ("/of/a", "x"), ("/of/..", "x")]:
        answer, said = raw(pylon.ports["http"], prefix + rest, host)
        if rest.startswith("/?") or rest == "/*" or (prefix == "/of/.." and answer.status == 200):
            assert SECRET.encode() not in said
            continue
        redirected = answer.status == 301 and answer.headers["location"].startswith(f"http://{host}{prefix}/")
        # `/..` of a prefix is the root of the site, which no route but one has.
        assert answer.status in (400, 404) or redirected or rest in ("/..", "/../", "/...") or prefix == "/of/..", (
            prefix,
            answer.status,
            said,
        )
        assert SECRET.encode() not in said and b"root:" not in said
        assert "x-evil" not in answer.headers


def test_the_same_over_http2(pylon):
    for rest in HOSTILE:
        try:
            target = ("/files" + rest).encode("ascii").decode()
        except UnicodeEncodeError:
            continue
        with Http2(pylon.ports["http"]) as peer:
            peer.ask(1, target)
            try:
                status, body = peer.answered(1)
            except (ConnectionError, AssertionError):
                continue  # the stream was refused
            assert SECRET.encode() not in body, rest
            # What follows a `#` is none of the server's business: it is cut off.
            assert status in (400, 404, 301) or rest.startswith(("/?", "/..", "/*")) or "#" in rest, (rest, status)


def test_what_is_there_is_served(pylon):
    for target, host, text in [
        ("/files/a.txt", "x", "the a"),
        ("/files/%61.txt", "x", "the a"),
        ("/files/a/b/c.txt", "x", "the c"),
        ("/files/a/./b/../b/c.txt", "x", "the c"),
        ("/files//a.txt", "x", "the a"),
        ("/files/link-in", "x", "the c"),
        ("/files/", "x", "<p>the index</p>"),
        ("/files/?x=%2e%2e", "x", "<p>the index</p>"),
        ("/", "root.test", "<p>the index</p>"),
        ("/known/.well-known/it", "x", "well known"),
        ("/of/a/b/c.txt", "x", "the c"),
    ]:
        answer, said = raw(pylon.ports["http"], target, host)
        assert (answer.status, said) == (200, text.encode()), target
    assert raw(pylon.ports["http"], "/files/.well-known/it", "x")[0].status == 404


def test_a_link_that_is_swapped_leads_nowhere(pylon, tree):
    """A name that is now a file, now a link to the secret: it is the file, or nothing."""
    name, stop = tree.path / "swapped.txt", threading.Event()
    folder = tree.path / "swapped"
    (tree.path / "real").mkdir()
    tree.write("real/secret", "harmless")

    def swap():
        count = 0
        while not stop.is_set():
            count += 1
            fresh = tree.path / ".swap"
            if count % 2:
                fresh.write_text("harmless")
            else:
                os.symlink("../secret", fresh)
            os.replace(fresh, name)
            link = tree.path / ".link"
            os.symlink("real" if count % 2 else "..", link)
            os.replace(link, folder)

    thread = threading.Thread(target=swap)
    thread.start()
    seen = {}
    try:
        with Peer(pylon.ports["http"]) as peer:
            for round in range(4000):
                target = ("/files/swapped.txt", "/files/swapped/secret")[round % 2]
                peer.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                answer = Answer(peer.file)
                assert answer.status in (200, 404), (answer.status, answer.body)
                assert SECRET.encode() not in answer.body
                if answer.status == 200:
                    assert answer.body == b"harmless"
                seen[target, answer.status] = seen.get((target, answer.status), 0) + 1
    finally:
        stop.set()
        thread.join()
    # Both ways were met, so that something was tried.
    assert seen["/files/swapped.txt", 200] and seen["/files/swapped/secret", 200], seen
    assert seen.get(("/files/swapped.txt", 404), 0) + seen.get(("/files/swapped/secret", 404), 0), seen
