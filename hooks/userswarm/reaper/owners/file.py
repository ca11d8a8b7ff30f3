"""Owners from a file: JSON or CSV, by its first character.

JSON   ``{"owners": [{"workspaceId": "...", "userId": "..."}], "total": 1, "asOf": "2026-01-31T12:00:00Z"}``
       (total and asOf may be left out), or the bare list.
CSV    a first line ``workspaceId,userId`` (or ``workspace_id,user_id``, as psql --csv writes it), then a line for
       each workspace; the last line ends in a newline, and may be ``# total: N``.
A file says nothing about what came after it: it is true at its modification time, or at asOf if that is older.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from userswarm.reaper.owners import Owners, OwnersError, collect_owners
from userswarm.reaper.swarm import MalformedError, timestamp

MAX_BYTES = 512 * 1024 * 1024

_HEADERS = (["workspaceId", "userId"], ["workspace_id", "user_id"])


@dataclass(frozen=True, slots=True)
class FileOwners:
    """The owners that `path` lists; it is opened afresh for each read."""

    path: Path

    def describe(self) -> str:
        return f"file {self.path}"

    def read(self, now: datetime) -> Owners:
        try:
            with self.path.open("rb") as stream:
                modified = datetime.fromtimestamp(os.fstat(stream.fileno()).st_mtime, tz=UTC)
                body = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise OwnersError(f"{self.path}: {error.strerror or error}") from error
        if len(body) > MAX_BYTES:
            raise OwnersError(f"{self.path}: larger than {MAX_BYTES} bytes")
        try:
            if body.lstrip()[:1] in (b"{", b"["):
                owners, as_of = _read_json(body)
            else:
                owners, as_of = _read_csv(body), None
        except OwnersError as error:
            raise OwnersError(f"{self.path}: {error}") from error
        return Owners(owners, min(moment for moment in (now, modified, as_of) if moment))


def read_entries(entries: object) -> Iterator[tuple[object, object]]:
    """Yield (workspace id, user id) of a JSON list of owners, or raise OwnersError where it is none."""
    if not isinstance(entries, list):
        raise OwnersError("`owners` must be a list")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise OwnersError(f"entry {number} is {entry!r:.80}, not an object with workspaceId and userId")
        yield entry.get("workspaceId"), entry.get("userId")


def read_as_of(document: dict[str, Any]) -> datetime | None:
    """Return the document's asOf, None where it has none, or raise OwnersError where it is no time."""
    if document.get("asOf") is None:
        return None
    try:
        return timestamp(document["asOf"], "asOf")
    except MalformedError as error:
        raise OwnersError(str(error)) from error


def read_total(value: object) -> int:
    """Return `value` if it is a count, else raise OwnersError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise OwnersError(f"`total` is {value!r:.80}, not a whole number")
    return value


def _read_json(body: bytes) -> tuple[dict[str, str], datetime | None]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise OwnersError(f"not JSON, or only half of it: {error}") from error
    if isinstance(document, list):
        document = {"owners": document}
    if document.get("next") is not None:
        raise OwnersError(f"`next` is {document['next']!r:.80}: this is one page of a list, not the list")
    owners = collect_owners(read_entries(document.get("owners")))
    if "total" in document and read_total(document["total"]) != len(owners):
        raise OwnersError(f"`total` says {document['total']} owners, and {len(owners)} are listed")
    return owners, read_as_of(document)


def _read_csv(body: bytes) -> dict[str, str]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OwnersError(f"not UTF-8: {error}") from error
    if not text.strip():
        raise OwnersError("the file is empty")
    if not text.endswith("\n"):
        raise OwnersError("the last line does not end in a newline: it may be half of one")
    total = re.search(r"(?:^|\n)# total: ([0-9]{1,9})\r?\n\Z", text)
    owners = collect_owners(_read_rows(text[: total.start() + 1] if total else text))
    if total and int(total[1]) != len(owners):
        raise OwnersError(f"the last line says {total[1]} owners, and {len(owners)} are listed")
    return owners


def _read_rows(text: str) -> Iterator[tuple[object, object]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows)
        if header not in _HEADERS:
            raise OwnersError(
                f"the first line is {','.join(header)!r:.80}, not workspaceId,userId (and the file is no JSON)"
            )
        for row in rows:
            if len(row) != 2 or any(cell != cell.strip() for cell in row):
                raise OwnersError(
                    f"line {rows.line_num}: {row!r:.80} is not workspaceId,userId without blanks around them"
                )
            yield row[0], row[1]
    except csv.Error as error:
        raise OwnersError(f"line {rows.line_num}: {error}") from error
