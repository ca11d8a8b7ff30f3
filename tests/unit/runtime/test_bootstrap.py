"""What a volume looks like after a start, whatever it looked like before and whatever happened on the way."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from userswarm.runtime import folder as folder_module
from userswarm.runtime.bootstrap import FILES_RECORD, OWNER_FILE, bootstrap
from userswarm.runtime.folder import LARGEST, BootstrapError

RECORD = ".config.toml.rendered"


class Pod:
    """A ConfigMap, a volume, and the init container that brings them together."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config_map = root / "etc"
        self.volume = root / "volume"
        self.home = self.volume / ".zeroclaw"
        self.workspace = self.volume / "workspace"
        self.volume.mkdir(parents=True)

    def render(self, config: str | bytes, **files: str) -> None:
        """Lay the rendered files out as kubelet does: links to links into a dated directory."""
        shutil.rmtree(self.config_map, ignore_errors=True)
        dated = self.config_map / "..2026_01_01"
        dated.mkdir(parents=True)
        (self.config_map / "..data").symlink_to("..2026_01_01")
        contents = {"config.toml": config} | {name.replace("_", "."): text for name, text in files.items()}
        for name, content in contents.items():
            (dated / name).write_bytes(content.encode() if isinstance(content, str) else content)
            (self.config_map / name).symlink_to(f"..data/{name}")

    def start(self, owner: str | None = None) -> list[str]:
        lines: list[str] = []
        bootstrap(self.config_map / "config.toml", self.home / "config.toml", self.workspace, owner, lines.append)
        return lines

    def tree(self) -> dict[str, str]:
        """Everything on the volume: path to content, links as what they point to."""
        return {
            str(path.relative_to(self.volume)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
            for path in sorted(self.volume.rglob("*"))
            if path.is_symlink() or path.is_file()
        }

    def live(self) -> dict[str, Any]:
        return tomllib.loads((self.home / "config.toml").read_text())


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug of the machine that runs the tests, and hundreds of fsyncs take their time."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_to_say(line: str) -> None:
    raise AssertionError(line)


def test_first_start_writes_what_is_rendered_and_remembers_it(pod: Pod) -> None:
    pod.render("# ours\na = 1\n", SOUL_md="soul")

    assert pod.start(owner="ada") == [
        ".userswarm-owner: written, this volume now belongs to ada",
        "config.toml: written",
        "workspace/SOUL.md: written",
        "SOUL.md: written",
    ]
    tree = pod.tree()
    assert list(json.loads(tree.pop(f".zeroclaw/{FILES_RECORD}"))) == ["SOUL.md"]
    assert tree == {
        ".zeroclaw/.userswarm-owner": "ada\n",
        ".zeroclaw/config.toml": "# ours\na = 1\n",
        f".zeroclaw/{RECORD}": "# ours\na = 1\n",
        ".zeroclaw/SOUL.md": "soul",
        "workspace/SOUL.md": "soul",
    }
    for path in pod.volume.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_start_that_changes_nothing_writes_nothing(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.render("a = 1\n", SOUL_md="soul")
    pod.start(owner="ada")
    (pod.home / "config.toml").write_text("a = 1 # theirs\nb = 2\n")
    # As kubelet does where the volume has a group of its own.
    (pod.home / "config.toml").chmod(0o660)
    before = {path: path.stat().st_mtime_ns for path in pod.volume.rglob("*")}
    monkeypatch.setattr(folder_module.Folder, "write", fail_to_say)

    assert pod.start(owner="ada") == ["config.toml: unchanged"]
    assert {path: path.stat().st_mtime_ns for path in pod.volume.rglob("*")} == before
    assert stat.S_IMODE((pod.home / "config.toml").stat().st_mode) == 0o600


def test_later_starts_merge(pod: Pod) -> None:
    pod.render("a = 1\ngone = 1\n")
    pod.start()
    (pod.home / "config.toml").write_text("# theirs\na = 5 # five\ngone = 6\nb = 7\n")
    pod.render("a = 2\nnew = 3\n")

    assert pod.start() == ["config.toml: merged"]
    assert pod.tree() == {
        ".zeroclaw/config.toml": "# theirs\na = 2 # five\nb = 7\nnew = 3\n",
        f".zeroclaw/{RECORD}": "a = 2\nnew = 3\n",
    }


def test_the_record_follows_even_where_the_live_file_need_not_change(pod: Pod) -> None:
    pod.render("a = 1\n")
    pod.start()
    (pod.home / "config.toml").write_text("a = 1\nb = 2\n")
    pod.render("a = 1\nb = 2\n")
    pod.start()
    pod.render("a = 1\n")
    pod.start()

    assert pod.live() == {"a": 1}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("no TOML"),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), path.symlink_to("config.toml")),
        lambda path: path.write_bytes(b"#" * (LARGEST + 1)),
    ],
)
def test_without_a_readable_record_nothing_is_taken_out(pod: Pod, spoil: Callable[[Path], object]) -> None:
    pod.render("a = 1\nb = 1\n")
    pod.start()
    spoil(pod.home / RECORD)
    pod.render("a = 2\n")
    pod.start()

    assert pod.live() == {"a": 2, "b": 1}
    assert (pod.home / RECORD).read_text() == "a = 2\n"
    assert not (pod.home / RECORD).is_symlink()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a = \n", "does not parse: Invalid value (at line 1, column 5)"),
        (b"a = '\xff'\n", "does not parse: 'utf-8' codec can't decode byte 0xff in position 5: invalid start byte"),
        (b"#" * (LARGEST + 1), f"is larger than {LARGEST} bytes"),
    ],
)
def test_a_live_file_that_does_not_parse_is_kept_and_replaced(pod: Pod, content: bytes, reason: str) -> None:
    pod.render("a = 1\n")
    pod.start()
    (pod.home / "config.toml").write_bytes(content)
    (pod.home / "config.toml.broken-1").write_text("an earlier one")

    assert pod.start() == [
        f"config.toml: kept as config.toml.broken-2, because it {reason}",
        "config.toml: written",
    ]
    assert (pod.home / "config.toml.broken-1").read_text() == "an earlier one"
    assert (pod.home / "config.toml.broken-2").read_bytes() == content
    assert (pod.home / "config.toml").read_text() == "a = 1\n"


