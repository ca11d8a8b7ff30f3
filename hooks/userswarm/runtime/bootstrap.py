"""Prepares a swarm's volume before its runtime starts, as the init container of its Pod.

The rendered config.toml is merged into the live one. The other rendered files are copied beside it, exactly, and
into the workspace, where the runtime reads them and may edit them: an edited copy is never written over. Whatever
step a crash comes after, the next start ends where this one would have. For that, two records beside the live file
first claim what is about to be written, and in the end say what was: ``.config.toml.rendered``, the base of the
next merge, and ``.userswarm-files``, the checksums of our copies.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from userswarm.runtime.config_merge import Table, merge_config, parse_config, union
from userswarm.runtime.folder import LARGEST, BootstrapError, Folder, UnusableError, naming, open_folder

OWNER_FILE = ".userswarm-owner"
FILES_RECORD = ".userswarm-files"

Say = Callable[[str], None]
Checksums = dict[str, set[str]]

# The names that a ConfigMap's keys can have, so also no path and nothing above the directory.
_NAME = re.compile(r"(?!\.\.|\.\Z)[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the ConfigMap holds: config.toml as text and as values, and the other files by name."""

    text: str
    table: Table
    files: Mapping[str, bytes]


def bootstrap(config: Path, live: Path, workspace: Path, owner: str | None, say: Say) -> None:
    """Bring the volume up to what is rendered; `say` gets one line for each thing done.

    config, live: the rendered and the live config.toml; the rendered files beside them belong to them.
    owner: whose volume this has to be; recorded at the first start, None neither checks nor records.
    Raises BootstrapError: for unreadable renderings and another owner's volume with nothing touched.
    """
    rendered = read_rendered(config, live.name)
    with open_folder(live.parent) as home:
        if owner is not None:
            _claim_volume(home, owner, say)
        _place_config(home, live.name, rendered, say)
        with open_folder(workspace) as desk:
            _place_files(home, desk, live.name, rendered.files, say)


def read_rendered(config: Path, live_name: str) -> Rendered:
    """Read the directory of `config`; names that begin with ``..`` are the ConfigMap volume's own.

    Raises BootstrapError where something there cannot be used.
    """
    contents: dict[str, bytes] = {}
    with naming(config.parent):
        found = sorted(path for path in config.parent.iterdir() if not path.name.startswith(".."))
    for path in found:
        with naming(path):
            if not path.is_file():
                continue
            with path.open("rb") as stream:
                contents[path.name] = stream.read(LARGEST + 1)
        if len(contents[path.name]) > LARGEST:
            raise BootstrapError(f"{path}: is larger than {LARGEST} bytes")
        if path != config and not _may_be_rendered(path.name, live_name):
            raise BootstrapError(f"{path}: no file can be rendered under this name")
    if config.name not in contents:
        raise BootstrapError(f"{config}: is no file")
    try:
        text, table = parse_config(contents.pop(config.name))
    except ValueError as error:
        raise BootstrapError(f"{config}: {error}") from None
    return Rendered(text, table, contents)


def _may_be_rendered(name: str, live_name: str) -> bool:
    reserved = name in (live_name, _base_name(live_name)) or name.startswith((".userswarm-", f"{live_name}.broken-"))
    return bool(_NAME.fullmatch(name)) and not reserved


def _base_name(live_name: str) -> str:
    return f".{live_name}.rendered"


def _claim_volume(home: Folder, owner: str, say: Say) -> None:
    """Refuse another owner's volume. The marker is against mix-ups: who runs on the volume could change it."""
    try:
        recorded = home.read(OWNER_FILE)
    except UnusableError as error:
        raise BootstrapError(f"{home.path / OWNER_FILE}: {error}, so nobody knows whose volume this is") from None
    if recorded is None:
        home.write(OWNER_FILE, f"{owner}\n".encode())
        say(f"{OWNER_FILE}: written, this volume now belongs to {owner}")
    elif recorded.strip() != owner.encode():
        raise BootstrapError(f"{home.path / OWNER_FILE}: the volume belongs to another owner; nothing was touched")


