"""The CRD says all that the design promises, and a real apiserver would take it.

The apiserver's own checks (structural schemas, list maps, defaults, validation rules) are written out here, since no
apiserver runs in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from userswarm.spec.manifests import manifest_path
from userswarm.spec.quantity import parse
from userswarm.spec.schema import Schema, load_crd

CRD = load_crd()
VERSION = CRD["spec"]["versions"][0]
ROOT: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]

Node = dict[str, Any]


def nodes(node: Node = ROOT, path: str = "") -> Iterator[tuple[str, Node]]:
    """Walk the schema; entries of a map are at ``[*]``, items of a list at ``[]``."""
    yield path.removeprefix("."), node
    for name, each in node.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    for keyword, suffix in (("additionalProperties", "[*]"), ("items", "[]")):
        if keyword in node:
            yield from nodes(node[keyword], path + suffix)


NODES = dict(nodes())
OURS = {path: node for path, node in NODES.items() if path.startswith(("spec", "status"))}
RULES = [(path, rule) for path, node in NODES.items() for rule in node.get("x-kubernetes-validations", ())]
QUANTITIES = {path: node for path, node in NODES.items() if "x-kubernetes-int-or-string" in node}

NONE = object()

# Field, type, default: the tables of the design, and what the fields hold.
DESIGN: dict[str, tuple[str, Any]] = {
    "spec": ("object", NONE),
    "spec.userId": ("string", NONE),
    "spec.workspaceId": ("string", NONE),
    "spec.placement": ("object", {}),
    "spec.placement.runtimeNamespace": ("string", "userswarms"),
    "spec.placement.nodeSelector": ("object", NONE),
    "spec.placement.nodeSelector[*]": ("string", NONE),
    "spec.placement.tolerations": ("array", NONE),
    "spec.placement.tolerations[]": ("object", NONE),
    "spec.placement.tolerations[].key": ("string", NONE),
    "spec.placement.tolerations[].operator": ("string", NONE),
    "spec.placement.tolerations[].value": ("string", NONE),
    "spec.placement.tolerations[].effect": ("string", NONE),
    "spec.placement.tolerations[].tolerationSeconds": ("integer", NONE),
    "spec.placement.runtimeClassName": ("string", NONE),
    "spec.placement.priorityClassName": ("string", NONE),
    "spec.runtime": ("object", {}),
    "spec.runtime.image": ("string", NONE),
    "spec.runtime.mode": ("string", "daemon"),
    "spec.runtime.port": ("integer", 42617),
    "spec.runtime.args": ("array", NONE),
    "spec.runtime.args[]": ("string", NONE),
    "spec.runtime.dataPath": ("string", "/zeroclaw-data"),
    "spec.runtime.imagePullSecretName": ("string", NONE),
    "spec.runtime.imagePullPolicy": ("string", NONE),
    "spec.runtime.env": ("array", NONE),
    "spec.runtime.env[]": ("object", NONE),
    "spec.runtime.env[].name": ("string", NONE),
    "spec.runtime.env[].value": ("string", NONE),
    "spec.runtime.resources": (
        "object",
        {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}},
    ),
    "spec.runtime.resources.requests": ("object", {}),
    "spec.runtime.resources.requests.cpu": ("quantity", "100m"),
    "spec.runtime.resources.requests.memory": ("quantity", "256Mi"),
    "spec.runtime.resources.requests.ephemeral-storage": ("quantity", NONE),
    "spec.runtime.resources.limits": ("object", {}),
    "spec.runtime.resources.limits.cpu": ("quantity", "500m"),
    "spec.runtime.resources.limits.memory": ("quantity", "512Mi"),
    "spec.runtime.resources.limits.ephemeral-storage": ("quantity", NONE),
    "spec.storage": ("object", {}),
    "spec.storage.size": ("quantity", "2Gi"),
    "spec.storage.storageClassName": ("string", NONE),
    "spec.storage.retainPolicy": ("string", "Delete"),
    "spec.config": ("object", {}),
    "spec.config.defaultProvider": ("string", NONE),
    "spec.config.defaultModel": ("string", NONE),
    "spec.config.defaultTemperature": ("number", NONE),
    "spec.config.tomlOverrides": ("string", NONE),
    "spec.config.agents": ("object", NONE),
    "spec.config.agents[*]": ("object", NONE),
    "spec.config.agents[*].model": ("string", NONE),
    "spec.config.agents[*].responseLength": ("string", NONE),
    "spec.config.agents[*].allowedTools": ("array", NONE),
    "spec.config.agents[*].allowedTools[]": ("string", NONE),
    "spec.config.files": ("object", NONE),
    "spec.config.files[*]": ("string", NONE),
    "spec.config.envSecretRef": ("object", NONE),
    "spec.config.envSecretRef.name": ("string", NONE),
    "spec.verification": ("object", {}),
    "spec.verification.mode": ("string", "Request"),
    "spec.verification.path": ("string", "/health"),
    "spec.verification.timeoutSeconds": ("integer", 2),
    "spec.verification.maxAttempts": ("integer", 5),
    "spec.exposure": ("object", NONE),
    "spec.exposure.httpRoute": ("object", NONE),
    "spec.exposure.httpRoute.enabled": ("boolean", False),
    "spec.exposure.httpRoute.host": ("string", NONE),
    "spec.exposure.httpRoute.path": ("string", NONE),
    "spec.exposure.httpRoute.pathMatch": ("string", NONE),
    "spec.exposure.httpRoute.gatewayName": ("string", NONE),
    "spec.exposure.httpRoute.gatewayNamespace": ("string", NONE),
    "spec.exposure.httpRoute.parentSectionName": ("string", NONE),
    "spec.lifecycle": ("object", NONE),
    **{
        f"spec.lifecycle.{field}": ("string", NONE)
        for field in ("idleAfter", "idleAfterVisit", "minAwake", "maxAwake", "lead", "expireAfter")
    },
    "spec.lifecycle.activityCheck": ("object", NONE),
    "spec.lifecycle.activityCheck.path": ("string", NONE),
    "spec.lifecycle.activityCheck.maxBusy": ("string", NONE),
    "spec.lifecycle.wakeSchedule": ("object", NONE),
    "spec.lifecycle.wakeSchedule.cron": ("string", NONE),
    "spec.lifecycle.wakeSchedule.timeZone": ("string", NONE),
    "status.lifecycle": ("object", NONE),
    **{
        f"status.lifecycle.{field}": ("string", NONE)
        for field in ("awakeSince", "asleepSince", "reason", "mark", "unusedSince", "wakeAt", "wakesAt", "expiresAt")
    },
    "status.lifecycle.touchEverySeconds": ("integer", NONE),
    "status.lifecycle.checked": ("object", NONE),
    **{f"status.lifecycle.checked.{field}": ("string", NONE) for field in ("at", "again", "busySince", "problem")},
    "spec.placement.isolation": ("string", "Shared"),
    "spec.placement.namespaceMode": ("string", "managed"),
    "spec.quota": ("object", NONE),
    "spec.quota.cpu": ("quantity", NONE),
    "spec.quota.memory": ("quantity", NONE),
    "spec.quota.storage": ("quantity", NONE),
    "spec.quota.pods": ("integer", NONE),
    "spec.quota.persistentVolumeClaims": ("integer", NONE),
    "spec.quota.services": ("integer", NONE),
    "spec.quota.secrets": ("integer", NONE),
    "spec.quota.counts": ("object", NONE),
    "spec.quota.counts[*]": ("integer", NONE),
    "spec.limitRange": ("object", NONE),
    "spec.limitRange.default": ("object", NONE),
    "spec.limitRange.default.cpu": ("quantity", NONE),
    "spec.limitRange.default.memory": ("quantity", NONE),
    "spec.limitRange.max": ("object", NONE),
    "spec.limitRange.max.cpu": ("quantity", NONE),
    "spec.limitRange.max.memory": ("quantity", NONE),
    "spec.access": ("object", NONE),
    "spec.access.role": ("string", NONE),
    "spec.access.members": ("array", NONE),
    "spec.access.members[]": ("object", NONE),
    "spec.access.members[].kind": ("string", NONE),
    "spec.access.members[].name": ("string", NONE),
    "spec.access.members[].role": ("string", NONE),
    "spec.workloads": ("array", NONE),
    "spec.workloads[]": ("object", NONE),
    "spec.template": ("object", NONE),
    "spec.template.name": ("string", NONE),
    "spec.template.revision": ("integer", NONE),
    "spec.template.features": ("object", NONE),
    "spec.template.features[*]": ("boolean", NONE),
    "spec.template.parameters": ("object", NONE),
    "spec.suspend": ("boolean", False),
    "status": ("object", NONE),
    "status.observedGeneration": ("integer", NONE),
    "status.phase": ("string", NONE),
    "status.verified": ("boolean", NONE),
    "status.verifiedChecksum": ("string", NONE),
    "status.verifiedGeneration": ("integer", NONE),
    "status.verifiedAt": ("string", NONE),
    "status.runtimeNamespace": ("string", NONE),
    "status.serviceName": ("string", NONE),
    "status.endpoint": ("string", NONE),
    "status.readyReplicas": ("integer", NONE),
    "status.image": ("string", NONE),
    "status.claimName": ("string", NONE),
    "status.template": ("object", NONE),
    "status.template.name": ("string", NONE),
    "status.template.revision": ("integer", NONE),
    "status.template.checksum": ("string", NONE),
    "status.stage": ("string", NONE),
    "status.stageSince": ("string", NONE),
    "status.attempts": ("object", NONE),
    "status.attempts.of": ("string", NONE),
    "status.attempts.count": ("integer", NONE),
    "status.attempts.at": ("string", NONE),
    "status.attempts.message": ("string", NONE),
    "status.conditions": ("array", NONE),
    "status.conditions[]": ("object", NONE),
    "status.conditions[].type": ("string", NONE),
    "status.conditions[].status": ("string", NONE),
    "status.conditions[].observedGeneration": ("integer", NONE),
    "status.conditions[].lastTransitionTime": ("string", NONE),
    "status.conditions[].reason": ("string", NONE),
    "status.conditions[].message": ("string", NONE),
}


def test_fields_types_and_defaults_are_those_of_the_design() -> None:
    assert {path: (node.get("type", "quantity"), node.get("default", NONE)) for path, node in OURS.items()} == DESIGN


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("spec.runtime.mode", ["daemon", "gateway"]),
        ("spec.runtime.imagePullPolicy", ["Always", "IfNotPresent", "Never"]),
        ("spec.storage.retainPolicy", ["Delete", "Retain"]),
        ("spec.exposure.httpRoute.pathMatch", ["PathPrefix", "Exact"]),
        ("spec.placement.isolation", ["Shared", "Dedicated"]),
        ("spec.placement.namespaceMode", ["managed", "operator"]),
        ("spec.access.role", ["none", "view", "edit"]),
        ("spec.access.members[].kind", ["User", "Group"]),
        ("spec.access.members[].role", ["view", "edit", "admin"]),
        ("spec.placement.tolerations[].operator", ["Exists", "Equal"]),
        ("spec.placement.tolerations[].effect", ["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        (
            "status.phase",
            ["Pending", "Progressing", "Verifying", "Ready", "Asleep", "Suspended", "Failed", "Invalid", "Deleting"],
        ),
        ("status.conditions[].status", ["True", "False", "Unknown"]),
    ],
)
def test_words_are_those_of_the_design(path: str, words: list[str]) -> None:
    assert NODES[path]["enum"] == words


def test_kind_is_cluster_scoped_with_a_short_name_and_a_status_subresource() -> None:
    spec = CRD["spec"]
    names = spec["names"]
    assert (spec["group"], spec["scope"]) == ("crawbl.ai", "Cluster")
    assert (names["kind"], names["plural"], names["shortNames"]) == ("UserSwarm", "userswarms", ["uswarm"])
    assert CRD["metadata"]["name"] == f"{names['plural']}.{spec['group']}"
    assert [(each["name"], each["served"], each["storage"]) for each in spec["versions"]] == [("v1alpha1", True, True)]
    assert VERSION["subresources"] == {"status": {}}


def test_printer_columns_show_fields_of_the_same_type() -> None:
    columns = {each["name"]: each for each in VERSION["additionalPrinterColumns"]}

    assert list(columns) == ["User", "Phase", "Verified", "Endpoint", "Asleep", "Age"]
    assert [name for name, each in columns.items() if each.get("priority")] == ["Endpoint", "Asleep"]
    assert (columns["Age"]["jsonPath"], columns["Age"]["type"]) == (".metadata.creationTimestamp", "date")
    for each in list(columns.values())[:-1]:
        node = NODES[each["jsonPath"].removeprefix(".")]
        assert each["type"] == ("date" if node.get("format") == "date-time" else node["type"])


@pytest.mark.parametrize("minor", ["1.35", "1.36", "1.37"])
def test_crd_is_a_valid_object_of_the_newest_kubernetes(minor: str) -> None:
    kubernetes_validate.validate(CRD, minor, strict=True)


def test_kustomization_holds_the_file_that_the_code_reads() -> None:
    folder = manifest_path("crd")
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))

    assert [folder / name for name in kustomization["resources"]] == [manifest_path("crd/userswarms.crawbl.ai.yaml")]


# --- structural schemas ------------------------------------------------------------------------------------------

KEYWORDS = {
    "object": {"properties", "additionalProperties", "required", "maxProperties", "x-kubernetes-map-type"}
    | {"x-kubernetes-preserve-unknown-fields"},
    "array": {"items", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"},
    "string": {"minLength", "maxLength", "pattern", "enum", "format"},
    "integer": {"minimum", "maximum", "format"},
    "number": {"minimum", "maximum"},
    "boolean": set(),
    "quantity": {"x-kubernetes-int-or-string", "pattern", "maxLength", "minimum"},
}
ANYWHERE = {"type", "description", "default", "x-kubernetes-validations"}


@pytest.mark.parametrize("path", NODES)
def test_schema_is_structural(path: str) -> None:
    node = NODES[path]
    kind = node.get("type", "quantity")

    assert ("type" in node) != ("x-kubernetes-int-or-string" in node)
    assert set(node) <= KEYWORDS[kind] | ANYWHERE
    assert not ("properties" in node and "additionalProperties" in node)
    assert set(node.get("required", ())) <= set(node.get("properties", {}))
    if kind == "array":
        assert "items" in node
    if kind == "object" and path != "metadata":
        free = node.get("x-kubernetes-preserve-unknown-fields") is True
        assert free != ("properties" in node or "additionalProperties" in node)
    if path.endswith(("]", "apiVersion", "kind", "metadata")) or path.startswith("status"):
        # Below lists and maps and in metadata defaults are forbidden; in status they would be written every time.
        assert "default" not in node


def test_root_is_structural() -> None:
    assert ROOT["type"] == "object"
    assert ROOT["required"] == ["spec"]
    assert "additionalProperties" not in ROOT
    assert ROOT["properties"]["metadata"] == {"type": "object"}
    assert ROOT["properties"]["kind"] == ROOT["properties"]["apiVersion"] == {"type": "string"}


def test_map_lists_have_keys_that_every_item_has() -> None:
    lists = {path: node for path, node in NODES.items() if node.get("x-kubernetes-list-type") == "map"}

    assert set(lists) == {"spec.runtime.env", "status.conditions"}
    for node in lists.values():
        assert node["items"]["type"] == "object"
        assert node["x-kubernetes-list-map-keys"]
        for key in node["x-kubernetes-list-map-keys"]:
            assert node["items"]["properties"][key]["type"] == "string"
            assert key in node["items"]["required"]


@pytest.mark.parametrize("path", OURS)
def test_field_says_what_it_is_for(path: str) -> None:
    if not path.endswith("]"):
        description = OURS[path]["description"]
        assert description[0].isupper()
        assert description.endswith(".")
        assert "\n" not in description


@pytest.mark.parametrize("path", OURS)
def test_what_a_user_may_write_is_bounded(path: str) -> None:
    node = OURS[path]
    bound = {"string": "maxLength", "array": "maxItems", "quantity": "maxLength"}.get(node.get("type", "quantity"), "")
    if "additionalProperties" in node:
        bound = "maxProperties"
    if path == "status.conditions" or "enum" in node or node.get("format") == "date-time":
        bound = ""
    assert not bound or bound in node


@pytest.mark.parametrize("path", [path for path, node in NODES.items() if "pattern" in node])
def test_pattern_covers_the_whole_value(path: str) -> None:
    pattern = NODES[path]["pattern"]

    assert pattern.startswith("^")
    assert pattern.endswith("$")
    # An alternative at the top would leave one end open.
    without_groups = pattern
    while (reduced := re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]|\([^()]*\)", "", without_groups)) != without_groups:
        without_groups = reduced
    assert "|" not in without_groups


def schema_of(node: Node) -> Schema:
    """Return a Schema whose spec is the object that holds this field alone, as x."""
    root = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"x": node}},
            "status": {"type": "object", "properties": {"x": node}},
        },
    }
    return Schema({"spec": {"versions": [{"storage": True, "schema": {"openAPIV3Schema": root}}]}})


@pytest.mark.parametrize("path", [path for path, node in NODES.items() if "default" in node])
def test_default_is_valid_and_known_where_it_stands(path: str) -> None:
    obj = {"spec": {"x": NODES[path]["default"]}}
    bare = {key: value for key, value in NODES[path].items() if key != "default"}

    assert schema_of(bare).problems(obj) == []
    assert schema_of(bare).unknown_fields(obj) == []


# --- quantities --------------------------------------------------------------------------------------------------


def test_quantities_are_the_same_everywhere() -> None:
    kept = ("pattern", "maxLength", "minimum")

    assert len(QUANTITIES) == 14
    assert len({tuple(node[key] for key in kept) for node in QUANTITIES.values()}) == 1


PATTERN = re.compile(QUANTITIES["spec.storage.size"]["pattern"].removesuffix("$"))


@given(
    st.from_regex(PATTERN, fullmatch=True, alphabet=st.characters(codec="ascii")).filter(lambda text: len(text) <= 64)
)
def test_whatever_the_pattern_lets_pass_is_a_quantity_that_is_not_negative(text: str) -> None:
    assert parse(text) >= 0


@pytest.mark.parametrize(
    "text",
    ["0", "1", "100m", "0.1", ".5", "5.", "1.5Gi", "1e3", "1E-3", "1e+99", "2E", "10n", "7u", "1k", "1M", "1Ki", "1Ei"],
)
def test_every_notation_passes_the_pattern(text: str) -> None:
    assert PATTERN.fullmatch(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1K", "1gi", "1 Gi", "Gi", ".", "1e", "1e100", "1.2.3", "1_000"])
def test_what_is_no_quantity_or_signed_does_not_pass_the_pattern(text: str) -> None:
    assert not PATTERN.fullmatch(text)


# --- validation rules --------------------------------------------------------------------------------------------


def test_rules_stand_where_the_design_wants_them() -> None:
    assert sorted((path, rule.get("fieldPath", "")) for path, rule in RULES) == [
        ("spec", ".runtime.args"),
        ("spec", ".workspaceId"),
        ("spec.config.agents", ""),
        ("spec.config.files", ""),
        ("spec.lifecycle", ".idleAfterVisit"),
        ("spec.lifecycle", ".minAwake"),
        ("spec.lifecycle.expireAfter", ""),
        ("spec.lifecycle.idleAfter", ""),
        ("spec.lifecycle.idleAfterVisit", ""),
        ("spec.lifecycle.maxAwake", ""),
        ("spec.lifecycle.wakeSchedule.cron", ""),
        ("spec.placement.isolation", ""),
        ("spec.placement.namespaceMode", ""),
        ("spec.placement.runtimeNamespace", ""),
        ("spec.quota.counts", ""),
        ("spec.runtime.resources", ".requests.cpu"),
        ("spec.runtime.resources", ".requests.memory"),
        ("spec.runtime.resources", ".requests['ephemeral-storage']"),
        ("spec.storage", ".storageClassName"),
        ("spec.storage.size", ""),
        ("spec.storage.size", ""),
        ("spec.userId", ""),
        ("spec.workspaceId", ""),
    ]


@pytest.mark.parametrize(("path", "rule"), RULES)
def test_rule_has_a_message_of_one_line_and_a_field_that_exists(path: str, rule: dict[str, str]) -> None:
    assert set(rule) <= {"rule", "message", "fieldPath", "reason"}
    assert "\n" not in rule["rule"]
    assert rule["message"].strip()
    assert "\n" not in rule["message"]
    node = NODES[path]
    for bare, quoted in re.findall(r"\.(\w+)|\['([^']+)'\]", rule.get("fieldPath", "")):
        node = node["properties"][bare or quoted]


@pytest.mark.parametrize(("path", "rule"), RULES)
def test_rule_that_compares_with_the_old_value_can_find_it(path: str, rule: dict[str, str]) -> None:
    # Items of a list, and entries below them, have no old value that the apiserver could match.
    assert "oldSelf" not in rule["rule"] or "[" not in path


READS = re.compile(r"(has\()?\b(?:self|oldSelf)((?:\.\w+)+)(\()?")


def reads(rule: str) -> Iterator[tuple[list[str], bool]]:
    """Yield each field that a rule reads, and whether it asks for it by ``has`` somewhere."""
    asked = {match[2] for match in READS.finditer(rule) if match[1]}
    for match in READS.finditer(rule):
        names = match[2].split(".")[1:]
        # self.all( is a macro, not a field
        fields = names[:-1] if match[3] else names
        yield [name.replace("__dash__", "-") for name in fields], match[2] in asked


@pytest.mark.parametrize(("path", "rule"), RULES)
def test_rule_reads_fields_that_exist(path: str, rule: dict[str, str]) -> None:
    for names, _ in reads(rule["rule"]):
        node = NODES[path]
        for name in names:
            node = node["properties"][name]


@pytest.mark.parametrize(("path", "rule"), RULES)
def test_rule_holds_on_a_default_as_it_is_written(path: str, rule: dict[str, str]) -> None:
    # The apiserver tries the rules on every default when it takes the CRD, and fills in nothing below it first.
    for holder in (path[:end] for end in range(len(path) + 1)):
        value = NODES.get(holder, {}).get("default", NONE)
        for name in path[len(holder) :].strip(".").split(".") if path != holder else ():
            value = value.get(name, NONE) if isinstance(value, dict) else NONE
        if value is NONE:
            continue
        for names, asked in reads(rule["rule"]):
            found = value
            for name in names[:-1] if asked else names:
                found = found[name]


def test_rules_are_few_enough_to_be_modelled_one_by_one() -> None:
    assert len({rule["rule"] for _, rule in RULES}) == 17
