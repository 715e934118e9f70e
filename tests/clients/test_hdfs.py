"""The HDFS client of Python, with only Pylon reachable: files take two steps, the second at a data node."""

import json
import os

import hdfs
import pytest
import requests

NAMES = ["plain.txt", "with space.txt", "50% of it", "a%20b", "grüße-日本.txt", "plus+and&and=", "semi;colon,'quote'"]


@pytest.fixture(scope="module")
def client(demo):
    # The client adds `/webhdfs/v1` itself.
    return hdfs.InsecureClient(f"{demo.url}/webhdfs", user="someone", timeout=60)


@pytest.fixture
def home(client, request):
    path = f"/tmp/{request.node.originalname}"
    client.makedirs(path)
    yield path
    client.delete(path, recursive=True)


@pytest.fixture(autouse=True)
def only_pylon(demo, monkeypatch):
    """Every request goes to Pylon, redirected ones too."""
    send = requests.Session.send

    def checked(session, request, **options):
        assert request.url.startswith(f"{demo.url}/"), request.url
        return send(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", checked)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_lives_and_dies(client, home, name):
    path = f"{home}/{name}"
    client.write(path, data=b"one,")
    client.write(path, data=b"two", append=True)
    assert client.list(home) == [name]
    assert client.status(path)["length"] == 7
    with client.read(path) as reader:
        assert reader.read() == b"one,two"
    with client.read(path, offset=2, length=3) as reader:
        assert reader.read() == b"e,t"
    client.rename(path, f"{home}/moved {name}")
    assert client.list(home) == [f"moved {name}"]
    assert client.delete(f"{home}/moved {name}")
    assert client.list(home) == []


def test_upload_and_download_of_some_megabytes(client, home, tmp_path):
    data = os.urandom(9_000_001)
    (tmp_path / "up").write_bytes(data)
    client.upload(f"{home}/large", tmp_path / "up")
    client.download(f"{home}/large", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == data


def test_a_written_stream_of_unknown_length(client, home):
    with client.write(f"{home}/stream", encoding="utf-8") as writer:
        for number in range(3000):
            writer.write(f"line {number}\n")
    with client.read(f"{home}/stream", encoding="utf-8", delimiter="\n") as lines:
        assert [line for line in lines if line][-1] == "line 2999"


def test_overwriting_is_refused_and_allowed(client, home):
    client.write(f"{home}/x", data=b"old")
    with pytest.raises(hdfs.HdfsError):
        client.write(f"{home}/x", data=b"new")
    client.write(f"{home}/x", data=b"new", overwrite=True)
    with client.read(f"{home}/x") as reader:
        assert reader.read() == b"new"


def test_walk_and_summary(client, home):
    client.write(f"{home}/a/b/c.json", data=json.dumps({"x": 1}))
    assert [path for path, _, _ in client.walk(home)] == [home, f"{home}/a", f"{home}/a/b"]
    assert client.content(home)["fileCount"] == 1


def test_what_is_missing_is_a_remote_exception(client):
    assert client.status("/none", strict=False) is None
    with pytest.raises(hdfs.HdfsError, match="none"):
        client.status("/none")
    with pytest.raises(hdfs.HdfsError, match="none"), client.read("/none"):
        pass
