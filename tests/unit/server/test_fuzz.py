"""Whatever is sent, the real hooks behind the real application answer with a valid answer or with a 4xx.

A 500 for a parent that cannot be frozen is the one other answer: it says that nothing may change.
"""

from __future__ import annotations

import copy
import functools
import random
from typing import Any

import orjson
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unit.server.serving import CAPTURED, NOW, first_request
from userswarm.server.app import create_app
from userswarm.spec.settings import Settings

# The same examples each time: a chance find belongs to whoever runs more of them, not to the next commit.
BOUNDED = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
ANSWER_FIELDS = {
    "sync": {"status", "children", "resyncAfterSeconds"},
    "finalize": {"status", "children", "resyncAfterSeconds", "finalized"},
}

hooks = st.sampled_from(sorted(ANSWER_FIELDS))
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@functools.cache
def client() -> FlaskClient:
    return create_app(Settings(), clock=lambda: NOW).test_client()


@functools.cache
def captured() -> list[bytes]:
    """Requests to mutate: those that Metacontroller sent, where they are at hand; without what no hook looks at."""
    requests = [first_request()]
    for file in sorted(CAPTURED.glob("*.json")) if CAPTURED.is_dir() else []:
        request = orjson.loads(file.read_bytes())
        groups = [group for field in ("children", "related") for group in (request.get(field) or {}).values()]
        for observed in (request["parent"], *(observed for group in groups for observed in group.values())):
            observed["metadata"].pop("managedFields", None)
        requests.append(request)
    return [orjson.dumps(request) for request in requests]


def check(hook: str, body: bytes) -> None:
    answer = client().post(f"/{hook}", data=body, content_type="application/json")
    said = orjson.loads(answer.data)
    if answer.status_code == 200:
        assert said.keys() <= ANSWER_FIELDS[hook]
        for child in said.get("children", []):
            assert child["kind"]
            assert child["metadata"]["name"]
    elif answer.status_code == 500:
        assert said["error"] != "internal error", said
    else:
        assert answer.status_code in {400, 422}
        assert said["error"]


@BOUNDED
@given(hooks, st.binary(max_size=200))
def test_any_bytes(hook: str, body: bytes) -> None:
    check(hook, body)


@BOUNDED
@given(hooks, documents)
def test_any_json(hook: str, document: Any) -> None:
    check(hook, _encode(document))


@BOUNDED
@given(hooks, st.sampled_from(("parent", "children", "related", "finalizing", "controller")), documents)
def test_any_json_in_any_field(hook: str, field: str, document: Any) -> None:
    check(hook, _encode({**first_request(), field: document}))


@BOUNDED
@given(
    hooks,
    st.dictionaries(
        st.sampled_from(("runtime", "storage", "config", "placement", "verification", "suspend", "exposure")), documents
    ),
)
def test_any_json_in_the_spec(hook: str, spec: dict[str, Any]) -> None:
    request = first_request()
    request["parent"]["spec"].update(spec)
    check(hook, _encode(request))


@settings(BOUNDED, max_examples=400)
@given(hooks, st.randoms(use_true_random=False), documents, st.integers(1, 4))
def test_a_real_request_with_anything_anywhere(hook: str, chance: random.Random, document: Any, times: int) -> None:
    requests = captured()
    request = orjson.loads(requests[chance.randrange(len(requests))])
    for _ in range(times):
        _mutate(request, chance, document)
    check(hook, _encode(request))


def _encode(document: Any) -> bytes:
    """Encode what Hypothesis made; texts with lone surrogates and integers beyond 64 bits become others."""
    return orjson.dumps(_encodable(document))


def _encodable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_encodable(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-(2**63), min(value, 2**64 - 1))
    return value


def _mutate(document: Any, chance: random.Random, replacement: Any) -> None:
    """Change one place, at a random depth: replace, remove, repeat, or bring an object from elsewhere."""
    container = document
    while True:
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = container[key]
        if not isinstance(inner, dict | list) or chance.random() < 0.15:
            break
        container = inner
    match chance.randrange(4):
        case 0:
            del container[key]
        case 1 if isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        case 2:
            container[key] = chance.choice([None, "", 0, -1, True, [], {}, "x" * 300, 2**63 - 1, 1e300])
        case _:
            container[key] = copy.deepcopy(replacement)
