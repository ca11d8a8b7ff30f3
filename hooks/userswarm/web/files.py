"""Files that are read again when they change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from userswarm.errors import SettingsError

logger = logging.getLogger(__name__)

Fingerprint = tuple[int, int, int] | None
T = TypeVar("T")

_INTERVAL = 1.0


def fingerprint(path: Path) -> Fingerprint:
    """Return what differs once a file was replaced, None where there is none.

    A mounted Secret is replaced by swapping a symbolic link, which gives another inode.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class TokenFile(Generic[T]):
    """The tokens of one file, which is looked at no more than once a second.

    A file that cannot be used stops the start; later on the tokens read last stay valid, loudly. `read` returns what
    the file says, and raises OSError or ValueError, in words without its text.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], tuple[T, ...]],
        variable: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file; raises SettingsError, naming the variable, where it cannot be used."""
        self._path = path
        self._read = read
        self._monotonic = monotonic
        self._seen = fingerprint(path)
        self._look_again = monotonic() + _INTERVAL
        try:
            self._tokens = read(path)
        except (OSError, ValueError) as error:
            raise SettingsError(f"{variable}={str(path)!r}: {error}") from error

    def tokens(self) -> tuple[T, ...]:
        """Return the tokens that are valid now."""
        now = self._monotonic()
        if now >= self._look_again:
            self._look_again = now + _INTERVAL
            self._refresh()
        return self._tokens

    def _refresh(self) -> None:
        seen = fingerprint(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._tokens = self._read(self._path)
        except (OSError, ValueError) as error:
            logger.error("cannot read the token file again, the tokens read before stay valid: %s", error)  # noqa: TRY400
        else:
            logger.info("read the token file again: %d valid tokens", len(self._tokens))
