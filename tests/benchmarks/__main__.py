"""The command line: ``python -m benchmarks hooks`` and so on; each prints tables, ``--json FILE`` writes them too."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks import cluster as cluster_benchmark
from benchmarks import hooks as hooks_benchmark
from benchmarks import webhook as webhook_benchmark
from benchmarks import wsgi as wsgi_benchmark
from benchmarks.report import Report, machine
from contract.rendered import ROOT

_SECONDS = click.option("--seconds", default=1.0, show_default=True, help="How long each thing is measured.")
_ROUNDS = click.option("--rounds", default=3, show_default=True, help="How often each load and each start is repeated.")
_CROWD = click.option("--crowd", default=10_000, show_default=True, help="How many swarms are asked for in turn.")
_SWARMS = click.option("--swarms", multiple=True, type=int, default=(1_000, 10_000), show_default=True)

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_USERS = click.option("--users", default=5_000, show_default=True, help="How many users resolve() chooses from.")
_CHANGES = click.option("--changes", default=200, show_default=True, help="Changes a second under way meanwhile.")


def _reported(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its report, and the option to write it as JSON."""

    @click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables there too.")
    @functools.wraps(command)
    def reported(path: Path | None, **options: Any) -> None:
        report = Report()
        click.echo(", ".join(f"{name} {value}" for name, value in machine().items()))
        command(report, **options)
        if path is not None:
            report.write(path)

    return reported


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def benchmarks() -> None:
    """Measure UserSwarm on this machine.

    Where others use it too, run several times: the best number is the one that nobody disturbed.
    """


@benchmarks.command("hooks")
@_SECONDS
@_reported
def hooks(report: Report, seconds: float) -> None:
    """The pure hooks in process, part by part and whole."""
    hooks_benchmark.run(report, seconds)


@benchmarks.command("wsgi")
@_SECONDS
@_reported
def wsgi(report: Report, seconds: float) -> None:
    """The whole WSGI call, without sockets."""
    wsgi_benchmark.run(report, seconds)


@benchmarks.command("http")
@_SECONDS
@_ROUNDS
@_CROWD
@_reported
def http(report: Report, seconds: float, rounds: int, crowd: int) -> None:
    """`userswarm serve` over loopback, asked by wrk; its start, its memory, and many swarms in turn."""
    webhook_benchmark.run(report, seconds, rounds, crowd)


@benchmarks.command("gate")
@_SECONDS
@_ROUNDS
@_reported
def gate(report: Report, seconds: float, rounds: int) -> None:
    """`userswarm gate` over loopback, asked by wrk as Envoy asks: decisions a second, and what each costs."""
    # Only here: the others measure what runs without the Kubernetes client.
    from benchmarks.gate import run

    run(report, seconds, rounds)


@benchmarks.command("gate-envoy")
@click.option("--seconds", default=20.0, show_default=True, help="How long each way is asked.")
@_ROUNDS
@_reported
def gate_envoy(report: Report, seconds: float, rounds: int) -> None:
    """What the gate adds through Envoy at 500 requests a second, and what 1,000 idle streams cost."""
    from benchmarks.gate_envoy import run

    run(report, seconds, rounds)


@benchmarks.command("cluster")
@_SWARMS
@_reported
def cluster(report: Report, swarms: tuple[int, ...]) -> None:
    """Thousands of swarms on the dev cluster: round trips, writes, and where the time goes."""
    cluster_benchmark.run(report, swarms)


@benchmarks.command("resolve")
@_SECONDS
@_USERS
@_CHANGES
@_reported
def resolve(report: Report, seconds: float, users: int, changes: int) -> None:
    """Finding a user's endpoint in the backend's cache."""
    _run_resolve(report, users, seconds, changes)


_AT_ONCE = click.option(
    "--swarms", multiple=True, type=int, default=(300,), show_default=True, help="How many at once."
)

_LAB = (
    click.option("--pids", required=True, type=_FOLDER, help="A folder: a file for each process, its name and pid."),
    click.option("--audit-log", required=True, type=_FILE, help="The API server's; the level Metadata is enough."),
    click.option("--release", default=ROOT, show_default=True, type=_FOLDER, help="Whose hooks and manifests."),
    click.option("--python", default=sys.executable, show_default=True, help="The interpreter that has that release."),
    click.option("--setting", "settings", multiple=True, metavar="NAME=VALUE", help="A variable for the hooks."),
    click.option("--patience", default=1200.0, show_default=True, help="Seconds after which a step is given up."),
)


