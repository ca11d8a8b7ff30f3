"""Files of one directory on a volume that somebody else may write to as well.

Everything goes through the open directory and never through a symbolic link, so that what a tenant leaves on the
volume cannot lead a write elsewhere. A file is replaced whole or not at all: temporary file, fsync, rename, fsync
of the directory. What is not ours is moved aside before its name is used, under a name that was free.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from userswarm.errors import UserSwarmError

LARGEST = 4 * 1024 * 1024
"""Bytes; a ConfigMap holds 1 MiB, and what a runtime makes of it should not be much more."""

TEMPORARY = ".userswarm-tmp"


class BootstrapError(UserSwarmError):
    """A volume cannot be prepared; the message is one line with the path and the reason."""


class UnusableError(UserSwarmError):
    """There is something under a name, but no file that we would read; the message says what it is."""


class Folder:
    """An open directory; `open_folder` makes one. Every method raises BootstrapError where the system refuses."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._directory = descriptor

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is nothing.

        Raises UnusableError for a symbolic link, for what is no regular file, for more than `LARGEST` bytes, and
        for a file that may not be read.
        """
        with self._naming(name):
            try:
                found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
            except FileNotFoundError:
                return None
            if stat.S_ISLNK(found.st_mode):
                raise UnusableError("is a symbolic link")
            if not stat.S_ISREG(found.st_mode):
                raise UnusableError("is no regular file")
            if found.st_size > LARGEST:
                raise UnusableError(f"is larger than {LARGEST} bytes")
            try:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._directory)
            except PermissionError:
                raise UnusableError("may not be read") from None
            with os.fdopen(descriptor, "rb") as stream:
                return stream.read(LARGEST)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file, or make it, mode 0600; a directory in its place is moved aside."""
        with self._naming(name):
            for place in (TEMPORARY, name):
                if stat.S_ISDIR(self._mode(place)):
                    self.set_aside(place, "broken")
            # Left by a start that was killed.
            with suppress(FileNotFoundError):
                os.unlink(TEMPORARY, dir_fd=self._directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(TEMPORARY, flags, 0o600, dir_fd=self._directory)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.rename(TEMPORARY, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            except OSError:
                # A full volume should not stay fuller than it was.
                os.unlink(TEMPORARY, dir_fd=self._directory)
                raise
            os.fsync(self._directory)

    def protect(self, name: str) -> None:
        """Take a file's permissions back to 0600; its content and its times stay."""
        with self._naming(name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._directory)
            try:
                if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
                    os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)

    def remove(self, name: str) -> None:
        """Delete a file."""
        with self._naming(name):
            os.unlink(name, dir_fd=self._directory)
            os.fsync(self._directory)

    def set_aside(self, name: str, word: str) -> str:
        """Rename whatever is there to ``<name>.<word>-<n>``, the first that is free, and return the new name."""
        with self._naming(name):
            number = 1
            while self._mode(f"{name}.{word}-{number}"):
                number += 1
            aside = f"{name}.{word}-{number}"
            os.rename(name, aside, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            os.fsync(self._directory)
            return aside

    def _mode(self, name: str) -> int:
        """Return what kind of thing has a name, 0 for nothing."""
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return 0

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        with naming(self.path / name):
            yield


@contextmanager
def open_folder(path: Path) -> Iterator[Folder]:
    """Open a directory, made with mode 0700 (and so are those above it) where it is missing.

    Raises BootstrapError where it is a symbolic link: whoever writes to the volume would choose where we write.
    """
    with naming(path):
        if path.is_symlink():
            raise BootstrapError(f"{path}: is a symbolic link, and files are only written to a real directory")
        _make_directory(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what the system says into a BootstrapError that names the path."""
    try:
        yield
    except OSError as error:
        raise BootstrapError(f"{path}: {error.strerror}") from error


def _make_directory(path: Path) -> None:
    if path.is_dir():
        return
    _make_directory(path.parent)
    path.mkdir(0o700)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
