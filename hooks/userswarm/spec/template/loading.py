"""The folder of templates, read whole: all of it is right, or everything that is wrong with it is said.

A file holds one template or several, as YAML documents. Files and folders whose names begin with a dot are passed
over: a mounted ConfigMap keeps its own there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import orjson
import yaml

from userswarm.errors import Problem
from userswarm.spec.template.checking import find_problems
from userswarm.spec.template.defaults import find_default_problems
from userswarm.spec.template.fields import TEMPLATE
from userswarm.spec.template.revisions import Revision, Templates
from userswarm.spec.template.trial import find_trial_problems
from userswarm.wire.k8s import Manifest

_TOLD_ONLY = ("description", "deprecated", "replacedBy", "candidate")
"""What may be said anew of a released revision: nothing is made of it."""


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: what looks like a date is a text; and no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_templates(folder: str, before: Templates | None = None) -> Templates:
    """Return all templates of a folder; raises ValueError, and OSError, with every problem of every file.

    `before` are those that were offered until now: none of their released revisions may have changed.
    """
    problems: list[str] = []
    revisions: dict[tuple[str, int], Revision] = {}
    for path in template_files(Path(folder)):
        where = str(path.relative_to(folder))
        for revision in _read_file(path, where, problems):
            key = revision.name, revision.number
            known = revisions.setdefault(key, revision)
            if known is not revision:
                problems.append(f"{where}: revision {revision.number} of {revision.name!r} is there twice")
    for key, old in (before.revisions if before is not None else {}).items():
        new = revisions.get(key)
        if new is not None and new.checksum != old.checksum and not old.candidate:
            told = "was released, and is not what it was: put it back, and give the change a new revision"
            problems.append(f"revision {old.number} of {old.name!r} {told}")
    if problems:
        raise ValueError("\n  ".join(["", *problems]))
    return Templates(folder, revisions)


def template_files(folder: Path) -> Iterable[Path]:
    """Return the files of a folder that hold templates; raises ValueError for what is no folder."""
    if not folder.is_dir():
        raise ValueError("is no folder")
    found = (path for suffix in ("*.yaml", "*.yml") for path in folder.rglob(suffix))
    return sorted(
        path
        for path in found
        if path.is_file() and not any(step.startswith(".") for step in path.relative_to(folder).parts)
    )


def read_templates(text: str, where: str) -> tuple[list[Revision], list[str]]:
    """Return the templates in a text that are right, and all that is wrong with it; `where` names it."""
    problems: list[str] = []
    found = _read_text(text, where, problems)
    return found, problems


def compute_template_checksum(document: Any) -> str:
    """Return the checksum of all that is made of a template, as its author wrote it."""
    made = {field: value for field, value in document.items() if field not in _TOLD_ONLY}
    for field in ("features", "parameters"):
        if isinstance(made.get(field), dict):
            # A list: their order is that in which children are built.
            made[field] = [[name, _undescribed(each)] for name, each in made[field].items()]
    return hashlib.sha256(orjson.dumps(made, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _undescribed(value: Any) -> Any:
    return {key: each for key, each in value.items() if key != "description"} if isinstance(value, dict) else value


def _read_file(path: Path, where: str, problems: list[str]) -> list[Revision]:
    try:
        text = path.read_bytes().decode()
    except (OSError, ValueError) as error:
        problems.append(f"{where}: {error}")
        return []
    return _read_text(text, where, problems)


def _read_text(text: str, where: str, problems: list[str]) -> list[Revision]:
    try:
        documents = [each for each in yaml.load_all(text, Loader=_Loader) if each is not None]
        orjson.dumps(documents)
    except (yaml.YAMLError, TypeError, RecursionError) as error:
        problems.append(f"{where}: not YAML that JSON can say: {' '.join(str(error).split())}")
        return []
    if not documents:
        problems.append(f"{where}: holds no template")
    revisions = []
    for number, document in enumerate(documents, start=1):
        place = f"{where}: document {number}" if len(documents) > 1 else where
        found: list[Problem] = []
        read = _read(document, found)
        if read is not None and not found:
            revisions.append(read)
        problems.extend(f"{place}: {problem}" for problem in found)
    return revisions


def _read(document: Any, problems: list[Problem]) -> Revision | None:
    found: list[Problem] = []
    read: Manifest | None = TEMPLATE(document, "template", found)
    if found or read is None:
        problems.extend(Problem(each.path.removeprefix("template."), each.message) for each in found)
        return None
    problems.extend(find_problems(read))
    problems.extend(find_default_problems(read))
    if not problems:
        problems.extend(find_trial_problems(read))
    return Revision(read["name"], read["revision"], compute_template_checksum(document), read)
