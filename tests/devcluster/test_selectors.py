import pytest

from devcluster.selectors import EVERYTHING, from_labels, from_object, from_text
from fakes import refusal

LABELS = {"app": "x", "tier": "1", "example.com/role": "db"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=x", True),
        ("app==x", True),
        ("app=y", False),
        ("app!=y", True),
        ("app!=x", False),
        ("other!=x", True),
        ("app in (y, x)", True),
        ("app in (y)", False),
        ("app notin (y,z)", True),
        ("app notin (x)", False),
        ("other notin (x)", True),
        ("app", True),
        ("other", False),
        ("!other", True),
        ("! app", False),
        ("app=x,tier=1,example.com/role=db", True),
        ("app=x , tier=2", False),
        ("other=", False),
    ],
)
def test_the_text_of_kubectl_means_what_kubectl_means(text: str, matches: bool) -> None:
    assert from_text(text).matches(LABELS) is matches


@pytest.mark.parametrize("text", ["app=x;", "=x", "app in x", "app in (x", "?"])
def test_text_that_is_no_selector_is_400(text: str) -> None:
    error = refusal(lambda: from_text(text))

    assert error.code == 400
    assert "unable to parse requirement" in error.message


def test_a_label_selector_object_takes_labels_and_expressions_together() -> None:
    selector = {
        "matchLabels": {"app": "x"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["1", "2"]},
            {"key": "tier", "operator": "NotIn", "values": ["3"]},
            {"key": "app", "operator": "Exists"},
            {"key": "gone", "operator": "DoesNotExist"},
        ],
    }

    assert from_object(selector).matches(LABELS)
    assert not from_object(selector).matches({**LABELS, "gone": ""})
    assert not from_object(selector).matches({**LABELS, "tier": "3"})
    assert from_object({}) == EVERYTHING


def test_an_unknown_operator_is_400() -> None:
    assert refusal(lambda: from_object({"matchExpressions": [{"key": "a", "operator": "Gt"}]})).code == 400


def test_only_exact_labels_can_be_looked_up() -> None:
    assert list(from_labels({"b": "2", "a": "1"}).pairs()) == [("a", "1"), ("b", "2")]
    assert list(from_text("a in (1,2),!b,c,d notin (x)").pairs()) == []
