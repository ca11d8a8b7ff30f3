"""Limits: what is exactly still accepted, and what not any more."""

from __future__ import annotations

import io
from typing import Any

import orjson
import pytest

from userswarm.server.errors import Refused
from userswarm.server.limits import Slots, check_depth, check_objects, parse_body, read_body


def nested(depth: int, innermost: Any, *, kind: type = list) -> Any:
    document = innermost
    for _ in range(depth):
        document = [document] if kind is list else {"a": document}
    return document


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("innermost", [[], {}, 1, "text", None, [1, "b"], {"k": True}])
def test_the_depth_limit_is_exact(kind: type, innermost: Any) -> None:
    own = 1 if isinstance(innermost, list | dict) else 0

    check_depth(nested(8 - own, innermost, kind=kind), 8)
    with pytest.raises(Refused, match="deeper than 8"):
        check_depth(nested(9 - own, innermost, kind=kind), 8)


def test_depth_is_found_wherever_it_hides() -> None:
    shallow: dict[str, Any] = {str(number): {"list": list(range(20))} for number in range(50)}
    check_depth(shallow, 3)
    shallow["17"]["list"][3] = [[]]
    with pytest.raises(Refused):
        check_depth(shallow, 4)


def test_brackets_within_texts_are_no_depth() -> None:
    check_depth(orjson.loads(b'{"toml": "[[[[[[[[[[{{{{{{{{{{"}'), 2)


@pytest.mark.parametrize("field", ["children", "related"])
def test_the_object_limit_counts_all_groups_together(field: str) -> None:
    groups: dict[str, Any] = {"A.v1": {str(number): {} for number in range(3)}, "B.v1": {"b": {}}}

    check_objects({field: groups}, 4)
    with pytest.raises(Refused, match=f"{field}: 4 objects, at most 3") as caught:
        check_objects({field: groups}, 3)
    assert (caught.value.code, caught.value.field) == (400, field)


@pytest.mark.parametrize("document", [None, 1, [], "x", {"children": 1}, {"children": {"A": 1}}])
def test_what_is_no_hook_request_has_no_objects(document: Any) -> None:
    check_objects(document, 0)


def test_an_error_in_json_names_its_place() -> None:
    with pytest.raises(Refused, match=r"not JSON: .* line 2 column 7") as caught:
        parse_body(b'{\n "a": nul}', 10, 10)
    assert caught.value.code == 400


@pytest.mark.parametrize("body", [b"", b" ", b"\xff\xfe", b"{} {}", b'"\\ud800"', b"[" * 100_000, b"NaN"])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="not JSON"):
        parse_body(body, 10, 10)


class Stream(io.BytesIO):
    """A body that remembers how much was asked of it."""

    asked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0
        self.asked += size
        return super().read(size)


def test_a_declared_body_is_refused_unread() -> None:
    stream = Stream(b"x" * 11)
    with pytest.raises(Refused) as caught:
        read_body({"CONTENT_LENGTH": "11", "wsgi.input": stream}, 10)
    assert (caught.value.code, stream.asked) == (413, 0)


def test_an_undeclared_body_is_none() -> None:
    assert read_body({"wsgi.input": Stream(b"for ever")}, 10) == b""


def test_a_chunked_body_is_refused_unread() -> None:
    stream = Stream(b"x" * 10)
    with pytest.raises(Refused) as caught:
        read_body({"wsgi.input": stream, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}, 10)
    assert (caught.value.code, stream.asked) == (411, 0)


@pytest.mark.parametrize(
    ("declared", "message"), [("5", "ended after 4 of 5"), ("x", "Content-Length"), ("1.0", "Content")]
)
def test_a_length_that_is_wrong_is_refused(declared: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        read_body({"CONTENT_LENGTH": declared, "wsgi.input": Stream(b"1234")}, 10)
    assert caught.value.code == 400


def test_so_many_slots_are_taken_and_no_more() -> None:
    slots = Slots(2)
    slots.take()
    slots.take()
    with pytest.raises(Refused) as caught:
        slots.take()
    assert caught.value.code == 429
    assert ("Retry-After", "1") in caught.value.headers

    slots.give()
    slots.take()