def _on_lab(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where to measure."""
    return functools.reduce(lambda made, option: option(made), reversed(_LAB), command)


@benchmarks.command("lab")
@_AT_ONCE
@click.option("--against", type=_FILE, help="An earlier release's tables, written by --json.")
@_on_lab
@_reported
def lab(report: Report, swarms: tuple[int, ...], settings: tuple[str, ...], against: Path | None, **where: Any) -> None:
    """N swarms at once on the cluster in KUBECONFIG, with real Metacontroller: time, requests, CPU, idle, deletion."""
    # Only here: the others measure what runs without the Kubernetes client.
    from benchmarks.budgets import add_lives, read_earlier
    from benchmarks.lab import Lab

    earlier = {number: read_earlier(against, number) for number in swarms} if against else {}
    add_lives(report, Lab(settings=dict(each.split("=", 1) for each in settings), **where), swarms, earlier)


@benchmarks.command("compare")
@_AT_ONCE
@click.option("--lab", "scripts", required=True, type=_FOLDER, help="Where up.sh and down.sh of a lab are.")
@click.option("--first", metavar="COMMIT", default="2d5eb84", show_default=True, help="The release to compare with.")
@click.option("--patience", default=1200.0, show_default=True, help="Seconds after which a step is given up.")
@_reported
def compare(report: Report, swarms: tuple[int, ...], scripts: Path, first: str, patience: float) -> None:
    """The table of `lab` for an earlier release and for this one, with the ratios; a fresh cluster for each.

    \b
    LAB_BIN=... LAB_WORKDIR=... LAB_PORT_BASE=... \\
        python -m benchmarks compare --lab FOLDER --swarms 100 --swarms 300 --swarms 1000 --json FILE

    A thousand are measured of this release only. Requests hardly depend on who else uses the machine, CPU seconds a
    little, seconds on the clock a lot.
    """
    # Only here: the others measure what runs without the Kubernetes client.
    from benchmarks.budgets import add_lives
    from benchmarks.private import checked_out, private_lab

    fewer = [number for number in swarms if number < 1000]
    with checked_out(first) as tree, private_lab(scripts, tree, patience) as where:
        earlier = add_lives(report, where, fewer, {}, f" ({first})")
    with private_lab(scripts, ROOT, patience) as where:
        add_lives(report, where, swarms, earlier)


@benchmarks.command("sleep")
@click.option("--swarms", default=300, show_default=True, help="How many sleep.")
@click.option("--wakes", default=100, show_default=True, help="How many of them are touched at once, two apart.")
@_on_lab
@_reported
def sleep(report: Report, swarms: int, wakes: int, settings: tuple[str, ...], **where: Any) -> None:
    """N swarms that fall asleep on the cluster in KUBECONFIG, and are woken: time and requests; takes 10 minutes."""
    if not 0 < wakes < swarms - 1:
        raise click.BadParameter("must be at least 1, and leave two of --swarms", param_hint="--wakes")
    # Only here: the others measure what runs without the Kubernetes client.
    from benchmarks.lab import Lab, bench
    from benchmarks.sleep import SleepBench, add_sleep

    with bench(Lab(settings=dict(each.split("=", 1) for each in settings), **where), SleepBench) as running:
        report.add("Metacontroller", [{"": "flags", "given": running.metacontroller_flags()}])
        add_sleep(report, running.measure_sleep(swarms, wakes))


@benchmarks.command("all")
@_SECONDS
@_ROUNDS
@_CROWD
@_SWARMS
@_USERS
@_CHANGES
@_reported
def everything(
    report: Report, seconds: float, rounds: int, crowd: int, swarms: tuple[int, ...], users: int, changes: int
) -> None:
    """All of them that need no cluster, one after the other."""
    hooks_benchmark.run(report, seconds)
    wsgi_benchmark.run(report, seconds)
    webhook_benchmark.run(report, seconds, rounds, crowd)
    _run_resolve(report, users, seconds, changes)
    cluster_benchmark.run(report, swarms)


def _run_resolve(report: Report, users: int, seconds: float, changes: int) -> None:
    # Only here: the others measure what runs without the Kubernetes client.
    from benchmarks.resolve import run

    run(report, users, seconds, changes)


if __name__ == "__main__":
    benchmarks(prog_name="python -m benchmarks")
