"""The application: every status it answers, in which order it checks, and what an answer gives away."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import gevent
import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient

from unit.server.serving import NOW, hook_request, make_app, quiet_hook, quiet_response
from userswarm.errors import CannotFreezeError, RequestError, SettingsError, WrongParentError
from userswarm.server.app import EXTENSION, create_app, utc_now
from userswarm.spec.settings import Settings

BODY = orjson.dumps(hook_request())
JSON = "application/json"


def raising(error: BaseException) -> Any:
    def hook(request: Mapping[str, Any], settings: Settings, now: datetime) -> Mapping[str, Any]:
        raise error

    return hook


def client_of(settings: Settings | None = None, hook: Any = quiet_hook) -> FlaskClient:
    return make_app(settings, hook).test_client()


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    file = tmp_path / "tokens"
    file.write_text("secret-token\n", encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("hook", ["sync", "finalize"])
def test_a_hook_is_told_the_request_the_settings_and_the_time(hook: str) -> None:
    told: list[Any] = []

    def listening(request: Mapping[str, Any], settings: Settings, now: datetime) -> Mapping[str, Any]:
        told.extend((request, settings, now))
        return quiet_response()

    settings = Settings(progress_deadline=77)
    answer = client_of(settings, listening).post(f"/{hook}", data=BODY, content_type=JSON)

    assert (answer.status_code, answer.content_type, answer.json) == (200, JSON, quiet_response())
    assert told == [hook_request(), settings, NOW]


def test_the_clock_is_aware_and_utc() -> None:
    offset = utc_now().utcoffset()
    assert offset is not None
    assert not offset


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"]
)
def test_json_is_accepted_with_parameters(content_type: str) -> None:
    assert client_of().post("/sync", data=BODY, content_type=content_type).status_code == 200


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/jsonp", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(content_type: str) -> None:
    answer = client_of().post("/sync", data=BODY, content_type=content_type)
    assert (answer.status_code, answer.content_type) == (415, JSON)


def test_a_compressed_body_is_refused() -> None:
    answer = client_of().post("/sync", data=BODY, content_type=JSON, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    answer = client_of().post("/sync", data=BODY, content_type=JSON, headers={"Content-Encoding": "identity"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [(None, 401), ("Bearer wrong", 401), ("Basic secret-token", 401), ("Bearer secret-token", 200)],
)
def test_without_a_token_nobody_is_served(token_file: str, header: str | None, code: int) -> None:
    client = client_of(Settings(token_file=token_file))
    answer = client.post("/sync", data=BODY, content_type=JSON, headers={"Authorization": header} if header else {})
    assert answer.status_code == code
    if code == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json == {"error": "a valid bearer token is required"}


def test_who_has_no_token_learns_nothing_about_the_request(token_file: str) -> None:
    """Not even whether it would have been a good one: the token is what is checked first."""
    client = client_of(Settings(token_file=token_file, max_body_bytes=1024))
    answers = {
        client.post("/sync", data=data, content_type=kind).data
        for data, kind in ((BODY, JSON), (BODY, "text/plain"), (b"x" * 5000, JSON), (b"{", JSON))
    }
    assert answers == {b'{"error":"a valid bearer token is required"}'}


def test_probes_need_no_token(token_file: str) -> None:
    client = client_of(Settings(token_file=token_file))
    assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


def test_the_content_type_is_checked_before_the_length_and_the_length_before_the_json() -> None:
    client = client_of(Settings(max_body_bytes=1024))
    large_and_broken = b"{" * 2000

    assert client.post("/sync", data=large_and_broken, content_type="text/plain").status_code == 415
    answer = client.post("/sync", data=large_and_broken, content_type=JSON)
    assert (answer.status_code, answer.json) == (413, {"error": "body: larger than 1024 bytes"})


def test_a_body_of_no_declared_length_is_refused_unread() -> None:
    answer = client_of().post(
        "/sync",
        content_type=JSON,
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input": None, "wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert answer.status_code == 411


def test_a_body_that_does_not_arrive_in_time_is_given_up_with_its_slot() -> None:
    class Silent:
        def read(self, size: int) -> bytes:
            gevent.sleep(30)
            raise AssertionError("waited for ever")

    client = client_of(Settings(request_timeout=1, max_concurrent=1))
    answer = client.post("/sync", content_type=JSON, environ_overrides={"wsgi.input": Silent(), "CONTENT_LENGTH": "10"})
    assert (answer.status_code, answer.json) == (408, {"error": "the body did not arrive within 1 s"})
    assert client.post("/sync", data=BODY, content_type=JSON).status_code == 200


def test_a_hook_is_asked_again_with_what_it_needs_and_says_why_it_cannot_see() -> None:
    needs = {"objects": [{"apiVersion": "v1", "kind": "Pod", "resource": "pods", "namespace": "n", "names": ["p"]}]}

    def needy(request: Mapping[str, Any], settings: Settings, now: datetime) -> Mapping[str, Any]:
        return {"status": request.get("unavailable", {}), "children": [], "needs": needs}

    answer = client_of(hook=needy).post("/sync", data=BODY, content_type=JSON)
    assert answer.json == {"status": {"Pod.v1": "no access to the Kubernetes API is configured"}, "children": []}


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (b"{", "body", "not JSON"),
        (b"[" * 70 + b"]" * 70, "body", "deeper than 64"),
        (orjson.dumps({"children": {"A.v1": {str(n): {} for n in range(201)}}}), "children", "201 objects"),
        (orjson.dumps({"related": {"A.v1": {str(n): {} for n in range(201)}}}), "related", "201 objects"),
    ],
)
def test_a_body_that_cannot_be_a_request_names_what_is_wrong(body: bytes, field: str, said: str) -> None:
    answer = client_of().post("/sync", data=body, content_type=JSON)
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == field
    assert said in answer.json["error"]


@pytest.mark.parametrize(
    ("error", "code", "body"),
    [
        (
            RequestError("parent.metadata", "must be an object"),
            400,
            {"error": "parent.metadata: must be an object", "field": "parent.metadata"},
        ),
        (WrongParentError("parent: is a Pod"), 422, {"error": "parent: is a Pod"}),
        (CannotFreezeError("Service a/b"), 500, {"error": "Service a/b", "requestId": "r1"}),
        (ZeroDivisionError("a secret"), 500, {"error": "internal error", "requestId": "r1"}),
        (RecursionError("deep"), 500, {"error": "internal error", "requestId": "r1"}),
    ],
)
def test_what_a_hook_raises_becomes_a_status(error: Exception, code: int, body: dict[str, str]) -> None:
    answer = client_of(hook=raising(error)).post("/sync", data=BODY, content_type=JSON, headers={"X-Request-Id": "r1"})
    assert (answer.status_code, answer.content_type, answer.json) == (code, JSON, body)


def test_an_answer_that_is_not_json_is_a_bug_too() -> None:
    answer = client_of(hook=lambda request, settings, now: {"status": object()}).post(
        "/sync", data=BODY, content_type=JSON
    )
    assert answer.status_code == 500


def test_a_bug_is_logged_with_its_traceback_under_the_id_that_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    answer = client_of(hook=raising(ZeroDivisionError("bug"))).post("/sync", data=BODY, content_type=JSON)

    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    fields = vars(record)["userswarm_fields"]
    assert answer.json is not None
    assert fields["requestId"] == answer.json["requestId"]
    assert "raise error" in fields["traceback"]
    assert "ZeroDivisionError: bug" in fields["traceback"]
    assert b"Zero" not in answer.data


def test_what_goes_wrong_while_telling_does_not_spoil_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    answer = client_of(hook=lambda request, settings, now: {"children": [{"no": "metadata"}]}).post(
        "/sync", data=BODY, content_type=JSON
    )
    assert answer.status_code == 200
    assert "cannot tell what an answer changed" in caplog.text


def test_beyond_the_limit_calls_are_sent_away_for_a_second() -> None:
    entered, leave = threading.Event(), threading.Event()

    def blocking(request: Mapping[str, Any], settings: Settings, now: datetime) -> Mapping[str, Any]:
        entered.set()
        assert leave.wait(100)
        return quiet_response()

    app = make_app(Settings(max_concurrent=1), blocking)
    codes: list[int] = []
    first = threading.Thread(
        target=lambda: codes.append(app.test_client().post("/sync", data=BODY, content_type=JSON).status_code)
    )
    first.start()
    assert entered.wait(100)
    answer = app.test_client().post("/sync", data=BODY, content_type=JSON)
    leave.set()
    first.join(100)

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert codes == [200]
    assert app.test_client().post("/sync", data=BODY, content_type=JSON).status_code == 200


def test_a_failed_call_gives_its_slot_back() -> None:
    client = client_of(Settings(max_concurrent=1), raising(ZeroDivisionError()))
    assert [client.post("/sync", data=BODY, content_type=JSON).status_code for _ in range(3)] == [500, 500, 500]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", 404),
        ("POST", "/syncs", 404),
        ("POST", "/sync/", 404),
        ("GET", "/sync", 405),
        ("POST", "/healthz", 405),
    ],
)
def test_other_paths_and_methods_are_refused_in_json(method: str, path: str, code: int) -> None:
    answer = client_of().open(path, method=method, data=BODY, content_type=JSON)
    assert (answer.status_code, answer.content_type) == (code, JSON)
    assert answer.json is not None
    assert path in answer.json["error"]
    assert ("Allow" in answer.headers) == (code == 405)


def test_the_server_is_not_ready_any_more_once_it_stops() -> None:
    app = make_app()
    client = app.test_client()
    assert (client.get("/healthz").json, client.get("/readyz").json) == ({"alive": True}, {"ready": True})

    app.extensions[EXTENSION].is_stopping = lambda: True

    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_flask_answers_a_hook_call_just_as_the_short_way_does() -> None:
    app = make_app()
    short_way = app.test_client().post("/sync", data=BODY, content_type=JSON)
    app.wsgi_app = Flask.wsgi_app.__get__(app)  # type: ignore[method-assign]
    through_flask = app.test_client().post("/sync", data=BODY, content_type=JSON)

    assert through_flask.data == short_way.data
    assert through_flask.headers == short_way.headers


def test_a_token_file_without_a_token_stops_the_start(tmp_path: Path) -> None:
    empty = tmp_path / "tokens"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(SettingsError):
        make_app(dataclasses.replace(Settings(), token_file=str(empty)))


def test_the_real_hooks_are_behind_the_paths_by_default() -> None:
    answer = create_app(Settings()).test_client().post("/sync", data=b"{}", content_type=JSON)
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"]
