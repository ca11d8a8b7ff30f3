"""The Kubernetes REST API of the dev cluster, as plain HTTP and through the official client."""

from __future__ import annotations

import gc
import http.client
import itertools
import json
import socket
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config
from kubernetes import watch as kubernetes_watch

from devcluster.apiserver import AdmissionRequest, ApiServer
from devcluster.clock import Clock
from devcluster.rest import RestServer
from userswarm.cli.demo.rules import RULES
from userswarm.spec.schema import load_crd
from userswarm.wire.k8s import Manifest

SWARMS = "/apis/crawbl.ai/v1alpha1/userswarms"
MAPS = "/api/v1/namespaces/default/configmaps"
CRD = load_crd()
PATIENCE = 120.0
"""Seconds; no test waits so long unless it fails."""

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


@pytest.fixture
def api() -> ApiServer:
    api = ApiServer(Clock())
    api.register_crd(CRD, RULES)
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    return api


@pytest.fixture
def rest(api: ApiServer) -> Iterator[RestServer]:
    with RestServer(api, bookmark_interval=0.1) as rest:
        yield rest


class Http:
    """One keep-alive connection."""

    def __init__(self, rest: RestServer) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(rest.url).netloc, timeout=PATIENCE)

    def __call__(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **headers: str
    ) -> tuple[int, Any]:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request(method, path, content, {"Content-Type": content_type, **headers})
        self.response = self.connection.getresponse()
        return self.response.status, json.loads(self.response.read())

    def watch(self, path: str) -> Generator[Any, None, None]:
        self.connection.request("GET", path)
        with self.connection.getresponse() as response:
            assert response.status == 200
            while line := response.readline():
                yield json.loads(line)


@pytest.fixture
def http_(rest: RestServer) -> Iterator[Http]:
    asked = Http(rest)
    yield asked
    asked.connection.close()


@pytest.fixture
def official(rest: RestServer) -> Iterator[Any]:
    connect: Any = kubernetes_config.new_client_from_config_dict
    with connect(rest.kubeconfig()) as api_client:
        yield api_client


def swarm(name: str, **more: Any) -> Manifest:
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": name, **more},
        "spec": {"userId": "u"},
    }


def config_map(name: str, namespace: str = "default", **more: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, **more}}


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


# Through the official client


def test_official_client_makes_reads_lists_and_deletes(official: Any) -> None:
    custom: Any = kubernetes_client.CustomObjectsApi(official)
    place = ("crawbl.ai", "v1alpha1", "userswarms")

    made = custom.create_cluster_custom_object(*place, swarm("a"), field_manager="me")
    assert made["metadata"]["managedFields"][0]["manager"] == "me"
    assert custom.get_cluster_custom_object(*place, "a") == made
    made["spec"]["suspend"] = True
    assert custom.replace_cluster_custom_object(*place, "a", made)["metadata"]["generation"] == 2
    assert [each["metadata"]["name"] for each in custom.list_cluster_custom_object(*place)["items"]] == ["a"]
    custom.delete_cluster_custom_object(*place, "a")
    with pytest.raises(kubernetes_client.ApiException) as caught:
        custom.get_cluster_custom_object(*place, "a")
    assert caught.value.status == 404


def test_official_client_reads_core_kinds_page_by_page(official: Any, api: ApiServer) -> None:
    for number in range(5):
        api.create(config_map(f"m{number}"))
    core: Any = kubernetes_client.CoreV1Api(official)

    first = core.list_namespaced_config_map("default", limit=2)
    second = core.list_namespaced_config_map("default", limit=2, _continue=first.metadata._continue)

    assert [each.metadata.name for each in (*first.items, *second.items)] == ["m0", "m1", "m2", "m3"]
    assert first.metadata.remaining_item_count == 3
    assert len(core.list_config_map_for_all_namespaces().items) == 5
    assert {each.metadata.name for each in core.list_namespace().items} == {"default", "other"}
    assert core.read_namespace("default").metadata.name == "default"


