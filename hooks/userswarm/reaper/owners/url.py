"""Owners from the backend: paged JSON over HTTP.

``GET <url>?limit=1000`` and then ``&cursor=<next>`` until ``next`` is null, each answered with
``{"owners": [{"workspaceId": "...", "userId": "..."}], "next": "..." or null, "total": 12345}``.
workspaceId rises strictly (by code point: COLLATE "C" in PostgreSQL) through all pages, so that a page repeated,
skipped back or shuffled shows; total is the same on every page and the number of entries in all of them, so that
a page lost shows. An ``asOf`` time may say that the list is older than the answer (a cache, a replica).
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from userswarm.reaper.owners import MAX_OWNERS, Owners, OwnersError, collect_owners
from userswarm.reaper.owners.file import read_as_of, read_entries, read_total

PAGE_SIZE = 1000
MAX_PAGES = 100_000
MAX_PAGE_BYTES = 32 * 1024 * 1024
_CHUNK = 65_536
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class UrlOwners:
    """The backend's list at `url` (see `check_url`).

    `timeout` is seconds, for the connection and for each page in all. Redirects are not followed, for they would
    take the token elsewhere, and proxies of the environment are not asked. With `ca_file` no other authority is
    trusted. `token_file` is read for each page, so that a token may be replaced under way.
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout: float = 30.0
    page_size: int = PAGE_SIZE

    def describe(self) -> str:
        parts = urllib.parse.urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    def read(self, now: datetime) -> Owners:
        connection = self._connection()
        moments = [now]
        try:
            owners = collect_owners(self._entries(connection, moments))
        except OwnersError as error:
            raise OwnersError(f"{self.describe()}: {error}", transient=error.transient) from error
        finally:
            connection.close()
        return Owners(owners, min(moments))

    def _entries(self, connection: http.client.HTTPConnection, moments: list[datetime]) -> Iterator[tuple[str, str]]:
        """Yield the entries of all pages, checked, and add to `moments` when each says that it was true."""
        cursor: str | None = None
        last = ""
        count = 0
        total: int | None = None
        for number in range(1, MAX_PAGES + 1):
            page = self._page(connection, cursor, number)
            moments += [page["asOf"]] if page["asOf"] else []
            if total not in (None, page["total"]):
                raise OwnersError(f"page {number}: `total` went from {total} to {page['total']}", transient=True)
            total = page["total"]
            for workspace_id, user_id in page["entries"]:
                if workspace_id <= last:
                    raise OwnersError(
                        f"page {number}: workspace {workspace_id!r} comes after {last!r}: "
                        "a page that is repeated, or not sorted by workspaceId"
                    )
                last = workspace_id
                count += 1
                yield workspace_id, user_id
            cursor = page["next"]
            if cursor is None:
                break
            if not page["entries"]:
                raise OwnersError(f"page {number}: empty, but not the last")
            if count >= page["total"]:
                raise OwnersError(f"page {number}: `total` is {total}, {count} came, and there is more", transient=True)
        else:
            raise OwnersError(f"more than {MAX_PAGES} pages")
        if count != total:
            raise OwnersError(f"`total` is {total}, but {count} came: the list is not whole", transient=True)

    def _page(self, connection: http.client.HTTPConnection, cursor: str | None, number: int) -> dict[str, Any]:
        body = self._get(connection, cursor)
        try:
            page = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise OwnersError(f"page {number}: not JSON, or only half of it: {error}", transient=True) from error
        if not isinstance(page, dict) or not {"owners", "next", "total"} <= page.keys():
            raise OwnersError(f"page {number}: not an object with `owners`, `next` and `total`")
        following = page["next"]
        if following is not None and (not isinstance(following, str) or not following or following == cursor):
            raise OwnersError(f"page {number}: `next` is {following!r:.80}, neither a new cursor nor null")
        total = read_total(page["total"])
        if total > MAX_OWNERS:
            raise OwnersError(f"page {number}: `total` is {total}, more than {MAX_OWNERS}")
        entries = list(_texts(page["owners"], number))
        return {"entries": entries, "next": following, "total": total, "asOf": read_as_of(page)}

    def _get(self, connection: http.client.HTTPConnection, cursor: str | None) -> bytes:
        parts = urllib.parse.urlsplit(self.url)
        query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
        query.append(("limit", str(self.page_size)))
        if cursor is not None:
            query.append(("cursor", cursor))
        target = f"{parts.path or '/'}?{urllib.parse.urlencode(query)}"
        deadline = time.monotonic() + self.timeout
        try:
            connection.request("GET", target, headers=self._headers())
            response = connection.getresponse()
            if response.status != 200:
                raise _refusal(response)
            return _read_body(response, deadline, self.timeout)
        except ssl.SSLCertVerificationError as error:
            raise OwnersError(f"its certificate is not trusted: {error.verify_message}") from error
        except TimeoutError as error:
            raise OwnersError(f"no answer within {self.timeout:g} s", transient=True) from error
        except (http.client.HTTPException, OSError) as error:
            raise OwnersError(f"{type(error).__name__}: {error}", transient=True) from error

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "Cache-Control": "no-cache"}
        if self.token_file is not None:
            headers["Authorization"] = f"Bearer {_read_token(self.token_file)}"
        return headers

    def _connection(self) -> http.client.HTTPConnection:
        parts = urllib.parse.urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=self.timeout)
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ValueError) as error:
            raise OwnersError(f"{self.ca_file}: no certificates can be read from it: {error}") from error
        return http.client.HTTPSConnection(host, parts.port, timeout=self.timeout, context=context)


