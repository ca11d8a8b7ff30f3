"""One GET to a swarm's Service. What answers there is the user's program: it is believed nothing, and costs little.

No redirect is followed, no credential is sent, nothing is kept. One limit of time holds for all of it, from the name's
lookup to the last byte, and one of bytes for all that is read.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any

from gevent import Timeout, socket

from userswarm.server.gathering import HttpNeed, Unavailable
from userswarm.spec.setting_readers import DNS_LABEL
from userswarm.web.addresses import can_be_service

MOST_BODY = 64 * 1024
_MOST_HEAD = 16 * 1024

_PATH = re.compile(r"/[!-~]*")

_TOO_LARGE = "the answer is too large"
_TOO_SHORT = "the answer ends too early"

_REFUSED = f"no answer: {os.strerror(errno.ECONNREFUSED)}"
_UNAVAILABLE = 503


def ask(need: HttpNeed, proxy: tuple[str, int] | None) -> Mapping[str, Any]:
    """Return `status` and `body`, or the `error` of the Service; raises Unavailable where the fault is not its own."""
    seconds = need["timeoutSeconds"]
    try:
        with Timeout(seconds):
            return _get(need, proxy)
    except Timeout:
        return {"error": f"no answer within {seconds} s"}
    except HTTPException as error:
        # What http.client says quotes the answer.
        return {"error": str(error) if str(error) in {_TOO_LARGE, _TOO_SHORT} else "the answer is not HTTP"}
    except OSError as error:
        return {"error": f"no answer: {error.strerror or error}"}


def is_vacant(said: Mapping[str, Any]) -> bool:
    """Tell whether nobody was there to answer: a Service without endpoints refuses, and a proxy before it says 503."""
    return said.get("status") == _UNAVAILABLE or said.get("error") == _REFUSED


def _get(need: HttpNeed, proxy: tuple[str, int] | None) -> Mapping[str, Any]:
    host, port, path = f"{need['service']}.{need['namespace']}.svc", need["port"], need["path"]
    if not DNS_LABEL.fullmatch(need["service"]) or not DNS_LABEL.fullmatch(need["namespace"]):
        raise Unavailable(f"{host} is no Service")
    if not _PATH.fullmatch(path):
        raise Unavailable(f"{path!r} is no path: it must begin with / and be printable ASCII without blanks")
    with _connect(host, port, proxy) as sock:
        target = f"http://{host}:{port}{path}" if proxy else path
        lines = (
            f"GET {target} HTTP/1.1",
            f"Host: {host}:{port}",
            "User-Agent: userswarm",
            "Accept: application/json, */*",
            "Accept-Encoding: identity",
            "Connection: close",
        )
        sock.sendall("".join(f"{line}\r\n" for line in lines).encode("ascii") + b"\r\n")
        response = HTTPResponse(_Reading(sock), method="GET")  # type: ignore[arg-type] # all it needs of a socket
        response.begin()
        body = response.read(MOST_BODY + 1)
    if len(body) > MOST_BODY:
        raise HTTPException(_TOO_LARGE)
    if response.length:
        raise HTTPException(_TOO_SHORT)
    return {"status": response.status, "body": body.decode("utf-8", "replace")}


def _connect(host: str, port: int, proxy: tuple[str, int] | None) -> socket.socket:
    if proxy is not None:
        try:
            return socket.create_connection(proxy, timeout=None)
        except OSError as error:
            raise Unavailable(f"the proxy for Services cannot be reached: {error}") from error
    try:
        sock = socket.create_connection((host, port), timeout=None)
    except socket.gaierror as error:
        raise Unavailable(f"{host} cannot be resolved: {error.strerror}") from error
    peer = sock.getpeername()[0]
    if not can_be_service(peer):
        sock.close()
        raise OSError(f"{host} leads to {peer}, which is no Service")
    return sock


class _Reading(io.RawIOBase):
    """A socket as http.client reads it, to so many bytes and no further."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = _MOST_HEAD + MOST_BODY

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._sock.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise HTTPException(_TOO_LARGE)
        return int(count)