def test_official_client_watches(official: Any, api: ApiServer) -> None:
    api.create(config_map("a"))
    core: Any = kubernetes_client.CoreV1Api(official)
    seen = []

    stream: Any = kubernetes_watch.Watch().stream  # type: ignore[no-untyped-call]
    for event in stream(core.list_namespaced_config_map, "default", timeout_seconds=1):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 1:
            api.create(config_map("b"))
            api.delete("v1", "ConfigMap", "default", "a")

    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


def test_kubeconfig_leads_here(rest: RestServer) -> None:
    config = yaml.safe_load(yaml.safe_dump(rest.kubeconfig()))

    assert config["clusters"][0]["cluster"]["server"] == rest.url
    assert urlsplit(rest.url).hostname == "127.0.0.1"


# Verbs


def test_many_requests_share_a_connection(http_: Http) -> None:
    http_("GET", SWARMS)
    before = http_.connection.sock
    http_("GET", f"{SWARMS}/nothing")

    assert http_.connection.sock is before


@pytest.mark.parametrize("status", [False, True])
def test_status_is_a_subresource_of_its_own(http_: Http, api: ApiServer, status: bool) -> None:
    made = api.create(swarm("a"))
    changed = {**made, "spec": {"userId": "u", "suspend": True}, "status": {"phase": "Ready"}}

    code, answer = http_("PUT", f"{SWARMS}/a{'/status' * status}", changed)

    assert code == 200
    assert answer["spec"]["suspend"] is not status
    assert answer.get("status") == ({"phase": "Ready"} if status else None)
    assert http_("GET", f"{SWARMS}/a/status")[1] == answer


def test_merge_patch(http_: Http, api: ApiServer) -> None:
    api.create(swarm("a", labels={"x": "1", "y": "2"}))

    patch = {"metadata": {"labels": {"x": None}}}
    code, answer = http_("PATCH", f"{SWARMS}/a?fieldManager=me", patch, f"{MERGE}; charset=utf-8")

    assert (code, answer["metadata"]["labels"]) == (200, {"y": "2"})
    code, answer = http_("PATCH", f"{SWARMS}/a/status", {"status": {"phase": "Ready"}}, MERGE, **{"User-Agent": "me/1"})
    assert answer["status"]["phase"] == "Ready"
    assert {entry["manager"] for entry in answer["metadata"]["managedFields"]} == {"kubectl", "me"}


@pytest.mark.parametrize("force", ["", "&force=true"])
def test_apply_creates_then_conflicts_unless_forced(http_: Http, api: ApiServer, force: str) -> None:
    body = yaml.safe_dump({**swarm("a"), "spec": {"userId": "u", "suspend": True}}).encode()
    code, answer = http_("PATCH", f"{SWARMS}/a?fieldManager=one", body, APPLY)
    assert (code, answer["metadata"]["managedFields"][0]["operation"]) == (201, "Apply")

    code, answer = http_(
        "PATCH", f"{SWARMS}/a?fieldManager=two{force}", {"spec": {"userId": "u", "suspend": False}}, APPLY
    )

    if force:
        assert (code, answer["spec"]["suspend"]) == (200, False)
    else:
        assert (code, answer["reason"]) == (409, "Conflict")
        assert answer["details"]["causes"] == [
            {"reason": "FieldManagerConflict", "field": ".spec.suspend", "message": 'conflict with "one"'}
        ]


def test_apply_takes_uid_and_resource_version_as_preconditions(http_: Http, api: ApiServer) -> None:
    path = f"{SWARMS}/a?fieldManager=me"
    assert http_("PATCH", path, swarm("a", uid="1"), APPLY)[1]["reason"] == "Conflict"
    made = api.create(swarm("a"))["metadata"]

    assert http_("PATCH", path, swarm("a", uid="1"), APPLY)[0] == 409
    assert http_("PATCH", path, swarm("a", resourceVersion="1"), APPLY)[0] == 409
    assert http_("PATCH", path, swarm("a", uid=made["uid"], resourceVersion=made["resourceVersion"]), APPLY)[0] == 200


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_delete_honours_its_preconditions(http_: Http, api: ApiServer, field: str) -> None:
    metadata = api.create(swarm("a"))["metadata"]

    code, answer = http_("DELETE", f"{SWARMS}/a", {"preconditions": {field: "wrong"}})
    assert (code, answer["reason"]) == (409, "Conflict")
    code, answer = http_("DELETE", f"{SWARMS}/a", {"preconditions": {field: metadata[field]}})

    assert (code, answer["status"]) == (200, "Success")
    assert answer["details"] == {"name": "a", "kind": "userswarms", "uid": metadata["uid"]}


