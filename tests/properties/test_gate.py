"""The gate's one promise: whatever the request, the upstream is the caller's own swarm, or nothing is let through."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.gate.gates import Answer, Gates, address_of, claims, raw_token
from userswarm.backend import NotFound, Swarm
from userswarm.backend.access import check_owner
from userswarm.backend.model import parse_swarm
from userswarm.backend.naming import swarm_name
from userswarm.gate.settings import GateSettings
from userswarm.spec import slugs

DOMAIN = "agents.example.com"
PREFIX = "/v1/workspaces/"
USERS = ("alice", "bob", "auth0|Zo\u00eb", "-", "a b", "*")
TOKENS = {f"token-{number}": user for number, user in enumerate(USERS)}
STATES: dict[str, dict[str, Any]] = {
    "verified": {},
    "asleep": {"verified": False, "phase": "Asleep", "lifecycle": {"asleepSince": "2026-01-01T00:00:00Z"}},
    "failed": {"verified": False, "phase": "Failed"},
    "misled": {"endpoint": "http://swarm-workspace-a.userswarms.svc:42617"},
}


def make_swarm(workspace: str, user: str, state: str) -> Swarm:
    name = swarm_name(workspace)
    status = {
        "observedGeneration": 1,
        "verified": True,
        "verifiedGeneration": 1,
        "phase": "Ready",
        "endpoint": f"http://{slugs.swarm_name(name)}.userswarms.svc:42617",
        **STATES.get(state, {}),
    }
    metadata = {"name": name, "uid": f"uid-of-{name}", "generation": 1}
    if state == "deleting":
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec = {"userId": user, "workspaceId": workspace, "suspend": state == "suspended"}
    return parse_swarm({"metadata": metadata, "spec": spec, "status": status})


@dataclass
class Memory:
    """All that the gate asks of a client, by the client's own rules."""

    swarms: dict[str, Swarm]
    cache_is_fresh: bool = True

    def find(self, workspace_id: str, user_id: str) -> Swarm:
        swarm = self.swarms.get(swarm_name(workspace_id))
        if swarm is None:
            raise NotFound(workspace_id)
        return check_owner(swarm, workspace_id, user_id)

    def wake(self, workspace_id: str, user_id: str) -> Swarm:
        return self.find(workspace_id, user_id)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    """A gate whose memory each example fills."""
    file = tmp_path_factory.mktemp("gate") / "tokens"
    lines = [f"{hashlib.sha256(token.encode()).hexdigest()} {user}\n" for token, user in TOKENS.items()]
    file.write_text("".join(lines), encoding="utf-8")
    client: Any = Memory({})
    return Gates(client, GateSettings(token_file=str(file), domain=DOMAIN, hold=0))


def fill(gate: Gates, swarms: dict[str, Swarm], *, fresh: bool = True) -> None:
    client: Any = gate.client
    client.swarms, client.cache_is_fresh = swarms, fresh


IDS = st.one_of(
    st.sampled_from(["a", "b", "A", "a.b", "a--b", "..", ".", "a/b", "a%2fb", "a;b", "-", "", "workspace-a"]),
    st.text(min_size=1, max_size=12),
)
# Mostly such as let their owner in, or there would be little to be got wrong.
HOW = st.sampled_from([*["verified"] * 4, "misled", *STATES, "suspended", "deleting"])
WORLDS = st.dictionaries(
    IDS.filter(bool),
    st.tuples(st.sampled_from(USERS), HOW),
    min_size=1,
    max_size=5,
)
# fmt: off
PIECES = st.sampled_from([
    "/", "//", "..", ".", "%2e%2e", "%2f", "%5c", "\\", ";", "..;", "?", "#", "%", "%00", "%0d%0a", "\r\n", " ", "@",
    "v1", "workspaces", PREFIX, "/check", "/auth", "http://", DOMAIN, "6.6.6.6:1", "a", "b", "A", "%61", "\u00fc",
])
# fmt: on
FORGED = st.dictionaries(
    st.sampled_from(
        [
            "x_userswarm_upstream",
            "x_userswarm_user",
            "x_userswarm_workspace",
            "x_original_uri",
            "x_original_method",
            "x_original_url",
            "x_envoy_original_path",
            "x_forwarded_host",
            "x_forwarded_for",
            "x_request_id",
            "upgrade",
            "origin",
            "connection",
        ]
    ),
    st.one_of(st.sampled_from(["alice", "bob", "6.6.6.6:1", f"{PREFIX}a/", "authorization"]), st.text(max_size=9)),
    min_size=5,
)


