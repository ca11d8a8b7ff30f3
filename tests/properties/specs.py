"""UserSwarms as the CRD lets anybody write them, drawn from its own bounds."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from userswarm.spec.schema import load_crd

Spec = dict[str, Any]

_SPEC = load_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_QUANTITIES = st.sampled_from(
    ["1", 1, "100m", "0.5", "1.5Gi", "512Mi", 1073741824, "2Gi", "1e9", "3G", "1024Ki", "0.1", "2", "9Ei"]
)
_DRAWN_OTHERWISE: dict[str, st.SearchStrategy[Any]] = {
    "placement.runtimeNamespace": st.just("userswarms"),
    "placement.nodeSelector": st.dictionaries(
        st.sampled_from(["kubernetes.io/arch", "zone", "a.example/B_c.d"]),
        st.sampled_from(["", "x", "A.b-C"]),
        max_size=2,
    ),
    "placement.tolerations": st.lists(
        st.sampled_from(
            [
                {"operator": "Exists"},
                {"key": "", "operator": "Exists", "value": ""},
                {"key": "a", "value": "b"},
                {"key": "a", "effect": "NoExecute", "tolerationSeconds": 0},
            ]
        ),
        max_size=2,
    ),
    "placement.priorityClassName": st.sampled_from(["userswarm-runtime", "a.b"]),
    "runtime.dataPath": st.sampled_from(["/data", "/zeroclaw-data", "/a/.b"]),
    "runtime.env": st.lists(
        st.fixed_dictionaries({"name": st.sampled_from(["HOME", "A", "b-C.d"])}, optional={"value": _TEXTS}),
        max_size=3,
        unique_by=lambda each: each["name"],
    ),
    "runtime.resources.requests.cpu": st.sampled_from(["0", "1m", "0.1", "100m"]),
    "runtime.resources.requests.memory": st.sampled_from([1024, "64Mi", "0.25Gi"]),
    "runtime.resources.requests.ephemeral-storage": st.sampled_from(["1Mi", "1e6"]),
    "runtime.resources.limits.cpu": st.sampled_from(["1", "1000m", "0.5"]),
    "runtime.resources.limits.memory": st.sampled_from(["512Mi", "1.5Gi", 2147483648]),
    "runtime.resources.limits.ephemeral-storage": st.sampled_from(["1Gi", "2G"]),
    "runtime.imagePullSecretName": st.sampled_from(["registry", "a.b"]),
    "storage.size": _QUANTITIES,
    "config.tomlOverrides": st.sampled_from(["", "a = 1", "[gateway]\nport = 1", "b = [1, 2.5]\n[c.d]\ne = 'f'"]),
    "config.agents": st.dictionaries(
        st.from_regex(r"[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?", fullmatch=True),
        st.fixed_dictionaries({}, optional={"model": _TEXTS, "allowedTools": st.lists(st.just("web"), max_size=2)}),
        max_size=2,
    ),
    "config.files": st.dictionaries(st.sampled_from(["SOUL.md", ".env", "a_b"]), _TEXTS, max_size=2),
    "config.envSecretRef.name": st.just("keys"),
    "exposure.httpRoute.enabled": st.just(False),
    "lifecycle": st.sampled_from(
        [
            {},
            {"idleAfter": "0s"},
            # Nothing here sleeps before its story is over: test_sleep is about that.
            {"idleAfter": "24h", "activityCheck": {"path": "/activity"}, "expireAfter": "720h"},
            {"maxAwake": "48h", "wakeSchedule": {"cron": "0 8 * * *", "timeZone": "Europe/Berlin"}, "lead": "90s"},
        ]
    ),
}
_OF_DEDICATED_SWARMS = {"placement.isolation", "placement.namespaceMode", "quota", "limitRange", "access", "workloads"}
_NOT_DRAWN = {*_OF_DEDICATED_SWARMS, "template"}
"""`test_templates` draws what needs a template to be valid."""


def _drawn(schema: Any, path: str) -> st.SearchStrategy[Any]:
    """Draw what a schema accepts, within its own bounds."""
    if path in _DRAWN_OTHERWISE:
        return _DRAWN_OTHERWISE[path]
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object":
            below = f"{path}." if path else ""
            members = {
                name: _drawn(each, below + name)
                for name, each in schema["properties"].items()
                if below + name not in _NOT_DRAWN
            }
            required = {name: members.pop(name) for name in schema.get("required", ())}
            return st.fixed_dictionaries(required, optional=members)
        case "array":
            return st.lists(_drawn(schema["items"], f"{path}[]"), max_size=3)
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            return st.one_of(st.integers(0, 2), st.floats(schema["minimum"], schema["maximum"]))
        case "boolean":
            return st.booleans()
        case _:
            least, most = schema.get("minLength", 0), schema["maxLength"]
            if "pattern" in schema:
                # All are of the form ^…$; in Python the $ would let a newline follow.
                texts = st.from_regex(schema["pattern"][1:-1], fullmatch=True)
                return texts.filter(lambda text: least <= len(text) <= most)
            return st.text(st.characters(exclude_categories=["Cs"]), min_size=least, max_size=min(most, 12))


SPECS: st.SearchStrategy[Spec] = _drawn(_SPEC, "")
"""Specs of Shared swarms that are valid; each field within the CRD's bounds, or left out."""

BROKEN: st.SearchStrategy[Spec] = st.builds(
    lambda spec, broken: {**spec, **broken},
    SPECS,
    st.sampled_from(
        [
            {"config": {"tomlOverrides": "BAD"}},
            {"storage": {"size": "0"}},
            {"storage": None, "userId": ""},
            {"placement": {"runtimeNamespace": "kube-system"}},
            {"runtime": {"port": 1, "resources": {"requests": {"cpu": "9"}}}},
            {"config": 7, "verification": []},
        ]
    ),
)
"""Specs that cannot be built."""
