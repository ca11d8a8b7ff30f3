"""The commands. Each imports what it needs when it runs: a Pod's init container waits for no web server's import."""

from __future__ import annotations

import importlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import click

from userswarm.errors import UserSwarmError


class _Commands(click.Group):
    """A group whose commands are imported only when they are asked for."""

    where: ClassVar[dict[str, str]] = {
        "serve": "userswarm.server.commands",
        "render": "userswarm.cli",
        "explain": "userswarm.cli",
        "crd": "userswarm.cli",
        "demo": "userswarm.cli.demo.commands",
        "templates": "userswarm.cli.templates.commands",
        "rollout": "userswarm.cli.rollout.commands",
        "reap": "userswarm.reaper.commands",
        "bootstrap": "userswarm.runtime.commands",
        "gate": "userswarm.gate.commands",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.where)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.where:
            return None
        command: click.Command = getattr(importlib.import_module(self.where[cmd_name]), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="userswarm")
def cli() -> None:
    """Give every user a private, isolated agent runtime on Kubernetes.

    `serve` answers Metacontroller; `render`, `explain` and `crd` are for people; `demo` shows the whole story on an
    embedded cluster; `templates` looks at what the platform offers, `rollout` moves swarms to another revision of it;
    `reap` removes UserSwarms without a live owner; `bootstrap` runs inside Pods; `gate` lets users in.
    """


@click.command()
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path), metavar="FILE|-")
@click.option("--request", "is_request", is_flag=True, help="FILE is a hook request: print the whole answer as JSON.")
def render(file: Path, is_request: bool) -> None:
    """Print all children of a UserSwarm, as YAML documents.

    FILE holds one UserSwarm, or several as YAML documents; - reads standard input. Fields that the CRD does not know
    are refused here, for they would be dropped silently by the cluster.

    With --request, FILE is the JSON that Metacontroller sends: to sync, or to finalize where it says "finalizing".

    The settings come from USERSWARM_* in the environment, as for `serve`.

    Exit codes: 0 printed, 1 the input is not valid (every problem on standard error, nothing printed), 2 usage.
    """
    from userswarm.cli import rendering
    from userswarm.spec.settings import Settings

    settings = Settings.from_environment(os.environ)
    text = _read(file)
    if is_request:
        answer = rendering.answer_request(text, str(file), settings, datetime.now(UTC))
        click.echo(answer, nl=False)
    else:
        click.echo(rendering.render_children(text, str(file), settings), nl=False)


@click.command()
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path), metavar="FILE|-")
@click.option("--request", "is_request", is_flag=True, help="FILE is a captured hook request.")
def explain(file: Path, is_request: bool) -> None:
    """Say in words where a UserSwarm stands, what it waits for, and what to do.

    FILE is what `kubectl get uswarm NAME -o json` (or -o yaml) prints; - reads standard input. With --request it is
    a captured hook request, which also shows every child and the Pod.

    Exit codes: 0 explained, 1 the input cannot be read, 2 usage.
    """
    from userswarm.cli import explaining
    from userswarm.spec.settings import Settings

    settings = Settings.from_environment(os.environ)
    text = _read(file)
    click.echo(explaining.explain(text, str(file), settings, datetime.now(UTC), is_request=is_request), nl=False)


@click.command()
def crd() -> None:
    """Print the CustomResourceDefinition, to be piped into `kubectl apply --server-side -f -`."""
    from userswarm.spec.manifests import manifest_path

    click.echo(manifest_path("crd/userswarms.crawbl.ai.yaml").read_text(encoding="utf-8"), nl=False)


def _read(file: Path) -> str:
    raw: bytes = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file}: not UTF-8: {error}") from error


def main(args: list[str] | None = None) -> Any:
    """Run a command; whatever we raise on purpose becomes one line, and exit code 1."""
    try:
        return cli.main(args=args, prog_name="userswarm")
    except (UserSwarmError, OSError) as error:
        for line in str(error).splitlines():
            click.echo(f"userswarm: {line}", err=True)
        return 1
