"""Which workspace a path or a host names, and which paths are not judged at all."""

from __future__ import annotations

import pytest

from userswarm.gate.address import find_workspace
from userswarm.gate.answers import Refused

PREFIX = "/v1/workspaces/"
DOMAIN = "agents.example.com"


def find(target: str, host: str = "gate.example.com", *, prefix: str = PREFIX, domain: str = DOMAIN) -> str | None:
    return find_workspace(target, host, prefix=prefix, domain=domain)


@pytest.mark.parametrize(
    ("target", "workspace"),
    [
        ("/v1/workspaces/a/chat", "a"),
        ("/v1/workspaces/a/", "a"),
        ("/v1/workspaces/a", "a"),
        ("/v1/workspaces/a?b=/../c//d", "a"),
        ("/v1/workspaces/a/b?next=%2F", "a"),
        ("/v1/workspaces/A", "A"),
        ("/v1/workspaces/auth0%7Calice/x", "auth0|alice"),
        ("/v1/workspaces/%C3%BC/x", "ü"),
        ("/v1/workspaces/a.b/c", "a.b"),
        ("/v1/workspaces/a/%61%25", "a"),
        ("/v1/workspaces/a/...", "a"),
        ("/v1/workspaces/", None),
        ("/v1/workspaces", None),
        ("/v1/workspacesa/b", None),
        ("/V1/workspaces/a", None),
        ("/", None),
        (f"/v1/workspaces/{'a' * 1025}/", None),
    ],
)
def test_a_path_names_a_workspace(target: str, workspace: str | None) -> None:
    assert find(target) == workspace


@pytest.mark.parametrize(
    ("host", "workspace"),
    [
        ("a.agents.example.com", "a"),
        ("A.Agents.Example.com:8443", "a"),
        ("a.agents.example.com.", "a"),
        ("b.a.agents.example.com", None),
        ("-.agents.example.com", None),
        (".agents.example.com", None),
    ],
)
def test_a_host_names_a_workspace_whatever_the_path_says(host: str, workspace: str | None) -> None:
    assert find("/v1/workspaces/other/", host) == workspace


@pytest.mark.parametrize("host", ["agents.example.com", "aagents.example.com", "a.agents.example.com.evil.example", ""])
def test_another_host_leaves_it_to_the_path(host: str) -> None:
    assert find("/v1/workspaces/a/", host) == "a"


def test_either_way_may_be_off() -> None:
    assert find("/v1/workspaces/a/", "b.agents.example.com", domain="") == "a"
    assert find("/v1/workspaces/a/", prefix="") is None


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "v1/workspaces/a/",
        "http://gate.example.com/v1/workspaces/a/",
        "//evil.example/v1/workspaces/a/",
        "/v1/workspaces//a",
        "/v1/workspaces/a//b",
        "/v1/workspaces/a/../b/",
        "/v1/workspaces/a/..",
        "/v1/workspaces/./a/",
        "/v1/workspaces/a/%2e%2e/b",
        "/v1/workspaces/a/%2E./b",
        "/v1/workspaces/a/.%2e;x=y/b",
        "/v1/workspaces/a/..;/b",
        "/v1/workspaces/%2e%2e/",
        "/v1/workspaces/a%2fb/",
        "/v1/workspaces/a%2Fb/",
        "/v1/workspaces/a/b%2f..%2fc",
        "/v1/workspaces/a/b%5c..%5cc",
        "/v1/workspaces/a\\b/",
        "/v1/workspaces/a%00/",
        "/v1/workspaces/a/%0d%0aX-Userswarm-Upstream:%201.2.3.4:5",
        "/v1/workspaces/a/%7f",
        "/v1/workspaces/a#b",
        "/v1/workspaces/a/%",
        "/v1/workspaces/a/%2",
        "/v1/workspaces/a/%zz",
        "/v1/workspaces/a b/",
        "/v1/workspaces/\u00fc/",
        "/v1/workspaces/a/?b=\x01",
        "/v1/workspaces/a/\r\nX: y",
    ],
)
def test_a_path_that_two_readers_might_take_for_two_is_refused(target: str) -> None:
    for host in ("gate.example.com", "a.agents.example.com"):
        with pytest.raises(Refused) as refusal:
            find(target, host)
        assert refusal.value.code == 400


@pytest.mark.parametrize(
    "target",
    [
        "/v1/workspaces/%252e%252e/",
        "/v1/workspaces/a%252fb/",
        "/v1/workspaces/%ff/",
        "/v1/workspaces/%E2%80%AE/",
    ],
)
def test_an_id_that_is_encoded_twice_or_cannot_be_read_is_refused(target: str) -> None:
    with pytest.raises(Refused) as refusal:
        find(target)
    assert refusal.value.code == 400
