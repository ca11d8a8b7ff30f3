"""`userswarm templates list`, `check` and `diff`: options in, text out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

if TYPE_CHECKING:
    from userswarm.spec.template.revisions import Revision, Templates

FOLDER = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="USERSWARM_TEMPLATES_DIR",
    required=True,
    show_envvar=True,
    metavar="DIR",
    help="The platform's templates.",
)


def _pairs(_ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """Read NAME=VALUE, the value as YAML does: 3 is a number, true is no text."""
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise click.BadParameter(f"{text!r}: {' '.join(str(error).split())}") from error
        if not name or not equals:
            raise click.BadParameter(f"{text!r}; write NAME=VALUE, as in {parameter.metavar}")
    return found


@click.group()
def templates() -> None:
    """Look at the platform's templates: what there is, whether it is right, what a change means."""


@templates.command("list")
@FOLDER
def list_(folder: Path) -> None:
    """Print every revision of every template, and which of them a new swarm gets.

    Exit codes: 0 printed, 1 the folder cannot be used (every problem on standard error), 2 usage.
    """
    from userswarm.cli.templates.showing import list_templates

    for line in list_templates(_load(folder)):
        click.echo(line)


@templates.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--feature", "on", multiple=True, metavar="NAME", help="Switch a feature on; may be repeated.")
@click.option("--no-feature", "off", multiple=True, metavar="NAME", help="Switch a feature off; may be repeated.")
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    callback=_pairs,
    metavar="NAME=VALUE",
    help="Set a parameter; may be repeated. Needed for each without a default.",
)
@click.option(
    "--quota",
    multiple=True,
    callback=_pairs,
    metavar="cpu=2",
    help="A limit of a namespace of the swarm's own, as in spec.quota; may be repeated. Tells whether the swarm fits.",
)
@click.option(
    "--max",
    "most",
    multiple=True,
    callback=_pairs,
    metavar="memory=2Gi",
    help="What a container there may have at most, as in spec.limitRange.max; may be repeated.",
)
def check(
    file: Path,
    on: tuple[str, ...],
    off: tuple[str, ...],
    parameters: dict[str, Any],
    quota: dict[str, Any],
    most: dict[str, Any],
) -> None:
    """Say what a swarm of each template in FILE would be, or all that is wrong with it.

    The settings come from USERSWARM_* in the environment, as for `serve`, but for the templates: those are the file's.

    Exit codes: 0 all is right, 1 it is not (every problem on standard error), 2 usage.
    """
    from userswarm.cli.rendering import InputError
    from userswarm.cli.templates.showing import describe
    from userswarm.spec.settings import PREFIX, Settings

    environment = {name: text for name, text in os.environ.items() if name != f"{PREFIX}TEMPLATES_DIR"}
    settings = Settings.from_environment(environment)
    features = {**dict.fromkeys(on, True), **dict.fromkeys(off, False)}
    for revision in _read(file):
        try:
            lines = list(describe(revision, settings, features, parameters, quota, most))
        except InputError as error:
            raise InputError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from error
        for line in lines:
            click.echo(line)


@templates.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="USERSWARM_TEMPLATES_DIR",
    show_envvar=True,
    metavar="DIR",
    help="The platform's templates.",
)
@click.pass_context
def diff(ctx: click.Context, before: str, after: str, folder: Path | None) -> None:
    """Print what is different between two revisions, and what moving swarms from A to B means.

    A and B are each NAME/REVISION of the platform's, or a file with one template.

    Exit codes: 0 alike, or only in words; 1 different, or one cannot be read; 2 usage.
    """
    from userswarm.cli.templates.differing import compare

    known = _load(folder) if folder is not None else None
    one, other = (_find(name, known) for name in (before, after))
    for line in compare(one, other):
        click.echo(line)
    ctx.exit(int(one.checksum != other.checksum))


def _find(name: str, known: Templates | None) -> Revision:
    if Path(name).is_file():
        found = _read(Path(name))
        if len(found) > 1:
            raise click.UsageError(f"{name} holds {len(found)} templates; give a file with one, or NAME/REVISION")
        return found[0]
    template, _, number = name.rpartition("/")
    if known is None or not number.isdecimal():
        raise click.UsageError(f"{name!r} is no file; for NAME/REVISION say where the templates are by --dir")
    revision = known.revisions.get((template, int(number)))
    if revision is None:
        there = ", ".join(f"{each}/{number}" for each, number in sorted(known.revisions)) or "none"
        raise click.UsageError(f"there is no {name}; there are {there}")
    return revision


def _load(folder: Path) -> Templates:
    from userswarm.cli.rendering import InputError
    from userswarm.spec.template.loading import load_templates

    try:
        return load_templates(str(folder))
    except ValueError as error:
        raise InputError(f"{folder}: {str(error).strip()}") from error


def _read(file: Path) -> list[Revision]:
    from userswarm.cli.rendering import InputError
    from userswarm.spec.template.loading import read_templates

    try:
        found, problems = read_templates(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8: {error}") from error
    if problems:
        raise InputError("\n".join(problems))
    return found
