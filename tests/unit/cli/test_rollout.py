"""A roll-out: who is moved and when, when it stops, and that it can be taken up and taken back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from userswarm.backend.errors import ConflictError, NotFound, SwarmGoneError, UnreachableError
from userswarm.backend.model import MOVED_WHILE, Swarm, parse_swarm
from userswarm.cli import cli
from userswarm.cli.rollout.plan import Choice, make_plan, place_in_row
from userswarm.cli.rollout.report import Report
from userswarm.cli.rollout.roll import Limits, roll
from userswarm.reaper.amounts import Share
from userswarm.reaper.progress import Progress
from userswarm.spec.template.choosing import REVISION_ANNOTATION
from userswarm.wire.k8s import Manifest

Build = Callable[[Manifest, int], dict[str, Any]]


def fine(manifest: Manifest, revision: int) -> dict[str, Any]:
    return {"phase": "Ready", "verified": True, "verifiedGeneration": 1, "endpoint": "http://x"}


def broken(manifest: Manifest, revision: int) -> dict[str, Any]:
    unready = {"type": "Ready", "status": "False", "reason": "CrashLoop", "message": "it ends with code 1"}
    return {"phase": "Failed", "verified": False, "conditions": [unready]}


class World:
    """Swarms, and a controller that builds them as soon as somebody waits; `revisions` says how each turns out.

    A name may be busy (its status is written to at the same moment) for so many tries.
    """

    def __init__(self, count: int = 0, **revisions: Build) -> None:
        self.builds = {int(name.removeprefix("r")): build for name, build in revisions.items()}
        self.manifests: dict[str, Manifest] = {}
        self.moves: list[str] = []
        self.busy: dict[str, int] = {}
        self.now = 0.0
        for number in range(count):
            self.add(f"workspace-{number:02}")

    def add(self, name: str, template: str = "ws", revision: int = 1, **changes: Any) -> Manifest:
        manifest: Manifest = {
            "metadata": {
                "name": name,
                "uid": f"uid-{name}",
                "generation": 1,
                "resourceVersion": "1",
                "annotations": {},
            },
            "spec": {"userId": "u", **({"template": {"name": template}} if template else {})},
            "status": {"observedGeneration": 1, "template": {"name": template, "revision": revision}},
        }
        manifest["status"] |= self.builds.get(revision, fine)(manifest, revision)
        for field, value in changes.items():
            manifest[field] = {**manifest[field], **value}
        self.manifests[name] = manifest
        return manifest

    # What a client does.

    def list(self) -> list[Swarm]:
        return [parse_swarm(manifest) for manifest in self.manifests.values()]

    def move_template(self, swarm: Swarm, revision: int, *, moved_while: str = "") -> Swarm:
        if swarm.name not in self.manifests:
            raise NotFound(swarm.name)
        manifest = self.manifests[swarm.name]
        if self.busy.get(swarm.name, 0) > 0:
            self.busy[swarm.name] -= 1
            self._written(manifest)
        if swarm.resource_version != manifest["metadata"]["resourceVersion"]:
            raise ConflictError("PATCH", 409)
        assert swarm.template
        manifest["metadata"]["annotations"] |= {
            REVISION_ANNOTATION: f"{swarm.template.name}/{revision}",
            MOVED_WHILE: moved_while,
        }
        self.moves.append(swarm.name)
        self._written(manifest)
        return parse_swarm(manifest)

    def states(self, swarm: Swarm, timeout: float) -> Generator[Swarm, None, None]:
        yield self._state(swarm)
        if self._build(swarm.name):
            yield self._state(swarm)
        self.now += timeout

    def _state(self, swarm: Swarm) -> Swarm:
        if swarm.name not in self.manifests:
            raise SwarmGoneError(swarm.name, "is gone", phase="", reason="", message="")
        return parse_swarm(self.manifests[swarm.name])

    def _build(self, name: str) -> bool:
        manifest = self.manifests[name]
        of, _, asked = manifest["metadata"]["annotations"].get(REVISION_ANNOTATION, "").partition("/")
        wanted = {"name": of, "revision": int(asked or 0)}
        if not asked or manifest["status"]["template"] == wanted or int(asked) not in self.builds:
            return False
        built = self.builds[int(asked)](manifest, int(asked))
        resting = {"phase": "Asleep", "verified": False} if manifest["status"]["phase"] == "Asleep" else built
        manifest["status"] = {"observedGeneration": 1, "template": wanted, **resting}
        self._written(manifest)
        return True

    @staticmethod
    def _written(manifest: Manifest) -> None:
        manifest["metadata"]["resourceVersion"] = str(int(manifest["metadata"]["resourceVersion"]) + 1)

    # What a test asks.

    def run(self, to: int, *, terminal: bool = False, **options: Any) -> Told:
        limits = {key: options.pop(key) for key in ("pause_on_failures",) if key in options}
        dry_run = options.pop("dry_run", False)
        wanted = {"percent": 100, "max_unavailable": Share(5, percent=False), **options}
        out, bar = Terminal() if terminal else io.StringIO(), Terminal() if terminal else io.StringIO()
        code = roll(
            self,  # type: ignore[arg-type]
            Choice("ws", to, **wanted),
            Limits(timeout=600.0, **limits),
            Report(out, {"template": "ws", "to": to}),
            Progress(bar),
            clock=lambda: self.now,
            dry_run=dry_run,
        )
        return Told(int(code), out.getvalue(), bar.getvalue())

    def at(self, revision: int) -> set[str]:
        return {name for name, each in self.manifests.items() if each["status"]["template"]["revision"] == revision}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Told:
    def __init__(self, code: int, out: str, bar: str) -> None:
        self.code, self.out, self.bar = code, out, bar

    @property
    def summary(self) -> dict[str, Any]:
        last: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        assert last["kind"] == "summary"
        return last

    @property
    def outcomes(self) -> dict[str, int]:
        outcomes: dict[str, int] = self.summary["outcomes"]
        return outcomes

    def line(self, name: str) -> dict[str, Any]:
        (found,) = [line for line in map(json.loads, self.out.splitlines()[:-1]) if line["name"] == name]
        assert isinstance(found, dict)
        return found


# --- all goes well ------------------------------------------------------------------------------------------------


def test_every_swarm_is_moved_batch_by_batch() -> None:
    world = World(50, r2=fine)
    unverified_at_once: list[int] = []

    def counted(manifest: Manifest, revision: int) -> dict[str, Any]:
        asked = [each for each in world.manifests.values() if REVISION_ANNOTATION in each["metadata"]["annotations"]]
        unverified_at_once.append(len(asked) - len(world.at(2)))
        return fine(manifest, revision)

    world.builds[2] = counted
    told = world.run(2)

    assert (told.code, told.outcomes) == (0, {"verified": 50})
    assert world.at(2) == world.manifests.keys()
    assert max(unverified_at_once) == 5
    assert [told.line(name)["batch"] for name in world.moves] == [1 + position // 5 for position in range(50)]


def test_a_second_run_has_nothing_to_do() -> None:
    world = World(10, r2=fine)
    world.run(2)
    moves = list(world.moves)

    told = world.run(2)

    assert (told.code, told.outcomes, world.moves) == (0, {"skipped": 10}, moves)
    assert {told.line(name)["reason"] for name in moves} == {"already"}


def test_a_share_is_taken_by_name_and_a_larger_one_contains_it() -> None:
    world = World(200, r2=fine)

    few = world.run(2, percent=10)
    first = world.at(2)
    assert 5 <= len(first) <= 40
    assert few.outcomes == {"skipped": 200 - len(first), "verified": len(first)}
    world.run(2, percent=30)
    assert first < world.at(2) != world.manifests.keys()
    world.run(2)
    assert world.at(2) == world.manifests.keys()


@given(st.text(min_size=1, max_size=40), st.integers(1, 99))
def test_a_place_in_the_row_is_the_names_alone(name: str, percent: int) -> None:
    def is_chosen(share: int) -> bool:
        world = World()
        world.add(name)
        return bool(make_plan(world.list(), Choice("ws", 2, share, Share(1, percent=False))).total)

    assert is_chosen(percent) == (place_in_row(World.list(_one(name))[0], "ws") < percent)
    assert is_chosen(percent) <= is_chosen(percent + 1)


def _one(name: str) -> World:
    world = World()
    world.add(name)
    return world


@pytest.mark.parametrize(
    ("share", "size"),
    [
        (Share(10, percent=True), 5),
        (Share(1, percent=True), 1),
        (Share(0, percent=True), 1),
        (Share(100, percent=True), 50),
        (Share(7, percent=False), 7),
    ],
)
def test_a_batch_is_a_share_of_all_and_one_at_least(share: Share, size: int) -> None:
    plan = make_plan(World(50).list(), Choice("ws", 2, 100, share))

    assert {len(batch) for batch in plan.batches[:-1]} <= {size}
    assert len(plan.batches[0]) == size
    assert plan.total == 50


def test_a_dry_run_moves_nobody_and_says_who_would_be() -> None:
    world = World(12, r2=fine)
    world.add("workspace-pinned", spec={"template": {"name": "ws", "revision": 1}})

    told = world.run(2, dry_run=True)

    assert (told.code, world.moves, told.outcomes) == (0, [], {"skipped": 1, "would-move": 12})
    assert sorted(told.line(f"workspace-{number:02}")["batch"] for number in range(12)) == [1] * 5 + [2] * 5 + [3] * 2


# --- it stops -----------------------------------------------------------------------------------------------------


def test_a_bad_revision_stops_after_the_first_batch_and_says_which_and_why() -> None:
    world = World(50, r2=broken)

    told = world.run(2)

    assert (told.code, told.outcomes) == (1, {"failed": 5, "not-moved": 45})
    assert len(world.at(2)) == 5
    assert told.summary["result"] == "stopped"
    assert {each["name"] for each in told.summary["failed"]} == world.at(2)
    assert {(each["reason"], each["message"]) for each in told.summary["failed"]} == {
        ("CrashLoop", "it ends with code 1")
    }
    assert "go back with --to the old revision" in told.summary["advice"]


def test_it_goes_on_below_the_failures_that_are_allowed() -> None:
    bad = {"workspace-03", "workspace-17"}
    world = World(20, r2=lambda manifest, to: (broken if manifest["metadata"]["name"] in bad else fine)(manifest, to))

    assert world.run(2, pause_on_failures=3).outcomes == {"failed": 2, "verified": 18}


def test_a_swarm_that_is_never_verified_has_failed_when_its_time_is_over() -> None:
    progressing = {"phase": "Progressing", "verified": False}
    world = World(10, r2=lambda manifest, to: progressing)

    told = world.run(2)

    assert (told.code, told.outcomes) == (1, {"failed": 5, "not-moved": 5})
    assert {each["reason"] for each in told.summary["failed"]} == {"Timeout"}
    # The five of a batch waited at the same time.
    assert world.now == 600.0


def test_a_revision_that_makes_a_spec_invalid_is_a_failure_though_it_is_not_built() -> None:
    world = World(10)

    def move(swarm: Swarm, revision: int, *, moved_while: str = "") -> Swarm:
        moved = World.move_template(world, swarm, revision, moved_while=moved_while)
        world.manifests[swarm.name]["status"] |= {"phase": "Invalid", "verified": False}
        return moved

    world.move_template = move  # type: ignore[method-assign]

    assert world.run(9).outcomes == {"failed": 5, "not-moved": 5}


def test_a_cluster_that_is_gone_ends_it_with_what_was_done() -> None:
    world = World(10, r2=fine)

    def gone(swarm: Swarm, timeout: float) -> Generator[Swarm, None, None]:
        raise UnreachableError("GET", "no route")
        yield

    world.states = gone  # type: ignore[method-assign]
    told = world.run(2)

    assert (told.code, told.summary["result"], told.summary["errors"]) == (
        5,
        "cluster-unreachable",
        [str(UnreachableError("GET", "no route"))],
    )
    assert "run this again" in told.summary["advice"]


def test_an_interrupt_ends_it_with_a_summary() -> None:
    world = World(10, r2=fine)

    def interrupted(*_: object, **__: object) -> Swarm:
        raise KeyboardInterrupt

    world.move_template = interrupted  # type: ignore[method-assign]
    told = world.run(2)

    assert (told.code, told.summary["result"]) == (130, "interrupted")


# --- it is taken up, and taken back -------------------------------------------------------------------------------


def test_a_roll_out_that_was_stopped_stops_again_while_the_failed_are_failed_and_moves_nobody() -> None:
    world = World(50, r2=broken)
    world.run(2)
    moves = list(world.moves)

    told = world.run(2)

    assert (told.code, world.moves) == (1, moves)
    assert told.outcomes == {"failed": 5, "not-moved": 45}


def test_a_roll_out_that_was_stopped_goes_on_where_it_was_once_the_failed_are_well() -> None:
    world = World(50, r2=broken)
    world.run(2)
    for name in world.at(2):
        world.manifests[name]["status"] |= fine({}, 2)
    world.builds[2] = fine

    told = world.run(2)

    assert (told.code, told.outcomes) == (0, {"skipped": 5, "verified": 45})
    assert len(world.moves) == len(set(world.moves)) == 50


def test_going_back_moves_only_those_that_were_moved() -> None:
    world = World(50, r1=fine, r2=broken)
    world.run(2)
    moved = world.at(2)

    told = world.run(1)

    assert (told.code, world.at(2)) == (0, set())
    assert set(world.moves[5:]) == moved
    assert {told.line(name)["outcome"] for name in moved} == {"verified"}


def test_what_did_not_serve_before_is_moved_and_does_not_count() -> None:
    world = World(10, r2=fine)
    for name in ("workspace-02", "workspace-05"):
        world.manifests[name]["status"] |= broken({}, 1)
    world.builds[2] = lambda manifest, to: (broken if manifest["metadata"]["name"] == "workspace-02" else fine)(
        manifest, to
    )

    told = world.run(2)

    assert (told.code, told.outcomes) == (0, {"still-troubled": 1, "verified": 9})
    assert (told.line("workspace-02")["reason"], told.line("workspace-02")["batch"]) == ("Timeout", 3)
    assert told.line("workspace-02")["message"].endswith("CrashLoop: it ends with code 1")
    assert told.line("workspace-05")["batch"] == 3
    # And a later run does not take it for its own failure.
    assert world.run(2).outcomes == {"skipped": 9, "still-troubled": 1}


# --- who is not moved ---------------------------------------------------------------------------------------------


def test_swarms_of_others_are_not_even_told() -> None:
    world = World(1, r2=fine)
    world.add("workspace-other", template="other")
    world.add("workspace-plain", template="")

    assert world.run(2).outcomes == {"verified": 1}


def test_the_pinned_and_the_leaving_stay() -> None:
    world = World(r2=fine)
    world.add("workspace-a", spec={"template": {"name": "ws", "revision": 1}})
    world.add("workspace-b", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})

    told = world.run(2)

    assert [told.line(f"workspace-{name}")["reason"] for name in "ab"] == ["pinned", "deleting"]
    assert not world.moves


def test_an_annotation_for_another_template_asks_for_nothing() -> None:
    world = World(1, r2=fine)
    world.manifests["workspace-00"]["metadata"]["annotations"] = {REVISION_ANNOTATION: "other/2"}

    assert world.run(2).outcomes == {"verified": 1}


def test_only_those_without_a_pod_are_moved_where_that_is_asked_for() -> None:
    world = World(6, r2=broken)
    for name in ("workspace-01", "workspace-04"):
        world.manifests[name]["status"] |= {"phase": "Asleep", "verified": False}

    told = world.run(2, only_asleep=True)

    # Nothing can be seen of them: that is said, and is no failure.
    assert (told.code, told.outcomes) == (0, {"resting": 2, "skipped": 4})
    assert told.line("workspace-00")["reason"] == "awake"
    assert world.at(2) == {"workspace-01", "workspace-04"}


def test_a_swarm_that_wakes_before_it_is_moved_is_left() -> None:
    world = World(1, r2=fine)
    asleep = world.manifests["workspace-00"]
    asleep["status"] |= {"phase": "Asleep", "verified": False}
    listed = world.list()
    world.list = lambda: listed  # type: ignore[method-assign]
    asleep["status"] |= fine({}, 1)
    asleep["metadata"]["resourceVersion"] = "2"

    assert world.run(2, only_asleep=True).line("workspace-00")["reason"] == "awake"
    assert not world.moves


def test_a_swarm_that_is_written_to_at_the_same_moment_is_read_again() -> None:
    world = World(3, r2=fine)
    world.busy = {"workspace-01": 4}

    assert world.run(2).outcomes == {"verified": 3}


def test_a_swarm_that_is_written_to_all_the_time_is_a_failure() -> None:
    world = World(1, r2=fine)
    world.busy = {"workspace-00": 10_000}

    assert world.run(2).line("workspace-00")["reason"] == "Conflict"


def test_a_swarm_that_goes_meanwhile_is_none() -> None:
    world = World(3, r2=fine)
    listed = world.list()
    world.list = lambda: listed  # type: ignore[method-assign]
    del world.manifests["workspace-01"]

    told = world.run(2)
    assert (told.code, told.line("workspace-01")["reason"]) == (0, "gone")


def test_a_swarm_that_another_roll_out_takes_is_left_to_it() -> None:
    world = World(1, r2=fine, r3=fine)

    def taken(swarm: Swarm, revision: int, *, moved_while: str = "") -> Swarm:
        World.move_template(world, swarm, revision, moved_while=moved_while)
        world.manifests[swarm.name]["metadata"]["annotations"][REVISION_ANNOTATION] = "ws/3"
        return swarm

    world.move_template = taken  # type: ignore[method-assign]

    assert world.run(2).line("workspace-00")["reason"] == "moved-by-others"


# --- what is shown ------------------------------------------------------------------------------------------------


def test_a_terminal_gets_a_bar_and_a_line_for_what_is_not_as_it_should_be() -> None:
    world = World(10, r2=broken)

    told = world.run(2, terminal=True)

    assert "[------------------------------] 0/10, batch 1 of 2: moving" in told.bar
    assert "[###############---------------]" not in told.bar
    *failed, summary, advice = told.out.splitlines()
    assert {line.partition(": ")[0] for line in failed} == {"batch 1"}
    assert all(line.endswith(": failed: CrashLoop: it ends with code 1") for line in failed)
    assert summary == "stopped: 5 failed, 5 not-moved"
    assert "--to the old revision" in advice


def test_the_bar_grows() -> None:
    told = World(10, r2=fine).run(2, terminal=True)

    assert "[###############---------------] 5/10, batch 2 of 2: moving" in told.bar
    assert told.out == "done: 10 verified\n"


def test_nothing_to_do_is_said() -> None:
    assert World().run(2, terminal=True).out == "done: no swarm is of this template\n"


@pytest.mark.parametrize(
    ("annotation", "asked"),
    [("ws/2", 2), ("ws/x", 0), ("ws/0", 0), ("ws/02", 0), ("2", 0), ("", 0), ("a/ws/2", 0), ("ws/9999999999", 0)],
)
def test_only_a_revision_of_the_swarms_own_template_is_read(annotation: str, asked: int) -> None:
    manifest = World().add("workspace-a", metadata={"annotations": {REVISION_ANNOTATION: annotation}})
    manifest["metadata"] |= {"name": "workspace-a", "uid": "1"}

    template = parse_swarm(manifest).template

    assert template is not None
    assert template.asked == asked


# --- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["ws"],
        ["ws", "--to", "0"],
        ["ws", "--to", "2", "--percent", "0"],
        ["ws", "--to", "2", "--percent", "101"],
        ["ws", "--to", "2", "--max-unavailable", "many"],
        ["ws", "--to", "2", "--pause-on-failures", "0"],
        ["ws", "--to", "2", "--timeout", "0s"],
        ["--to", "2"],
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(words: list[str]) -> None:
    assert CliRunner().invoke(cli, ["rollout", *words]).exit_code == 2


def test_without_a_cluster_it_says_so(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    told = CliRunner().invoke(cli, ["rollout", "ws", "--to", "2", "--kubeconfig", missing])

    summary = json.loads(told.stdout)
    assert (told.exit_code, summary["result"]) == (5, "cluster-unreachable")
    assert missing in summary["errors"][0]
