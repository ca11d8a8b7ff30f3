"""Owners out of a file: JSON or CSV, whole or not at all, and no younger than the file."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from unit.reaper.fakes import NOW, FakeCluster, make_swarm, run, stamp
from userswarm.reaper import owners as owners_module
from userswarm.reaper.owners import OwnersError
from userswarm.reaper.owners import file as file_module
from userswarm.reaper.owners.file import FileOwners
from userswarm.reaper.report import ExitCode

TWO = {"a": "u1", "b": "u 2"}
ENTRIES = [{"workspaceId": "a", "userId": "u1"}, {"workspaceId": "b", "userId": "u 2", "plan": "free"}]


def write(tmp_path: Path, content: str | bytes, *, modified: float | None = None) -> FileOwners:
    path = tmp_path / "owners"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    seconds = NOW.timestamp() if modified is None else modified
    os.utime(path, (seconds, seconds))
    return FileOwners(path)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ENTRIES),
        json.dumps({"owners": ENTRIES}),
        json.dumps({"owners": ENTRIES, "total": 2, "next": None}, indent=2),
        "\n  " + json.dumps(ENTRIES) + "\n\n",
        "workspaceId,userId\na,u1\nb,u 2\n",
        "workspace_id,user_id\r\na,u1\r\nb,u 2\r\n",
        'workspaceId,userId\n"a",u1\n"b","u 2"\n# total: 2\n',
        "\N{ZERO WIDTH NO-BREAK SPACE}workspaceId,userId\na,u1\nb,u 2\n",
    ],
)
def test_json_and_csv_say_the_same(content: str, tmp_path: Path) -> None:
    assert write(tmp_path, content).read(NOW).by_workspace == TWO


def test_a_quoted_cell_may_hold_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    content = 'workspaceId,userId\n"a,1","say ""u""\n# total: 7"\n# total: 1\n'

    assert write(tmp_path, content).read(NOW).by_workspace == {"a,1": 'say "u"\n# total: 7'}


FAULTS = {
    "empty": ("", "the file is empty"),
    "blank": ("\n\n", "the file is empty"),
    "an empty list": ("[]", "the list of owners is empty"),
    "a header and no more": ("workspaceId,userId\n", "the list of owners is empty"),
    "half of the JSON": (json.dumps(ENTRIES)[:-20], "not JSON, or only half of it"),
    "half of the last line": ("workspaceId,userId\na,u1\nb,u", "does not end in a newline"),
    "half of a quoted cell": ('workspaceId,userId\na,"u1\n', "unexpected end of data"),
    "fewer than total, in JSON": (json.dumps({"owners": ENTRIES, "total": 3}), "`total` says 3 owners, and 2 are"),
    "fewer than total, in CSV": ("workspaceId,userId\na,u1\n# total: 2\n", "the last line says 2 owners, and 1 are"),
    "a total that is none": (json.dumps({"owners": ENTRIES, "total": None}), "`total` is None"),
    "a page": (json.dumps({"owners": ENTRIES, "next": "abc"}), "this is one page of a list"),
    "no owners": (json.dumps({"users": ENTRIES}), "`owners` must be a list"),
    "a workspace twice": (json.dumps(ENTRIES + ENTRIES[:1]), "entry 3: workspace 'a' is listed twice"),
    "a workspace twice, in CSV": ("workspaceId,userId\na,u1\na,u2\n", "workspace 'a' is listed twice"),
    "an entry that is no object": ('["a"]', "entry 1 is 'a'"),
    "an entry without user": ('[{"workspaceId": "a"}]', "entry 1: its user id is None"),
    "an empty id, in CSV": ("workspaceId,userId\n,u1\n", "its workspace id is ''"),
    "an asOf that is no time": (json.dumps({"owners": ENTRIES, "asOf": "now"}), "asOf is 'now'"),
    "columns the other way round": ("userId,workspaceId\nu1,a\n", "the first line is 'userId,workspaceId'"),
    "no header": ("a,u1\nb,u2\n", "the first line is 'a,u1'"),
    "a line of three": ("workspaceId,userId\na,u1,x\n", "line 2"),
    "a line of one": ("workspaceId,userId\na\n", "line 2"),
    "an empty line": ("workspaceId,userId\na,u1\n\nb,u2\n", "line 3"),
    "blanks around an id": ("workspaceId,userId\na, u1\n", "without blanks around them"),
    "a total in the middle": ("workspaceId,userId\na,u1\n# total: 1\nb,u2\n", "line 3"),
    "a quote left open": ('workspaceId,userId\na,"u"1\n', "line 2"),
    "not UTF-8": (b"workspaceId,userId\na,\xff\n", "not UTF-8"),
    "binary": (b"\x00\x01\x02\n", "the first line is"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_no_list_of_owners_is_an_error_and_deletes_nothing(fault: str, tmp_path: Path) -> None:
    content, message = FAULTS[fault]
    source = write(tmp_path, content)
    cluster = FakeCluster.of(make_swarm("gone"))
    outcome = run(cluster, source)

    with pytest.raises(OwnersError) as caught:
        source.read(NOW)
    assert message in str(caught.value)
    assert str(source.path) in str(caught.value)
    assert not caught.value.transient
    assert outcome.code is ExitCode.OWNERS_UNUSABLE
    assert cluster.calls == ["list"]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(OwnersError, match=r"No such file|Is a directory"):
            FileOwners(path).read(NOW)


def test_more_owners_than_the_bound_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners_module, "MAX_OWNERS", 1)

    with pytest.raises(OwnersError, match="more than 1 owners"):
        write(tmp_path, json.dumps(ENTRIES)).read(NOW)


def test_a_file_beyond_its_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "MAX_BYTES", 10)

    with pytest.raises(OwnersError, match="larger than 10 bytes"):
        write(tmp_path, json.dumps(ENTRIES)).read(NOW)


@pytest.mark.parametrize(
    ("modified", "as_of", "expected"),
    [(0, None, 0), (-3600, None, -3600), (3600, None, 0), (0, -7200, -7200), (-7200, -3600, -7200)],
)
def test_a_list_is_as_old_as_the_oldest_that_speaks_for_it(
    modified: int, as_of: int | None, expected: int, tmp_path: Path
) -> None:
    document = {"owners": ENTRIES, "asOf": None if as_of is None else stamp(NOW + timedelta(seconds=as_of))}
    source = write(tmp_path, json.dumps(document), modified=NOW.timestamp() + modified)

    assert source.read(NOW).as_of == NOW + timedelta(seconds=expected)


def test_a_workspace_made_after_the_file_was_written_is_left(tmp_path: Path) -> None:
    source = write(tmp_path, json.dumps(ENTRIES), modified=(NOW - timedelta(days=7)).timestamp())
    cluster = FakeCluster.of(make_swarm("new", age=timedelta(days=2)), make_swarm("old", age=timedelta(days=9)))

    assert run(cluster, source).decisions == {
        "workspace-new": ("left", "newer-than-owners"),
        "workspace-old": ("deleted", "owner-gone"),
    }


def test_the_file_is_opened_afresh_for_each_read(tmp_path: Path) -> None:
    source = write(tmp_path, json.dumps(ENTRIES[:1]))
    assert len(source.read(NOW).by_workspace) == 1
    write(tmp_path, json.dumps(ENTRIES))
    assert len(source.read(NOW).by_workspace) == 2
