"""The origin behind the proxy, a process of its own: it answers by the path, and counts. `origin_server.py PORT`

/ok answers at once, /big/BYTES with so many, /wait/MILLISECONDS after a while. /counts says what came, by the last
part of the path or the whole of it: how many heads, how many whole requests, how many at once, how many right now."""

import asyncio
import collections
import json
import sys

heads = collections.Counter()
whole = collections.Counter()
busy = collections.Counter()
busiest = collections.Counter()
PIECE = b"x" * 65_536


def counts():
    return json.dumps({"heads": heads, "whole": whole, "busy": busy, "busiest": busiest}).encode()


async def body_of(reader, fields):
    """Reads a body to its end; how many bytes there were."""
    if "transfer-encoding" not in fields:
        length = left = int(fields.get("content-length", 0))
        while left:
            piece = await reader.read(min(left, 262_144))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
        return length
    total = 0
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        await reader.readexactly(size + 2)
        total += size
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return total


async def gone_within(reader, seconds):
    """Waits, and says whether the client has left meanwhile."""
    try:
        await asyncio.wait_for(reader.read(1), seconds)
    except TimeoutError:
        return False
    return True


async def answer(writer, body=None, size=0):
    length = size if body is None else len(body)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % length + (body or b""))
    while size > 0:
        writer.write(PIECE[:size])
        size -= len(PIECE)
        await writer.drain()
    await writer.drain()


async def play(path, reader, writer, length):
    """Answers; false ends the connection."""
    parts = path.split("?")[0].split("/")
    if path == "/counts":
        await answer(writer, counts())
    elif parts[1] == "big":
        await answer(writer, size=int(parts[2]))
    elif parts[1] == "wait":
        if await gone_within(reader, int(parts[2]) / 1000):
            return False
        await answer(writer, b"waited")
    else:
        await answer(writer, b"fine %d" % length)
    return True


async def serve(reader, writer):
    name = None
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = lines[0].split(" ")[1]
            fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
            name = path.partition("?")[2][:100] or path[:100]
            heads[name] += 1
            busy[name] += path != "/counts"
            busiest[name] = max(busiest[name], busy[name])
            length = await body_of(reader, fields)
            whole[name] += 1
            if not await play(path, reader, writer, length):
                return
            busy[name] -= path != "/counts"
            name = None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
        pass
    finally:
        if name:
            busy[name] -= 1
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096, limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
