"""A gate and runtimes for tests of the data path alone: tokens are names, and a user's workspace is called the same."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.serving import eventually
from gate.door import Door, opened
from gate.plays import Play, Request, Stage, say

USERS = ("alice", "bob")

_LAST = "/the-last-of-the-queue"

_BEHIND = '"(?:gate|swarm)"'


def runtime(name: str) -> Any:
    """Return how the runtime of `name` answers: with its name and what has arrived, or as the path says."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        match request.target.partition("?")[0]:
            case "/events":
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                writer.write(b"d\r\ndata: first\n\n\r\n")
                # The next one comes when the client asks for it, on a way of its own.
                await answer_events[name].wait()
                writer.write(b"e\r\ndata: second\n\n\r\n0\r\n\r\n")
            case "/socket":
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                while chunk := await request.reader.read(65536):
                    writer.write(name.encode() + b":" + chunk)
            case "/half":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
                await writer.drain()
                writer.transport.abort()
            case "/nothing":
                writer.transport.abort()
            case "/two":
                # One answer too many: the second is nobody's.
                body = (
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
                )
                writer.write(body)
            case "/large":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
                for _ in range(200):
                    writer.write(b"x" * 100_000)
                    await writer.drain()
            case _:
                told = {"runtime": name, "line": request.line, "headers": request.headers, "bytes": len(request.body)}
                await say(writer, "200 OK", json.dumps(told).encode(), Content_Type="application/json")
        await writer.drain()

    return answer


answer_events: dict[str, asyncio.Event] = {}


@dataclass(slots=True)
class Scene:
    """A door, the gate behind it, and each user's runtime."""

    stage: Stage
    door: Door
    gate: Play
    runtimes: dict[str, Play]
    connections: dict[str, int] = field(default_factory=dict)

    def clear(self) -> None:
        self.connections = {name: play.connections for name, play in self.runtimes.items()}
        for play in (self.gate, *self.runtimes.values()):
            play.seen.clear()
        for name in USERS:
            answer_events[name] = asyncio.Event()

    def settle(self) -> None:
        """Wait until whatever Envoy has sent to the gate and to runtimes has been read there."""
        eventually(lambda: not self.door.count("envoy_cluster_upstream_rq_(?:pending_)?active", _BEHIND))
        for play in (self.gate, *self.runtimes.values()):
            # Connections are taken in their order: once this one is served, all before it have been taken.
            with contextlib.closing(http.client.HTTPConnection(play.address, timeout=60)) as connection:
                connection.request("GET", _LAST)
                connection.getresponse().read()
            play.seen[:] = [request for request in play.seen if request.target != _LAST]
        for name in USERS:
            self.connections[name] += 1
        eventually(self._is_read)

    def _is_read(self) -> bool:
        """Tell whether no connection is open here that Envoy has ended; one that nobody came to use it keeps."""
        kept = self.door.count("envoy_cluster_upstream_cx_active", _BEHIND)
        return sum(len(play.open) for play in (self.gate, *self.runtimes.values())) <= kept

    def reached(self) -> set[str]:
        """Return whose runtimes were connected to, be it for half a request."""
        return {name for name, play in self.runtimes.items() if play.connections > self.connections[name]}

    def arrived(self) -> list[tuple[str, Request]]:
        """Return what has reached runtimes: whose, and what."""
        return [(name, request) for name, play in self.runtimes.items() for request in play.seen]


@contextlib.contextmanager
def scene(directory: Path, **settings: Any) -> Iterator[Scene]:
    """Open a door with a gate of a few lines behind it."""
    with Stage.open() as stage:
        runtimes = {name: stage.start(runtime(name)) for name in USERS}

        async def decide(request: Request, writer: asyncio.StreamWriter) -> None:
            user = request.get("authorization").removeprefix("Bearer ")
            workspace = request.target.split("?")[0].removeprefix("/check/v1/workspaces/").split("/")[0]
            domain = f".{settings['domain']}" if "domain" in settings else ""
            if domain and request.get("host").endswith(domain):
                workspace = request.get("host").removesuffix(domain)
            if user == "nowhere":
                await say(writer, "200 OK", x_userswarm_user="nowhere")
            elif user not in USERS:
                await say(writer, "401 Unauthorized", b'{"error":"who?"}', WWW_Authenticate="Bearer", X_Secret="inside")
            elif workspace != user:
                await say(writer, "404 Not Found", b'{"error":"no such workspace"}')
            else:
                await say(
                    writer,
                    "200 OK",
                    x_userswarm_upstream=runtimes[user].address,
                    x_userswarm_user=f"user-{user}",
                    x_userswarm_workspace=workspace,
                )

        gate = stage.start(decide)
        with opened(directory, gate=gate.address, **settings) as door:
            made = Scene(stage, door, gate, runtimes)
            made.clear()
            yield made
