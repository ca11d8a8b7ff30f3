"""Where a swarm is: its own Service's address, for a while, and nowhere else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from unit.gate.gates import Clock
from userswarm.backend import Swarm
from userswarm.backend.model import parse_swarm
from userswarm.gate.answers import Refused
from userswarm.gate.setting_readers import hosts
from userswarm.gate.upstream import KEPT, Upstreams, look_up

SWARM: Swarm = parse_swarm(
    {
        "metadata": {"name": "workspace-a", "uid": "u1"},
        "spec": {"userId": "alice"},
        "status": {"endpoint": "http://swarm-workspace-a.userswarms.svc:42617"},
    }
)


class Dns:
    """Answers with a new address each time."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> str:
        self.asked.append((host, port))
        return f"10.0.0.{len(self.asked)}"


def test_an_address_is_kept_for_some_seconds_and_for_one_object_only() -> None:
    dns, clock = Dns(), Clock()
    upstreams = Upstreams(lookup=dns, monotonic=clock)

    assert [upstreams.address_of(SWARM) for _ in range(3)] == ["10.0.0.1:42617"] * 3
    assert dns.asked == [("swarm-workspace-a.userswarms.svc", 42617)]
    # Made anew under its name: what was known of the old one says nothing of it.
    assert upstreams.address_of(dataclasses.replace(SWARM, uid="u2")) == "10.0.0.2:42617"
    clock.now += KEPT
    assert upstreams.address_of(SWARM) == "10.0.0.3:42617"


def test_an_ipv6_address_has_brackets() -> None:
    assert Upstreams(lookup=lambda host, port: "fd00::1").address_of(SWARM) == "[fd00::1]:42617"


def test_a_name_that_leads_nowhere_is_no_upstream() -> None:
    def away(host: str, port: int) -> str:
        raise OSError("no such name")

    with pytest.raises(Refused) as refusal:
        Upstreams(lookup=away).address_of(SWARM)
    assert (refusal.value.code, refusal.value.reason) == (503, "unresolved")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "::ffff:127.0.0.1", "224.0.0.1"])
def test_a_service_never_leads_to_metadata_or_to_ourselves(address: str) -> None:
    with pytest.raises(OSError, match="no Service"):
        look_up(address, 80)


def test_a_service_leads_to_its_address() -> None:
    assert look_up("10.1.2.3", 80) == "10.1.2.3"


def test_a_file_says_where_services_are_that_no_dns_knows(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(
        "# a comment\n127.0.0.1:8001 swarm-workspace-a.userswarms.svc:42617 # alice's\n\n", encoding="utf-8"
    )
    upstreams = Upstreams(hosts(str(tmp_path / "hosts")), lookup=Dns())
    assert upstreams.address_of(SWARM) == "127.0.0.1:8001"
    with pytest.raises(Refused):
        upstreams.address_of(
            dataclasses.replace(SWARM, name="workspace-b", url="http://swarm-workspace-b.userswarms.svc:42617")
        )


@pytest.mark.parametrize("line", ["127.0.0.1:1", "localhost:1 a", "127.0.0.1 a", "127.0.0.1:1 a b"])
def test_a_file_of_hosts_with_an_odd_line_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "hosts").write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match="line 1"):
        hosts(str(tmp_path / "hosts"))