@pytest.mark.parametrize("by_query", [True, False])
def test_delete_honours_its_propagation_policy(http_: Http, api: ApiServer, by_query: bool) -> None:
    api.create(swarm("a"))

    query = "?propagationPolicy=Foreground" if by_query else ""
    code, answer = http_("DELETE", f"{SWARMS}/a{query}", None if by_query else {"propagationPolicy": "Foreground"})

    assert code == 200
    assert answer["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert "deletionTimestamp" in answer["metadata"]


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "code", "reason"),
    [
        ("GET", "/", None, "", 404, "NotFound"),
        ("GET", "/api/v1", None, "", 404, "NotFound"),
        ("GET", "/apis/crawbl.ai/v1alpha1", None, "", 404, "NotFound"),
        ("GET", "/apis/crawbl.ai/v1alpha1/nothings", None, "", 404, "NotFound"),
        ("GET", "/apis/crawbl.ai/v1/userswarms", None, "", 404, "NotFound"),
        ("GET", f"{SWARMS}/a/scale", None, "", 404, "NotFound"),
        ("GET", f"{SWARMS}/a/status/x", None, "", 404, "NotFound"),
        ("GET", f"{MAPS}/a/status", None, "", 404, "NotFound"),
        ("GET", "/api/v1/configmaps/a", None, "", 404, "NotFound"),
        ("GET", "/apis/crawbl.ai/v1alpha1/namespaces/default/userswarms", None, "", 404, "NotFound"),
        ("POST", f"{SWARMS}/a", {}, "", 405, "MethodNotAllowed"),
        ("DELETE", SWARMS, None, "", 405, "MethodNotAllowed"),
        ("DELETE", f"{SWARMS}/a/status", None, "", 405, "MethodNotAllowed"),
        ("PATCH", SWARMS, {}, MERGE, 405, "MethodNotAllowed"),
        ("PATCH", f"{SWARMS}/a", {}, "application/json-patch+json", 415, "UnsupportedMediaType"),
        ("PATCH", f"{SWARMS}/a/status?fieldManager=me", {}, APPLY, 415, "UnsupportedMediaType"),
        ("PATCH", f"{SWARMS}/a", {}, APPLY, 400, "BadRequest"),
        ("PATCH", f"{SWARMS}/a", b"[]", MERGE, 400, "BadRequest"),
        ("PATCH", f"{SWARMS}/a", b"{: nonsense", MERGE, 400, "BadRequest"),
        ("POST", SWARMS, config_map("a"), "", 400, "BadRequest"),
        ("POST", SWARMS, {"metadata": []}, "", 400, "BadRequest"),
        ("POST", MAPS, config_map("a", "other"), "", 400, "BadRequest"),
        ("PUT", f"{SWARMS}/a", swarm("b"), "", 400, "BadRequest"),
        ("POST", f"{SWARMS}?dryRun=All", swarm("b"), "", 400, "BadRequest"),
        ("GET", f"{SWARMS}?limit=many", None, "", 400, "BadRequest"),
        ("GET", f"{SWARMS}?continue=nonsense", None, "", 400, "BadRequest"),
        ("GET", f"{SWARMS}?continue=AAAA", None, "", 400, "BadRequest"),
        ("GET", f"{SWARMS}?fieldSelector=spec.userId%3Du", None, "", 400, "BadRequest"),
        ("GET", f"{SWARMS}?labelSelector=%2C%2C", None, "", 400, "BadRequest"),
        ("GET", f"{SWARMS}?watch=true&resourceVersion=x", None, "", 400, "BadRequest"),
        ("GET", f"{SWARMS}/nothing", None, "", 404, "NotFound"),
        ("POST", SWARMS, {"spec": {}, "metadata": {"name": "x"}}, "", 422, "Invalid"),
        ("POST", SWARMS, swarm("a"), "", 409, "AlreadyExists"),
    ],
)
def test_refusals_are_those_of_the_real_one(
    http_: Http, api: ApiServer, method: str, path: str, body: Any, content_type: str, code: int, reason: str
) -> None:
    api.create(swarm("a"))

    answered, status = http_(method, path, body, content_type or "application/json")

    assert (answered, status["code"], status["reason"], status["kind"]) == (code, code, reason, "Status")
    assert status["message"]


