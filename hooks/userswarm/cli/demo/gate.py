"""The story that `userswarm demo --gate` tells: two users, one way in, and each gets to their own runtime only."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.cli.demo.gate_world import GateWorld, gate_world
from userswarm.cli.demo.runtimes import EVENTS, accept_key, frame, read_frame
from userswarm.cli.demo.world import DemoError

OWNERS = {"alice-home": "alice", "bob-home": "bob", "bob-attic": "bob"}
SLEEPING = "bob-attic"

_SECONDS = 60
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_MASK = b"demo"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    code: int
    body: bytes

    @property
    def told(self) -> Any:
        """The body's JSON; {} where it is none."""
        with contextlib.suppress(ValueError):
            return json.loads(self.body)
        return {}


def run_gate_demo(show: Callable[[str], object]) -> bool:
    """Tell the story with the real gate and the real Envoy; return whether all of it held."""
    begun = time.monotonic()
    try:
        with gate_world(OWNERS, SLEEPING) as made:
            show(
                f"userswarm gate: Envoy at http://127.0.0.1:{made.port}/v1/workspaces/<id>/, and beside it who decides"
            )
            GateStory(made, show).tell()
    except DemoError as error:
        show(f"\nFAILED: {error}")
        return False
    show(f"\n{'real time':<44}{time.monotonic() - begun:.1f} s")
    return True


class GateStory:
    """Two users, three workspaces, one of them asleep."""

    def __init__(self, made: GateWorld, show: Callable[[str], object]) -> None:
        self._made = made
        self._show = show

    def tell(self) -> None:
        """Go through every step; raises DemoError at the first promise that does not hold."""
        self._show("\n1. who is nobody gets nowhere")
        self._promise(self._ask("alice-home").code == 401, "without a token: 401")
        self._promise(self._ask("alice-home", token=self._forged()).code == 401, "a token of somebody else's key: 401")
        late = self._made.issuer.token("alice", exp=int(time.time()) - 3600)
        self._promise(self._ask("alice-home", token=late).code == 401, "a token that has expired: 401")

        self._show("\n2. each user reaches their own runtime")
        for workspace, user in OWNERS.items():
            if workspace != SLEEPING:
                self._reaches(workspace, user)

        self._show("\n3. and nobody else's")
        before = self._asked("bob-home")
        strange, missing = self._ask("bob-home", "alice"), self._ask("no-such-home", "alice")
        self._promise(strange.code == 404, "alice at bob's: 404")
        self._promise(_less_id(strange) == _less_id(missing), "as at a workspace that is not there, word for word")
        forged = {"X-UserSwarm-User": "bob", "X-UserSwarm-Upstream": self._made.runtimes["bob-home"].address}
        answer = self._ask("alice-home", "alice", headers=forged)
        self._promise(answer.told.get("runtime") == "alice-home", "with bob's name in her headers: still her own")
        self._promise(self._ask("alice-home/../bob-home", "alice").code == 400, "by a path that winds: 400")
        self._promise(self._asked("bob-home") == before, "bob's runtime has seen nothing of it")

        self._show("\n4. streams pass")
        events = self._ask("alice-home", "alice", "/events").body.decode()
        told = "".join(f"data: alice-home {number}\n\n" for number in range(EVENTS))
        self._promise(events == told, f"{EVENTS} server-sent events")
        self._promise(self._talk("alice-home", "alice") == "alice-home: hello", "a WebSocket, both ways")

        self._show(f"\n5. {SLEEPING} is asleep, and wakes under the request")
        self._promise(self._phase(SLEEPING) == "Asleep", "no Pod, nothing that costs")
        begun = time.monotonic()
        self._reaches(SLEEPING, "bob")
        self._promise(self._phase(SLEEPING) == "Ready", f"that took {time.monotonic() - begun:.1f} s, in one request")

    def _reaches(self, workspace: str, user: str) -> None:
        answer = self._ask(workspace, user, "/hello?to=me")
        headers = answer.told.get("headers", {})
        self._promise(answer.code == 200 and answer.told["runtime"] == workspace, f"{user} at {workspace}: 200")
        self._promise(answer.told["path"] == "/hello?to=me", "it is asked by its own path")
        self._promise(headers.get("x-userswarm-user") == user, "it is told who asks")
        self._promise("authorization" not in headers, "it sees no token")

    def _ask(
        self,
        workspace: str,
        user: str = "",
        path: str = "/",
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._made.port, timeout=_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", f"/v1/workspaces/{workspace}{path}", headers=self._headers(user, token, headers))
            response = connection.getresponse()
            return Answer(response.status, response.read())

    def _talk(self, workspace: str, user: str) -> str:
        """Say hello by WebSocket, and return what is said back."""
        asked = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        headers = self._headers(user, "", {"Host": "demo", "Sec-WebSocket-Key": _KEY, **asked})
        head = [f"GET /v1/workspaces/{workspace}/talk HTTP/1.1", *(f"{key}: {text}" for key, text in headers.items())]
        with socket.create_connection(("127.0.0.1", self._made.port), timeout=_SECONDS) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode())
            with connection.makefile("rb") as stream:
                lines = list(iter(lambda: stream.readline().strip().decode().lower(), ""))
                self._promise(lines[0].startswith("http/1.1 101"), "the WebSocket is opened")
                self._promise(f"sec-websocket-accept: {accept_key(_KEY).lower()}" in lines, "by the runtime itself")
                connection.sendall(frame("hello", _MASK))
                return read_frame(stream)

    def _headers(self, user: str, token: str, more: Mapping[str, str] | None) -> dict[str, str]:
        token = token or (self._made.issuer.token(user) if user else "")
        return {**({"Authorization": f"Bearer {token}"} if token else {}), **(more or {})}

    def _forged(self) -> str:
        from cryptography.hazmat.primitives.asymmetric import rsa

        return self._made.issuer.token("alice", rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def _asked(self, workspace: str) -> int:
        return self._made.runtimes[workspace].asked

    def _phase(self, workspace: str) -> str:
        return str(self._made.cluster.user_swarm(f"workspace-{workspace}")["status"]["phase"])

    def _promise(self, held: bool, what: str) -> None:
        if not held:
            raise DemoError(f"this did not hold: {what}")
        self._show(f"  ok     {what}")


def _less_id(answer: Answer) -> tuple[int, str]:
    told = {**answer.told}
    told.pop("requestId", None)
    return answer.code, json.dumps(told)
