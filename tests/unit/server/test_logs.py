"""Log lines: which calls get one, what stands in it, and what never does."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from unit.server.serving import hook_request, quiet_response
from userswarm.errors import Problem
from userswarm.server import logs
from userswarm.server.changes import Change, compute_change
from userswarm.server.logs import Journal, redact
from userswarm.spec.settings import Settings
from userswarm.web.logs import FIELDS, RequestIds, configure_logging, make_formatter
from userswarm.wire.k8s import Observed

ENVIRON = {"HTTP_X_REQUEST_ID": "r-1", "REMOTE_ADDR": "10.0.0.1"}
PARENT = hook_request()["parent"]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything logged, as it is written, at level debug."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    stream = io.StringIO()
    configure_logging(Settings(log_level="debug"), stream)
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    root.setLevel(before[1])


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def journal(problems: list[Problem] | None = None, monotonic: Any = lambda: 0.0) -> Journal:
    return Journal(lambda parent: problems or [], monotonic)


def answer(it: Journal, change: Change, parent: Any = PARENT) -> None:
    it.answered("sync", ENVIRON, parent, change, seconds=0.0012344, bytes_in=10, bytes_out=20)


SAME = compute_change(hook_request(), quiet_response())
"""What an answer that changes nothing changes."""


def changed(**status: Any) -> Change:
    return compute_change(hook_request(), {"status": status, "children": []})


def test_a_call_that_changes_something_is_one_json_line_at_info(lines: io.StringIO) -> None:
    answer(journal(), changed(phase="Verifying", verified=True, verifiedAt="t"))

    (line,) = written(lines)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "message": "hook answered",
        "hook": "sync",
        "swarm": "workspace-1",
        "uid": "uid-1",
        "generation": 1,
        "ms": 1.234,
        "requestId": "r-1",
        "code": 200,
        "bytesIn": 10,
        "bytesOut": 20,
        "phase": "Verifying",
        "phaseBefore": "",
        "verified": True,
        "smokeTest": "passed",
        "dropped": ["ConfigMap/ns/c"],
    }


def test_children_that_are_added_are_named(lines: io.StringIO) -> None:
    new = {"kind": "Service", "metadata": {"name": "s", "namespace": "ns"}}
    answer(journal(), compute_change(hook_request(), {"status": {}, "children": [new]}))
    assert written(lines)[0]["added"] == ["Service/ns/s"]


def test_a_call_that_changes_nothing_is_debug_only(lines: io.StringIO) -> None:
    answer(journal(), SAME)
    (line,) = written(lines)
    assert line["level"] == "debug"
    logging.getLogger().setLevel(logging.INFO)
    answer(journal(), SAME)
    assert len(written(lines)) == 1


def test_unknown_fields_are_warned_of_once_a_generation(lines: io.StringIO) -> None:
    it = journal([Problem("spec.newField", "unknown")])
    for generation in (1, 1, 2, 2):
        answer(it, SAME, {"metadata": {"name": "n", "uid": "u", "generation": generation}})

    warnings = [line for line in written(lines) if line["level"] == "warning"]
    assert [(line["generation"], line["unknown"]) for line in warnings] == [
        (1, ["spec.newField"]),
        (2, ["spec.newField"]),
    ]


@pytest.mark.parametrize(
    "parent", [{}, {"metadata": 1}, {"metadata": {"uid": 1, "generation": []}}, {"metadata": {"uid": []}}]
)
def test_a_parent_that_says_nothing_of_itself_is_logged_all_the_same(lines: io.StringIO, parent: Any) -> None:
    answer(journal(), SAME, parent)
    assert len(written(lines)) == 1


def test_what_was_warned_of_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_MAX_REMEMBERED", 3)
    asked: list[str] = []

    def unknown_fields(parent: Observed) -> list[Problem]:
        asked.append(parent["metadata"]["uid"])
        return []

    it = Journal(unknown_fields)
    for uid in ("a", "b", "c", "d", "d", "c", "a"):
        answer(it, SAME, {"metadata": {"uid": uid, "generation": 1}})
    assert asked == ["a", "b", "c", "d", "a"]


def test_refusals_are_logged_once_a_second_for_each_status(lines: io.StringIO) -> None:
    now = [10.0]
    it = journal(monotonic=lambda: now[0])
    for code in (401, 401, 401, 413):
        it.refused("sync", ENVIRON, code, "no")
    now[0] = 11.0
    it.refused("sync", ENVIRON, 401, "no")

    assert [(line["code"], line.get("alsoRefused")) for line in written(lines)] == [(401, None), (413, None), (401, 2)]
    assert written(lines)[0]["peer"] == "10.0.0.1"


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        ("abc-123_x.Y:/+=", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("a b", False),
        ('x"', False),
        ("a\n", False),
        ("\xe9", False),
    ],
)
def test_only_a_sane_request_id_is_taken_over(offered: str, kept: bool) -> None:
    assert (RequestIds().of({"HTTP_X_REQUEST_ID": offered}) == offered) == kept


def test_new_request_ids_differ_also_between_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = RequestIds()
    first = {ids.of({}) for _ in range(100)}
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert len(first | {ids.of({}) for _ in range(100)}) == 200
    assert len({identifier.partition("-")[0] for identifier in (ids.of({}), *first)}) == 2


SECRET_SPEC = {
    "userId": "user-1",
    "config": {
        "tomlOverrides": "key = 'sk-secret-1'\nother = 1",
        "files": {"SOUL.md": "You are a\npirate-captain"},
        "agents": {"a": {"allowedTools": ["tool-number-one"]}},
    },
    "runtime": {"env": [{"name": "API_KEY", "value": "sk-secret-2"}], "image": "img"},
}


@pytest.mark.parametrize(
    "message",
    [
        "bad value 'sk-secret-2'",
        "cannot parse: key = 'sk-secret-1'",
        repr(SECRET_SPEC["config"]["tomlOverrides"]),  # type: ignore[index]
        "line: pirate-captain",
        "tool-number-one",
    ],
)
def test_the_traceback_of_a_bug_shows_nothing_of_config_or_environment(lines: io.StringIO, message: str) -> None:
    try:
        raise ValueError(message)
    except ValueError as error:
        journal().failed("sync", "r-1", {**PARENT, "spec": SECRET_SPEC}, error, seconds=0.1)

    (line,) = written(lines)
    assert (line["level"], line["requestId"], line["swarm"]) == ("error", "r-1", "workspace-1")
    assert "ValueError: " in line["traceback"]
    assert "test_logs.py" in line["traceback"]
    for secret in ("sk-secret", "pirate", "tool-number"):
        assert secret not in line["traceback"]


@pytest.mark.parametrize("spec", [None, [], {}, {"runtime": 1, "config": "x"}, {"runtime": {"env": None}}])
def test_a_spec_without_secrets_hides_nothing(spec: Any) -> None:
    assert redact("ValueError: nothing to hide", spec) == "ValueError: nothing to hide"


def record(message: str, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.INFO, "", 0, message, None, None)
    made.created = 1_777_636_800.25
    setattr(made, FIELDS, fields)
    return made


def test_text_is_for_people_and_no_value_can_pass_for_another_field_or_line() -> None:
    text = make_formatter("text").format(
        record("hook answered", swarm="a", flag=True, ms=1.5, odd="x y=z\n1", none=None, added=["a", "b c"])
    )
    assert (
        text
        == '12:00:00.250 INFO    hook answered swarm=a flag=true ms=1.5 odd="x y=z\\n1" none=None added=["a", "b c"]'
    )


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_is_written_in_both_formats(log_format: str) -> None:
    try:
        raise ValueError("of this error")
    except ValueError as error:
        made = record("failed")
        made.exc_info = (ValueError, error, error.__traceback__)
    assert "ValueError: of this error" in make_formatter(log_format).format(made)
    assert "given" in make_formatter(log_format).format(record("failed", traceback="given"))


def test_the_level_of_the_settings_holds(lines: io.StringIO) -> None:
    configure_logging(Settings(log_level="warning", log_format="text"), lines)
    logging.getLogger("userswarm").info("not this")
    logging.getLogger("userswarm").warning("but this")
    assert "not this" not in lines.getvalue()
    assert lines.getvalue().endswith("WARNING but this\n")