def test_only_a_missing_object_is_named_in_the_details(http_: Http) -> None:
    assert http_("GET", f"{SWARMS}/nothing")[1]["details"] == {"name": "nothing", "kind": "userswarms"}
    assert "details" not in http_("GET", "/apis/crawbl.ai/v1alpha1/nothings/a")[1]


def test_bug_is_a_500(http_: Http, api: ApiServer) -> None:
    def fail(request: AdmissionRequest) -> None:
        raise RuntimeError("a bug")

    api.admission.append(fail)

    code, status = http_("POST", SWARMS, swarm("a"))

    assert (code, status["reason"]) == (500, "InternalError")
    assert "a bug" in status["message"]


# Lists


def names(answer: Manifest) -> list[str]:
    return [item["metadata"]["name"] for item in answer["items"]]


def test_pages_are_of_one_moment(http_: Http, api: ApiServer) -> None:
    for name in "abc":
        api.create(swarm(name))

    _, first = http_("GET", f"{SWARMS}?limit=2")
    api.create(swarm("d"))
    api.delete("crawbl.ai/v1alpha1", "UserSwarm", None, "c")
    _, second = http_("GET", f"{SWARMS}?limit=2&continue={first['metadata']['continue']}")

    assert (names(first), names(second)) == (["a", "b"], ["c"])
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert first["metadata"]["remainingItemCount"] == 1
    assert "continue" not in second["metadata"]
    assert (first["kind"], first["apiVersion"]) == ("UserSwarmList", "crawbl.ai/v1alpha1")


def test_selectors_choose(http_: Http, api: ApiServer) -> None:
    for name, team in (("a", "x"), ("b", "y"), ("c", "x")):
        api.create(swarm(name, labels={"team": team}))
    api.create(config_map("m"))
    api.create(config_map("m", "other"))

    assert names(http_("GET", f"{SWARMS}?labelSelector=team%3Dx")[1]) == ["a", "c"]
    assert names(http_("GET", f"{SWARMS}?fieldSelector=metadata.name%3Db")[1]) == ["b"]
    assert names(http_("GET", f"{SWARMS}?fieldSelector=metadata.name!%3Db,metadata.name%3D%3Da")[1]) == ["a"]
    assert len(names(http_("GET", "/api/v1/configmaps")[1])) == 2
    assert len(names(http_("GET", "/api/v1/configmaps?fieldSelector=metadata.namespace%3Dother")[1])) == 1
    assert len(names(http_("GET", MAPS)[1])) == 1


@pytest.mark.parametrize("why", ["expired", "compacted", "restarted", "too many"])
def test_continue_token_expires(http_: Http, api: ApiServer, rest: RestServer, why: str) -> None:
    for name in "abc":
        api.create(swarm(name))
    token = http_("GET", f"{SWARMS}?limit=1")[1]["metadata"]["continue"]

    if why == "expired":
        rest.expire_lists()
    elif why == "compacted":
        api.create(swarm("d"))
        api.compact()
    elif why == "restarted":
        http_.connection.close()
        rest.restart()
    else:
        for _ in range(64):
            http_("GET", f"{SWARMS}?limit=1")
    code, status = http_("GET", f"{SWARMS}?limit=1&continue={token}")

    assert (code, status["reason"]) == (410, "Expired")


# Watches


def version(api: ApiServer) -> int:
    return api.resource_version


def test_watch_goes_on_from_a_resource_version(http_: Http, api: ApiServer) -> None:
    api.create(swarm("a"))
    since = version(api)
    api.create(swarm("b"))
    api.create(config_map("m"))
    api.patch("crawbl.ai/v1alpha1", "UserSwarm", None, "a", {"spec": {"suspend": True}})
    api.delete("crawbl.ai/v1alpha1", "UserSwarm", None, "b")

    events = list(http_.watch(f"{SWARMS}?watch=true&resourceVersion={since}&timeoutSeconds=1"))

    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("DELETED", "b"),
    ]
    assert http_("GET", SWARMS)[0] == 200, "the connection lives on"


