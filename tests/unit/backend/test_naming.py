"""Names and labels: readable where that is safe, and never shared by two workspaces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userswarm.backend import InvalidWorkspaceError
from userswarm.backend.naming import (
    SHARD_LABEL,
    default_workspace_id,
    instance_name,
    swarm_labels,
    swarm_name,
    user_selector,
)

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

IDS = st.one_of(
    st.text(min_size=1, max_size=260).filter(lambda text: text.isascii() or _is_utf8(text)),
    st.from_regex(r"[a-zA-Z0-9.-]{1,60}", fullmatch=True),
    st.from_regex(r"[a-z]{1,9}--[a-z2-7]{26}", fullmatch=True),
)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


@pytest.mark.parametrize(
    "workspace_id", ["a", "3f8a1c52-9d4e-4b7a-8c11-0e5d2f6a9b34", "team.alpha", "x-headless", "a" * 243]
)
def test_id_that_fits_into_a_name_stays_readable(workspace_id: str) -> None:
    assert swarm_name(workspace_id) == f"workspace-{workspace_id}"
    assert default_workspace_id(swarm_name(workspace_id)) == workspace_id


@pytest.mark.parametrize("workspace_id", ["A", "a_b", "-a", "a-", "a..b", "a\n", "ä", "a b", "a" * 244, "a/b", "日本"])
def test_id_that_does_not_fit_is_hashed(workspace_id: str) -> None:
    assert re.fullmatch(r"workspace-[a-z0-9-]+--[a-z2-7]{26}", swarm_name(workspace_id))


def test_ids_that_differ_only_in_case_have_different_names() -> None:
    assert len({swarm_name(text) for text in ("team", "Team", "TEAM", "tEAM")}) == 4


def test_id_that_imitates_a_hashed_name_gets_another() -> None:
    hashed = swarm_name("Team").removeprefix("workspace-")

    assert swarm_name(hashed) not in {f"workspace-{hashed}", swarm_name("Team")}


@given(first=IDS, second=IDS)
def test_names_are_valid_and_two_ids_never_share_one(first: str, second: str) -> None:
    name = swarm_name(first)

    assert len(name) <= 253
    assert SUBDOMAIN.fullmatch(name)
    assert (name == swarm_name(second)) is (first == second)
    imitated = name.removeprefix("workspace-")
    assert (swarm_name(imitated) == name) is (imitated == first)


@given(user_id=IDS)
def test_labels_are_valid_whatever_the_user_is_called(user_id: str) -> None:
    labels = swarm_labels("workspace-a", user_id, 7)

    assert all(LABEL_VALUE.fullmatch(value) for value in labels.values())
    assert user_selector(user_id) == f"crawbl.ai/user={labels['crawbl.ai/user']}"


def test_shard_is_stable_and_spreads() -> None:
    shards = [swarm_labels(f"workspace-{number}", "u", 4)[SHARD_LABEL] for number in range(200)]

    assert set(shards) == {"0", "1", "2", "3"}
    assert shards[:5] == [swarm_labels(f"workspace-{number}", "somebody", 4)[SHARD_LABEL] for number in range(5)]
    # A later release must not move swarms to other controllers.
    assert shards[:8] == SHARDS_ONCE_RELEASED


SHARDS_ONCE_RELEASED = ["0", "0", "3", "2", "3", "1", "2", "3"]


def test_no_shard_without_a_count() -> None:
    assert swarm_labels("workspace-a", "u", None) == {"crawbl.ai/user": "u"}


@pytest.mark.parametrize("wrong", ["", None, 7, b"a", "\ud800"])
def test_what_is_no_id_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidWorkspaceError, match="workspace id"):
        swarm_name(wrong)
    with pytest.raises(InvalidWorkspaceError, match="user id"):
        user_selector(wrong)
    with pytest.raises(InvalidWorkspaceError, match="user id"):
        swarm_labels("workspace-a", wrong, None)


def test_an_instance_is_named_by_the_hash_of_its_description() -> None:
    # printf %s 'fix the login page' | sha256sum
    assert instance_name("fix the login page") == "11a102aa3604"
    assert swarm_name(instance_name("fix the login page")) == "workspace-11a102aa3604"


@given(st.text(min_size=1).filter(_is_utf8))
def test_instance_name_is_the_name_of_an_object(description: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", instance_name(description))


@pytest.mark.parametrize("description", ["", "\ud800"])
def test_what_is_no_description_names_nothing(description: str) -> None:
    with pytest.raises(InvalidWorkspaceError, match="description"):
        instance_name(description)
