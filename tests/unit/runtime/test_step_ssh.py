"""`userswarm bootstrap ssh`: what becomes ~/.ssh, and that ssh itself takes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from unit.runtime.git_servers import Upstream, make_key, over_ssh
from userswarm.runtime.commands import bootstrap


def step(key: Path, directory: Path, *more: str) -> Result:
    words = ["ssh", "--key-file", str(key), "--directory", str(directory), *more]
    return CliRunner().invoke(bootstrap, words, catch_exceptions=False)


def found(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(("kind", "name"), [("ed25519", "id_ed25519"), ("rsa", "id_rsa"), ("ecdsa", "id_ecdsa")])
def test_the_key_lies_where_ssh_looks_with_its_public_key_beside(tmp_path: Path, kind: str, name: str) -> None:
    key = make_key(tmp_path / "key", kind)
    directory = tmp_path / "ssh"

    result = step(key, directory)

    assert (result.exit_code, result.stdout) == (0, f"{directory / name}: written, with its public key\n")
    assert found(directory) == {
        name: key.read_bytes(),
        f"{name}.pub": (tmp_path / "key.pub").read_bytes().strip() + b"\n",
    }
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert step(key, directory).exit_code == 0, "a Pod that starts again does it again"


def test_what_a_secrets_editor_did_to_line_ends_is_made_good(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    whole = key.read_bytes()
    key.write_bytes(whole.rstrip(b"\n").replace(b"\n", b"\r\n"))

    assert step(key, tmp_path / "ssh").exit_code == 0
    assert (tmp_path / "ssh" / "id_ed25519").read_bytes() == whole


def test_ssh_itself_takes_the_directory(tmp_path: Path) -> None:
    upstream = Upstream.make(tmp_path / "upstream")
    with over_ssh(upstream, tmp_path / "server") as served:
        directory = tmp_path / "home" / ".ssh"
        assert step(Path(served.options[1]), directory, *served.options[2:]).exit_code == 0
        identity, known = directory / "id_ed25519", directory / "known_hosts"
        done = subprocess.run(
            ["git", "ls-remote", served.url, "HEAD"],
            env={
                "PATH": "/usr/bin:/bin",
                "GIT_SSH_COMMAND": f"ssh -F none -o BatchMode=yes -i {identity} -o UserKnownHostsFile={known}",
            },
            capture_output=True,
            text=True,
            check=True,
        )

    assert done.stdout.endswith("\tHEAD\n")


def passphrase(place: Path) -> Path:
    return make_key(place / "locked", passphrase="a passphrase")


def public_key(place: Path) -> Path:
    return make_key(place / "pair").with_suffix(".pub")


def nothing(place: Path) -> Path:
    (place / "empty").write_text("\n")
    return place / "empty"


def no_file(place: Path) -> Path:
    return place / "missing"


def too_much(place: Path) -> Path:
    (place / "large").write_bytes(b"x" * 5_000_000)
    return place / "large"


@pytest.mark.parametrize("make", [passphrase, public_key, nothing, no_file, too_much])
def test_what_is_no_key_fails_in_one_line_and_writes_nothing(tmp_path: Path, make: object) -> None:
    assert callable(make)
    key = make(tmp_path)
    directory = tmp_path / "ssh"

    result = step(key, directory)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"bootstrap: {key}: ")
    assert len(result.stderr.splitlines()) == 1
    assert not directory.exists()


def test_known_hosts_that_are_missing_fail_before_anything_is_written(tmp_path: Path) -> None:
    result = step(make_key(tmp_path / "key"), tmp_path / "ssh", "--known-hosts", str(tmp_path / "nowhere"))

    assert result.exit_code == 1
    assert not (tmp_path / "ssh").exists()


def test_the_key_is_in_no_line_of_output(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    broken = tmp_path / "broken"
    broken.write_bytes(key.read_bytes().replace(b"END OPENSSH", b"END NOTHING"))
    secret = key.read_text().splitlines()[1]

    assert secret not in step(key, tmp_path / "ssh").output
    assert secret not in step(broken, tmp_path / "ssh").output
