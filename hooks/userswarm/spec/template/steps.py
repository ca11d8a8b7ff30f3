"""The steps before the runtime that our own image does: a repository is cloned, ssh is set up.

A Secret is mounted into the step that needs it and nowhere else: not into the runtime, not into an argument, not into
the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from userswarm.spec.settings import Settings
from userswarm.spec.template.parameters import escaped
from userswarm.wire.k8s import Manifest

if TYPE_CHECKING:
    from userswarm.spec.template.building import Names

PREFIX = "step-"
"""Before the name of every volume that a step brings."""

_SECRETS = "/etc/userswarm"
_READABLE = 0o440
"""By the Pod's own group; ssh's own rules are kept by whoever reads it."""


@dataclass(frozen=True, slots=True)
class Step:
    """A container that ends, and the volumes that only it has."""

    container: Manifest
    volumes: list[Manifest]


def step_name(step: Manifest) -> str:
    """Return the name of a step's container."""
    if "container" in step:
        name: str = step["container"]["name"]
        return name
    return str(step.get("name", "git" if "git" in step else "ssh"))


def find_mount(document: Manifest, path: str) -> Manifest | None:
    """Return the mount of the runtime in which a path lies, None for none that can be written to."""
    main = next(each for each in document["containers"] if each["name"] == "runtime")
    around = [each for each in main.get("mounts", ()) if f"{path}/".startswith(f"{each['path'].rstrip('/')}/")]
    found = max(around, key=lambda each: len(each["path"]), default=None)
    return None if found is None or found.get("readOnly") else found


def build_step(step: Manifest, document: Manifest, names: Names, settings: Settings) -> Step:
    """Return a git or ssh step."""
    name = step_name(step)
    files = _Files(name, names)
    if "git" in step:
        args = _git(step["git"], files)
        path = step["git"]["path"]
    else:
        args = _ssh(step["ssh"], files)
        path = step["ssh"]["path"]
    around = find_mount(document, path)
    tmp = f"{PREFIX}{name}-tmp"
    mounts = [*([_mount(around)] if around is not None else []), *files.mounts, {"name": tmp, "mountPath": "/tmp"}]  # noqa: S108
    container: Manifest = {
        "name": name,
        "image": settings.helper_image,
        "command": ["userswarm", "bootstrap", "git" if "git" in step else "ssh"],
        "args": args,
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        "volumeMounts": mounts,
    }
    return Step(container, [*files.volumes, {"name": tmp, "emptyDir": {"sizeLimit": "64Mi"}}])


class _Files:
    """What of Secrets and ConfigMaps one step finds, each as a file."""

    def __init__(self, step: str, names: Names) -> None:
        self._step = step
        self._names = names
        self.volumes: list[Manifest] = []
        self.mounts: list[Manifest] = []

    def add(self, what: str, kind: str, pattern: str, key: str) -> str:
        """Mount one key, and return the path of the file."""
        volume, field = f"{PREFIX}{self._step}-{what}", "secretName" if kind == "secret" else "name"
        source: dict[str, Any] = {field: self._names.object(pattern), "items": [{"key": key, "path": what}]}
        self.volumes.append({"name": volume, kind: {**source, "defaultMode": _READABLE}})
        self.mounts.append({"name": volume, "mountPath": f"{_SECRETS}/{what}", "readOnly": True})
        return f"{_SECRETS}/{what}/{what}"

    def secret(self, what: str, asked: Manifest) -> str:
        return self.add(what, "secret", asked["pattern"], asked["key"])

    def known_hosts(self, asked: Manifest) -> str:
        kind = "secret" if "secret" in asked else "configMap"
        return self.add("known-hosts", kind, asked[kind], asked["key"])


def _git(asked: Manifest, files: _Files) -> list[str]:
    args = ["--repository", escaped(asked["repository"])]
    if "branch" in asked:
        args += ["--branch", escaped(asked["branch"])]
    if "depth" in asked:
        args += ["--depth", str(asked["depth"])]
    args += ["--directory", escaped(asked["path"])]
    if "tokenSecret" in asked:
        args += ["--token-file", files.secret("token", asked["tokenSecret"])]
    if "keySecret" in asked:
        args += ["--key-file", files.secret("key", asked["keySecret"])]
    if "knownHosts" in asked:
        args += ["--known-hosts", files.known_hosts(asked["knownHosts"])]
    if "caSecret" in asked:
        args += ["--ca-file", files.secret("ca", asked["caSecret"])]
    return [*args, "--pull"] if asked.get("pull") else args


def _ssh(asked: Manifest, files: _Files) -> list[str]:
    args = ["--key-file", files.secret("key", asked["secret"]), "--directory", escaped(asked["path"])]
    return [*args, "--known-hosts", files.known_hosts(asked["knownHosts"])] if "knownHosts" in asked else args


def _mount(around: Manifest) -> Manifest:
    more = {"subPath": around["subPath"]} if "subPath" in around else {}
    return {"name": around["volume"], "mountPath": around["path"], **more}
