"""Names are frozen once released."""

from __future__ import annotations

import json
from collections.abc import Callable

import scenes
from userswarm.compose.plan import compute_plan
from userswarm.spec.slugs import slug

NAMES = (
    "a",
    "workspace-a",
    "workspace-3f2a7c1e-9b4d-4e6a-8c5f-1d2e3f4a5b6c",
    "x" * 46,
    "x" * 47,
    "0-leading-digit",
    "with.dots.in.it",
    "with-dots-in-it",
    "a-headless",
    "a--" + "b" * 26,
    "a--" + "b" * 25,
    ".".join(["l" * 63, "m" * 63, "n" * 63, "o" * 61]),
)
USER_IDS = (
    "user-1",
    "auth0|65f1c2b7a9",
    "Ümlaut Ωmega",
    "用户",
    "a" * 256,
    " ",
    "5c9f7f0e-6f0a-4d59-a4f5-2f1b8f2f3f11",
)


def test_no_name_or_label_value_ever_changes(golden: Callable[[str, str, str], None]) -> None:
    names = {}
    for name in NAMES:
        plan = compute_plan(scenes.user_swarm(name), scenes.SETTINGS)
        children = [(child["kind"], child["metadata"]["name"]) for child in plan.children()]
        names[name] = {
            "slug": plan.swarm.identity.slug,
            "pod": plan.swarm.identity.pod,
            "children": sorted(f"{kind} {child}" for kind, child in children),
            "selector": plan.swarm.identity.selector(),
        }
    text = json.dumps(
        {"names": names, "userIds": {each: slug(each) for each in USER_IDS}}, indent=2, ensure_ascii=False
    )
    golden(
        "names.json",
        text + "\n",
        "This is a BREAKING CHANGE: every swarm that exists would get new objects under new names, and an empty "
        "volume beside the one that holds the user's data. Names, labels in selectors and the scheme behind them "
        "are frozen; do not run --update-golden for an entry that is already there.",
    )
