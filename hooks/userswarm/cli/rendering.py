"""What `userswarm render` prints: a file goes in, the hooks' answer comes out."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import orjson
import yaml

from userswarm.compose.plan import compute_plan
from userswarm.errors import InvalidParentError, Problem, RequestError, UserSwarmError
from userswarm.finalize import finalize
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.settings import Settings
from userswarm.sync import sync
from userswarm.wire.envelope import parse_parent
from userswarm.wire.k8s import Manifest

_OBJECT_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")


class InputError(UserSwarmError):
    """A file does not hold what the command reads."""


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: what looks like a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def render_children(text: str, source: str, settings: Settings) -> str:
    """Return all children of the UserSwarms in a text, whatever of them has to wait, as YAML documents.

    `source` names the text in errors. Raises InputError with every problem of every UserSwarm.
    """
    problems: list[str] = []
    children: list[Manifest] = []
    for parent in read_user_swarms(text, source):
        try:
            check_user_swarm(parent, settings)
            children.extend(compute_plan(parent, settings).children())
        except InvalidParentError as error:
            problems.extend(f"{source}: UserSwarm {error.name!r}: {problem}" for problem in error.problems)
    if problems:
        raise InputError("\n".join(problems))
    rendered: str = yaml.safe_dump_all(children, sort_keys=False, allow_unicode=True, width=120)
    return rendered


def answer_request(text: str, source: str, settings: Settings, now: datetime) -> str:
    """Return the whole answer to a hook request, as JSON; raises InputError for what is no JSON object."""
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{source}: not JSON: {error}") from error
    if not isinstance(request, dict):
        raise InputError(f"{source}: not a hook request: must be a JSON object")
    hook = finalize if request.get("finalizing") else sync
    return orjson.dumps(hook(request, settings, now), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def read_user_swarms(text: str, source: str) -> list[Manifest]:
    """Return the objects in a YAML or JSON text; raises InputError where one is no UserSwarm with a name."""
    try:
        documents = [each for each in yaml.load_all(text, Loader=_Loader) if each is not None]
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise InputError(f"{source}: not YAML that can be read: nested too deeply") from None
    if not documents:
        raise InputError(f"{source}: holds no object; give a UserSwarm")
    return [_read_user_swarm(each, f"{source}: document {number}") for number, each in enumerate(documents, start=1)]


def _read_user_swarm(document: Any, where: str) -> Manifest:
    if not isinstance(document, dict) or document.get("kind") != "UserSwarm":
        raise InputError(f"{where} is no UserSwarm: kind must be UserSwarm")
    if document.get("apiVersion") != "crawbl.ai/v1alpha1":
        raise InputError(f"{where}: apiVersion is {document.get('apiVersion')!r}; must be crawbl.ai/v1alpha1")
    try:
        # YAML says more than JSON: binaries, sets, .nan, keys that are no texts.
        parent: Manifest = orjson.loads(json.dumps(document, allow_nan=False))
        parse_parent({"parent": parent})
    except RequestError as error:
        raise InputError(f"{where}: {str(error).removeprefix('parent.')}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: holds what JSON cannot say: {error}") from error
    name = parent["metadata"]["name"]
    if not _OBJECT_NAME.fullmatch(name) or len(name) > 253:
        raise InputError(f"{where}: metadata.name: {name!r} is no name; it must be a-z, 0-9, '-' and '.', at most 253")
    return parent


def check_user_swarm(parent: Manifest, settings: Settings) -> None:
    """Raise InvalidParentError with all that keeps a UserSwarm from being built, unknown fields included."""
    problems: list[Problem] = user_swarm_schema().unknown_fields(parent)
    try:
        compute_plan(parent, settings)
    except InvalidParentError as error:
        problems.extend(error.problems)
    if problems:
        raise InvalidParentError(parent["metadata"]["name"], sorted(problems, key=lambda problem: problem.path))
