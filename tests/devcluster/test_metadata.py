from typing import Any

import pytest

from devcluster.metadata import ANNOTATIONS_LIMIT, metadata_problems, name_problem


@pytest.mark.parametrize(
    ("rule", "name", "valid"),
    [
        ("subdomain", "a.b-c.1", True),
        ("subdomain", "a" * 253, True),
        ("subdomain", "a" * 254, False),
        ("subdomain", "a..b", False),
        ("subdomain", "-a", False),
        ("subdomain", "a\n", False),
        ("subdomain", 5, False),
        ("subdomain", None, False),
        ("label", "1a", True),
        ("label", "a.b", False),
        ("label", "a" * 64, False),
    ],
)
def test_names(rule: str, name: Any, valid: bool) -> None:
    assert (name_problem(rule, name) is None) is valid


OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"labels": {"a/b/c": "x"}}, "prefix part"),
        ({"labels": {"UPPER.example/x": "x"}}, "prefix part"),
        ({"labels": {"": "x"}}, "name part"),
        ({"labels": {"k" * 64: "x"}}, "name part"),
        ({"labels": {"k": "v" * 64}}, "no more than 63"),
        ({"labels": {"k": "-v"}}, "must match"),
        ({"labels": {"k": "v "}}, "must match"),
        ({"labels": {"k": 5}}, "must be a string"),
        ({"annotations": {"a b": "x"}}, "name part"),
        ({"annotations": {"k": 5}}, "must be a string"),
        ({"annotations": {"k": "x" * (ANNOTATIONS_LIMIT + 1)}}, "Too long"),
        ({"ownerReferences": [{**OWNER, "uid": ""}]}, "ownerReferences[0].uid"),
        ({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "uid": "u"}]}, "ownerReferences[0].name"),
        ({"ownerReferences": [OWNER, {**OWNER, "uid": "v"}]}, "Only one reference"),
        ({"name": "UPPER"}, "metadata.name"),
    ],
)
def test_wrong_metadata_is_named(metadata: dict[str, Any], words: str) -> None:
    problems = list(metadata_problems("subdomain", {"metadata": {"name": "n", **metadata}}))

    assert len(problems) == 1
    assert words in problems[0]


def test_good_metadata_has_no_problem() -> None:
    metadata = {
        "name": "n",
        "labels": {"app": "", "example.com/Name_1.x": "Value-1_x.y"},
        "annotations": {"Example.com/UPPER": "anything \n at all", "k": ""},
        "ownerReferences": [OWNER, {**OWNER, "uid": "v", "controller": False}],
    }

    assert list(metadata_problems("label", {"metadata": metadata})) == []
