"""Whatever a UserSwarm and its user are called: valid names, and never one name for two."""

from __future__ import annotations

import re

from hypothesis import assume, example, given
from hypothesis import strategies as st

import scenes
from userswarm.compose.plan import compute_plan
from userswarm.spec.identity import Identity
from userswarm.spec.slugs import slug

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

_EDGE = st.sampled_from("ab27z0")
_LABELS = st.builds(
    lambda first, inner, last: first + inner + last if inner else first,
    _EDGE,
    st.text("ab27z0-", max_size=50),
    _EDGE,
)


def _imitation(text: str) -> str:
    """Return what the scheme makes of a text: itself a name that somebody may give."""
    return slug(text)


PLAIN = st.lists(_LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) <= 253)
NAMES = st.one_of(
    PLAIN,
    PLAIN.map(_imitation),
    PLAIN.map(_imitation).map(_imitation),
    PLAIN.map(lambda name: f"{slug(name)}-headless"[-253:].strip("-.")),
    PLAIN.map(lambda name: f"{name[:200]}-headless"),
    PLAIN.map(lambda name: f"{name[:200]}-config"),
    PLAIN.map(lambda name: f"{name[:200]}-0"),
    st.integers(40, 253).map(lambda length: "a" * length),
    st.tuples(_LABELS, st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=24, max_size=28)).map("--".join),
)
"""Valid names of UserSwarms: DNS-1123 subdomains of at most 253 characters, many made to collide."""

USERS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
"""Any user id that JSON can hold."""


def identity(name: str, user: str = "user-1") -> Identity:
    return compute_plan(scenes.user_swarm(name, userId=user), scenes.SETTINGS).swarm.identity


@given(NAMES, USERS)
@example("a" * 253, "用" * 256)
@example("0.0", "\x00")
@example("1", " ")
def test_names_and_labels_are_always_valid(name: str, user: str) -> None:
    plan = compute_plan(scenes.user_swarm(name, userId=user), scenes.SETTINGS)
    for child in plan.children():
        made = child["metadata"]["name"]
        assert DNS_1035.fullmatch(made), made
        if child["kind"] == "StatefulSet":
            assert len(made) <= 52
        labels = [child["metadata"]["labels"]]
        template = child["spec"].get("template") if "spec" in child else None
        if template:
            labels.append(template["metadata"]["labels"])
        for each in labels:
            for value in each.values():
                assert LABEL_VALUE.fullmatch(value), value
        assert child["metadata"]["annotations"]["crawbl.ai/name"] == name
        assert child["metadata"]["annotations"]["crawbl.ai/user-id"] == user
    assert DNS_1123.fullmatch(plan.swarm.identity.pod)


def objects(one: Identity) -> set[tuple[str, str]]:
    """Return (kind, name) of all that a swarm has, its Pod included."""
    return {
        ("ServiceAccount", one.name),
        ("Service", one.name),
        ("Service", one.headless_service),
        ("StatefulSet", one.name),
        ("ConfigMap", one.config_map),
        ("PersistentVolumeClaim", one.claim),
        ("Pod", one.pod),
    }


@given(NAMES, NAMES)
@example("a", "a-headless")
@example("a.b", slug("a.b"))
@example(slug("a.b"), slug(slug("a.b")))
@example("a.b", "a-b")
@example("a" * 46, "a" * 47)
@example("x", "x-0")
@example(f"{slug('a.b')}-headless", "a.b")
def test_two_swarms_never_share_an_object(one: str, other: str) -> None:
    assume(one != other)
    assert not objects(identity(one)) & objects(identity(other))
    assert identity(one).selector() != identity(other).selector()


@given(NAMES)
def test_what_the_scheme_makes_is_a_name_that_stands_for_another_swarm(name: str) -> None:
    made = slug(name)
    assert made == name or slug(made) != made


@given(USERS, USERS)
def test_two_users_never_share_a_label(one: str, other: str) -> None:
    assume(one != other)
    assert slug(one) != slug(other)


@given(NAMES, USERS)
def test_the_same_swarm_has_the_same_names_again(name: str, user: str) -> None:
    assert identity(name, user) == identity(name, user)
