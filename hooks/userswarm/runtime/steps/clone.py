"""Brings a repository into a directory that may have other things in it, and leaves what is there already alone.

It is cloned beside and moved in entry by entry, ``.git`` last: whatever step a crash comes after, the next start
begins anew and ends where this one would have, and whoever sees ``.git`` sees all of it. A file that was there before
us stays, and git shows it as changed.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from userswarm.runtime.folder import BootstrapError, naming, open_folder
from userswarm.runtime.steps.pull import pull
from userswarm.runtime.steps.remote import Remote, opened
from userswarm.runtime.steps.tools import Tools, open_tools

STAGING = ".userswarm-clone"

Say = Callable[[str], None]


def bring(remote: Remote, directory: Path, *, update: bool, say: Say) -> None:
    """Clone the repository into the directory; where there is a clone already, pull if asked to.

    A clone that is there is a user's work: that it cannot be pulled is said, and no failure. Raises BootstrapError.
    """
    with open_tools() as plain:
        # Made where it is missing, refused where it is a symbolic link.
        with open_folder(directory):
            is_there = os.path.lexists(directory / ".git")
        if is_there and not update:
            say(f"{directory}: there already, left as it is")
            return
        try:
            tools = opened(plain, remote)
            if is_there:
                pull(tools, remote, directory, say)
            else:
                _clone(tools, remote, directory, say)
        except BootstrapError as error:
            if not is_there:
                raise
            say(f"{directory}: left as it is, not pulled: {error}")


def _clone(tools: Tools, remote: Remote, directory: Path, say: Say) -> None:
    staging = directory / STAGING
    with naming(staging):
        _remove(staging)
    words = ["git", "clone", "--quiet"]
    if remote.branch:
        words += ["--single-branch", f"--branch={remote.branch}"]
    if remote.depth:
        words += [f"--depth={remote.depth}"]
    tools.run(*words, "--", remote.url, str(staging))
    with naming(directory):
        kept = list(_move_in(staging, directory))
        (staging / ".git").rename(directory / ".git")
        _remove(staging)
    for path in kept:
        say(f"{path}: kept, it was there before and is not what was cloned")
    say(f"{directory}: cloned from {remote.url}{f', branch {remote.branch}' if remote.branch else ''}")


def _move_in(source: Path, target: Path, top: bool = True) -> Iterator[Path]:
    """Move what is not there; yield what is, and is something else."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if top and entry.name == ".git":
            continue
        if not os.path.lexists(place):
            entry.rename(place)
        elif _is_directory(entry) and _is_directory(place):
            yield from _move_in(entry, place, top=False)
        elif not _is_same(entry, place):
            yield place


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _remove(path: Path) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