def check_url(url: str, *, insecure_http: bool = False) -> None:
    """Raise ValueError unless owners may be read from `url`.

    https, or http to this very machine or with `insecure_http`; with a host, without a password or a fragment.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be https://host[:port]/path")
    if not re.fullmatch(r"[!-~]+", url):
        raise ValueError("must be printable ASCII without blanks (percent-encode the rest)")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a password: use --owners-token-file")
    if parts.fragment:
        raise ValueError("must not have a #fragment")
    _ = parts.port  # raises ValueError where it is none
    if parts.scheme == "http" and not (insecure_http or _is_loopback(parts.hostname)):
        raise ValueError(
            "plain http is refused: anyone on the way may forge the list (--owners-insecure-http allows it)"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _texts(owners: object, number: int) -> Iterator[tuple[str, str]]:
    for workspace_id, user_id in read_entries(owners):
        if not isinstance(workspace_id, str) or not isinstance(user_id, str) or not workspace_id or not user_id:
            found = f"workspaceId {workspace_id!r:.80} with userId {user_id!r:.80}"
            raise OwnersError(f"page {number}: {found}: both must be texts, not empty")
        yield workspace_id, user_id


def _read_body(response: http.client.HTTPResponse, deadline: float, timeout: float) -> bytes:
    """Read all of `response`; a source that drips a byte a second meets the deadline all the same."""
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > MAX_PAGE_BYTES:
            raise OwnersError(f"a page is larger than {MAX_PAGE_BYTES} bytes")
        if time.monotonic() > deadline:
            raise OwnersError(f"a page took more than {timeout:g} s", transient=True)
    left = response.length
    # Older Pythons leave an answer that was read to its end by read1 open, and refuse the next one.
    response.close()
    if left:
        raise OwnersError(f"the answer broke off {left} bytes before its end", transient=True)
    return bytes(body)


def _refusal(response: http.client.HTTPResponse) -> OwnersError:
    if 300 <= response.status < 400:
        location = response.headers.get("Location", "nowhere")
        return OwnersError(f"HTTP {response.status}: redirects are not followed (this one leads to {location!r:.200})")
    if response.status in (401, 403):
        return OwnersError(f"HTTP {response.status}: the token is refused, or missing (--owners-token-file)")
    return OwnersError(f"HTTP {response.status} {response.reason}", transient=response.status in _TRANSIENT)


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise OwnersError(f"the token file {path} cannot be read: {type(error).__name__}") from error
    if not re.fullmatch(r"[!-~]+", token):
        raise OwnersError(f"the token file {path} must hold one token: printable ASCII, one line, no blanks")
    return token