@st.composite
def requests(draw: st.DrawFn, world: dict[str, tuple[str, str]]) -> tuple[str, str, str, dict[str, str]]:
    """Return a target, a host, an Authorization and other headers: half of them as good as an owner's own."""
    ids = [*world, "a", "nowhere"]
    if draw(st.booleans()):
        workspace = draw(st.sampled_from(list(world)))
        owner = next(token for token, user in TOKENS.items() if user == world[workspace][0])
        target = f"{PREFIX}{quote(workspace, safe='')}/{draw(st.sampled_from(['', 'x', 'x?y=/../z', '../x']))}"
        return target, "gate.example.com", f"Bearer {owner}", draw(FORGED)
    some_id = st.sampled_from(ids)
    encoded = st.one_of(some_id, some_id.map(lambda each: quote(each, safe="")), some_id.map(quote))
    tail = st.lists(st.one_of(PIECES, encoded), max_size=4).map("".join)
    plain = st.builds(lambda each, rest: f"{PREFIX}{each}/{rest}", encoded, tail)
    target = draw(st.one_of(plain, plain, tail.map(lambda text: f"/{text}"), tail, st.text(max_size=20)))
    hosts = st.one_of(
        st.sampled_from(["gate.example.com", DOMAIN, f".{DOMAIN}", ""]), some_id.map(lambda each: f"{each}.{DOMAIN}")
    )
    host = draw(hosts)
    known = st.sampled_from(sorted(TOKENS))
    forged = st.sampled_from([raw_token({"alg": "none", "kid": "rsa"}, claims(sub=user)) for user in USERS])
    authorization = draw(
        st.one_of(
            known.map(lambda token: f"Bearer {token}"),
            known.map(lambda token: f"Bearer {token}"),
            st.tuples(known, known).map(lambda two: f"Bearer {two[0]}, Bearer {two[1]}"),
            st.tuples(known, known).map(lambda two: f"Bearer {two[0]} {two[1]}"),
            known.map(lambda token: f"Basic {token}"),
            known,
            forged.map(lambda token: f"Bearer {token}"),
            st.sampled_from(USERS).map(lambda user: f"Bearer {hashlib.sha256(user.encode()).hexdigest()}"),
            st.text(max_size=9),
        )
    )
    return target, host, authorization, draw(FORGED)


def caller_of(authorization: str) -> str | None:
    """Return who is proved by a header: one good token, and nothing else."""
    scheme, _, token = authorization.partition(" ")
    return TOKENS.get(token.strip(" ")) if scheme.lower() == "bearer" else None


def check_promise(answer: Answer, caller: str | None, swarms: dict[str, Swarm]) -> None:
    if answer.code != 200:
        assert not [name for name in answer.headers if name.startswith("x-userswarm-") and name != "x-userswarm-code"]
        return
    own = {
        f"{address_of(slugs.swarm_name(swarm.name))}:42617": swarm
        for swarm in swarms.values()
        if swarm.user_id == caller and swarm.is_verified()
    }
    assert caller is not None
    assert answer.upstream in own
    assert unquote(answer.headers["x-userswarm-user"]) == caller
    assert unquote(answer.headers["x-userswarm-workspace"]) == own[answer.upstream].workspace_id


@settings(max_examples=400)
@given(WORLDS, st.data())
def test_the_upstream_is_the_callers_own_swarm_or_nothing_is_let_through(
    gate: Gates, world: dict[str, tuple[str, str]], data: st.DataObject
) -> None:
    swarms = {swarm_name(each): make_swarm(each, *how) for each, how in world.items()}
    fill(gate, swarms)
    target, host, authorization, forged = data.draw(requests(world))
    caller = caller_of(authorization)

    headers = {**forged, "host": host, "authorization": authorization}
    check_promise(gate.ask(f"/check{target}", "GET", None, headers), caller, swarms)
    nginx = {**headers, "x_original_uri": target, "x_original_method": "GET"}
    check_promise(gate.ask("/auth", "GET", None, nginx), caller, swarms)


@given(IDS.filter(bool), st.sampled_from(sorted(TOKENS)))
def test_an_owner_gets_in_by_any_id_that_a_path_can_say(gate: Gates, workspace: str, token: str) -> None:
    swarms = {swarm_name(workspace): make_swarm(workspace, TOKENS[token], "verified")}
    fill(gate, swarms)
    answer = gate.check(f"{PREFIX}{quote(workspace, safe='')}/x", token)
    sayable = (
        workspace.isprintable() and not set(workspace) & set("/\\%") and workspace.partition(";")[0] not in {".", ".."}
    )

    assert answer.code == (200 if sayable else 400)
    check_promise(answer, TOKENS[token], swarms)


@given(WORLDS, st.data())
def test_nobody_gets_in_by_a_stale_memory(gate: Gates, world: dict[str, tuple[str, str]], data: st.DataObject) -> None:
    fill(gate, {swarm_name(each): make_swarm(each, *how) for each, how in world.items()}, fresh=False)
    target, host, authorization, forged = data.draw(requests(world))

    answer = gate.ask(f"/check{target}", "GET", None, {**forged, "host": host, "authorization": authorization})
    assert answer.code != 200
    assert answer.upstream is None
