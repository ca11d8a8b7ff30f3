"""An ssh directory for a swarm's containers: its key, the public key that belongs to it, and the hosts that are known.

The names are those that ssh looks for, so that ``~/.ssh`` may be mounted from it and needs no configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from userswarm.runtime.folder import LARGEST, BootstrapError, naming, open_folder
from userswarm.runtime.steps.tools import open_tools

_NAMES = {
    "ssh-ed25519": "id_ed25519",
    "ssh-rsa": "id_rsa",
    "ecdsa-sha2-nistp256": "id_ecdsa",
    "ecdsa-sha2-nistp384": "id_ecdsa",
    "ecdsa-sha2-nistp521": "id_ecdsa",
}


def place_keys(key_file: Path, directory: Path, known_hosts: Path | None, say: Callable[[str], None]) -> None:
    """Write the key, its public key, and known_hosts, each mode 0600; raise BootstrapError with nothing written.

    A key with a passphrase is refused: nobody is there to type it.
    """
    key = _read(key_file)
    # What a Secret's editor did to line ends, ssh does not forgive.
    key = key.replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n"
    hosts = None if known_hosts is None else _read(known_hosts)
    with open_tools() as tools:
        try:
            # Through a pipe: no copy of the key lies anywhere.
            public = tools.run("ssh-keygen", "-y", "-P", "", "-f", "/dev/stdin", stdin=key).strip()
        except BootstrapError as error:
            raise BootstrapError(f"{key_file}: is no private key without a passphrase: {error}") from None
    kind = public.partition(" ")[0]
    if kind not in _NAMES:
        raise BootstrapError(f"{key_file}: is a key of kind {kind!r}; must be one of {', '.join(_NAMES)}")
    name = _NAMES[kind]
    with open_folder(directory) as folder:
        folder.write(name, key)
        folder.write(f"{name}.pub", f"{public}\n".encode())
        say(f"{directory / name}: written, with its public key")
        if hosts is not None:
            folder.write("known_hosts", hosts)
            say(f"{directory / 'known_hosts'}: written")


def _read(path: Path) -> bytes:
    with naming(path), path.open("rb") as stream:
        content = stream.read(LARGEST + 1)
    if not content.strip() or len(content) > LARGEST:
        raise BootstrapError(f"{path}: must have 1 to {LARGEST} bytes, other than blanks")
    return content
