"""Within which limits hooks' needs are met, and what is said beyond them."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event
from prometheus_client import CollectorRegistry

from unit.server.test_auth import Time
from unit.server.test_cluster import PODS
from unit.server.test_service import HEAD, NEED, saying, speaking
from userswarm.server import gather
from userswarm.server.gather import Bucket, Gatherers
from userswarm.server.gathering import ObjectNeed, Unavailable
from userswarm.server.metrics import Metrics

POD = {"metadata": {"name": "p-0", "namespace": "ns"}}


class Api:
    """An API that answers once it is let, and counts who waits for it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go_on = Event()
        self.go_on.set()
        self.error = error
        self.at_once = self.most_at_once = 0

    def read(self, need: ObjectNeed) -> Any:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            self.go_on.wait()
            if self.error is not None:
                raise self.error
            return [POD]
        finally:
            self.at_once -= 1


def gatherers(api: Any = None, proxy: Any = None, metrics: Metrics | None = None) -> Gatherers:
    return Gatherers(api or Api(), proxy, metrics)


def refused(look: Callable[..., Any], need: Any) -> str:
    with pytest.raises(Unavailable) as caught:
        look(need)
    return str(caught.value)


def test_a_second_has_so_many_and_a_quiet_one_no_more() -> None:
    clock = Time()
    bucket = Bucket(10, clock)
    bucket.take(10)
    with pytest.raises(Unavailable, match="looked up later"):
        bucket.take(1)
    clock.now += 0.5
    bucket.take(5)
    with pytest.raises(Unavailable):
        bucket.take(1)
    clock.now += 3600
    with pytest.raises(Unavailable):
        bucket.take(11)
    bucket.take(10)


def test_all_calls_share_the_reads_of_a_second() -> None:
    shared = gatherers()
    shared.reads = Bucket(3, Time())
    for _ in range(3):
        assert shared().read(PODS) == [POD]
    assert "looked up later" in refused(shared().read, PODS)


def test_a_call_may_look_up_so_many_objects() -> None:
    call = gatherers()()
    most = gather._READS
    call.read({**PODS, "names": ["x"] * (most - 1)})
    call.read({"apiVersion": "v1", "kind": "Pod", "resource": "pods", "labelSelector": {"matchLabels": {}}})
    assert "more to look up" in refused(call.read, PODS)


def test_a_slow_api_server_costs_a_call_its_time_once(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    shared = gatherers(api)
    with monkeypatch.context() as patched:
        patched.setattr(gather, "_SECONDS_TO_READ", 0.05)
        call = shared()
    api.go_on.clear()
    assert "does not answer within" in refused(call.read, PODS)
    api.go_on.set()
    assert "does not answer within" in refused(call.read, PODS), "waited again"
    assert api.most_at_once == 1
    assert shared().read(PODS) == [POD]


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), http.client.IncompleteRead(b""), OSError("tls")])
def test_an_api_server_that_cannot_be_reached_is_said(error: Exception) -> None:
    assert "cannot be read" in refused(gatherers(Api(error))().read, PODS)


def test_why_there_is_no_api_is_said() -> None:
    assert refused(gatherers(Unavailable("nobody gave access"))().read, PODS) == "nobody gave access"


def test_so_many_read_at_once_and_the_others_wait_their_turn() -> None:
    api = Api()
    api.go_on.clear()
    shared = gatherers(api)
    reading = [gevent.spawn(shared().read, PODS) for _ in range(3 * gather._READS_AT_ONCE)]
    gevent.sleep(0)
    assert api.at_once == gather._READS_AT_ONCE
    api.go_on.set()
    gevent.joinall(reading, raise_error=True)
    assert api.most_at_once == gather._READS_AT_ONCE


def test_a_need_that_is_given_up_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api()
    api.go_on.clear()
    shared = gatherers(api)
    with monkeypatch.context() as patched:
        patched.setattr(gather, "_SECONDS_TO_READ", 0.05)
        for _ in range(gather._READS_AT_ONCE + 1):
            refused(shared().read, PODS)
    api.go_on.set()
    assert shared().read(PODS) == [POD]