@pytest.mark.parametrize("since", ["", "&resourceVersion=0"])
def test_watch_from_nowhere_begins_with_what_is_there(http_: Http, api: ApiServer, since: str) -> None:
    api.create(swarm("a"))
    api.create(swarm("b"))

    events = list(http_.watch(f"{SWARMS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Db{since}"))

    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [("ADDED", "b")]


def test_filtered_watch_tells_of_what_comes_into_view_and_leaves_it(http_: Http, api: ApiServer) -> None:
    since = version(api)
    for name, team in (("a", "x"), ("b", "y")):
        api.create(swarm(name, labels={"team": team}))
    for team in ("y", "y2", "x", "x"):
        patch = {"metadata": {"labels": {"team": team}, "annotations": {"n": team}}}
        api.patch("crawbl.ai/v1alpha1", "UserSwarm", None, "a", patch)
    api.patch("crawbl.ai/v1alpha1", "UserSwarm", None, "a", {"spec": {"suspend": True}})
    api.delete("crawbl.ai/v1alpha1", "UserSwarm", None, "b")

    path = f"{SWARMS}?watch=true&resourceVersion={since}&timeoutSeconds=1&labelSelector=team%3Dx"
    events = list(http_.watch(path))

    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [
        ("ADDED", "a"),
        ("DELETED", "a"),
        ("ADDED", "a"),
        ("MODIFIED", "a"),
    ]


def test_bookmarks_tell_how_far_a_watch_has_come(http_: Http, api: ApiServer) -> None:
    api.create(swarm("a"))
    since = version(api)
    api.create(config_map("m"))

    path = f"{SWARMS}?watch=true&resourceVersion={since}&allowWatchBookmarks=true"
    with closing(http_.watch(path)) as watch:
        events = list(itertools.islice(watch, 3))

    assert {event["type"] for event in events} == {"BOOKMARK"}
    assert events[-1]["object"] == {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"resourceVersion": str(version(api))},
    }


def test_watch_tells_as_it_happens(http_: Http, api: ApiServer) -> None:
    with closing(http_.watch(f"{SWARMS}?watch=true&timeoutSeconds=100")) as events:
        threading.Timer(0.05, lambda: api.create(swarm("a"))).start()

        assert next(events)["object"]["metadata"]["name"] == "a"


def test_watch_from_a_forgotten_time_is_410(http_: Http, api: ApiServer) -> None:
    api.create(swarm("a"))
    since = version(api)
    api.create(swarm("b"))
    api.compact()

    code, status = http_("GET", f"{SWARMS}?watch=true&resourceVersion={since}")

    assert (code, status["reason"]) == (410, "Expired")


def test_watch_that_falls_behind_ends_with_an_error_event(http_: Http, rest: RestServer, api: ApiServer) -> None:
    with closing(http_.watch(f"{SWARMS}?watch=true&timeoutSeconds=100")) as events:
        # Not before its first event is it waiting.
        api.create(swarm("a"))
        assert next(events)["type"] == "ADDED"
        with api.lock:
            api.create(swarm("b"))
            api.compact()

        [last] = list(events)
    assert last["type"] == "ERROR"
    assert (last["object"]["code"], last["object"]["reason"]) == (410, "Expired")


# Faults


def test_refusals_that_were_asked_for(http_: Http, rest: RestServer, api: ApiServer) -> None:
    rest.faults.answer(429, times=2, method="GET", path="limit=", retry_after="3", reason="TooManyRequests")

    assert http_("GET", SWARMS)[0] == 200
    code, status = http_("GET", f"{SWARMS}?limit=1")
    assert (code, status["reason"], http_.response.headers["Retry-After"]) == (429, "TooManyRequests", "3")
    assert http_("POST", f"{SWARMS}?limit=1", swarm("a"))[0] == 201
    assert http_("GET", f"{SWARMS}?limit=1")[0] == 429
    assert http_("GET", f"{SWARMS}?limit=1")[0] == 200


