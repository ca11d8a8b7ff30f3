"""The WSGI application: Envoy's checks below /check, nginx's at /auth, and whether the gate is alive and ready.

Checks go around Flask, which would cost more than all of a decision. The only place that reads the clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from flask import Flask, Response

from userswarm.gate.answers import (
    CODE_HEADER,
    REQUEST_ID_HEADER,
    STATUS_LINES,
    TOO_EARLY,
    TOO_EARLY_HEADER,
    UPSTREAM_HEADER,
    USER_HEADER,
    WORKSPACE_HEADER,
    Case,
    Headers,
    Refused,
    error_body,
)
from userswarm.gate.audit import Audit
from userswarm.gate.decide import Admitted, Gate
from userswarm.gate.metrics import Metrics
from userswarm.web.logs import RequestIds

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger("userswarm.gate")

CHECK = "/check"
AUTH = "/auth"

_TOO_EARLY = f"HTTP_{TOO_EARLY_HEADER.upper().replace('-', '_')}"

# All that a header shows as it is; the rest, % too, is percent-encoded UTF-8.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


class Checks:
    """The WSGI application for both kinds of check; everything else goes to Flask."""

    def __init__(self, flask: WSGIApplication, gate: Gate, audit: Audit, metrics: Metrics) -> None:
        self._flask = flask
        self._gate = gate
        self._audit = audit
        self._metrics = metrics
        self._ids = RequestIds()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        target = environ.get("RAW_URI", "")
        if target.startswith(CHECK):
            start = _for_our_envoy(start_response) if _TOO_EARLY in environ else start_response
            return self._check(environ, start, environ["REQUEST_METHOD"], target.removeprefix(CHECK))
        if target == AUTH:
            method, uri = environ.get("HTTP_X_ORIGINAL_METHOD", ""), environ.get("HTTP_X_ORIGINAL_URI", "")
            return self._check(environ, _for_nginx(start_response), method, uri, end_is_told=False)
        return self._flask(environ, start_response)

    def _check(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        method: str,
        target: str,
        *,
        end_is_told: bool = True,
    ) -> Iterable[bytes]:
        began = perf_counter()
        case = Case(
            request_id=self._ids.of(environ),
            method=method,
            target=target,
            host=environ.get("HTTP_HOST", ""),
            authorization=environ.get("HTTP_AUTHORIZATION", ""),
            origin=environ.get("HTTP_ORIGIN", ""),
            upgrade=environ.get("HTTP_UPGRADE", ""),
            end_is_told=end_is_told,
        )
        body = b""
        try:
            code, reason, headers = 200, "owner", _headers(case, self._gate.decide(case))
        except Refused as refusal:
            code, reason, headers = refusal.code, refusal.reason, refusal.headers
            body = error_body(str(refusal), case.request_id)
        except Exception:
            logger.exception("a decision failed; the request is not let through")
            code, reason, headers = 500, "bug", []
            body = error_body("internal error", case.request_id)
        seconds = perf_counter() - began
        try:
            self._audit.write(case, now=datetime.now(UTC), code=code, reason=reason, seconds=seconds)
        except OSError:
            logger.exception("a decision cannot be told to audit; the request is not let through")
            code, reason, headers = 503, "no-audit", []
            body = error_body("the request cannot be recorded now", case.request_id)
        self._metrics.decided(code, reason, seconds, case.held)
        own = [(REQUEST_ID_HEADER, case.request_id), ("Content-Length", str(len(body)))]
        if body:
            own += [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        start_response(STATUS_LINES[code], [*own, *headers])
        return [body]


def create_app(gate: Gate, audit: Audit, metrics: Metrics, is_ready: Callable[[], bool]) -> Flask:
    """Return the application; `is_ready` tells whether it can let anybody in."""
    app = Flask("userswarm.gate", static_folder=None)
    app.wsgi_app = Checks(app.wsgi_app, gate, audit, metrics)  # type: ignore[method-assign]

    @app.get("/healthz")
    def healthz() -> Response:
        return _json(200, {"alive": True})

    @app.get("/readyz")
    def readyz() -> Response:
        ready = is_ready()
        return _json(200 if ready else 503, {"ready": ready})

    return app


def _headers(case: Case, admitted: Admitted) -> Headers:
    """Return what overwrites the request's own headers; a user's id may be any text, a header may not."""
    return [
        (UPSTREAM_HEADER, admitted.upstream),
        (USER_HEADER, _as_header(case.user)),
        (WORKSPACE_HEADER, _as_header(case.workspace)),
    ]


def _as_header(text: str) -> str:
    return quote(text, safe=_PLAIN)


def _for_our_envoy(start_response: StartResponse) -> StartResponse:
    """Return what answers our Envoy, which hears no 503."""

    def start(status: str, headers: Headers, *more: Any) -> Callable[[bytes], object]:
        return start_response(STATUS_LINES[TOO_EARLY] if status == STATUS_LINES[503] else status, headers, *more)

    return start


def _for_nginx(start_response: StartResponse) -> StartResponse:
    """Return what answers nginx, whose auth_request takes 2xx, 401 and 403 alone: the code itself is in a header."""

    def start(status: str, headers: Headers, *more: Any) -> Callable[[bytes], object]:
        code = status.partition(" ")[0]
        if code not in {"200", "401"}:
            status = STATUS_LINES[403]
        return start_response(status, [*headers, (CODE_HEADER, code)], *more)

    return start


def _json(code: int, document: object) -> Response:
    return Response(orjson.dumps(document), code, content_type="application/json")
