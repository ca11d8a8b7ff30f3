"""Files on a volume that somebody else writes to: whole or not at all, and never through a link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from userswarm.runtime.folder import LARGEST, TEMPORARY, BootstrapError, UnusableError, open_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(number: int) -> Callable[..., Any]:
    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_missing_directories_are_made_for_their_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        with open_folder(tmp_path / "a" / "b"):
            pass
    finally:
        os.umask(previous)

    assert [mode(tmp_path / "a"), mode(tmp_path / "a" / "b")] == [0o700, 0o700]


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o755)
    before = mode(tmp_path / "a")
    with open_folder(tmp_path / "a"):
        pass

    assert mode(tmp_path / "a") == before


def test_a_directory_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    with pytest.raises(BootstrapError, match=rf"{tmp_path}/link: is a symbolic link"), open_folder(tmp_path / "link"):
        pass


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BootstrapError, match=rf"{tmp_path}/file: File exists"), open_folder(tmp_path / "file"):
        pass


def test_what_is_written_is_read_and_belongs_to_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("old")
    (tmp_path / "name").chmod(0o666)
    with open_folder(tmp_path) as folder:
        folder.write("name", b"new")

        assert folder.read("name") == b"new"
        assert folder.read("other") is None
    assert mode(tmp_path / "name") == 0o600
    assert names(tmp_path) == ["name"]


def test_content_is_on_the_disk_before_the_name_is_and_the_name_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def watched_fsync(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        calls.append(f"fsync {kind} of {os.fstat(descriptor).st_size if kind == 'file' else '-'}")
        fsync(descriptor)

    def watched_rename(source: str, target: str, **directories: int) -> None:
        calls.append(f"rename {source} {target}")
        rename(source, target, **directories)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    with open_folder(tmp_path / "new") as folder:
        folder.write("name", b"12345")
        folder.set_aside("name", "broken")
        folder.remove("name.broken-1")

    assert calls == [
        "fsync directory of -",
        "fsync file of 5",
        f"rename {TEMPORARY} name",
        "fsync directory of -",
        "rename name name.broken-1",
        "fsync directory of -",
        "fsync directory of -",
    ]


def test_a_file_left_by_a_start_that_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / TEMPORARY).write_text("half a fi")
    with open_folder(tmp_path) as folder:
        folder.write("name", b"new")

    assert names(tmp_path) == ["name"]


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / TEMPORARY).symlink_to("victim")
    with open_folder(tmp_path) as folder:
        folder.write("name", b"new")

    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "name").is_symlink()


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "name").symlink_to("victim")
    with open_folder(tmp_path) as folder:
        folder.write("name", b"new")

    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "name").is_symlink()
    assert (tmp_path / "name").read_text() == "new"


def test_a_directory_in_the_place_of_a_file_is_moved_aside(tmp_path: Path) -> None:
    for name in ("name", TEMPORARY):
        (tmp_path / name).mkdir()
        (tmp_path / name / "inside").write_text(name)
    with open_folder(tmp_path) as folder:
        folder.write("name", b"new")

    assert (tmp_path / "name").read_text() == "new"
    assert (tmp_path / "name.broken-1" / "inside").read_text() == "name"
    assert (tmp_path / f"{TEMPORARY}.broken-1" / "inside").read_text() == TEMPORARY


def test_a_full_volume_is_named_and_left_no_fuller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "name").write_text("old")
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with (
        open_folder(tmp_path) as folder,
        pytest.raises(BootstrapError, match=rf"^{tmp_path}/name: No space left on device\Z"),
    ):
        folder.write("name", b"new")

    assert names(tmp_path) == ["name"]
    assert (tmp_path / "name").read_text() == "old"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.symlink_to("/etc/hostname"), "is a symbolic link"),
        (lambda path: path.symlink_to("nothing"), "is a symbolic link"),
        (lambda path: path.mkdir(), "is no regular file"),
        (os.mkfifo, "is no regular file"),
        (lambda path: os.truncate(os.fspath(path), LARGEST + 1) if path.write_text("") == 0 else None, "is larger"),
    ],
)
def test_what_is_no_file_of_ours_is_not_read(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    make(tmp_path / "name")
    with open_folder(tmp_path) as folder, pytest.raises(UnusableError, match=reason):
        folder.read("name")


def test_a_file_that_may_not_be_read_is_unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "name").write_text("secret")
    with open_folder(tmp_path) as folder:
        # Not by its mode: the tests may run as root.
        monkeypatch.setattr(os, "open", failing(errno.EACCES))
        with pytest.raises(UnusableError, match="may not be read"):
            folder.read("name")


def test_a_broken_disk_is_an_error_and_not_a_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "name").write_text("text")
    with open_folder(tmp_path) as folder:
        monkeypatch.setattr(os, "open", failing(errno.EIO))
        with pytest.raises(BootstrapError, match=rf"{tmp_path}/name: Input/output error"):
            folder.read("name")


def test_what_is_moved_aside_never_replaces_what_was_moved_before(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("third")
    (tmp_path / "name.broken-1").write_text("first")
    (tmp_path / "name.broken-2").symlink_to("nowhere")
    with open_folder(tmp_path) as folder:
        assert folder.set_aside("name", "broken") == "name.broken-3"

    assert (tmp_path / "name.broken-1").read_text() == "first"
    assert (tmp_path / "name.broken-3").read_text() == "third"


def test_protecting_a_file_changes_nothing_but_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("text")
    (tmp_path / "name").chmod(0o664)
    os.utime(tmp_path / "name", ns=(1, 2))
    with open_folder(tmp_path) as folder:
        folder.protect("name")
        folder.protect("name")

    assert mode(tmp_path / "name") == 0o600
    assert (tmp_path / "name").stat().st_mtime_ns == 2
