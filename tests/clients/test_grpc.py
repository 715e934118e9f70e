"""gRPC through the TLS listener, to servers that speak HTTP/2 with and without TLS."""

import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading

import grpc
import pytest

from processes import BINARY, Program, answers, free_port, wait_until

SOON = 60
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
OPTIONS += [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 200)]
Code = grpc.StatusCode


class Service:
    """What a server does. `held` and `left` have the messages of calls that it holds, and of those that are over."""

    def __init__(self):
        self.held, self.left, self.released = set(), set(), threading.Event()

    def echo(self, message, context):
        return message

    def fail(self, message, context):
        context.set_trailing_metadata([("why-bin", b"\0\xff")])
        context.abort(Code.FAILED_PRECONDITION, message.decode())

    def tell(self, message, context):
        """What metadata it got, and some of its own."""
        context.send_initial_metadata([("first", "1"), ("first-bin", bytes(range(256)))])
        context.set_trailing_metadata([("last", "2"), ("last-bin", b"\0\n\xff")])
        got = {key: value.hex() if isinstance(value, bytes) else value for key, value in context.invocation_metadata()}
        return json.dumps([got, context.time_remaining()]).encode()

    def hold(self, message, context):
        context.add_callback(lambda: self.left.add(message))
        self.held.add(message)
        print("held", flush=True)  # for the log of a process
        self.released.wait(SOON)
        return message

    def begin(self, message, context):
        context.send_initial_metadata([("begun", "yes")])
        yield b"first"
        yield self.hold(message, context)

    def count(self, message, context):
        """As many messages as asked for, of this size, and a status after them."""
        number, size, code = json.loads(message)
        for at in range(number):
            yield at.to_bytes(4, "big") * (size // 4)
        context.set_trailing_metadata([("sent", str(number))])
        context.set_code(Code[code])
        context.set_details(f"after {number}")

    def total(self, messages, context):
        return b"%d" % sum(map(len, messages))

    def collect(self, messages, context):
        return self.hold(next(messages), context)

    def refuse(self, messages, context):
        next(messages)
        context.abort(Code.RESOURCE_EXHAUSTED, "enough")

    def talk(self, messages, context):
        for message in messages:
            yield message[::-1]


KINDS = {"unary_unary": "echo fail tell hold", "unary_stream": "begin count"}
KINDS |= {"stream_unary": "total collect refuse", "stream_stream": "talk"}
METHODS = [(kind, method) for kind, methods in KINDS.items() for method in methods.split()]


def serve(service, port=0, pair=None):
    """A server, and its port."""
    made = {method: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(service, method)) for kind, method in METHODS}
    handlers = [grpc.method_handlers_generic_handler("test", made)]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(80), handlers, options=OPTIONS)
    if pair:
        port = server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


class Process(Program):
    """A server in a process of its own."""

    def __init__(self, directory, port):
        super().__init__([sys.executable, "-B", __file__, port], directory, ready=lambda: "ready" in self.tail())


class Front(Program):
    """Pylon with a TLS listener, before a server; and clients of it."""

    def __init__(self, directory, upstream, folder):
        self.plain, self.port = f"127.0.0.1:{free_port()}", free_port()
        self.trust = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes())
        tls = {"certificates": [{"cert": str(folder / "front.pem"), "key": str(folder / "front.key")}]}
        config = {
            "listeners": [{"address": self.plain}, {"address": f"127.0.0.1:{self.port}", "tls": tls}],
            "admin": {"address": f"127.0.0.1:{free_port()}"},
            "upstreams": {"server": {"protocol": "h2"} | upstream},
            "routes": [{"name": "test", "path": "/test/**", "upstream": "server"}],
        }
        file = pathlib.Path(directory) / "pylon.yaml"
        file.write_text(json.dumps(config))
        super().__init__([BINARY, "run", "-c", file], directory, ready=answers(f"http://{self.plain}/healthz"))

    @contextlib.contextmanager
    def client(self):
        """Calls by name, through a connection of its own: `client.echo(b"...", timeout=1)`."""
        with grpc.secure_channel(f"localhost:{self.port}", self.trust, OPTIONS) as channel:
            yield type("Client", (), {method: getattr(channel, kind)(f"/test/{method}") for kind, method in METHODS})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An authority, and what it has signed: `front` and `server`."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(verb, name, options):
        new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout" if verb == "req" else "-req -in"
        command = ["openssl", verb, *new.split(), f"{name}.{'key' if verb == 'req' else 'csr'}", *options.split()]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)

    openssl("req", "ca", "-x509 -subj /CN=Authority -out ca.pem -days 30")
    for name, host in [("front", "localhost"), ("server", "grpc.test")]:
        openssl("req", name, f"-subj /CN={host} -addext subjectAltName=DNS:{host} -out {name}.csr")
        openssl("x509", name, f"-CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -out {name}.pem")
    return folder