def _place_config(home: Folder, name: str, rendered: Rendered, say: Say) -> None:
    live = _read_live(home, name, say)
    base = _read_base(home, name) if live is not None else {}
    result = rendered.text if live is None else merge_config(base, rendered.table, live)
    record = rendered.text.encode()
    if result == live:
        home.protect(name)
        say(f"{name}: unchanged")
    else:
        claim = union(base, rendered.table)
        if claim != base:
            # Should we be killed behind the live file, the record still knows all that we put into it.
            _write_if_other(home, _base_name(name), tomli_w.dumps(claim).encode() if base else record)
        home.write(name, result.encode())
        say(f"{name}: {'written' if live is None else 'merged'}")
    _write_if_other(home, _base_name(name), record)


def _read_live(home: Folder, name: str, say: Say) -> str | None:
    """Return the text of the live file; one that cannot be read is moved aside, as if there were none."""
    try:
        content = home.read(name)
        return None if content is None else parse_config(content)[0]
    except UnusableError as error:
        reason = str(error)
    except ValueError as error:
        reason = f"does not parse: {error}"
    say(f"{name}: kept as {home.set_aside(name, 'broken')}, because it {reason}")
    return None


def _read_base(home: Folder, name: str) -> Table:
    """Return what was rendered last time; nothing where that cannot be read: then nothing is taken out."""
    try:
        return parse_config(home.read(_base_name(name)) or b"")[1]
    except (UnusableError, ValueError):
        return {}


def _write_if_other(home: Folder, name: str, content: bytes) -> None:
    try:
        current = home.read(name)
    except UnusableError:
        current = None
    if current != content:
        home.write(name, content)


def _place_files(home: Folder, desk: Folder, live_name: str, files: Mapping[str, bytes], say: Say) -> None:
    known = _read_checksums(home, live_name)
    final = {name: {_checksum(content)} for name, content in files.items()}
    claim = {name: known.get(name, set()) | final.get(name, set()) for name in known | final}
    if claim != known:
        _write_checksums(home, claim)
    for name, content in files.items():
        _place_in_workspace(desk, name, content, claim[name], say)
        _place_beside(home, name, content, claim[name], say)
    for name in sorted(known.keys() - files.keys()):
        for folder, label in ((desk, f"workspace/{name}"), (home, name)):
            _take_away(folder, name, label, known[name], say)
    if final != claim:
        _write_checksums(home, final)


def _place_in_workspace(desk: Folder, name: str, content: bytes, ours: set[str], say: Say) -> None:
    try:
        current = desk.read(name)
    except UnusableError as error:
        say(f"workspace/{name}: kept, it {error}")
        return
    if current is None or (current != content and _checksum(current) in ours):
        desk.write(name, content)
        say(f"workspace/{name}: written")
    elif current != content:
        say(f"workspace/{name}: kept, it was edited")


def _place_beside(home: Folder, name: str, content: bytes, ours: set[str], say: Say) -> None:
    try:
        current = home.read(name)
        is_foreign = current is not None and _checksum(current) not in ours
    except UnusableError:
        current, is_foreign = None, True
    if is_foreign:
        say(f"{name}: kept as {home.set_aside(name, 'kept')}, because it is not what we wrote")
    if current != content:
        home.write(name, content)
        say(f"{name}: written")


def _take_away(folder: Folder, name: str, label: str, ours: set[str], say: Say) -> None:
    try:
        current = folder.read(name)
    except UnusableError as error:
        say(f"{label}: no longer rendered, kept: it {error}")
        return
    if current is None:
        return
    if _checksum(current) in ours:
        folder.remove(name)
        say(f"{label}: removed, it is no longer rendered")
    else:
        say(f"{label}: no longer rendered, kept: it was edited")


def _read_checksums(home: Folder, live_name: str) -> Checksums:
    """Return the checksums of our copies by name. What cannot be read counts as nothing: all copies look edited."""
    try:
        record = json.loads(home.read(FILES_RECORD) or b"{}")
    except (UnusableError, ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    # The volume's user could have written any name there, and we are about to delete by them.
    return {
        name: {checksum for checksum in checksums if isinstance(checksum, str)}
        for name, checksums in record.items()
        if isinstance(checksums, list) and _may_be_rendered(name, live_name)
    }


def _write_checksums(home: Folder, checksums: Checksums) -> None:
    record = {name: sorted(checksums[name]) for name in sorted(checksums)}
    home.write(FILES_RECORD, json.dumps(record, indent=1).encode() + b"\n")


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