def test_a_live_file_that_is_a_link_is_not_followed(pod: Pod) -> None:
    pod.home.mkdir()
    (pod.root / "victim.toml").write_text("a = 0\n")
    (pod.home / "config.toml").symlink_to(pod.root / "victim.toml")
    pod.render("a = 1\n")

    assert pod.start()[0] == "config.toml: kept as config.toml.broken-1, because it is a symbolic link"
    assert (pod.root / "victim.toml").read_text() == "a = 0\n"
    assert (pod.home / "config.toml.broken-1").is_symlink()
    assert (pod.home / "config.toml").read_text() == "a = 1\n"


def test_a_live_file_that_is_a_directory_is_kept_with_what_is_in_it(pod: Pod) -> None:
    (pod.home / "config.toml").mkdir(parents=True)
    (pod.home / "config.toml" / "inside").write_text("kept")
    pod.render("a = 1\n")
    pod.start()

    assert (pod.home / "config.toml.broken-1" / "inside").read_text() == "kept"
    assert pod.live() == {"a": 1}


@pytest.mark.parametrize("name", [".zeroclaw", "workspace"])
def test_a_directory_of_the_volume_that_is_a_link_is_refused(pod: Pod, name: str) -> None:
    (pod.root / "elsewhere").mkdir()
    (pod.volume / name).symlink_to(pod.root / "elsewhere")
    pod.render("a = 1\n", SOUL_md="soul")

    with pytest.raises(BootstrapError, match=f"{name}: is a symbolic link"):
        pod.start()
    assert names(pod.root / "elsewhere") == []


# Rendered files


def test_an_unedited_copy_follows_what_is_rendered(pod: Pod) -> None:
    pod.render("", SOUL_md="one")
    pod.start()
    pod.render("", SOUL_md="two")

    assert pod.start()[1:] == ["workspace/SOUL.md: written", "SOUL.md: written"]
    assert (pod.workspace / "SOUL.md").read_text() == "two"
    assert (pod.home / "SOUL.md").read_text() == "two"


def test_an_edited_copy_is_kept_and_said_at_every_start(pod: Pod) -> None:
    pod.render("", SOUL_md="one")
    pod.start()
    (pod.workspace / "SOUL.md").write_text("mine")
    pod.render("", SOUL_md="two")

    assert pod.start()[1:] == ["workspace/SOUL.md: kept, it was edited", "SOUL.md: written"]
    assert pod.start()[1:] == ["workspace/SOUL.md: kept, it was edited"]
    assert (pod.workspace / "SOUL.md").read_text() == "mine"
    assert (pod.home / "SOUL.md").read_text() == "two"


