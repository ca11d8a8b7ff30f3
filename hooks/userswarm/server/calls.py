"""One hook call, from the bytes of a request to the bytes of its answer.

A WSGI application without a framework in between: dispatching alone would cost a quarter of what a settled
sync may take. The checks come in the order of what they cost us and tell the caller: token, content type,
length, free slot, JSON, and only then the hook.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson
from gevent import Timeout

from userswarm.errors import CannotFreezeError, RequestError, WrongParentError
from userswarm.server.auth import Tokens
from userswarm.server.changes import compute_change
from userswarm.server.errors import STATUS_LINES, Headers, Refused, error_body
from userswarm.server.gathering import Gatherer, Hook
from userswarm.server.gathering import answer as ask_hook
from userswarm.server.limits import Slots, check_declared_length, parse_body, read_body
from userswarm.server.logs import Journal
from userswarm.server.templates import OfferedTemplates
from userswarm.spec.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from userswarm.server.metrics import Metrics

logger = logging.getLogger(__name__)

Clock = Callable[[], datetime]


class HookCalls:
    """The WSGI application behind /sync and /finalize."""

    def __init__(
        self,
        settings: Settings,
        hooks: Mapping[str, Hook],
        *,
        clock: Clock,
        tokens: Tokens | None,
        journal: Journal,
        metrics: Metrics | None,
        gatherers: Callable[[], Gatherer],
    ) -> None:
        self._settings = settings
        self._offered = OfferedTemplates(settings)
        self._hooks = hooks
        self._clock = clock
        self._tokens = tokens
        self._journal = journal
        self._metrics = metrics
        self._gatherers = gatherers
        self._slots = Slots(settings.max_concurrent)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = perf_counter()
        hook = environ["PATH_INFO"][1:]
        request: Any = None
        bytes_in = 0
        headers: Headers = []
        try:
            self._admit(environ)
            self._slots.take()
            try:
                settings = self._offered.settings()
                body = self._receive(environ)
                bytes_in = len(body)
                request = parse_body(body, settings.max_json_depth, settings.max_children)
                now = self._clock()
                response = ask_hook(self._hooks[hook], request, settings, now, self._gatherers())
                answer = orjson.dumps(response)
            finally:
                self._slots.give()
        except Refused as refusal:
            code, headers = refusal.code, refusal.headers
            answer = error_body(str(refusal), field=refusal.field)
            self._journal.refused(hook, environ, code, str(refusal))
        except RequestError as error:
            code = 400
            answer = error_body(str(error), field=error.field)
            self._journal.refused(hook, environ, code, str(error))
        except WrongParentError as error:
            code = 422
            answer = error_body(str(error))
            self._journal.refused(hook, environ, code, str(error))
        except Exception as error:
            # Whatever went wrong: after a 500 Metacontroller changes nothing.
            code = 500
            request_id = self._journal.request_id(environ)
            message = str(error) if isinstance(error, CannotFreezeError) else "internal error"
            answer = error_body(message, requestId=request_id)
            self._journal.failed(hook, request_id, _parent(request), error, seconds=perf_counter() - began)
        else:
            code = 200
            self._tell(hook, environ, request, response, now, perf_counter() - began, bytes_in, len(answer))
        if self._metrics is not None:
            self._metrics.called(hook, code, seconds=perf_counter() - began, bytes_in=bytes_in)
        start_response(
            STATUS_LINES[code],
            [("Content-Type", "application/json"), ("Content-Length", str(len(answer))), *headers],
        )
        return _send(answer, self._settings.request_timeout)

    def _admit(self, environ: WSGIEnvironment) -> None:
        """Check what a request's head tells, before its body is waited for; raises Refused (401, 415, 411, 413)."""
        if self._tokens is not None and not self._tokens.accept(environ.get("HTTP_AUTHORIZATION", "")):
            raise Refused(401, "a valid bearer token is required", [("WWW-Authenticate", "Bearer")])
        if environ.get("CONTENT_TYPE") != "application/json":
            check_content_type(environ)
        if "HTTP_CONTENT_ENCODING" in environ and environ["HTTP_CONTENT_ENCODING"].lower() != "identity":
            raise Refused(415, "Content-Encoding: only identity is accepted")
        check_declared_length(environ, self._settings.max_body_bytes)

    def _receive(self, environ: WSGIEnvironment) -> bytes:
        """Read the body; raises Refused (400, 408)."""
        seconds = self._settings.request_timeout
        try:
            with Timeout(seconds):
                return read_body(environ, self._settings.max_body_bytes)
        except Timeout:
            raise Refused(408, f"the body did not arrive within {seconds} s") from None

    def _tell(
        self,
        hook: str,
        environ: WSGIEnvironment,
        request: Mapping[str, Any],
        response: Mapping[str, Any],
        now: datetime,
        seconds: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        try:
            parent = _parent(request)
            change = compute_change(request, response)
            if self._metrics is not None:
                self._metrics.changed(hook, parent, change, now)
            self._journal.answered(
                hook, environ, parent, change, seconds=seconds, bytes_in=bytes_in, bytes_out=bytes_out
            )
        except Exception:
            logger.exception("cannot tell what an answer changed; the answer itself is fine")


def _send(answer: bytes, seconds: float) -> Iterator[bytes]:
    """Hand the answer to gunicorn; a client that does not take it in time loses the connection."""
    with Timeout(seconds, ConnectionResetError(errno.ECONNRESET, f"the answer was not taken within {seconds} s")):
        yield answer


def check_content_type(environ: Mapping[str, Any]) -> None:
    """Raise Refused (415) where a body is not declared as JSON; parameters such as a charset do not matter."""
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refused(415, "Content-Type: must be application/json")


def _parent(request: object) -> Mapping[str, Any]:
    parent = request.get("parent") if isinstance(request, dict) else None
    return parent if isinstance(parent, dict) else {}
