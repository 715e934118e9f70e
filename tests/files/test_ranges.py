"""Ranges and conditions, held against a model of the standard."""

import email.parser
import email.policy
import random
import re

import pytest
from processes import wait_until

SIZE = 1000


@pytest.fixture(scope="module")
def content(folder):
    return folder.random("file.bin", SIZE)


@pytest.fixture(scope="module")
def pylon(start, folder, content):
    folder.write("empty.txt", b"")
    return start({"name": "files", "path": "/**", "static": str(folder.path)})


def model(header, size):
    """What RFC 9110 §14 makes of `Range`, with our bounds: `None` for the whole, a list of (first, last), [] for none."""
    match = re.fullmatch(r"(?i:bytes)=(.*)", header)
    items = [item.strip(" \t") for item in match[1].split(",")] if match else []
    items = [item for item in items if item]
    if not items or size == 0:
        return None
    found = []
    for item in items:
        parts = re.fullmatch(r"(\d*)-(\d*)", item)
        if not parts or item == "-":
            return None
        first, last = parts.groups()
        if not first:
            if int(last):
                found.append((max(0, size - int(last)), size - 1))
            continue
        if last and int(last) < int(first):
            return None
        if int(first) < size:
            found.append((int(first), min(int(last or size), size - 1)))
    if len(items) > 32 or sum(last - first + 1 for first, last in found) > size:
        return None
    return found


def check(answer, header, content):
    expected = model(header, len(content))
    if expected is None:
        assert (answer.status, answer.body) == (200, content), header
    elif not expected:
        assert answer.status == 416, header
        assert answer.headers["content-range"] == f"bytes */{len(content)}"
    elif len(expected) == 1:
        [(first, last)] = expected
        assert (answer.status, answer.body) == (206, content[first : last + 1]), header
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(content)}"
    else:
        assert answer.status == 206, header
        kind = answer.headers["content-type"]
        assert kind.startswith("multipart/byteranges; boundary=")
        whole = f"Content-Type: {kind}\r\n\r\n".encode() + answer.body
        parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(whole)
        parts = parsed.get_payload()
        assert [part["content-range"] for part in parts] == [f"bytes {a}-{b}/{len(content)}" for a, b in expected]
        # The parser above is for text: the bytes are looked at one by one.
        boundary = kind.partition("boundary=")[2]
        pieces = (b"\r\n" + answer.body).split(f"\r\n--{boundary}".encode())
        assert pieces[0] == b"" and pieces[-1] == b"--\r\n"
        bodies = [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:-1]]
        assert bodies == [content[a : b + 1] for a, b in expected]


TABLE = [
    "bytes=0-0", "bytes=0-", "bytes=0-999", "bytes=0-1000", "bytes=999-", "bytes=999-999", "bytes=1000-", "bytes=1000-2000",
    "bytes=-1", "bytes=-999", "bytes=-1000", "bytes=-1001", "bytes=-0", "bytes=-", "bytes=", "bytes=,", "bytes=5-3",
    "bytes=0-0,2-2", "bytes=2-2,0-0", "bytes=0-0,0-0", "bytes=0-9,5-14,-1", "bytes=0-999,0-0", "bytes=0-0,5000-",
    "bytes=5000-,6000-", "bytes=0-0, ,3-4", "bytes= 1-2", "bytes=1 -2", "bytes=1- 2", "BYTES=1-2", "byte=1-2", "lines=1-2",
    "bytes=a-b", "bytes=1-2,x", "bytes=0x1-2", "bytes=+1-2", "bytes=1-+2", "bytes=1.5-2", "bytes 1-2", "bytes=--1",
    "bytes=18446744073709551615-", "bytes=18446744073709551616-", "bytes=0-18446744073709551616",
    "bytes=-18446744073709551616", "bytes=99999999999999999999999999-9", "bytes=" + ",".join(["0-0"] * 32),
    "bytes=" + ",".join(["0-0"] * 33), "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 320, 10)),
    "bytes=" + "0-," * 400,
]  # fmt: skip


@pytest.mark.parametrize("header", TABLE, ids=lambda header: header[:32])
def test_table(pylon, content, header):
    check(pylon.ask("/file.bin", f"Range: {header}"), header, content)


