"""Files that are read again when they change."""

from __future__ import annotations

from pathlib import Path

Fingerprint = tuple[int, int, int] | None


def fingerprint(path: Path) -> Fingerprint:
    """Return what differs once a file was replaced, None where there is none.

    A mounted Secret is replaced by swapping a symbolic link, which gives another inode.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
