"""What a hook is asked, and how often: its needs are gathered once, and never leave."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from userswarm.server.gathering import HttpNeed, ObjectNeed, Unavailable, answer
from userswarm.spec.settings import Settings

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SETTINGS = Settings()
POD = {"metadata": {"name": "p-0", "namespace": "ns"}}
NAMESPACE = {"metadata": {"name": "ns"}}
PODS = {"apiVersion": "v1", "kind": "Pod", "resource": "pods", "namespace": "ns", "names": ["p-0"]}
SETS = {"apiVersion": "apps/v1", "kind": "StatefulSet", "resource": "statefulsets", "namespace": "ns", "names": ["p"]}
NAMESPACES = {"apiVersion": "v1", "kind": "Namespace", "resource": "namespaces", "names": ["ns"]}
HEALTH = {"service": "p", "namespace": "ns", "port": 80, "path": "/health", "timeoutSeconds": 2}


class Memory:
    """A gatherer that has everything at hand, and remembers what it was asked for."""

    def __init__(self, **found: Any) -> None:
        self.found = found
        self.asked: list[Any] = []

    def read(self, need: ObjectNeed) -> Any:
        return self._find(need, need["kind"], [])

    def ask(self, need: HttpNeed) -> Any:
        return self._find(need, "http", {"status": 200, "body": "ok"})

    def _find(self, need: Any, what: str, default: Any) -> Any:
        self.asked.append(need)
        found = self.found.get(what, default)
        if isinstance(found, Exception):
            raise found
        return found


class Needy:
    """A hook with needs, that answers how often it was asked."""

    def __init__(self, needs: Any) -> None:
        self.needs = needs
        self.requests: list[Mapping[str, Any]] = []

    def __call__(self, request: Mapping[str, Any], settings: Settings, now: datetime) -> Mapping[str, Any]:
        assert (settings, now) == (SETTINGS, NOW)
        self.requests.append(request)
        return {"status": {"asked": len(self.requests)}, "needs": self.needs}


def asked(hook: Needy, gatherer: Memory, request: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """Let a hook with needs be called, and return what it was asked at last."""
    given = {"parent": {}, "related": {}} if request is None else request
    before = copy.deepcopy(given)
    assert answer(hook, given, SETTINGS, NOW, gatherer) == {"status": {"asked": 2}}, "needs went out, or were met again"
    assert given == before, "the request was changed"
    return hook.requests[-1]


@pytest.mark.parametrize("needs", [None, {}])
def test_a_settled_hook_is_asked_once(needs: Any) -> None:
    gatherer = Memory()
    assert answer(Needy(needs), {"parent": {}}, SETTINGS, NOW, gatherer) == {"status": {"asked": 1}}
    assert not gatherer.asked


def test_objects_are_related_by_group_and_key() -> None:
    request = asked(Needy({"objects": [PODS, NAMESPACES]}), Memory(Pod=[POD], Namespace=[NAMESPACE]))
    assert request["related"] == {"Pod.v1": {"ns/p-0": POD}, "Namespace.v1": {"ns": NAMESPACE}}
    assert request["unavailable"] == {}
    assert "http" not in request


def test_a_group_that_was_read_is_there_though_empty() -> None:
    assert asked(Needy({"objects": [SETS]}), Memory())["related"] == {"StatefulSet.apps/v1": {}}


@pytest.mark.parametrize("related", [None, {}])
def test_a_request_without_related_objects_gets_some(related: Any) -> None:
    request = {"parent": {}} if related is None else {"parent": {}, "related": related}
    assert asked(Needy({"objects": [PODS]}), Memory(Pod=[POD]), request)["related"] == {"Pod.v1": {"ns/p-0": POD}}


def test_what_metacontroller_sent_is_not_read_again() -> None:
    gatherer = Memory(Pod=[POD])
    sent = {"parent": {}, "related": {"Pod.v1": {}, "ConfigMap.v1": {"ns/c": {}}}}
    assert asked(Needy({"objects": [PODS]}), gatherer, sent)["related"] == sent["related"]
    assert not gatherer.asked


def test_two_needs_of_a_group_are_met_together() -> None:
    by_label = {**PODS, "labelSelector": {"matchLabels": {"a": "b"}}}
    gatherer = Memory(Pod=[POD])
    assert asked(Needy({"objects": [PODS, by_label]}), gatherer)["related"] == {"Pod.v1": {"ns/p-0": POD}}
    assert gatherer.asked == [PODS, by_label]


def test_what_cannot_be_read_is_said_and_never_absent() -> None:
    request = asked(Needy({"objects": [PODS, SETS]}), Memory(Pod=Unavailable("too many")))
    assert request["related"] == {"StatefulSet.apps/v1": {}}
    assert request["unavailable"] == {"Pod.v1": "too many"}


def test_half_of_a_group_is_none_of_it() -> None:
    class Twice(Memory):
        def read(self, need: ObjectNeed) -> Any:
            objects = super().read(need)
            if len(self.asked) == 2:
                raise Unavailable("gone")
            return objects

    request = asked(Needy({"objects": [PODS, PODS, PODS]}), Twice(Pod=[POD]))
    assert (request["related"], request["unavailable"]) == ({}, {"Pod.v1": "gone"})


@pytest.mark.parametrize("said", [{"status": 500, "body": "no"}, {"error": "no answer within 2 s"}])
def test_what_a_service_answers_is_handed_on(said: dict[str, Any]) -> None:
    gatherer = Memory(http=said)
    assert asked(Needy({"http": HEALTH}), gatherer)["http"] == said
    assert gatherer.asked == [HEALTH]


def test_a_service_that_was_not_asked_has_not_failed() -> None:
    request = asked(Needy({"http": HEALTH}), Memory(http=Unavailable("too many")))
    assert "http" not in request
    assert request["unavailable"] == {"http": "too many"}
