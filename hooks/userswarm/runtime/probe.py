"""The smoke test: asks a URL until it answers as expected, or the time is over.

Only status 200 with the expected JSON passes: a login page says 200 as well. Whatever the other side does (refuse,
accept and be silent, send a byte a second, send for ever), the probe ends in time. It uses no proxy, and follows
no redirect to another scheme, host or port: it is about this Service and no other.
"""

from __future__ import annotations

import http.client
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

LARGEST_BODY = 1024 * 1024
LONGEST_TRY = 5.0
"""Seconds, so that one connection that hangs is not the only one that is tried."""
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds between tries; the last is used again and again."""
SHORTEST_TRY = 0.05
MOST_REDIRECTS = 3
SHOWN_BYTES = 200
LONGEST_SIGHT = 1000

_REDIRECTS = (301, 302, 303, 307, 308)
# Of the network, of what is no HTTP, and of a host name that cannot be one or a body that we refuse.
_FAILURES = (OSError, http.client.HTTPException, ValueError)

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Target:
    """An http URL, taken apart."""

    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Expectation:
    """A scalar that the JSON body must have: its dotted path, and its text as JSON, for a string without quotes."""

    path: tuple[str, ...]
    text: str

    def problem(self, body: Mapping[str, Any]) -> str | None:
        """Say what is wrong with a body that was read with numbers as their texts; None for nothing."""
        found: Any = body
        for key in self.path:
            if not isinstance(found, dict) or key not in found:
                return f"{'.'.join(self.path)} is missing, expected {self.text}"
            found = found[key]
        if isinstance(found, dict | list):
            return f"{'.'.join(self.path)} is no single value, expected {self.text}"
        text = found if isinstance(found, str) else json.dumps(found)
        return None if text == self.text else f"{'.'.join(self.path)} is {text}, expected {self.text}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it ended, and in one line what was seen."""

    passed: bool
    line: str


def parse_target(url: str) -> Target:
    """Read a URL. Raises ValueError saying what would be accepted."""
    wanted = "expected http://HOST[:PORT][/PATH]"
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{one_line(url)}: has characters that no URL has; {wanted}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url}: {error}; {wanted}") from None
    if parts.scheme != "http" or not parts.hostname or parts.username is not None or port == 0:
        raise ValueError(f"{url}: {wanted}")
    return Target(parts.hostname, port or 80, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def parse_expectation(text: str) -> Expectation:
    """Read ``key=value`` or ``outer.inner=value``. Raises ValueError saying what would be accepted."""
    key, equals, value = text.partition("=")
    path = tuple(key.split("."))
    if not equals or not all(path):
        raise ValueError(f"{text!r}: expected KEY=TEXT or OUTER.INNER=TEXT")
    return Expectation(path, value)


def probe(
    target: Target,
    expectations: Sequence[Expectation],
    timeout: float,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Verdict:
    """Try until the answer is as expected or `timeout` seconds are over."""
    start = clock()
    deadline = start + timeout
    tries = 0
    while True:
        tries += 1
        passed, seen = _try(target, expectations, _Deadline(min(deadline, clock() + LONGEST_TRY), clock))
        pause = PAUSES[min(tries, len(PAUSES)) - 1]
        if passed or clock() + pause + SHORTEST_TRY > deadline:
            break
        sleep(pause)
    spent = f"{tries} {'try' if tries == 1 else 'tries'}, {clock() - start:.1f} s"
    word = "passed" if passed else "failed"
    return Verdict(passed, one_line(f"{word}: {target}: {seen[:LONGEST_SIGHT]} ({spent})"))


def one_line(text: str) -> str:
    """Return a text with everything that could break a line or drive a terminal replaced by `?`."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


class _Deadline:
    """A point in time after which nothing is waited for."""

    def __init__(self, at: float, clock: Clock) -> None:
        self._at = at
        self._clock = clock

    def left(self) -> float:
        """Return the seconds left, more than none. Raises TimeoutError when there are none."""
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


def _try(target: Target, expectations: Sequence[Expectation], deadline: _Deadline) -> tuple[bool, str]:
    """Ask once, and follow redirects; return whether it passed and what was seen."""
    here = target
    for _ in range(MOST_REDIRECTS + 1):
        try:
            status, location, body = _ask(here, deadline)
        except _FAILURES as error:
            return False, str(error) or type(error).__name__
        if status not in _REDIRECTS or location is None:
            return _judge(status, body, expectations)
        there = _same_place(here, location)
        if there is None:
            return False, f"status {status}, a redirect elsewhere, not followed: {location[:SHOWN_BYTES]}"
        here = there
    return False, f"status {status}, more than {MOST_REDIRECTS} redirects"


def _same_place(here: Target, location: str) -> Target | None:
    """Return where a redirect leads, None for another scheme, host or port, or what is no URL."""
    try:
        there = parse_target(urljoin(str(here), location))
    except ValueError:
        return None
    return there if (there.host, there.port) == (here.host, here.port) else None


def _judge(status: int, body: bytes, expectations: Sequence[Expectation]) -> tuple[bool, str]:
    seen = f"status {status}, body {body[:SHOWN_BYTES].decode(errors='replace')!r}"
    if status != 200:
        return False, seen
    try:
        said = json.loads(body, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False, f"{seen}: not JSON"
    if not isinstance(said, dict):
        return False, f"{seen}: no JSON object"
    problems = [problem for expectation in expectations if (problem := expectation.problem(said))]
    return not problems, ": ".join([seen, *problems[:1]])


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _ask(target: Target, deadline: _Deadline) -> tuple[int, str | None, bytes]:
    """Send one GET; return status, Location and body. Raises one of `_FAILURES`."""
    connection = _Connection(target, deadline)
    try:
        # No client that reads environment or files stands between: http.client knows no proxies.
        headers = {"Accept": "application/json", "User-Agent": "userswarm-probe", "Connection": "close"}
        connection.request("GET", target.path, headers=headers)
        with connection.getresponse() as response:
            body = response.read(LARGEST_BODY + 1)
            if len(body) > LARGEST_BODY:
                raise ValueError(f"status {response.status}, a body over {LARGEST_BODY} bytes")
            if response.length:
                raise ValueError(f"status {response.status}, a body that ends {response.length} bytes too early")
            return response.status, response.getheader("Location"), body
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, target: Target, deadline: _Deadline) -> None:
        super().__init__(target.host, target.port)
        self._deadline = deadline

    def connect(self) -> None:
        self.sock = _connect(self.host, self.port, self._deadline)


class _Socket(socket.socket):
    """A socket whose every wait ends with the deadline: a timeout alone starts anew with each byte."""

    deadline: _Deadline

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.deadline.left())
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any) -> None:
        self.settimeout(self.deadline.left())
        super().sendall(*args)


def _connect(host: str, port: int, deadline: _Deadline) -> _Socket:
    failure = OSError(f"{host}: no address")
    addresses = _resolve(host, port, deadline)
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        connected = _Socket(family, kind, protocol)
        connected.deadline = deadline
        try:
            # An address that swallows packets leaves time for those after it.
            connected.settimeout(deadline.left() / (len(addresses) - index))
            connected.connect(address)
        except OSError as error:
            connected.close()
            failure = error
        else:
            return connected
    raise failure


def _resolve(host: str, port: int, deadline: _Deadline) -> list[Any]:
    """Look a name up in a thread of its own: the system's resolver takes no timeout and cannot be interrupted."""
    answers: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, ValueError) as error:
            answers.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left())
    except queue.Empty:
        raise TimeoutError(f"{host}: the name could not be looked up in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