def test_a_file_that_was_there_before_us_is_kept(pod: Pod) -> None:
    pod.home.mkdir()
    pod.workspace.mkdir()
    for folder in (pod.home, pod.workspace):
        (folder / "SOUL.md").write_text("theirs")
    pod.render("", SOUL_md="ours")

    assert pod.start()[1:] == [
        "workspace/SOUL.md: kept, it was edited",
        "SOUL.md: kept as SOUL.md.kept-1, because it is not what we wrote",
        "SOUL.md: written",
    ]
    assert (pod.workspace / "SOUL.md").read_text() == "theirs"
    assert (pod.home / "SOUL.md.kept-1").read_text() == "theirs"
    assert (pod.home / "SOUL.md").read_text() == "ours"


def test_what_is_no_file_is_kept_under_its_name_or_another(pod: Pod) -> None:
    pod.home.mkdir()
    pod.workspace.mkdir()
    for folder in (pod.home, pod.workspace):
        (folder / "SOUL.md").symlink_to("nowhere")
    pod.render("", SOUL_md="ours")

    assert pod.start()[1] == "workspace/SOUL.md: kept, it is a symbolic link"
    assert (pod.workspace / "SOUL.md").is_symlink()
    assert (pod.home / "SOUL.md.kept-1").is_symlink()
    assert (pod.home / "SOUL.md").read_text() == "ours"
    pod.render("")
    assert pod.start()[1:] == [
        "workspace/SOUL.md: no longer rendered, kept: it is a symbolic link",
        "SOUL.md: removed, it is no longer rendered",
    ]


def test_a_deleted_copy_comes_back(pod: Pod) -> None:
    pod.render("", SOUL_md="ours")
    pod.start()
    (pod.workspace / "SOUL.md").unlink()
    (pod.home / "SOUL.md").unlink()

    assert pod.start()[1:] == ["workspace/SOUL.md: written", "SOUL.md: written"]


def test_what_is_no_longer_rendered_goes_unless_it_was_edited(pod: Pod) -> None:
    pod.render("", SOUL_md="soul", TOOLS_md="tools", GONE_md="gone")
    pod.start()
    (pod.workspace / "TOOLS.md").write_text("mine")
    (pod.home / "TOOLS.md").write_text("mine too")
    (pod.workspace / "GONE.md").unlink()
    (pod.home / "GONE.md").unlink()
    pod.render("")

    assert pod.start()[1:] == [
        "workspace/SOUL.md: removed, it is no longer rendered",
        "SOUL.md: removed, it is no longer rendered",
        "workspace/TOOLS.md: no longer rendered, kept: it was edited",
        "TOOLS.md: no longer rendered, kept: it was edited",
    ]
    assert names(pod.workspace) == ["TOOLS.md"]
    assert pod.start() == ["config.toml: unchanged"]
    pod.render("", TOOLS_md="tools")
    assert pod.start()[1] == "workspace/TOOLS.md: kept, it was edited"


@pytest.mark.parametrize(
    "record",
    [
        "no JSON",
        "[]",
        "[" * 100_000,
        '{"SOUL.md": 1, "../victim": ["CHECKSUM"], "/etc/passwd": ["CHECKSUM"], "config.toml": ["CHECKSUM"]}',
        '{".": ["CHECKSUM"], "..": ["CHECKSUM"], "": ["CHECKSUM"], ".userswarm-owner": ["CHECKSUM"]}',
        '{"SOUL.md": [1, null, {}], "\\ud800": ["CHECKSUM"], "a\\u0000b": ["CHECKSUM"]}',
    ],
)
def test_a_forged_record_of_files_deletes_nothing(pod: Pod, record: str) -> None:
    pod.render("victim = 1\n", SOUL_md="victim = 1\n")
    pod.start()
    checksum = json.loads((pod.home / FILES_RECORD).read_text())["SOUL.md"][0]
    (pod.home / FILES_RECORD).write_text(record.replace("CHECKSUM", checksum))
    (pod.volume / "victim").write_text("victim = 1\n")
    before = pod.tree()
    pod.render("victim = 1\n")
    lines = pod.start()

    assert [line for line in lines if "SOUL.md" not in line] == ["config.toml: unchanged"]
    after = pod.tree()
    before.pop(f".zeroclaw/{FILES_RECORD}")
    after.pop(f".zeroclaw/{FILES_RECORD}")
    assert after == before


def test_a_record_of_files_that_is_a_link_is_replaced(pod: Pod) -> None:
    pod.render("", SOUL_md="soul")
    pod.start()
    (pod.home / FILES_RECORD).unlink()
    (pod.home / FILES_RECORD).symlink_to("SOUL.md")
    pod.start()

    assert list(json.loads((pod.home / FILES_RECORD).read_text())) == ["SOUL.md"]
    assert (pod.home / "SOUL.md").read_text() == "soul"