def test_fault_that_was_cleared_does_not_come(http_: Http, rest: RestServer) -> None:
    rest.faults.answer(500, times=9)
    assert http_("GET", SWARMS)[0] == 500
    rest.faults.clear()

    assert http_("GET", SWARMS)[0] == 200
    assert "Retry-After" not in http_.response.headers


def test_reset_does_nothing_and_lose_does_it_but_does_not_say_so(http_: Http, rest: RestServer, api: ApiServer) -> None:
    rest.faults.reset()
    with pytest.raises(ConnectionError):
        http_("POST", SWARMS, swarm("a"))
    assert api.list("crawbl.ai/v1alpha1", "UserSwarm") == []

    http_.connection.close()
    rest.faults.lose()
    with pytest.raises(ConnectionError):
        http_("POST", SWARMS, swarm("a"))
    assert len(api.list("crawbl.ai/v1alpha1", "UserSwarm")) == 1


def test_cut_answer_is_short(http_: Http, rest: RestServer) -> None:
    rest.faults.cut()

    with pytest.raises(http.client.IncompleteRead):
        http_("GET", SWARMS)


def test_silent_watch_says_nothing_and_does_not_end(http_: Http, rest: RestServer, api: ApiServer) -> None:
    since = version(api)
    api.create(swarm("a"))
    rest.set_silent(True)
    http_.connection.timeout = 2.0
    events = http_.watch(f"{SWARMS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={since}")

    with pytest.raises(TimeoutError):
        next(events)
    rest.set_silent(False)


def test_silent_watch_goes_on_when_it_may(http_: Http, rest: RestServer, api: ApiServer) -> None:
    rest.set_silent(True)
    events = http_.watch(f"{SWARMS}?watch=true&timeoutSeconds=1")
    api.create(swarm("a"))
    threading.Timer(0.05, rest.set_silent, (False,)).start()

    assert [event["type"] for event in events] == ["ADDED"]


# Life


def test_restart_drops_everybody_and_forgets_nothing(http_: Http, rest: RestServer, api: ApiServer) -> None:
    api.create(swarm("a"))
    idle = Http(rest)
    idle("GET", SWARMS)
    events = http_.watch(f"{SWARMS}?watch=true&timeoutSeconds=60")
    assert next(events)["type"] == "ADDED"
    url = rest.url

    rest.restart()

    # Long before its time.
    assert next(events, None) is None
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        idle("GET", SWARMS)
    assert rest.url == url
    again = Http(rest)
    assert names(again("GET", SWARMS)[1]) == ["a"]
    for each in (idle, again):
        each.connection.close()


def test_stop_leaves_no_thread_no_socket_and_no_subscriber(api: ApiServer) -> None:
    before = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rest = RestServer(api)
        rest.start()
        asked = Http(rest)
        events = asked.watch(f"{SWARMS}?watch=true&timeoutSeconds=60&resourceVersion={version(api)}")
        api.create(swarm("a"))
        assert next(events)["type"] == "ADDED"
        rest.set_silent(True)
        rest.stop()
        asked.connection.close()
        events.close()
        gc.collect()

    assert set(threading.enumerate()) <= before
    api.create(swarm("b"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(rest.url).port or 0))


def test_connection_that_breaks_is_no_matter(rest: RestServer, api: ApiServer) -> None:
    asked = Http(rest)
    events = asked.watch(f"{SWARMS}?watch=true&timeoutSeconds=60&allowWatchBookmarks=true")
    next(events)
    assert asked.connection.sock is not None
    asked.connection.sock.shutdown(socket.SHUT_RDWR)
    asked.connection.close()
    events.close()

    eventually(lambda: not [each for each in threading.enumerate() if "process_request" in each.name])
    with closing(Http(rest).connection) as connection:
        connection.request("GET", SWARMS)
        assert connection.getresponse().read()


def test_requests_are_written_down(http_: Http, rest: RestServer) -> None:
    http_("GET", f"{SWARMS}?limit=1")

    assert list(rest.requests) == [f"GET {SWARMS}?limit=1"]


def test_stop_twice_is_once(api: ApiServer) -> None:
    rest = RestServer(api)
    rest.stop()
    rest.start()
    rest.stop()
    rest.stop()
