"""Which workspace a request is for: by the path's prefix (`/v1/workspaces/<id>/…`) or by the host (`<id>.HOST`).

The target is read as it was sent. Whatever two readers might take for two paths (dot segments, encoded slashes, empty
segments, an absolute form) is refused: so nobody behind us sees another path than the one that was judged.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from userswarm.gate.answers import Refused
from userswarm.spec.setting_readers import DNS_LABEL

_TARGET = re.compile(r"/[!-~]*")
_ODD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SEPARATORS = re.compile(r"%(?:2f|5c|0|1|7f)|[\\#]", re.IGNORECASE)
_LONGEST_ID = 1024


def find_workspace(target: str, host: str, *, prefix: str, domain: str) -> str | None:
    """Return the id of the workspace that a request is for, None where it is for none.

    `target` is the request's path and query as sent, `host` its Host; `prefix` begins and ends with a slash, `domain`
    is in lower case, and either may be empty. Raises Refused (400).
    """
    path = target.partition("?")[0]
    check_target(target, path)
    name = host.partition(":")[0].lower().removesuffix(".")
    if domain and name.endswith(f".{domain}"):
        label = name.removesuffix(f".{domain}")
        return label if DNS_LABEL.fullmatch(label) else None
    if not prefix or not path.startswith(prefix):
        return None
    return _read_id(path.removeprefix(prefix).partition("/")[0])


def check_target(target: str, path: str) -> None:
    """Raise Refused (400) unless a target is a plain path, and maybe a query."""
    if not _TARGET.fullmatch(target):
        raise _odd("must be a path of printable ASCII")
    if _ODD_PERCENT.search(path):
        raise _odd("has a % that encodes nothing")
    if _SEPARATORS.search(path):
        raise _odd("has an encoded slash, a backslash or a control character")
    if "//" in path:
        raise _odd("has an empty segment")
    for segment in path.split("/"):
        # What comes behind a semicolon some servers drop.
        if unquote(segment).partition(";")[0] in {".", ".."}:
            raise _odd("has a dot segment")


def _read_id(segment: str) -> str | None:
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise _odd("has a workspace id that is not UTF-8") from None
    if "%" in decoded or not decoded.isprintable():
        raise _odd("has a workspace id that is encoded twice, or cannot be read")
    return decoded if 0 < len(decoded) <= _LONGEST_ID else None


def _odd(what: str) -> Refused:
    return Refused(400, "path", f"the path {what}")
