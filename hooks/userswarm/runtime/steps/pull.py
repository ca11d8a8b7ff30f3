"""Pulls into a clone whose owner may have written anything into it, with a secret at hand that is not its owner's.

So git never reads the clone's own configuration, hooks or attributes, which name programs to run: it works in a
repository of ours, lent the clone's objects, index and files. Of the clone we read, as text, what is checked out; in
the end we write, as text, where its branch is. Only what can be fast-forwarded moves; anything else stays, and is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from userswarm.runtime.folder import BootstrapError, UnusableError, naming, open_folder
from userswarm.runtime.steps.remote import BRANCH, Remote
from userswarm.runtime.steps.tools import Tools

_HEAD = re.compile(r"ref: refs/heads/([!-~]+)\n?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_UNDER_WAY = (
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "rebase-merge",
    "rebase-apply",
    "BISECT_LOG",
    "index.lock",
)


@dataclass(frozen=True, slots=True)
class _CheckedOut:
    branch: str
    commit: str
    shallow: str


def pull(tools: Tools, remote: Remote, directory: Path, say: Callable[[str], None]) -> None:
    """Fast-forward the clone's branch, and its files; raise BootstrapError, with nothing moved, where that fails."""
    place = directory / ".git"
    now = _look(place)
    branch = remote.branch or now.branch
    if now.branch != branch:
        raise BootstrapError(f"branch {now.branch} is checked out, not {branch}")
    ours = tools.scratch / "repository"
    lent = {
        "GIT_DIR": str(ours),
        "GIT_WORK_TREE": str(directory),
        "GIT_OBJECT_DIRECTORY": str(place / "objects"),
        "GIT_INDEX_FILE": str(place / "index"),
    }
    tracked = f"refs/remotes/origin/{branch}"
    tools.run("git", "init", "--quiet", "--template=", f"--initial-branch={branch}", more=lent)
    if now.shallow:
        (ours / "shallow").write_text(now.shallow, encoding="ascii")
    tools.run("git", "update-ref", "HEAD", now.commit, more=lent)
    tools.run("git", "fetch", "--quiet", "--no-tags", "--", remote.url, f"+refs/heads/{branch}:{tracked}", more=lent)
    found = tools.run("git", "rev-parse", tracked, more=lent).strip()
    if found == now.commit:
        say(f"{directory}: up to date with {remote.url}, branch {branch}")
        return
    tools.run("git", "merge", "--quiet", "--ff-only", tracked, more=lent)
    if now.shallow:
        shallow = ours / "shallow"
        _write(place / "shallow", shallow.read_text(encoding="ascii") if shallow.exists() else "")
    _write(place / tracked, f"{found}\n")
    _write(place / "refs/heads" / branch, f"{tools.run('git', 'rev-parse', 'HEAD', more=lent).strip()}\n")
    say(f"{directory}: pulled from {remote.url}, branch {branch}: {now.commit[:12]} to {found[:12]}")


def _look(place: Path) -> _CheckedOut:
    """Return what is checked out, without git; raise BootstrapError for anything out of the ordinary."""
    if place.is_symlink() or not place.is_dir():
        raise BootstrapError(".git is no directory")
    if under_way := [name for name in _UNDER_WAY if (place / name).exists()]:
        raise BootstrapError(f"something is under way there: .git/{under_way[0]}")
    if (place / "index").is_symlink() or (place / "objects").is_symlink():
        raise BootstrapError(".git/index or .git/objects is a symbolic link")
    head = _HEAD.fullmatch(_read(place / "HEAD"))
    if head is None or not BRANCH.fullmatch(head[1]):
        raise BootstrapError("no branch is checked out")
    branch = head[1]
    commit = _read(place / "refs/heads" / branch).strip() or _packed(place, branch)
    if not _COMMIT.fullmatch(commit):
        raise BootstrapError(f"branch {branch} has no commit that can be read")
    shallow = _read(place / "shallow")
    if not all(_COMMIT.fullmatch(line) for line in shallow.splitlines()):
        raise BootstrapError(".git/shallow cannot be read")
    return _CheckedOut(branch, commit, shallow)


def _packed(place: Path, branch: str) -> str:
    lines = (line.split(" ") for line in _read(place / "packed-refs").splitlines())
    return next((words[0] for words in lines if words[1:] == [f"refs/heads/{branch}"]), "")


def _read(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    try:
        with open_folder(path.parent) as folder:
            return (folder.read(path.name) or b"").decode("ascii", errors="replace")
    except UnusableError as error:
        raise BootstrapError(f"{path}: {error}") from None


def _write(path: Path, text: str) -> None:
    with naming(path), open_folder(path.parent) as folder:
        folder.write(path.name, text.encode("ascii"))
