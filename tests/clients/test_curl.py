"""curl: the forms of requests that libraries seldom send."""

import hashlib
import json
import os
import subprocess

import pytest

from processes import one_by_one


def curl(*arguments, seconds=60, **options):
    """Runs curl; its standard output."""
    command = ["curl", "-q", "--silent", "--show-error", "--max-time", str(seconds), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    file = tmp_path_factory.mktemp("curl") / "data"
    file.write_bytes(os.urandom(3_000_001))
    return file


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


# HTTP/1.0 has no chunks.
@pytest.mark.parametrize(
    ("version", "form"), [("--http1.1", "length"), ("--http1.1", "chunked"), ("--http1.0", "length")]
)
def test_uploads_arrive_whole(demo, data, version, form):
    headers = ["-H", "Transfer-Encoding: chunked"] if form == "chunked" else []
    sent = curl(version, *headers, "-H", "Expect:", "--data-binary", f"@{data}", f"{demo.url}/upload")
    assert json.loads(sent.stdout) == {"bytes": 3_000_001, "sha256": digest(data)}


def test_an_upload_from_a_pipe(demo, data):
    with data.open("rb") as pipe:
        sent = curl("-X", "POST", "-T", "-", f"{demo.url}/upload", stdin=pipe)
    assert json.loads(sent.stdout)["sha256"] == digest(data)


def test_the_upload_may_continue_at_once(demo, data):
    # It would wait for longer than the whole may take.
    expecting = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "600"]
    sent = curl(*expecting, "--data-binary", f"@{data}", f"{demo.url}/upload")
    assert sent.stderr.count(b"< HTTP/1.1 100 Continue") == 1
    assert json.loads(sent.stdout)["sha256"] == digest(data)


def test_http_1_0_gets_no_chunks(demo):
    answer = curl("--http1.0", "-i", f"{demo.url}/").stdout
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b" 200 " in head.splitlines()[0]
    assert body.rstrip().endswith(b"</html>")


def test_http_1_0_download_is_whole(demo):
    answer = curl("--http1.0", f"{demo.url}/download?bytes=3000001").stdout
    assert len(answer) == 3_000_001


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
@pytest.mark.parametrize("path", ["/rest-server/api/v1/events", "/sse"])
def test_events_arrive_as_they_happen(demo, version, path):
    command = ["curl", "-q", "-sSN", "--max-time", "60", version, f"{demo.url}{path}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        came = one_by_one(line for line in process.stdout if line.startswith(b"data:"))
    finally:
        process.kill()
        process.wait()
    assert [line.strip() for line in came] == [b'data: {"tick":%d}' % tick for tick in range(len(came))]


def test_a_file_goes_to_hdfs_in_two_steps(demo, data):
    file = f"{demo.url}/webhdfs/api/v1/tmp/by%20curl"
    written = curl("-L", "-T", data, "-w", "%{num_redirects} %{http_code}", f"{file}?op=CREATE&overwrite=true")
    assert written.stdout == b"1 201"
    read = curl("-L", "-w", "%{stderr}%{num_redirects} %{url_effective}", f"{file}?op=OPEN")
    assert read.stdout == data.read_bytes()
    count, last = read.stderr.decode().split()
    assert count == "1"
    assert last.startswith(f"{demo.url}/a/127.0.0.1:"), last


def test_connections_are_reused(demo):
    answer = curl("-o", os.devnull, "-o", os.devnull, "-w", "%{num_connects} ", f"{demo.url}/", f"{demo.url}/healthz")
    assert answer.stdout.split() == [b"1", b"0"]


def test_an_early_answer_reaches_the_uploader(demo, data):
    # Nobody is there to take this body: the client must see the answer, not a broken connection.
    answer = curl("-o", os.devnull, "-w", "%{http_code}", "-T", data, f"{demo.url}/a/192.0.2.1:80/")
    assert answer.stdout == b"403"