def test_any(pylon, content):
    draw = random.Random(7)
    with pylon.peer() as peer:
        for _ in range(400):
            number = lambda: draw.choice(["", "0", "1", "500", "999", "1000", str(draw.randrange(1200))])
            items = [f"{number()}-{number()}" for _ in range(draw.randrange(1, 4))]
            header = "bytes=" + draw.choice([",", ", "]).join(items)
            check(peer.ask("/file.bin", f"Range: {header}"), header, content)


def test_an_empty_file_has_no_parts(pylon):
    for header in ["bytes=0-", "bytes=0-0", "bytes=-1"]:
        answer = pylon.ask("/empty.txt", f"Range: {header}")
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


def test_head_has_no_parts(pylon):
    answer = pylon.ask("/file.bin", "Range: bytes=0-9", method="HEAD")
    assert (answer.status, answer.headers["content-length"]) == (200, str(SIZE))


def test_conditions(pylon, content):
    plain = pylon.ask("/file.bin")
    tag, date = plain.headers["etag"], plain.headers["last-modified"]
    assert tag.startswith('"') and plain.headers["accept-ranges"] == "bytes"
    old, new = "Thu, 01 Jan 2015 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    part = "Range: bytes=0-9"
    for lines, status in [
        ([f"If-None-Match: {tag}"], 304),
        ([f"If-None-Match: W/{tag}"], 304),
        ([f'If-None-Match: "x", {tag}'], 304),
        (['If-None-Match: "x"', f"If-None-Match: {tag}"], 304),
        (["If-None-Match: *"], 304),
        (['If-None-Match: "x"'], 200),
        (['If-None-Match: "x"', f"If-Modified-Since: {new}"], 200),
        ([f"If-Modified-Since: {date}"], 304),
        ([f"If-Modified-Since: {new}"], 304),
        ([f"If-Modified-Since: {old}"], 200),
        (["If-Modified-Since: whenever"], 200),
        ([f"If-Match: {tag}"], 200),
        (["If-Match: *"], 200),
        (['If-Match: "x"'], 412),
        ([f"If-Match: W/{tag}"], 412),
        ([f"If-Unmodified-Since: {old}"], 412),
        ([f"If-Unmodified-Since: {date}"], 200),
        ([f"If-Match: {tag}", f"If-Unmodified-Since: {old}"], 200),
        ([f'If-Match: {tag}', f"If-None-Match: {tag}"], 304),
        ([part, f"If-Range: {tag}"], 206),
        ([part, f"If-Range: {date}"], 206),
        ([part, f"If-Range: {new}"], 200),
        ([part, f"If-Range: W/{tag}"], 200),
        ([part, 'If-Range: "x"'], 200),
        ([part, f"If-None-Match: {tag}"], 304),
        ([part, 'If-Match: "x"'], 412),
    ]:
        for method in ["GET", "HEAD"]:
            answer = pylon.ask("/file.bin", *lines, method=method)
            expected = 200 if status == 206 and method == "HEAD" else status
            assert answer.status == expected, (method, lines)
            if status == 304:
                assert answer.headers["etag"] == tag and answer.headers["last-modified"] == date
            if expected == 200 and method == "GET":
                assert answer.body == content


def test_another_content_has_another_tag(pylon, folder):
    folder.write("changing.txt", "one", age=100)
    first = pylon.ask("/changing.txt").headers["etag"]
    folder.write("changing.txt", "two", age=50)
    second = pylon.ask("/changing.txt").headers["etag"]
    assert first != second and pylon.ask("/changing.txt", f"If-None-Match: {first}").status == 200


def test_what_was_just_written_is_not_put_together_from_parts(pylon, folder):
    """Written within the same tick of the clock it could be another: its tag is weak until it has settled."""

    def fresh():
        folder.write("fresh.txt", "new", age=0)
        answer = pylon.ask("/fresh.txt")
        return answer.headers["etag"] if answer.headers["etag"].startswith("W/") else None

    tag = wait_until(fresh, what="a weak tag")
    assert pylon.ask("/fresh.txt", f"If-None-Match: {tag}").status == 304
    assert pylon.ask("/fresh.txt", "Range: bytes=0-0", f"If-Range: {tag}").status == 200
    settled = wait_until(lambda: (found := pylon.ask("/fresh.txt").headers["etag"]).startswith('"') and found)
    assert pylon.ask("/fresh.txt", f"If-None-Match: {tag}").status == 304 and f"W/{settled}" == tag
