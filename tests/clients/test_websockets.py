"""WebSockets through the portal's route, with the `websockets` library at both ends."""

import asyncio
import os
import socket
import threading

import pytest
from websockets import ConnectionClosed
from websockets.asyncio.client import connect as connect_async
from websockets.sync.client import connect
from websockets.sync.server import serve

from upstreams import Upstream, read_head

MIB = 1024 * 1024


def handle(socket):
    """Echoes, but on some paths."""
    match socket.request.path:
        case "/greets":
            for number in range(100):
                socket.send(f"greeting {number}")
        case "/closes":
            socket.close(4321, "as the application says")
        case "/vanishes":
            socket.socket.close()
        case _:
            for message in socket:
                socket.send(message)


def choose(_, offered):
    return "second" if "second" in offered else None


@pytest.fixture(scope="module")
def url(pylon):
    with serve(handle, "127.0.0.1", 0, max_size=None, select_subprotocol=choose) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.socket.getsockname()[1]
        yield pylon(PAI_WEB_PORTAL_URI=f"http://127.0.0.1:{port}").url.replace("http", "ws", 1)
        server.shutdown()


def open_socket(url, **options):
    return connect(url, open_timeout=60, close_timeout=60, ping_interval=None, max_size=None, **options)


def test_the_demo_echoes(demo):
    with open_socket(f"ws://{demo.authority}/ws") as socket:
        socket.send("hello")
        assert socket.recv(timeout=60) == "hello"


@pytest.mark.parametrize(
    "message",
    ["", "grüße", "x" * MIB, b"", bytes(range(256)), os.urandom(MIB)],
    ids=lambda m: f"{type(m).__name__}-{len(m)}",
)
def test_messages_arrive_unchanged(url, message):
    with open_socket(f"{url}/echo", compression=None) as socket:
        socket.send(message)
        assert socket.recv(timeout=60) == message


def test_pings_are_answered_end_to_end(url):
    with open_socket(f"{url}/echo") as socket:
        assert socket.ping(b"payload").wait(60)


def test_extension_and_subprotocol_are_negotiated(url):
    with open_socket(f"{url}/echo", subprotocols=["first", "second"]) as socket:
        assert socket.subprotocol == "second"
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
        socket.send("compressed " * 1000)
        assert socket.recv(timeout=60) == "compressed " * 1000


def test_path_and_query_arrive_as_sent(url):
    with open_socket(f"{url}/a%2520b/c?x=%20y&z") as socket:
        socket.send("there")
        assert socket.recv(timeout=60) == "there"


def test_a_fragmented_message_arrives_whole(url):
    with open_socket(f"{url}/echo", compression=None) as socket:
        socket.send(f"part {number} " for number in range(50))
        assert socket.recv(timeout=60) == "".join(f"part {number} " for number in range(50))


def test_what_the_server_says_at_once_is_not_lost(url):
    # What follows the 101 in the same segment must not be taken for a body, or dropped.
    for _ in range(20):
        with open_socket(f"{url}/greets") as socket:
            assert [socket.recv(timeout=60) for _ in range(100)] == [f"greeting {number}" for number in range(100)]


def test_the_servers_close_code_arrives(url):
    with open_socket(f"{url}/closes") as socket, pytest.raises(ConnectionClosed) as caught:
        socket.recv(timeout=60)
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4321, "as the application says")


def test_the_clients_close_code_is_answered(url):
    with open_socket(f"{url}/echo") as socket:
        socket.close(3456, "enough")
    assert (socket.close_code, socket.close_reason) == (3456, "enough")


def test_a_server_that_vanishes_ends_the_clients_connection(url):
    with open_socket(f"{url}/vanishes") as socket, pytest.raises(ConnectionClosed) as caught:
        socket.recv(timeout=60)
    assert caught.value.rcvd is None


class Switches(Upstream):
    """Answers GETs, and switches protocols for who asks, to give back what comes."""

    def serve(self, connection):
        while head := read_head(connection)[0]:
            if b"pgrade: websocket" in head:
                switching = b"HTTP/1.1 101 Switching Protocols\r\n"
                connection.sendall(switching + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                while data := connection.recv(65_536):
                    connection.sendall(data)
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_a_handshake_on_a_reused_connection_lasts(pylon):
    # A quick upstream answers on a kept connection before the end of the request's empty body is dealt with: that end
    # is not the end of the conversation. Which comes first is chance, hence the many rounds.
    plain = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with Switches() as upstream:
        host, port = pylon(PAI_WEB_PORTAL_URI=upstream.url).authority.split(":")

        def ask(request):
            connection = socket.create_connection((host, int(port)), timeout=60)
            connection.sendall(request)
            return connection

        for number in range(2000):
            with ask(plain) as connection:
                while connection.recv(65_536):
                    pass
            with ask(upgrade) as connection:
                head, rest = read_head(connection)
                assert head.startswith(b"HTTP/1.1 101 "), head
                connection.sendall(b"still there")
                while rest != b"still there":
                    more = connection.recv(100)
                    assert more, f"closed in round {number}"
                    rest += more


def test_many_messages_both_ways_on_many_sockets_at_once(url):
    sockets, messages = 20, 500

    async def talk(number):
        async with connect_async(f"{url}/echo", compression=None, max_size=None, open_timeout=60, ping_interval=None) as socket:

            async def send():
                for at in range(messages):
                    await socket.send(f"{number}:{at}:" + "x" * (at % 997))

            sending = asyncio.create_task(send())
            for at in range(messages):
                assert await socket.recv() == f"{number}:{at}:" + "x" * (at % 997)
            await sending

    async def talk_all():
        await asyncio.wait_for(asyncio.gather(*map(talk, range(sockets))), 240)

    asyncio.run(talk_all())
