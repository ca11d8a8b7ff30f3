"""A repository somewhere else, and what opens it: a token or a key, each in a file that only this step sees.

git gets neither as an argument, nor in its environment, nor in the configuration of a clone. It asks for a token when
it is wanted, by a credential helper that knows one server; a key is read by ssh alone.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from userswarm.runtime.folder import BootstrapError, naming
from userswarm.runtime.steps.tools import Tools

_HOST = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9._]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_USER = r"[A-Za-z0-9_][-A-Za-z0-9._+]*"
_REST = r"[!-~]+"
_URL = re.compile(rf"(?P<scheme>https?|ssh)://(?:(?P<user>{_USER})@)?(?P<host>{_HOST}(?::[0-9]{{1,5}})?)/{_REST}")
_SCP = re.compile(rf"(?P<user>{_USER})@(?P<host>{_HOST}):(?!//){_REST}")
_FILE = re.compile(rf"file:///{_REST}")
BRANCH = re.compile(r"(?![-/.@])(?!.*(?:\.\.|//|/\.|@\{|\.lock(?:/|\Z)))[-A-Za-z0-9._/@+#%=,]{1,200}(?<![/.])")
_TOKEN = re.compile(r"[!-~]{1,4096}")
_ASKS_ANYBODY = "x-access-token"
"""The user of a token, where the URL names none: GitHub takes this one, GitLab and Gitea take any."""


@dataclass(frozen=True, slots=True)
class Remote:
    """What is cloned, and by what right; every file is there for this step only."""

    url: str
    branch: str = ""
    depth: int = 0
    token: Path | None = None
    key: Path | None = None
    known_hosts: Path | None = None
    ca: Path | None = None

    @property
    def is_ssh(self) -> bool:
        return self.url.startswith("ssh://") or bool(_SCP.fullmatch(self.url))

    def problem(self) -> str:
        """Return what is wrong with it, "" where nothing is."""
        if not (_URL.fullmatch(self.url) or _SCP.fullmatch(self.url) or _FILE.fullmatch(self.url)):
            return "--repository must be https://, ssh://, user@host:path or file:///, without a password in it"
        if self.branch and not BRANCH.fullmatch(self.branch):
            return f"--branch: {self.branch!r} is no name of a branch"
        if self.token is not None and not self.url.startswith("https://"):
            return "--token-file is for https:// only: a token goes nowhere else, and never in the clear"
        if self.ca is not None and not self.url.startswith("https://"):
            return "--ca-file is for https:// only"
        if (self.key is not None or self.known_hosts is not None) and not self.is_ssh:
            return "--key-file and --known-hosts are for ssh only"
        if self.is_ssh and (self.key is None or self.known_hosts is None):
            return "ssh needs --key-file and --known-hosts: a host that nobody knows is not asked"
        return ""


def opened(tools: Tools, remote: Remote) -> Tools:
    """Return the tools with what opens the repository; raise BootstrapError for a file that cannot be what it is for.

    Nothing that lies on a volume, or on this machine, has a say in how git runs.
    """
    settings = [
        ("gc", "", "auto", "0"),
        ("maintenance", "", "auto", "false"),
        ("safe", "", "directory", "*"),
        # A step has little memory, however large the repository is.
        ("pack", "", "threads", "1"),
        ("core", "", "packedGitLimit", "64m"),
        ("core", "", "bigFileThreshold", "16m"),
        ("advice", "", "detachedHead", "false"),
        # A connection that hangs is given up.
        ("http", "", "lowSpeedLimit", "1000"),
        ("http", "", "lowSpeedTime", "60"),
    ]
    token = ""
    if remote.token is not None:
        token = _read_token(remote.token)
        place = urlsplit(remote.url)
        helper = (
            f"!f() {{ test \"$1\" = get && printf 'username=%s\\npassword=%s\\n'"
            f' {place.username or _ASKS_ANYBODY} "$(cat {shlex.quote(str(remote.token))})"; }}; f'
        )
        settings.append(("credential", f"https://{place.netloc.rpartition('@')[2]}", "helper", helper))
    if remote.ca is not None:
        settings.append(("http", "", "sslCAInfo", str(remote.ca)))
    configuration = tools.scratch / "gitconfig"
    configuration.write_text("".join(_setting(*each) for each in settings), encoding="utf-8")
    environment = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(configuration),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
    }
    if remote.key is not None and remote.known_hosts is not None:
        environment["GIT_SSH_COMMAND"] = shlex.join(_ssh_words(remote.key, remote.known_hosts))
    return dataclasses.replace(tools, environment={**tools.environment, **environment}, hidden=token)


def _ssh_words(key: Path, known_hosts: Path) -> list[str]:
    for path in (key, known_hosts):
        with naming(path), path.open("rb") as stream:
            stream.read(1)
    options = {
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "ConnectTimeout": "30",
        "ServerAliveInterval": "15",
    }
    return ["ssh", "-F", "none", "-i", str(key), *(word for each in options.items() for word in ("-o", "=".join(each)))]


def _read_token(path: Path) -> str:
    with naming(path), path.open("rb") as stream:
        token = stream.read(8192).decode("ascii", errors="replace").rstrip("\n")
    if not _TOKEN.fullmatch(token):
        raise BootstrapError(f"{path}: holds no token: must be one line of printable ASCII without blanks")
    return token


def _setting(section: str, subsection: str, name: str, value: str) -> str:
    heading = f'{section} "{_escaped(subsection)}"' if subsection else section
    return f'[{heading}]\n\t{name} = "{_escaped(value)}"\n'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
