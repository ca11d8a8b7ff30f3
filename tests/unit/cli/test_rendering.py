"""What `userswarm render` makes of a file."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
import yaml

import scenes
from userswarm.cli.rendering import InputError, answer_request, render_children
from userswarm.compose.plan import compute_plan
from userswarm.errors import RequestError
from userswarm.spec.manifests import manifest_path

MINIMAL = """
apiVersion: crawbl.ai/v1alpha1
kind: UserSwarm
metadata: {name: workspace-a}
spec: {userId: user-1}
"""


def rendered(text: str) -> list[Any]:
    return list(yaml.safe_load_all(render_children(text, "file.yaml", scenes.SETTINGS)))


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        render_children(text, "file.yaml", scenes.SETTINGS)
    return str(caught.value)


def test_it_prints_all_that_there_will_be_whatever_of_it_has_to_wait() -> None:
    parent = scenes.user_swarm()
    del parent["metadata"]["uid"]
    assert "StatefulSet" not in {child["kind"] for child in scenes.Scene(parent).sync()["children"]}
    assert rendered(MINIMAL) == compute_plan(parent, scenes.SETTINGS).children()
    settled = scenes.verified().sync()["children"]
    del next(child for child in settled if child["kind"] == "PersistentVolumeClaim")["metadata"]["ownerReferences"]
    assert rendered(MINIMAL) == settled


def test_json_is_yaml_too_and_several_documents_are_rendered_in_turn() -> None:
    both = MINIMAL + "---\n" + json.dumps(scenes.user_swarm("workspace-b")) + "\n---\n"
    names = [child["metadata"]["name"] for child in rendered(both) if child["kind"] == "StatefulSet"]
    assert names == ["swarm-workspace-a", "swarm-workspace-b"]


@pytest.mark.parametrize("sample", ["minimal", "full", "original"])
def test_every_sample_renders_without_the_owner_that_only_a_stored_one_has(sample: str) -> None:
    children = rendered(manifest_path(f"samples/{sample}.yaml").read_text(encoding="utf-8"))
    assert [child["kind"] for child in children] == [
        "PersistentVolumeClaim",
        "ServiceAccount",
        "ConfigMap",
        "Service",
        "Service",
        "StatefulSet",
    ]
    assert not any("ownerReferences" in child["metadata"] for child in children)


def test_what_looks_like_a_date_is_a_text() -> None:
    (child, *_) = rendered(MINIMAL.replace("userId: user-1", "userId: 2026-11-20"))
    assert child["metadata"]["annotations"]["crawbl.ai/user-id"] == "2026-11-20"


def test_every_problem_of_every_document_is_said() -> None:
    text = (
        MINIMAL.replace("userId: user-1", "storage: {size: 0}")
        + "---"
        + MINIMAL.replace(
            "{userId: user-1}", "{userId: u, runtime: {prot: 1, port: 1}, config: {tomlOverrides: BAD}}"
        ).replace("workspace-a", "workspace-b")
    )
    lines = refused(text).splitlines()

    assert [line.split(": ")[0] for line in lines] == ["file.yaml"] * 5
    assert [line.split(": ")[1] for line in lines] == ["UserSwarm 'workspace-a'"] * 2 + ["UserSwarm 'workspace-b'"] * 3
    assert [line.split(": ")[2] for line in lines] == [
        "spec.storage.size",
        "spec.userId",
        "spec.config.tomlOverrides",
        "spec.runtime.port",
        "spec.runtime.prot",
    ]


@pytest.mark.parametrize(
    ("field", "nearest"),
    [("usrId: x", "did you mean userId?"), ("suspended: true", "did you mean suspend?"), ("zzz: 1", "known here are")],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(field: str, nearest: str) -> None:
    assert nearest in refused(MINIMAL.replace("userId: user-1", f"userId: user-1, {field}"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no object; give a UserSwarm"),
        ("---\n---\n", "holds no object"),
        ("a: [", "not YAML: "),
        ("a: &a [*b]", "not YAML: "),
        ("[" * 5000, "nested too deeply"),
        ("- a", "document 1 is no UserSwarm"),
        ("kind: Pod", "kind must be UserSwarm"),
        (MINIMAL + "---\nkind: Pod", "document 2 is no UserSwarm"),
        (MINIMAL.replace("v1alpha1", "v1"), "apiVersion is 'crawbl.ai/v1'; must be crawbl.ai/v1alpha1"),
        (MINIMAL.replace("metadata: {name: workspace-a}", ""), "document 1: metadata: must be an object"),
        (MINIMAL.replace("{name: workspace-a}", "{}"), "document 1: metadata.name: must be a text, not nothing"),
        (MINIMAL.replace("workspace-a", "7"), "metadata.name: must be a text, not 7"),
        (MINIMAL.replace("workspace-a", "Workspace A"), "metadata.name: 'Workspace A' is no name"),
        (MINIMAL.replace("workspace-a", "a" * 254), "is no name"),
        (MINIMAL.replace("workspace-a}", "a, annotations: [x]}"), "metadata.annotations: must be an object"),
        (MINIMAL.replace("user-1", ".nan"), "holds what JSON cannot say"),
        (MINIMAL.replace("user-1", "!!binary aGVsbG8="), "holds what JSON cannot say"),
        (MINIMAL.replace("user-1", "!!set {a, b}"), "holds what JSON cannot say"),
        (MINIMAL.replace("user-1", r'"\ud800"'), "holds what JSON cannot say"),
        (MINIMAL.replace("user-1", "&a [*a]"), "holds what JSON cannot say"),
        (MINIMAL.replace("{userId: user-1}", "{1: 2}"), "spec.1: is not a field"),
    ],
    ids=range(21),
)
def test_what_is_no_user_swarm_is_refused_in_words(text: str, told: str) -> None:
    message = refused(text)
    assert message.startswith("file.yaml: ")
    assert told in message


def answered(request: Any) -> Any:
    return orjson.loads(answer_request(orjson.dumps(request).decode(), "file.json", scenes.SETTINGS, scenes.NOW))


def test_a_request_gets_the_whole_answer_of_its_hook() -> None:
    scene = scenes.verified()
    assert answered(scene.request()) == scene.sync()
    scene.deleted()
    assert answered(scene.request()) == scene.finalize()


@pytest.mark.parametrize(
    ("text", "told"), [("{", "file.json: not JSON: "), ("[]", "must be a JSON object"), ("", "not JSON")]
)
def test_what_is_no_json_object_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        answer_request(text, "file.json", scenes.SETTINGS, scenes.NOW)


def test_json_that_is_no_request_is_refused_naming_the_field() -> None:
    with pytest.raises(RequestError, match="children"):
        answered({"parent": scenes.user_swarm(), "children": []})
