"""Small HTTP servers that say exactly what a test wants: one loop in one thread plays gates and runtimes.

They read HTTP/1.1 by hand and keep the bytes: what a test asks is what has arrived, to the last header.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

Answer = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Request:
    """What has arrived: the head's lines as they were, and the body."""

    line: str
    headers: list[tuple[str, str]]
    reader: asyncio.StreamReader
    body: bytes = b""

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def get(self, name: str) -> str:
        """Return a header that is there at most once, else ""."""
        found = [value for key, value in self.headers if key.lower() == name]
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else ""


@dataclass(slots=True)
class Play:
    """One server: `answer` plays it, `seen` is what has arrived, `connections` how many there were."""

    answer: Answer
    seen: list[Request] = field(default_factory=list)
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    address: str = ""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while (request := await read(reader)) is not None:
                    self.seen.append(request)
                    await self.answer(request, writer)
        finally:
            self.open.discard(writer)
            writer.close()


async def read(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request; one without a length has no body."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (each.partition(":") for each in rest)]
    request = Request(line, headers, reader)
    body = b""
    if length := request.get("content-length"):
        body = await reader.readexactly(int(length))
    elif request.get("transfer-encoding"):
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    return Request(line, headers, reader, body)


async def say(writer: asyncio.StreamWriter, status: str, body: bytes = b"", **headers: str) -> None:
    """Answer with a body of a known length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()


class Stage:
    """The loop on which all of them play; `start` one, `close` all."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage", daemon=True)
        self._servers: list[tuple[Play, asyncio.Server]] = []

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator[Stage]:
        stage = cls()
        stage._thread.start()
        try:
            yield stage
        finally:
            stage._call(stage._close())
            stage._loop.call_soon_threadsafe(stage._loop.stop)
            stage._thread.join()
            stage._loop.close()

    def start(self, answer: Answer, port: int = 0) -> Play:
        """Start a server on loopback."""
        play = Play(answer)
        server = self._call(asyncio.start_server(play.connected, "127.0.0.1", port, backlog=1024))
        play.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._servers.append((play, server))
        return play

    def stop(self, play: Play) -> None:
        """Let a server be gone, with all its connections."""
        self._call(self._end([(each, server) for each, server in self._servers if each is play]))

    def event(self) -> asyncio.Event:
        return asyncio.Event()

    def set(self, event: asyncio.Event) -> None:
        self._loop.call_soon_threadsafe(event.set)

    def _call(self, awaitable: Awaitable[object]) -> object:
        async def wait() -> object:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(30)

    async def _end(self, servers: list[tuple[Play, asyncio.Server]]) -> None:
        for play, server in servers:
            server.close()
            for writer in list(play.open):
                writer.transport.abort()

    async def _close(self) -> None:
        await self._end(self._servers)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
