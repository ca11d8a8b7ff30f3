"""What an answer says, and which of our errors one that refuses is."""

from __future__ import annotations

import contextlib
import email.utils
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

from userswarm.backend.errors import ApiStatusError, ConflictError, ExpiredError, UnreachableError
from userswarm.wire.k8s import Observed


@contextlib.contextmanager
def closing(response: Any) -> Iterator[None]:
    """Give the connection back to the pool once its answer is read whole; drop it otherwise."""
    try:
        yield
    except BaseException:
        response.close()
        raise
    finally:
        response.release_conn()


def read(what: str, response: Any) -> bytes:
    """Return the text of an answer; UnreachableError where it breaks off."""
    import urllib3

    try:
        return bytes(response.read())
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise UnreachableError(what, error) from error


def refusal(what: str, response: Any, text: bytes) -> ApiStatusError:
    """Return the error that an answer with a bad status is."""
    try:
        status = json.loads(text)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        # A proxy in front of the API server, say: its text is all there is.
        status = {"message": text[:500].decode(errors="replace").strip()}
    return status_error(what, int(response.status), status, response.headers.get("Retry-After"))


def status_error(what: str, code: int, status: Observed, retry_after: str | None) -> ApiStatusError:
    """Return the error that a Status object tells; `retry_after` is the header of that name."""
    kind = {409: ConflictError, 410: ExpiredError}.get(code, ApiStatusError)
    details = status.get("details")
    details = details if isinstance(details, dict) else {}
    return kind(
        what,
        code,
        reason=str(status.get("reason") or ""),
        message=str(status.get("message") or ""),
        details=details,
        retry_after=_retry_after(retry_after) if retry_after else details.get("retryAfterSeconds"),
    )


def _retry_after(text: str) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3)."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def is_permanent(error: Exception) -> bool:
    """Tell whether a failed connection fails the next time too: a certificate or an address that cannot be used."""
    import urllib3

    if isinstance(error, urllib3.exceptions.LocationValueError | urllib3.exceptions.URLSchemeUnknown):
        return True
    return isinstance(error, urllib3.exceptions.SSLError) and any(
        isinstance(part, ssl.SSLCertVerificationError) for part in error.args
    )
