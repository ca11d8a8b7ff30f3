"""Names, labels and checksums, and the objects they are given to."""

from __future__ import annotations

import pytest

import scenes
from userswarm.spec.identity import Identity, compute_checksum, owner_reference, template_checksum
from userswarm.spec.parent import parse_parent
from userswarm.spec.slugs import slug

HASH = "a" * 26


@pytest.mark.parametrize(
    "text", ["a", "0", "workspace-a", "a" * 46, "a-b-0", "headless", "a--b", "a--" + "a" * 25, "a--" + "1" * 26]
)
def test_a_dns_label_of_at_most_46_stays_as_it_is(text: str) -> None:
    assert slug(text) == text


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("a" * 47, "a" * 18),
        ("a.b", "a-b"),
        ("A", "a"),
        ("a_b", "a-b"),
        ("-a", "a"),
        ("a-", "a"),
        ("a\n", "a"),
        ("a-headless", "a-headless"),
        ("x-headless", "x-headless"),
        (f"a--{HASH}", "a-aaaaaaaaaaaaaaaa"),
        (f"b--{slug('a.b')}"[:46], None),
        ("", "x"),
        ("...", "x"),
        ("用户", "x"),
        ("Ünal 7", "nal-7"),
        ("a" * 17 + ".b", "a" * 17),
        ("auth0|65f1", "auth0-65f1"),
    ],
)
def test_any_other_text_becomes_what_can_be_read_of_it_and_a_hash(text: str, stem: str | None) -> None:
    made = slug(text)
    readable, _, hashed = made.rpartition("--")
    assert made != text
    assert len(made) <= 46
    assert len(hashed) == 26
    if stem is not None:
        assert readable == stem


def test_what_imitates_a_hashed_name_is_hashed_itself() -> None:
    made = slug("a.b")
    again = slug(made)
    assert again != made
    assert slug(again) not in (made, again)
    assert len({slug("a.b"), slug("a-b"), slug("A.b"), slug("a.b "), slug(made)}) == 5


def test_a_smaller_limit_is_kept_too() -> None:
    assert len(slug("a" * 40, limit=30)) == 30
    assert slug("a" * 30, limit=30) == "a" * 30


def identity(name: str = "workspace-a", **spec: object) -> Identity:
    return parse_parent(scenes.user_swarm(name, **spec), scenes.SETTINGS, ()).identity


def test_full_values_go_into_annotations() -> None:
    user = "auth0|" + "Ω" * 250
    metadata = identity("a.b", userId=user, workspaceId="w/1").metadata("child")
    assert metadata["annotations"] == {
        "crawbl.ai/name": "a.b",
        "crawbl.ai/user-id": user,
        "crawbl.ai/workspace-id": "w/1",
    }
    assert metadata["labels"]["crawbl.ai/user"] == slug(user)
    assert metadata["namespace"] == "userswarms"


def test_the_selector_selects_the_runtime_and_never_a_workload() -> None:
    one = identity()
    assert one.selector().items() <= one.labels().items()
    assert not one.selector().items() <= one.labels("workload").items()
    assert not one.selector().items() <= identity("workspace-b").labels().items()


def test_what_is_handed_out_can_be_edited_without_harm() -> None:
    one = identity()
    metadata = one.metadata("a")
    metadata["labels"].clear()
    metadata["annotations"].clear()
    assert one.metadata("a")["labels"]
    assert one.metadata("a")["annotations"]


def test_only_a_stored_parent_owns_its_children() -> None:
    assert owner_reference("crawbl.ai/v1alpha1", "a", "") is None
    assert owner_reference("crawbl.ai/v1alpha1", "a", "u") == {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "name": "a",
        "uid": "u",
        "controller": True,
        "blockOwnerDeletion": True,
    }


def test_a_checksum_is_of_values_not_of_their_order() -> None:
    assert compute_checksum({"a": 1, "b": 2}, {"x": "1", "y": "2"}) == compute_checksum(
        {"b": 2, "a": 1}, {"y": "2", "x": "1"}
    )
    assert compute_checksum({"a": 1}, {}) != compute_checksum({"a": 2}, {})
    assert compute_checksum({}, {"a": "1"}) != compute_checksum({}, {"a": "2"})


@pytest.mark.parametrize(
    "stateful_set",
    [
        {},
        {"spec": {}},
        {"spec": {"template": {"metadata": {}}}},
        {"spec": {"template": {"metadata": {"annotations": None}}}},
    ],
)
def test_a_template_without_a_checksum_has_an_empty_one(stateful_set: scenes.Json) -> None:
    assert template_checksum(stateful_set) == ""
