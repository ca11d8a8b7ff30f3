"""HTTP/2 at the door, HTTP/1.1 behind it: what a client says becomes one request to its own runtime, or none."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.http2 import Client, Head
from gate.http2_attacks import ARRIVE, ATTACKS, REFUSED, RESET, UNFINISHED, head
from gate.stand_in import Scene, answer_events, scene
from gate.test_data_path import FORGED, HOME


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("door"), hold=20) as made:
        yield made


@pytest.fixture(scope="module")
def made_by_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("door"), hold=20, domain="swarms.example", path_prefix="") as made:
        yield made


def check_what_arrived(at: Scene, prefix: str = HOME) -> None:
    """Whatever a runtime has seen of alice's one request: it was hers, was judged, and is what was judged."""
    at.settle()
    assert at.reached() <= {"alice"}
    arrived = at.arrived()
    assert len(arrived) <= len(at.gate.seen) <= 1
    for _, request in arrived:
        asked = at.gate.seen[0]
        assert request.line == re.sub(rf"^(\S+) /check{prefix}/?", r"\1 /", asked.line)
        assert request.get("host") == asked.get("host")
        assert not re.search(r"[\r\n\0]", request.line + "".join(map("".join, request.headers)))
        ours = {name.lower(): value for name, value in request.headers if re.match("x.userswarm", name, re.IGNORECASE)}
        assert ours == {"x-userswarm-user": "user-alice", "x-userswarm-workspace": "alice"}


# --- what passes -------------------------------------------------------------------------------------------------


def test_a_request_reaches_its_runtime_without_the_prefix(at: Scene) -> None:
    with Client(at.door) as client:
        stream = client.ask(head(method="POST", path=f"{HOME}/chat/1?q=a%2Fb&r=/v1/"), b"hel", b"lo")
    told = json.loads(stream.body)
    assert (stream.status, told["runtime"], told["line"]) == (200, "alice", "POST /chat/1?q=a%2Fb&r=/v1/ HTTP/1.1")
    assert told["bytes"] == 5
    assert stream.headers["x-request-id"] == dict(told["headers"])["x-request-id"]
    check_what_arrived(at)


def test_two_users_on_one_connection_each_reach_their_own(at: Scene) -> None:
    with Client(at.door) as client:
        streams = {
            name: client.open(head(method="POST", path=f"/v1/workspaces/{name}/", user=name), end=False)
            for name in ("alice", "bob")
        }
        for _ in range(3):
            for name, stream in streams.items():
                client.send(stream, name.encode())
        for stream in streams.values():
            client.send(stream, b"", end=True)
        client.until(lambda: all(stream.over for stream in streams.values()))
    for name, stream in streams.items():
        assert json.loads(stream.body)["runtime"] == name
    assert {name: request.body for name, request in at.arrived()} == {"alice": b"alice" * 3, "bob": b"bob" * 3}


def test_one_users_token_opens_no_others_door_on_the_same_connection(at: Scene) -> None:
    with Client(at.door) as client:
        assert client.ask(head(path="/v1/workspaces/bob/", user="bob")).status == 200
        assert client.ask(head(path="/v1/workspaces/bob/")).status == 404
        assert client.ask(head(path="/v1/workspaces/bob/", user="")).status == 401
    assert len(at.arrived()) == 1


def test_events_pass_as_they_come_though_a_stream_beside_them_is_reset(at: Scene) -> None:
    with Client(at.door) as client:
        streams = {
            name: client.open(head(("accept", "text/event-stream"), path=f"/v1/workspaces/{name}/events", user=name))
            for name in ("alice", "bob")
        }
        for stream in streams.values():
            client.until(lambda stream=stream: b"first" in stream.body)
        client.reset(streams["alice"])
        assert b"second" not in streams["bob"].body
        at.stage.set(answer_events["bob"])
        client.until(lambda: streams["bob"].over)
        assert b"data: second" in streams["bob"].body
        assert not streams["bob"].reset
        at.stage.set(answer_events["alice"])


def test_a_websocket_passes_both_ways_and_an_ordinary_request_beside_it(at: Scene) -> None:
    with Client(at.door) as client:
        socket = client.open(head((":protocol", "websocket"), method="CONNECT", path=f"{HOME}/socket"), end=False)
        client.until(lambda: bool(socket.status) or socket.over)
        assert socket.status == 200
        for word in (b"one", b"two"):
            client.send(socket, word)
            client.until(lambda word=word: b"alice:" + word in socket.body or socket.over)
            assert b"alice:" + word in socket.body
        assert client.ask(head()).status == 200
        client.send(socket, b"", end=True)
    first = at.arrived()[0][1]
    assert first.line == "GET /socket HTTP/1.1"
    assert (first.get("upgrade").lower(), first.get("connection").lower()) == ("websocket", "upgrade")
    # HTTP/2's handshake has no key, and servers of HTTP/1.1 refuse one that has none.
    assert len(b64decode(first.get("sec-websocket-key"), validate=True)) == 16


