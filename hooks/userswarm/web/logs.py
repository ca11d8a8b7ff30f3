"""The log of a server: one line for what happened, JSON for machines or text for people."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import IO, Any, Protocol

import orjson

FIELDS = "userswarm_fields"
"""Attribute of a log record: the fields of its line besides time, level and message."""

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_PLAIN = re.compile(r"[^\s\"=\x00-\x1f\x7f]+")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """A line for people: time, level, message, and field=value."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, FIELDS, {}))
        trace = fields.pop("traceback", None)
        if record.exc_info:
            trace = self.formatException(record.exc_info)
        words = [_rfc3339(record.created)[11:23], f"{record.levelname:<7}", record.getMessage()]
        words += [f"{key}={_text(value)}" for key, value in fields.items()]
        return " ".join(words) + (f"\n{trace}" if trace else "")


def make_formatter(log_format: str) -> logging.Formatter:
    """Return the formatter for a setting of LOG_FORMAT."""
    return TextFormatter() if log_format == "text" else JsonFormatter()


class LogSettings(Protocol):
    """What both commands decide about their log."""

    @property
    def log_level(self) -> str: ...

    @property
    def log_format(self) -> str: ...


def configure_logging(settings: LogSettings, stream: IO[str] | None = None) -> None:
    """Send all logs to stderr, or to `stream`, at the level and in the format of the settings."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(make_formatter(settings.log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())


class RequestIds:
    """Ids for requests that bring no sane one of their own: unique in a cluster, cheap, and told apart at a glance."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._prefix, self._pid = "", 0

    def of(self, environ: Mapping[str, Any]) -> str:
        """Return the id of a request: its X-Request-Id where that is short and plain, else a new one."""
        offered = environ.get("HTTP_X_REQUEST_ID", "")
        if offered and _SANE_ID.fullmatch(offered):
            return str(offered)
        if self._pid != os.getpid():  # a worker is a fork: it needs a prefix of its own
            self._prefix, self._pid = os.urandom(4).hex(), os.getpid()
        return f"{self._prefix}-{next(self._numbers)}"


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: object) -> str:
    """Return a value for a text line, so that no value can look like another field or another line."""
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value)
    if isinstance(value, list):
        return json.dumps(value, default=str)
    return str(value).lower() if isinstance(value, bool) else str(value)