class Services:
    """Services that answer once they are let; `asked` is what they were asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.go_on = Event()

    def ask(self, need: Any, proxy: Any) -> Any:
        self.asked.append(need)
        self.go_on.wait()
        return {"status": 200, "body": ""}


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Services:
    made = Services()
    monkeypatch.setattr(gather, "ask", made.ask)
    return made


def test_too_many_slow_services_at_once_are_asked_later(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = gatherers()
    asking = [gevent.spawn(shared().ask, NEED) for _ in range(gather._ASKS_AT_ONCE)]
    gevent.sleep(0)
    with monkeypatch.context() as patched:
        patched.setattr(gather, "_SECONDS_TO_WAIT", 0.01)
        assert "looked up later" in refused(shared().ask, NEED)
    services.go_on.set()
    gevent.joinall(asking, raise_error=True)
    assert len(services.asked) == gather._ASKS_AT_ONCE
    assert shared().ask(NEED) == {"status": 200, "body": ""}


VACANT = ({"status": 503, "body": "no endpoint"}, {"error": "no answer: Connection refused"})
THERE = {"status": 200, "body": "ok"}


def asked_in_turn(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> tuple[Any, list[Any]]:
    """Return what came of asking a Service that gives one answer after the other, and what it was asked."""
    monkeypatch.setattr(gather, "_ASK_AGAIN", 0)
    made: list[Any] = []

    def ask(need: Any, proxy: Any) -> Any:
        made.append(need)
        return answers[min(len(made), len(answers)) - 1]

    monkeypatch.setattr(gather, "ask", ask)
    return gatherers()().ask({**NEED, "timeoutSeconds": 5}), made


@pytest.mark.parametrize("vacant", VACANT, ids=str)
def test_a_service_that_leads_to_nobody_yet_is_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch, vacant: dict[str, Any]
) -> None:
    monkeypatch.setattr(gather, "_SECONDS_TO_APPEAR", 60)
    said, made = asked_in_turn(monkeypatch, vacant, vacant, THERE)
    assert said == THERE
    assert len(made) == 3
    assert {each["timeoutSeconds"] for each in made[1:]} == {4}, "more time than the need has"


@pytest.mark.parametrize("vacant", VACANT, ids=str)
def test_a_service_that_leads_to_nobody_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch, vacant: dict[str, Any]
) -> None:
    monkeypatch.setattr(gather, "_SECONDS_TO_APPEAR", 0)
    assert asked_in_turn(monkeypatch, vacant) == (vacant, [{**NEED, "timeoutSeconds": 5}])


@pytest.mark.parametrize("answer", [{"status": 500, "body": ""}, {"error": "no answer within 1 s"}], ids=str)
def test_a_runtime_that_has_answered_is_not_asked_twice(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
) -> None:
    monkeypatch.setattr(gather, "_SECONDS_TO_APPEAR", 60)
    said, made = asked_in_turn(monkeypatch, answer, THERE)
    assert said == answer
    assert len(made) == 1


def test_all_calls_share_the_requests_of_a_second(services: Services) -> None:
    services.go_on.set()
    shared = gatherers()
    shared.asks = Bucket(1, Time())
    shared().ask(NEED)
    assert "looked up later" in refused(shared().ask, NEED)
    assert len(services.asked) == 1


def test_needs_are_counted_by_kind_and_result() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    with speaking(saying(HEAD + b"\r\n")) as well, speaking(saying(b"garbage")) as ill:
        gatherers(metrics=metrics, proxy=well.proxy)().ask(NEED)
        gatherers(metrics=metrics, proxy=ill.proxy)().ask(NEED)
    gatherers(metrics=metrics)().read(PODS)
    refused(gatherers(Unavailable("no"), metrics=metrics)().read, PODS)
    counted = {
        (sample.labels["kind"], sample.labels["result"]): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "userswarm_needs_total"
    }
    assert counted == {
        ("http", "answered"): 1,
        ("http", "failed"): 1,
        ("Pod.v1", "read"): 1,
        ("Pod.v1", "unavailable"): 1,
    }