def test_a_body_with_trailers_passes_without_them(at: Scene) -> None:
    with Client(at.door) as client:
        stream = client.ask(head(method="POST"), b"hello", trailers=[("x-checksum", "5")])
    assert (stream.status, json.loads(stream.body)["bytes"]) == (200, 5)
    check_what_arrived(at)


# --- what a client cannot say ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({name.lower() for name in FORGED}))
def test_a_forged_header_does_not_arrive(at: Scene, name: str) -> None:
    forged = FORGED[name]
    with Client(at.door) as client:
        told = json.loads(client.ask(head((name, forged))).body)
    assert forged not in [value for _, value in told["headers"]]
    assert forged not in [value for _, value in at.gate.seen[0].headers]
    assert not [key for key, _ in told["headers"] if key.lower().startswith("x-envoy-")]
    check_what_arrived(at)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_request_is_refused_before_anybody_is_asked(at: Scene, name: str) -> None:
    attempt, status = REFUSED[name]
    with Client(at.door) as client:
        assert attempt.by(client).status == status
    at.settle()
    assert (at.reached(), at.gate.seen) == (set(), [])


@pytest.mark.parametrize("name", UNFINISHED)
def test_what_lies_about_its_length_is_never_two_requests(at: Scene, name: str) -> None:
    with Client(at.door) as client:
        UNFINISHED[name].by(client)
    check_what_arrived(at)
    # What is whole before the lie shows may arrive.
    assert [request.body for _, request in at.arrived()] in ([], [b""], [b"hello"])


@pytest.mark.parametrize("name", ARRIVE)
def test_what_is_odd_and_no_lie_arrives_as_it_was_judged(at: Scene, name: str) -> None:
    attempt, expected = ARRIVE[name]
    with Client(at.door) as client:
        assert attempt.by(client).status == 200
    check_what_arrived(at)
    ((_, request),) = at.arrived()
    assert expected(request), request


def test_two_tokens_are_none(at: Scene) -> None:
    with Client(at.door) as client:
        assert client.ask(head(("authorization", "Bearer bob"))).status == 401
    check_what_arrived(at)
    assert at.reached() == set()


# --- which workspace, where the host says it ---------------------------------------------------------------------

ALICES, BOBS = "alice.swarms.example", "bob.swarms.example"

BY_HOST: dict[str, tuple[Head, int]] = {
    "the authority alone": (head(authority=ALICES), 200),
    "a host that is another's": (head(("host", BOBS), authority=ALICES), 200),
    "an authority that is another's": (head(("host", ALICES), authority=BOBS), 404),
    "a host alone": (head(("host", ALICES), without=":authority"), 200),
    "two hosts alone": (head(("host", ALICES), ("host", BOBS), without=":authority"), RESET),
    "an empty authority": (head(("host", ALICES), authority=""), RESET),
    "a list": (head(authority=f"{BOBS},{ALICES}"), 404),
    "a user": (head(authority=f"{BOBS}@{ALICES}"), RESET),
    "another's path": (head(authority=ALICES, path="/v1/workspaces/bob/"), 200),
    "a label more": (head(authority=f"bob.{ALICES}"), 404),
}


@pytest.mark.parametrize("name", BY_HOST)
def test_the_host_that_is_judged_is_the_host_that_arrives(made_by_host: Scene, name: str) -> None:
    made_by_host.clear()
    asked, status = BY_HOST[name]
    with Client(made_by_host.door) as client:
        assert client.ask(asked).status == status
    check_what_arrived(made_by_host, prefix="")
    assert [name for name, _ in made_by_host.arrived()] == ["alice"] * (status == 200)


# --- the property ------------------------------------------------------------------------------------------------

PAIRS = sorted(
    {pair for attack in ATTACKS for pair in [*attack.head[4:], *attack.trailers]}
    | {(name.lower(), value) for name, value in FORGED.items()}
)
BODIES = sorted({chunk for attack in ATTACKS for chunk in attack.chunks})
PATHS = sorted({value for attack in ATTACKS for name, value in attack.head if name == ":path"})
AUTHORITIES = sorted({value for attack in ATTACKS for name, value in attack.head if name == ":authority"})

words = st.text(st.characters(max_codepoint=255), max_size=6)
pairs = st.sampled_from(PAIRS) | st.tuples(words, words)


@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "BREW"]),
    path=st.sampled_from(PATHS),
    authority=st.sampled_from(AUTHORITIES),
    more=st.lists(pairs, max_size=3),
    chunks=st.lists(st.sampled_from(BODIES), max_size=3),
    trailers=st.lists(pairs, max_size=2),
)
@settings(max_examples=100)
def test_whatever_alice_says_reaches_her_runtime_or_none(
    made: Scene,
    method: str,
    path: str,
    authority: str,
    more: list[tuple[str, str]],
    chunks: list[bytes],
    trailers: list[tuple[str, str]],
) -> None:
    made.clear()
    with Client(made.door) as client:
        client.ask(head(*more, method=method, path=path, authority=authority), *chunks, trailers=trailers)
    check_what_arrived(made)