@pytest.fixture(scope="module")
def service():
    return Service()


@pytest.fixture(scope="module", params=["plain", "tls"])
def front(request, start, service, folder):
    pair = (folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes()
    server, port = serve(service, pair=pair if request.param == "tls" else None)
    keys = {"tls": {"ca": str(folder / "ca.pem"), "server_name": "grpc.test"}} if request.param == "tls" else {}
    yield start(Front, {"endpoints": f"http{'s' if keys else ''}://127.0.0.1:{port}"} | keys, folder)
    server.stop(None).wait(SOON)


@pytest.fixture
def client(front, service):
    service.released.clear()
    with front.client() as client:
        yield client
    service.released.set()


@pytest.fixture
def message():
    """One that no other test has."""
    return os.urandom(8)


HELD = pytest.mark.parametrize("method", ["hold", "begin", "collect"])


def test_one_message_and_many_each_way(client):
    assert [client.echo(one, timeout=SOON) for one in (b"one", b"")] == [b"one", b""]
    assert [int.from_bytes(one[:4], "big") for one in client.count(b'[100, 8, "OK"]', timeout=SOON)] == list(range(100))
    assert [client.total(iter(all), timeout=SOON) for all in ([b"a" * 1000] * 300, [])] == [b"300000", b"0"]


def test_ping_pong(client):
    """Each message goes when the answer to the one before has come: nothing waits for more."""
    say = queue.Queue()
    replies = client.talk(iter(say.get, None), timeout=SOON)
    for at in range(50):
        say.put(b"ping %d" % at)
        assert next(replies) == (b"ping %d" % at)[::-1]
    say.put(None)
    assert (list(replies), replies.code()) == ([], Code.OK)


def test_a_stream_begins_before_it_goes_on(client, service, message):
    call = client.begin(message, timeout=SOON)
    assert dict(call.initial_metadata())["begun"] == "yes"
    assert next(call) == b"first"
    service.released.set()
    assert list(call) == [message]


@pytest.mark.parametrize("details", ["no", "", "größe: 100% \n ✓", "long " * 500], ids=lambda text: text[:4])
def test_a_status_arrives_with_its_details(client, details):
    with pytest.raises(grpc.RpcError) as raised:
        client.fail(details.encode(), timeout=SOON)
    assert (raised.value.code(), raised.value.details()) == (Code.FAILED_PRECONDITION, details)
    assert dict(raised.value.trailing_metadata())["why-bin"] == b"\0\xff"


@pytest.mark.parametrize("code", ["OK", "DATA_LOSS"])
def test_trailers_come_after_a_long_stream(client, code):
    call = client.count(json.dumps([2000, 20_000, code]).encode(), timeout=60)
    for at in range(2000):
        assert next(call) == at.to_bytes(4, "big") * 5000
    assert (call.code(), call.details()) == (Code[code], "after 2000" if code != "OK" else "")
    assert dict(call.trailing_metadata())["sent"] == "2000"


def test_metadata_passes_both_ways(client):
    sent = [("word", "a, b"), ("word-bin", bytes(range(256))), ("empty-bin", b"")]
    answer, call = client.tell.with_call(b"", timeout=SOON, metadata=sent)
    got, remaining = json.loads(answer)
    assert {"word": "a, b", "word-bin": bytes(range(256)).hex(), "empty-bin": ""}.items() <= got.items()
    assert 0 < remaining <= SOON
    assert dict(call.initial_metadata())["first-bin"] == bytes(range(256))
    assert {"last": "2", "last-bin": b"\0\n\xff"}.items() <= dict(call.trailing_metadata()).items()


def begun(client, method, message, **options):
    """A call that the server holds."""
    call = getattr(client, method)
    if method == "begin":
        return call(message, **options)
    return call.future(iter([message]) if method == "collect" else message, **options)


@HELD
@pytest.mark.parametrize("end", [Code.CANCELLED, Code.DEADLINE_EXCEEDED], ids=["cancel", "deadline"])
def test_the_end_of_a_call_reaches_the_server(client, service, message, method, end):
    if end is Code.CANCELLED:
        call = begun(client, method, message)
        wait_until(lambda: message in service.held, what="the server holds it")
        assert message not in service.left
        call.cancel()
    else:
        # On a busy machine a deadline may pass on the way to the server.
        for seconds in (0.5, 4, 30):
            call = begun(client, method, message, timeout=seconds)
            wait_until(lambda: message in service.held or call.done(), what="the server holds it")  # noqa: B023
            if message in service.held:
                break
        assert message in service.held
    wait_until(lambda: message in service.left, what="the server sees the end")
    assert call.code() is end
    assert client.echo(b"next", timeout=SOON) == b"next"


def test_a_server_may_end_a_call_before_its_client(client):
    gate = threading.Event()
    messages = itertools.chain([bytes(10_000)] * 100, iter(lambda: gate.wait(SOON) and None, None))
    with pytest.raises(grpc.RpcError) as raised:
        client.refuse(messages, timeout=SOON)
    gate.set()
    assert (raised.value.code(), raised.value.details()) == (Code.RESOURCE_EXHAUSTED, "enough")


def test_large_messages_pass_both_ways(client):
    message = bytes(range(256)) * 16_384
    assert client.echo(message, timeout=60) == message
    assert list(client.talk(iter([message] * 3), timeout=60)) == [message[::-1]] * 3


def test_fifty_calls_at_once(client, service):
    """The server answers none before it has them all."""
    messages = {b"one of many: %d" % at for at in range(50)}
    calls = [client.hold.future(message, timeout=SOON) for message in messages]
    wait_until(lambda: messages <= service.held, what="the server has them all")
    service.released.set()
    assert {call.result() for call in calls} == messages


@pytest.fixture
def killed(start, folder):
    """A server in a process of its own, which can be killed and started again; and a client of it."""
    port = free_port()
    server = start(Process, port)
    front = start(Front, {"endpoints": f"http://127.0.0.1:{port}", "ejection": {"enabled": False}}, folder)
    with front.client() as client:
        assert client.echo(b"x", timeout=SOON) == b"x"
        yield client, server, lambda: start(Process, port)


def kill(server):
    server.process.kill()
    server.process.wait(SOON)


def test_a_server_that_is_killed_and_comes_back(killed):
    client, server, again = killed
    for _ in range(3):
        kill(server)
        for _ in range(5):
            with pytest.raises(grpc.RpcError) as raised:
                client.echo(b"x", timeout=SOON)
            assert raised.value.code() is Code.UNAVAILABLE
        server = again()
        assert [client.echo(b"x", timeout=SOON) for _ in range(5)] == [b"x"] * 5


@HELD
def test_a_call_whose_server_is_killed_fails_at_once(killed, method, message):
    client, server, _ = killed
    call = begun(client, method, message, timeout=SOON)
    wait_until(lambda: "held" in server.tail(), what="the server holds it")
    kill(server)
    with pytest.raises(grpc.RpcError):
        list(call) if method == "begin" else call.result()
    assert call.code() not in (Code.OK, Code.DEADLINE_EXCEEDED), call


if __name__ == "__main__":
    server, _ = serve(Service(), int(sys.argv[1]))
    print("ready", flush=True)
    server.wait_for_termination()