# What is rendered


@pytest.mark.parametrize(
    "name",
    [
        ".config.toml.rendered",
        "config.toml.broken-1",
        ".userswarm-owner",
        ".userswarm-files",
        ".userswarm-tmp",
        "a b",
        "a\nb",
        "é",
    ],
)
def test_a_rendered_file_cannot_have_a_name_that_is_ours_or_no_name(pod: Pod, name: str) -> None:
    pod.render("a = 1\n")
    (pod.config_map / name).write_text("x")

    with pytest.raises(BootstrapError, match="no file can be rendered under this name"):
        pod.start()
    assert pod.tree() == {}


def test_a_rendered_file_cannot_be_the_live_one(pod: Pod) -> None:
    pod.render("a = 1\n", live_toml="x")

    with pytest.raises(BootstrapError, match=r"live\.toml: no file can be rendered under this name"):
        bootstrap(pod.config_map / "config.toml", pod.home / "live.toml", pod.workspace, None, fail_to_say)


def test_directories_and_the_config_maps_own_names_are_not_rendered_files(pod: Pod) -> None:
    pod.render("a = 1\n")
    (pod.config_map / "directory").mkdir()
    (pod.config_map / "..hidden").write_text("x")
    pod.start()

    assert set(pod.tree()) == {".zeroclaw/config.toml", f".zeroclaw/{RECORD}"}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("a = ", r"config\.toml: Invalid value"),
        (b"\xff", r"config\.toml: 'utf-8' codec"),
        ("#" * (LARGEST + 1), r"config\.toml: is larger than"),
    ],
)
def test_a_rendering_that_cannot_be_read_touches_nothing(pod: Pod, config: str | bytes, reason: str) -> None:
    pod.render(config)

    with pytest.raises(BootstrapError, match=reason):
        pod.start(owner="ada")
    assert names(pod.volume) == []


def test_a_missing_rendering_touches_nothing(pod: Pod) -> None:
    with pytest.raises(BootstrapError, match="etc: No such file or directory"):
        pod.start()
    pod.render("")
    (pod.config_map / "config.toml").unlink()
    with pytest.raises(BootstrapError, match=r"config\.toml: is no file"):
        pod.start()
    assert names(pod.volume) == []


# Whose volume


def test_a_volume_of_another_owner_is_refused_with_nothing_touched_and_no_name_told(pod: Pod) -> None:
    pod.render("a = 1\n", SOUL_md="one")
    pod.start(owner="user-ada")
    (pod.home / "config.toml").chmod(0o640)
    before = pod.tree()
    shutil.rmtree(pod.workspace)
    pod.render("a = 2\n", SOUL_md="two")

    with pytest.raises(BootstrapError, match="belongs to another owner; nothing was touched") as refusal:
        pod.start(owner="user-eve")
    assert "ada" not in str(refusal.value)
    before.pop("workspace/SOUL.md")
    assert pod.tree() == before
    assert not pod.workspace.exists()
    assert stat.S_IMODE((pod.home / "config.toml").stat().st_mode) == 0o640


def test_a_volume_without_a_marker_is_adopted(pod: Pod) -> None:
    pod.render("a = 1\n")
    pod.start()
    assert not (pod.home / OWNER_FILE).exists()
    pod.start(owner="ada")
    assert (pod.home / OWNER_FILE).read_text() == "ada\n"
    assert pod.start(owner="ada") == ["config.toml: unchanged"]
    assert pod.start() == ["config.toml: unchanged"]


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: path.symlink_to("config.toml"), lambda path: path.write_text("")]
)
def test_a_marker_that_cannot_be_read_is_refused(pod: Pod, make: Callable[[Path], object]) -> None:
    pod.home.mkdir()
    make(pod.home / OWNER_FILE)
    pod.render("a = 1\n")

    with pytest.raises(BootstrapError, match=OWNER_FILE):
        pod.start(owner="ada")
    assert not (pod.home / "config.toml").exists()


# Crashes


class Crash(BaseException):
    """The node loses its power: nothing runs behind it, not even clean-up."""


