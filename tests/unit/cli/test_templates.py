"""`userswarm templates`: what there is, what a swarm of it would be, and what a change means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from userswarm.cli import cli
from userswarm.errors import UserSwarmError

AGENT: dict[str, Any] = {
    "name": "agent",
    "revision": 1,
    "description": "An agent",
    "containers": [
        {
            "name": "runtime",
            "image": "example.org/agent:1",
            "ports": [{"name": "http", "port": 8080}],
            "env": [
                {"name": "KEY", "secret": {"pattern": "keys-{user}", "key": "key"}},
                {"name": "MODEL", "parameter": "model"},
            ],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "0.2", "memory": "128Mi"}},
            "mounts": [{"volume": "data", "path": "/data"}],
        },
        {
            "name": "search",
            "image": "example.org/search:1",
            "sidecar": "native",
            "ports": [{"name": "search", "port": 8081}],
            "resources": {"limits": {"cpu": "300m", "memory": "64Mi"}},
        },
    ],
    "volumes": [{"name": "data", "claim": {"size": "3Gi"}}],
    "parameters": {"model": {"type": "string", "default": "small", "description": "which model"}},
    "features": {"golang": {"description": "Go", "env": {"runtime": [{"name": "GOPATH", "value": "/data/go"}]}}},
}


def write(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(AGENT | changes, sort_keys=False))
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["templates", *map(str, words)])


def cells(text: str, first: str) -> list[str]:
    """Return the row of a table that begins with a word, without what pads it."""
    (row,) = [line.split() for line in text.splitlines() if line.split()[:1] == [first]]
    return row


# --- list ---------------------------------------------------------------------------------------------------------


def test_every_revision_is_listed_with_what_a_new_swarm_gets(tmp_path: Path) -> None:
    for number, more in ((1, {}), (2, {}), (3, {"candidate": True}), (4, {"deprecated": True, "replacedBy": "other"})):
        write(tmp_path / "agent" / f"{number}.yaml", revision=number, **more)

    result = run("list", "--dir", tmp_path)

    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["TEMPLATE", "REVISION", "STATE", "CHECKSUM", "DESCRIPTION"]
    assert [row[1] for row in rows[1:]] == ["1", "2", "3", "4"]
    assert [" ".join(row[2:-3]) for row in rows[1:]] == ["older", "current", "candidate", "deprecated, see other"]


def test_the_folder_may_come_from_the_environment_and_has_to_come_from_somewhere(tmp_path: Path) -> None:
    write(tmp_path / "1.yaml")

    found = CliRunner().invoke(cli, ["templates", "list"], env={"USERSWARM_TEMPLATES_DIR": str(tmp_path)})
    assert cells(found.stdout, "agent")[1] == "1"
    assert run("list").exit_code == 2


def test_a_folder_with_a_fault_is_told_with_all_of_them(tmp_path: Path) -> None:
    write(tmp_path / "1.yaml", revision=0)
    write(tmp_path / "2.yaml", imagination=True)

    with pytest.raises(UserSwarmError, match=r"(?s)1\.yaml: revision.*2\.yaml: imagination"):
        CliRunner().invoke(cli, ["templates", "list", "--dir", str(tmp_path)], catch_exceptions=False)


# --- check --------------------------------------------------------------------------------------------------------


def test_check_says_what_a_swarm_would_be(tmp_path: Path) -> None:
    result = run("check", write(tmp_path / "1.yaml"))

    assert (result.exit_code, result.stderr) == (0, "")
    text = result.stdout
    assert text.startswith("agent, revision 1: An agent\n")
    assert " ".join(cells(text, "runtime")) == "runtime the runtime 8080 http 100m 64Mi 200m 128Mi example.org/agent:1"
    assert cells(text, "search")[:5] == ["search", "up", "before", "8081", "search"]
    assert cells(text, "data") == ["data", "claim", "swarm-workspace-trial-data", "3Gi", "runtime", "/data"]
    # A request that is not said is its limit.
    assert cells(text, "requests.cpu") == ["requests.cpu", "400m"]
    assert cells(text, "limits.memory") == ["limits.memory", "192Mi"]
    assert cells(text, "requests.storage") == ["requests.storage", "3Gi"]
    assert cells(text, "Secret") == ["Secret", "keys-somebody", "key"]
    assert cells(text, "golang") == ["golang", "off", "Go"]
    assert cells(text, "model") == ["model", "string", "'small'", "which", "model"]


def test_check_takes_features_and_parameters(tmp_path: Path) -> None:
    file = write(tmp_path / "1.yaml")

    assert cells(run("check", file, "--feature", "golang").stdout, "golang") == ["golang", "on", "Go"]
    for words in (
        ["--feature", "rust"],
        ["--parameter", "model=3"],
        ["--parameter", "colour=red"],
    ):
        with pytest.raises(UserSwarmError, match=r"agent/1: spec\.template\."):
            CliRunner().invoke(cli, ["templates", "check", str(file), *words], catch_exceptions=False)
    assert run("check", file, "--parameter", "model").exit_code == 2


def test_check_tells_whether_a_swarm_fits_into_a_quota(tmp_path: Path) -> None:
    file = write(tmp_path / "1.yaml")

    fits = run("check", file, "--quota", "cpu=1", "--quota", "memory=1Gi", "--max", "cpu=500m")
    assert (fits.exit_code, fits.stdout.splitlines()[-1]) == (0, "  it fits")
    with pytest.raises(UserSwarmError, match=r"spec\.quota\.cpu: 400m .*by 100m; raise it"):
        CliRunner().invoke(cli, ["templates", "check", str(file), "--quota", "cpu=400m"], catch_exceptions=False)
    with pytest.raises(UserSwarmError, match=r"spec\.limitRange\.max\.cpu: 250m .*container search needs"):
        CliRunner().invoke(cli, ["templates", "check", str(file), "--max", "cpu=250m"], catch_exceptions=False)


def test_check_refuses_a_clash_of_ports_by_name(tmp_path: Path) -> None:
    clash = [AGENT["containers"][0], AGENT["containers"][1] | {"ports": [{"name": "search", "port": 8080}]}]
    file = write(tmp_path / "1.yaml", containers=clash)

    with pytest.raises(UserSwarmError) as told:
        CliRunner().invoke(cli, ["templates", "check", str(file)], catch_exceptions=False)

    assert str(told.value).startswith(f"{file}: containers: containers 'runtime' and 'search' both want port 8080")


def test_check_passes_over_the_platforms_own_templates(tmp_path: Path) -> None:
    file = write(tmp_path / "1.yaml")
    elsewhere = {"USERSWARM_TEMPLATES_DIR": str(tmp_path / "nowhere")}

    assert CliRunner().invoke(cli, ["templates", "check", str(file)], env=elsewhere).exit_code == 0


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_bytes(b"\xff")

    with pytest.raises(UserSwarmError, match="not UTF-8"):
        CliRunner().invoke(cli, ["templates", "check", str(tmp_path / "1.yaml")], catch_exceptions=False)


# --- diff ---------------------------------------------------------------------------------------------------------


def test_diff_prints_the_change_and_what_it_means(tmp_path: Path) -> None:
    write(tmp_path / "1.yaml")
    other = [AGENT["containers"][0] | {"image": "example.org/agent:2", "mounts": []}, AGENT["containers"][1]]
    model = {"type": "string", "enum": ["small", "large"]}
    write(tmp_path / "2.yaml", revision=2, containers=other, volumes=[], features={}, parameters={"model": model})

    result = run("diff", "agent/1", "agent/2", "--dir", tmp_path)

    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[:2] == ["--- agent/1", "+++ agent/2"]
    assert "-  image: example.org/agent:1" in lines
    assert "+  image: example.org/agent:2" in lines
    assert lines[lines.index("") + 1 :] == [
        "a swarm that is moved restarts",
        "invalid becomes a swarm that says feature 'golang': there is none any more",
        "invalid becomes a swarm that does not say parameter 'model': it has no default",
        "the claim of volume 'data' is kept, and used by nobody",
    ]


def test_diff_of_words_alone_restarts_nobody(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a.yaml"), write(tmp_path / "b.yaml", description="Another word")

    result = run("diff", one, other)

    assert result.exit_code == 0
    assert "+description: Another word" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("a swarm that is moved stays as it is")


def test_diff_names_other_values_and_lost_parameters(tmp_path: Path) -> None:
    one = write(tmp_path / "a.yaml", parameters=AGENT["parameters"])
    env = [{"name": "MODEL", "value": "small"}]
    without = [AGENT["containers"][0] | {"env": env}, AGENT["containers"][1]]
    bounded = {"model": {"type": "string", "enum": ["small"], "default": "small"}}

    lost = run("diff", one, write(tmp_path / "b.yaml", containers=without, parameters={})).stdout
    assert "invalid becomes a swarm that says parameter 'model': there is none any more" in lost
    other = run("diff", one, write(tmp_path / "c.yaml", parameters=bounded)).stdout
    assert "invalid may become a swarm by its parameter 'model': it may have other values" in other


@pytest.mark.parametrize("name", ["agent/9", "agent", "other/1", "agent/x"])
def test_diff_of_what_is_not_there_is_a_wrong_usage(tmp_path: Path, name: str) -> None:
    write(tmp_path / "1.yaml")

    assert run("diff", "agent/1", name, "--dir", tmp_path).exit_code == 2


def test_diff_takes_one_template_of_a_file(tmp_path: Path) -> None:
    write(tmp_path / "1.yaml")
    both = tmp_path / "both.yaml"
    both.write_text("---\n".join(yaml.safe_dump(AGENT | {"revision": number}) for number in (1, 2)))

    assert run("diff", tmp_path / "1.yaml", both).exit_code == 2
    assert run("diff", "agent/1", "agent/1").exit_code == 2
