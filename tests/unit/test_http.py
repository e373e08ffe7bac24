"""The HTTP server for the edge, on a real unix socket."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

from core.web.http import MAX_BODY_BYTES, Handler, Request, response, serve_http

ASKED = b"GET /a%20b/x?q=%201 HTTP/1.1\r\nhost: x\r\naccept-encoding: br, gzip\r\n\r\n"
PLAIN = b"GET /plain HTTP/1.1\r\nhost: x\r\n\r\n"


@asynccontextmanager
async def serving(handle: Handler, folder: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    path = folder / "s"
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    server = asyncio.create_task(serve_http(handle, sock))
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield reader, writer
    finally:
        writer.close()
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


async def echo(request: Request) -> bytes:
    return response(200, [("x-said", request.path)], f"{request.query} {request.accepts_gzip}".encode())


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 120))


def test_requests_follow_each_other_on_one_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(echo, tmp_path) as (reader, writer):
            for _ in range(3):
                writer.write(ASKED[:20])
                await asyncio.sleep(0.001)
                writer.write(ASKED[20:])
                head, body = await answer(reader)
                assert head.startswith(b"HTTP/1.1 200 OK\r\nx-said: /a b/x\r\n") and body == b"q=%201 True"
                writer.write(PLAIN)
                assert (await answer(reader))[1] == b" False"

    run(scenario())


def test_head_has_the_length_and_no_body(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(echo, tmp_path) as (reader, writer):
            writer.write(ASKED.replace(b"GET", b"HEAD"))
            assert b"content-length: 11\r\n" in await reader.readuntil(b"\r\n\r\n")
            writer.write(ASKED)
            assert (await answer(reader))[1] == b"q=%201 True"

    run(scenario())


def test_a_handler_that_fails_is_a_500_and_the_connection_goes_on(tmp_path: Path) -> None:
    async def fails(request: Request) -> bytes:
        if request.path == "/plain":
            raise ValueError("trouble")
        return await echo(request)

    async def scenario() -> None:
        async with serving(fails, tmp_path) as (reader, writer):
            writer.write(PLAIN)
            assert (await answer(reader))[0].startswith(b"HTTP/1.1 500 ")
            writer.write(ASKED)
            assert (await answer(reader))[0].startswith(b"HTTP/1.1 200 ")

    run(scenario())


def test_who_leaves_waits_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        came, left = asyncio.Event(), asyncio.Event()

        async def waits(request: Request) -> bytes:
            came.set()
            try:
                await asyncio.sleep(600)
            finally:
                left.set()
            return b""

        async with serving(waits, tmp_path) as (_, writer):
            writer.write(PLAIN)
            await came.wait()
            writer.close()
            await left.wait()

    run(scenario())


def test_a_second_request_before_the_answer_and_what_is_no_http_end_the_connection(tmp_path: Path) -> None:
    async def waits(request: Request) -> bytes:
        await asyncio.sleep(600)
        return b""

    async def scenario() -> None:
        for sent in (PLAIN + PLAIN, b"\x00\xff\r\n\r\n"):
            async with serving(waits, tmp_path) as (reader, writer):
                writer.write(sent)
                assert await asyncio.wait_for(reader.read(), 60) == b""

    run(scenario())


def test_a_body_is_taken_and_bounded(tmp_path: Path) -> None:
    async def repeat(request: Request) -> bytes:
        return response(200, [("x-method", request.method)], request.body)

    def post(body: bytes) -> bytes:
        return b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def scenario() -> None:
        async with serving(repeat, tmp_path) as (reader, writer):
            for body in (b"sdp" * 1000, b"", bytes(MAX_BODY_BYTES)):
                writer.write(post(body))
                head, told = await answer(reader)
                assert b"x-method: POST" in head and told == body
            writer.write(PLAIN)
            assert (await answer(reader))[1] == b""
            writer.write(post(bytes(MAX_BODY_BYTES + 1)))
            assert (await answer(reader))[0].startswith(b"HTTP/1.1 413 ")
            assert await reader.read() == b""

    run(scenario())