class DyingOs:
    """The module `os` for `folder`, until the power goes at the n-th thing that changes the disk."""

    CHANGES = frozenset({"fsync", "rename", "unlink", "fchmod"})

    def __init__(self, dies_at: int) -> None:
        self._left = dies_at

    @property
    def is_dead(self) -> bool:
        return self._left <= 0

    def _step(self) -> None:
        self._left -= 1
        if self.is_dead:
            raise Crash

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.CHANGES:
            return real

        def step(*arguments: Any, **options: Any) -> Any:
            self._step()
            return real(*arguments, **options)

        return step

    def open(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            self._step()
        return os.open(path, flags, *arguments, **options)

    def fdopen(self, descriptor: int, mode: str) -> Any:
        stream = os.fdopen(descriptor, mode)
        if mode == "wb":
            write = stream.write

            def write_half(content: bytes) -> None:
                write(content[: len(content) // 2])
                stream.flush()
                self._step()
                write(content[len(content) // 2 :])

            return _Writer(stream, write_half)
        return stream


class _Writer:
    def __init__(self, stream: Any, write: Callable[[bytes], None]) -> None:
        self._stream = stream
        self.write = write
        self.flush = stream.flush
        self.fileno = stream.fileno

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stream.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is such a thing: hundreds of small volumes come and go."""
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if os.access(shared_memory, os.W_OK) else tmp_path) as name:
        yield Path(name)


Prepare = Callable[[Pod], None]


def _nothing(pod: Pod) -> None:
    del pod


def _settled(pod: Pod) -> None:
    pod.render("a = 1\nold = 1\n[t]\nx = 1\n", SOUL_md="soul", TOOLS_md="tools", GONE_md="gone")
    pod.start(owner="ada")
    (pod.home / "config.toml").write_text("# theirs\na = 5\nold = 1\nmine = 1\nnew = 0\n[t]\nx = 1\n")
    (pod.workspace / "TOOLS.md").write_text("edited")


def _broken(pod: Pod) -> None:
    _settled(pod)
    (pod.home / "config.toml").write_text("broken")


def _foreign(pod: Pod) -> None:
    (pod.home / "config.toml").mkdir(parents=True)
    (pod.home / "SOUL.md").write_text("theirs")
    (pod.home / RECORD).mkdir()


def crashes(pod_root: Path, prepare: Prepare, render: Prepare, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pod]:
    """Yield the volume after a crash at the first step, the second, … until a start gets to its end."""
    for step in range(1, 200):
        pod = Pod(pod_root / f"crash-{step}")
        prepare(pod)
        render(pod)
        dying = DyingOs(step)
        with monkeypatch.context() as patch:
            patch.setattr(folder_module, "os", dying)
            with suppress(Crash):
                pod.start(owner="ada")
        if not dying.is_dead:
            assert step > 10
            return
        yield pod
    raise AssertionError("never got to its end")


def one(pod: Pod) -> None:
    pod.render("a = 2\nnew = 2\n[u]\ny = 1\n", SOUL_md="two", TOOLS_md="two", NEW_md="new")


def two(pod: Pod) -> None:
    pod.render("a = 3\n[t]\nz = 1\n", SOUL_md="three", OTHER_md="other")


def comparable(pod: Pod) -> Mapping[str, object]:
    return {**pod.tree(), ".zeroclaw/config.toml": pod.live()}


@pytest.mark.parametrize("prepare", [_nothing, _settled, _broken, _foreign])
def test_a_start_after_a_crash_at_any_step_ends_where_one_without_it_would_have(
    prepare: Prepare, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncrashed = Pod(memory / "uncrashed")
    prepare(uncrashed)
    one(uncrashed)
    before = uncrashed.tree().get(".zeroclaw/config.toml")
    uncrashed.start(owner="ada")
    after = uncrashed.tree()

    for pod in crashes(memory, prepare, one, monkeypatch):
        assert pod.tree().get(".zeroclaw/config.toml") in (None, before, after[".zeroclaw/config.toml"])
        pod.start(owner="ada")
        assert pod.tree() == after
        assert pod.start(owner="ada")[0] == "config.toml: unchanged"


@pytest.mark.parametrize("prepare", [_nothing, _settled, _broken, _foreign])
def test_what_a_crashed_start_began_is_known_when_something_else_is_rendered_next(
    prepare: Prepare, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key and no copy of the crashed rendering passes for the user's own."""
    possible = []
    for renders in ((one, two), (two,)):
        pod = Pod(memory / f"uncrashed-{len(renders)}")
        prepare(pod)
        for render in renders:
            render(pod)
            pod.start(owner="ada")
        possible.append(comparable(pod))

    for pod in crashes(memory, prepare, one, monkeypatch):
        two(pod)
        pod.start(owner="ada")
        assert comparable(pod) in possible
