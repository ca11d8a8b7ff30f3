"""What an operator applies: it builds, every object is valid, and the parts fit one another."""

from __future__ import annotations

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter, Gauge, Histogram

from contract.rendered import (
    ALL_AT_ONCE,
    ALONE,
    COMPONENTS,
    MANIFESTS,
    ROOT,
    Object,
    build,
    copy_manifests,
    kustomizations,
    named,
    of_kind,
    pod_specs,
    production_with,
    rendered,
    selects,
    title,
)
from scenes import SETTINGS, user_swarm
from userswarm.backend.naming import swarm_labels
from userswarm.compose.plan import compute_plan
from userswarm.errors import SettingsError
from userswarm.gate.metrics import Metrics as GateMetrics
from userswarm.reaper.amounts import parse_share
from userswarm.reaper.commands import reap
from userswarm.server.metrics import Metrics
from userswarm.spec.quantity import parse
from userswarm.spec.schema import load_crd, user_swarm_schema
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import COMPONENT_KINDS, RUNTIME_KINDS

METACONTROLLER_CRDS = ROOT.parent / "shared" / "crds" / "metacontroller-crds-v1.yaml"

LATEST = int(kubernetes_validate.latest_version().split(".")[1])
MINORS = [f"1.{minor}" for minor in range(LATEST - 2, LATEST + 1)]

FOREIGN = {
    "CompositeController": {"spec"},
    "ServiceMonitor": {"spec"},
    "PrometheusRule": {"spec"},
    "Certificate": {"spec"},
    "Issuer": {"spec"},
    "SecurityPolicy": {"spec"},
    "HTTPRoute": {"spec"},
    "HTTPRouteFilter": {"spec"},
    "Backend": {"spec"},
    "ClientTrafficPolicy": {"spec"},
}


@pytest.fixture(scope="module")
def everything() -> list[Object]:
    """The production overlay with all components at once, beside what is installed before it."""
    overlay = production_with(*ALL_AT_ONCE)
    return [*rendered("namespace"), *rendered("crd"), *rendered("metacontroller"), *overlay]


def validate(item: Object) -> None:
    """Hold an object against the strict schemas of the newest three Kubernetes minors."""
    _validate(json.dumps(item, sort_keys=True))


@functools.cache
def _validate(text: str) -> None:
    item: Object = json.loads(text)
    if item["kind"] in FOREIGN:
        assert item.keys() == {"apiVersion", "kind", "metadata"} | FOREIGN[item["kind"]], title(item)
        return
    for minor in MINORS:
        try:
            kubernetes_validate.validate(item, minor, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{title(item)} does not fit Kubernetes {minor}: {error}")


def test_every_directory_builds_and_every_object_fits_the_newest_three_kubernetes_minors() -> None:
    assert {"overlays/dev", "overlays/production", "reaper", "metacontroller"} <= set(kustomizations())
    for directory in kustomizations():
        objects = rendered(directory)
        assert objects, directory
        for item in objects:
            if item["kind"] == "UserSwarm":
                continue
            validate(item)


@pytest.mark.parametrize(("component", "switched_on"), ALONE, ids=[name for name, _ in ALONE])
def test_each_component_changes_the_production_overlay_into_valid_objects(
    component: str, switched_on: list[str]
) -> None:
    before = production_with(*switched_on[:-1])
    after = production_with(*switched_on)
    assert before != after, f"{component} does nothing"
    for item in after:
        validate(item)


def test_every_component_is_offered_or_used() -> None:
    texts = [path.read_text(encoding="utf-8") for path in MANIFESTS.glob("*/**/kustomization.yaml")]
    mentioned = {name for text in texts for name in re.findall(r"\.\./components/([-a-z]+)$", text, re.MULTILINE)}
    assert set(COMPONENTS) == mentioned


def test_all_components_fit_together(everything: list[Object]) -> None:
    for item in everything:
        validate(item)
    names = [(item["apiVersion"], item["kind"], title(item)) for item in everything]
    assert len(names) == len(set(names))


def test_names_labels_and_annotations_are_what_the_api_server_accepts(everything: list[Object]) -> None:
    subdomain = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
    key = re.compile(rf"({subdomain.pattern}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
    value = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
    for item in everything:
        metadata = item["metadata"]
        limit = 63 if item["kind"] in {"Service", "Namespace"} else 52 if item["kind"] == "CronJob" else 253
        assert subdomain.fullmatch(metadata["name"]), title(item)
        assert len(metadata["name"]) <= limit, title(item)
        for label, text in metadata.get("labels", {}).items():
            assert key.fullmatch(label), title(item)
            assert value.fullmatch(text), title(item)
        for annotation, text in metadata.get("annotations", {}).items():
            assert key.fullmatch(annotation), title(item)
            assert isinstance(text, str)


def test_every_namespaced_object_names_a_namespace_that_exists(everything: list[Object]) -> None:
    # Others than ours: of Envoy Gateway, and the platform's own with its PostgreSQL cluster.
    others = {"default", "envoy-gateway-system", "databases"}
    there = {item["metadata"]["name"] for item in of_kind(everything, "Namespace")} | others
    cluster_scoped = {
        "ClusterRole",
        "ClusterRoleBinding",
        "CompositeController",
        "CustomResourceDefinition",
        "Namespace",
        "PriorityClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    for item in everything:
        if item["kind"] in cluster_scoped:
            assert "namespace" not in item["metadata"], title(item)
        else:
            assert item["metadata"]["namespace"] in there, title(item)


# --- the CompositeController -------------------------------------------------------------------------------------


def composite_controller() -> Object:
    """The CompositeController as it is written, without kustomize."""
    text = (MANIFESTS / "controller/compositecontroller.yaml").read_text(encoding="utf-8")
    loaded: Object = yaml.safe_load(text)
    return loaded


def metacontroller_schema() -> dict[str, Any]:
    if not METACONTROLLER_CRDS.exists():
        pytest.skip("Metacontroller's CRDs are not beside this checkout")
    for crd in yaml.safe_load_all(METACONTROLLER_CRDS.read_text(encoding="utf-8")):
        if crd["spec"]["names"]["kind"] == "CompositeController":
            schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            return closed(schema)
    pytest.fail("no CRD of CompositeController")


def closed(schema: Any, *, top: bool = True) -> Any:
    """Refuse fields that the schema does not list, as the API server drops them."""
    if isinstance(schema, list):
        return [closed(item, top=False) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: closed(value, top=False) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not top:
        copy.setdefault("additionalProperties", False)
    if schema.get("format") == "duration":
        copy |= {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}
    return copy


@pytest.mark.parametrize("overlay", ["controller", "overlays/dev", "overlays/production", "everything"])
def test_composite_controllers_fit_metacontrollers_own_schema(overlay: str, everything: list[Object]) -> None:
    schema = metacontroller_schema()
    controllers = of_kind(everything if overlay == "everything" else rendered(overlay), "CompositeController")
    assert controllers
    for controller in controllers:
        jsonschema.validate(controller, schema)


def test_the_controller_lists_exactly_the_kinds_of_every_swarm() -> None:
    rules = [(rule["apiVersion"], rule["resource"]) for rule in composite_controller()["spec"]["childResources"]]
    assert rules == [(kind.api_version, kind.resource) for kind in RUNTIME_KINDS]
    assert {child["kind"] for child in children_of_a_swarm()} == {kind.kind for kind in RUNTIME_KINDS}


def test_every_child_rule_updates_and_none_recreates_what_holds_data() -> None:
    methods = {
        rule["resource"]: rule["updateStrategy"]["method"] for rule in composite_controller()["spec"]["childResources"]
    }
    assert set(methods.values()) == {"InPlace"}


def test_the_controller_is_what_the_hooks_are_written_for() -> None:
    controller = composite_controller()
    spec = controller["spec"]
    # Part of the finalizer on every UserSwarm there is.
    assert controller["metadata"]["name"] == "userswarm"
    assert spec["parentResource"] == {
        "apiVersion": "crawbl.ai/v1alpha1",
        "resource": "userswarms",
        # The hooks never wait for their own status to come back.
        "ignoreStatusChanges": True,
    }
    assert spec["generateSelector"] is True
    assert "resyncPeriodSeconds" not in spec
    # No customize: its cost grows with the square of the swarms.
    assert spec["hooks"].keys() == {"sync", "finalize"}
    for name, hook in spec["hooks"].items():
        assert hook["version"] == "v2"
        assert urlsplit(hook["webhook"]["url"]).path == f"/{name}"
        # Metacontroller gives up first: a worker that is killed half way could have been answering.
        assert int(hook["webhook"]["timeout"].removesuffix("s")) < Settings().request_timeout


@pytest.mark.parametrize("overlay", ["overlays/dev", "overlays/production", "everything"])
def test_every_hook_url_leads_to_a_port_of_the_webhooks_pods(overlay: str, everything: list[Object]) -> None:
    objects = everything if overlay == "everything" else rendered(overlay)
    service = named(objects, "Service", "userswarm-webhook")
    pods = [
        (labels, spec)
        for _, labels, spec in pod_specs(objects)
        if service["spec"]["selector"].items() <= labels.items()
    ]
    assert len(pods) == 1
    ports = {port["name"]: port["containerPort"] for port in pods[0][1]["containers"][0]["ports"]}
    settings = environment(pods[0][1])
    assert ports["http"] == int(settings["USERSWARM_BIND"].rpartition(":")[2])
    assert ports["metrics"] == int(settings["USERSWARM_METRICS_BIND"].rpartition(":")[2])
    offered = {port["port"]: ports[port["targetPort"]] for port in service["spec"]["ports"]}

    for controller in of_kind(objects, "CompositeController"):
        for hook in controller["spec"]["hooks"].values():
            url = urlsplit(hook["webhook"]["url"])
            assert url.hostname == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
            assert offered[url.port or 0] == ports["http"]
            assert url.scheme == ("https" if "USERSWARM_TLS_CERT_FILE" in settings else "http")
            assert ("caBundle" in hook["webhook"]) == (url.scheme == "https")


# --- the webhook -------------------------------------------------------------------------------------------------


def environment(spec: Object) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in spec["containers"][0].get("env", [])}


def webhook_pod(objects: list[Object]) -> Object:
    spec: Object = named(objects, "Deployment", "userswarm-webhook")["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("overlay", ["webhook", "overlays/dev", "overlays/production", "everything"])
def test_the_webhook_starts_with_its_environment(overlay: str, everything: list[Object], tmp_path: Path) -> None:
    spec = webhook_pod(everything if overlay == "everything" else rendered(overlay))
    environ = environment(spec)
    mounts = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    for variable, value in environ.items():
        if variable.endswith("_FILE"):
            assert str(Path(value).parent) in mounts, f"{variable}={value} is not mounted"
            stand_in = tmp_path / Path(value).name
            stand_in.write_text("content", encoding="utf-8")
            environ[variable] = str(stand_in)
        elif variable.endswith("_DIR"):
            assert value in mounts, f"{variable}={value} is not mounted"
            environ[variable] = str(tmp_path)
    settings = Settings.from_environment(environ)
    assert settings.allowed_namespaces == ("userswarms",)
    assert settings.graceful_timeout + 5 < spec["terminationGracePeriodSeconds"]


def test_the_services_own_variables_would_stop_the_webhook_and_are_kept_out(everything: list[Object]) -> None:
    with pytest.raises(SettingsError):
        Settings.from_environment({"USERSWARM_WEBHOOK_SERVICE_HOST": "10.0.0.1"})
    for name, _, spec in pod_specs(everything):
        if not name.startswith("StatefulSet metacontroller/"):
            assert spec["enableServiceLinks"] is False, name


def test_authentication_is_decided_in_every_overlay_and_on_in_production(everything: list[Object]) -> None:
    dev, production = (environment(webhook_pod(rendered(f"overlays/{name}"))) for name in ("dev", "production"))
    assert dev["USERSWARM_INSECURE_NO_AUTH"] == "true"
    assert "USERSWARM_TOKEN_FILE" not in dev
    assert "USERSWARM_INSECURE_NO_AUTH" not in production
    assert production["USERSWARM_TOKEN_FILE"]
    for objects in (rendered("overlays/production"), everything):
        secret = next(volume["secret"] for volume in webhook_pod(objects)["volumes"] if volume["name"] == "token")
        for controller in of_kind(objects, "CompositeController"):
            for hook in controller["spec"]["hooks"].values():
                authorization = hook["webhook"]["authorization"]
                assert authorization["type"] == "Bearer"
                assert authorization["secretRef"] == {
                    "name": secret["secretName"],
                    "namespace": "userswarm-system",
                    "key": "token",
                }


def test_no_secret_is_committed() -> None:
    for path in MANIFESTS.rglob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            assert not (isinstance(document, dict) and document.get("kind") == "Secret"), path


def test_pods_are_restricted_and_need_no_writable_disk(everything: list[Object]) -> None:
    found = 0
    for name, _, spec in pod_specs([*everything, *rendered("reaper")]):
        found += 1
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for volume in spec.get("volumes", []):
            assert volume.keys() & {"emptyDir", "secret", "configMap"}, name
            if "emptyDir" in volume:
                assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "64Mi"}, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}, name
    assert found >= 3


def test_namespaces_enforce_the_restricted_standard() -> None:
    for namespace in rendered("namespace"):
        labels = namespace["metadata"]["labels"]
        for mode in ("enforce", "audit", "warn"):
            assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
            assert re.fullmatch(r"v1\.\d+", labels[f"pod-security.kubernetes.io/{mode}-version"])


def test_the_webhook_survives_a_drain_a_rollout_and_a_lost_node() -> None:
    objects = rendered("overlays/production")
    deployment = named(objects, "Deployment", "userswarm-webhook")["spec"]
    budget = named(objects, "PodDisruptionBudget", "userswarm-webhook")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["replicas"] >= 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert budget["maxUnavailable"] == 1
    assert selects(budget["selector"], labels)
    assert selects(deployment["selector"], labels)
    spreads = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert {spread["topologyKey"] for spread in spreads} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(selects(spread["labelSelector"], labels) for spread in spreads)
    container = deployment["template"]["spec"]["containers"][0]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] >= 5
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/healthz"


def test_priority_classes_that_pods_name_exist(everything: list[Object]) -> None:
    made = {item["metadata"]["name"] for item in of_kind(everything, "PriorityClass")}
    for objects in (everything, rendered("overlays/dev"), rendered("overlays/production")):
        there = {item["metadata"]["name"] for item in of_kind(objects, "PriorityClass")} | {"system-cluster-critical"}
        for name, _, spec in pod_specs(objects):
            assert spec.get("priorityClassName", "system-cluster-critical") in there, name
    assert not any(item.get("globalDefault") for item in of_kind(everything, "PriorityClass"))
    assert made == {"userswarm-system", "userswarm-runtime"}


def test_the_autoscaler_owns_the_number_of_replicas() -> None:
    objects = production_with("hpa")
    assert "replicas" not in named(objects, "Deployment", "userswarm-webhook")["spec"]
    scaler = named(objects, "HorizontalPodAutoscaler", "userswarm-webhook")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "userswarm-webhook"}
    assert scaler["minReplicas"] >= 2


def test_under_mutual_tls_no_probe_needs_a_certificate(everything: list[Object]) -> None:
    container = webhook_pod(everything)["containers"][0]
    assert "USERSWARM_CLIENT_CA_FILE" in environment(webhook_pod(everything))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["tcpSocket"] == {"port": "http"}
        assert "httpGet" not in container[probe]


def test_cert_managers_certificate_is_the_one_that_is_mounted_and_trusted(everything: list[Object]) -> None:
    certificate = named(everything, "Certificate", "userswarm-webhook")["spec"]
    volume = next(volume for volume in webhook_pod(everything)["volumes"] if volume["name"] == "tls")
    assert volume["secret"]["secretName"] == certificate["secretName"]
    issuers = {item["metadata"]["name"]: item["spec"] for item in of_kind(everything, "Issuer")}
    authority = named(everything, "Certificate", "userswarm-ca")["spec"]
    assert authority["isCA"] is True
    assert authority["issuerRef"]["name"] in issuers
    assert issuers[certificate["issuerRef"]["name"]]["ca"]["secretName"] == authority["secretName"]
    for controller in of_kind(everything, "CompositeController"):
        for hook in controller["spec"]["hooks"].values():
            assert urlsplit(hook["webhook"]["url"]).hostname in certificate["dnsNames"]
            assert hook["webhook"]["caBundle"] == {
                "secretRef": {"name": certificate["secretName"], "namespace": "userswarm-system", "key": "ca.crt"}
            }


# --- installing and uninstalling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", ["overlays/dev", "overlays/production"])
def test_deleting_an_overlay_deletes_no_swarm_and_no_volume(overlay: str) -> None:
    holds_data = {"Namespace", "CustomResourceDefinition", "UserSwarm", "PersistentVolumeClaim"}
    assert not of_kind(rendered(overlay), *holds_data)
    assert of_kind(rendered("namespace"), "Namespace")
    assert of_kind(rendered("crd"), "CustomResourceDefinition") == [load_crd()]


def test_the_dev_overlay_is_complete_but_for_what_holds_data() -> None:
    kinds = {item["kind"] for item in rendered("overlays/dev")}
    assert kinds >= {"CompositeController", "Deployment", "Service"}


def test_platform_yaml_is_the_one_place_to_edit(tmp_path: Path) -> None:
    overlay = copy_manifests(tmp_path) / "overlays" / "production"
    platform = yaml.safe_load((overlay / "platform.yaml").read_text(encoding="utf-8"))
    new = {
        "backendNamespace": "shop",
        "backendServiceAccount": "shopkeeper",
        "monitoringNamespace": "watch",
        "allowedNamespaces": "userswarms,more",
        "allowedImagePrefixes": "registry.example/a/,registry.example/b/",
        "defaultImage": "registry.example/a/x:1",
        "helperImage": "registry.example/a/helper:2",
        "ownersUrl": "https://shop.example/owners?live=true",
    }
    platform["data"] |= new
    (overlay / "platform.yaml").write_text(yaml.safe_dump(platform), encoding="utf-8")
    kustomization = overlay / "kustomization.yaml"
    text = kustomization.read_text(encoding="utf-8")
    kustomization.write_text(text.replace("# - ../../components/reaper-url", "- ../../components/reaper-url"))
    objects = build(overlay)

    environ = environment(webhook_pod(objects))
    assert environ["USERSWARM_ALLOWED_NAMESPACES"] == new["allowedNamespaces"]
    assert environ["USERSWARM_ALLOWED_IMAGE_PREFIXES"] == new["allowedImagePrefixes"]
    assert environ["USERSWARM_DEFAULT_IMAGE"] == new["defaultImage"]
    assert environ["USERSWARM_HELPER_IMAGE"] == new["helperImage"]
    assert environ["USERSWARM_PLATFORM_NAMESPACE_LABELS"] == "kubernetes.io/metadata.name=shop"
    subject = named(objects, "ClusterRoleBinding", "userswarm-backend")["subjects"][0]
    assert (subject["namespace"], subject["name"]) == ("shop", "shopkeeper")
    assert "kubernetes.io/metadata.name: shop" in yaml.safe_dump(named(objects, "NetworkPolicy", "runtime-ingress"))
    assert "kubernetes.io/metadata.name: shop" in yaml.safe_dump(named(objects, "NetworkPolicy", "reaper-egress"))
    assert "kubernetes.io/metadata.name: watch" in yaml.safe_dump(named(objects, "NetworkPolicy", "webhook-metrics"))
    reaper = named(objects, "CronJob", "userswarm-reaper")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert environment(reaper) == {"OWNERS_URL": new["ownersUrl"]}
    assert "--owners-url=$(OWNERS_URL)" in reaper["containers"][0]["args"]
    # The policy reads the object itself.
    assert named(objects, "ConfigMap", "userswarm-platform")["data"].items() >= new.items()


def test_metacontroller_is_installed_without_its_star() -> None:
    objects = rendered("metacontroller")
    assert not of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    stateful_set = named(objects, "StatefulSet", "metacontroller")
    arguments = stateful_set["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--workers=50", "--client-go-qps=200", "--client-go-burst=400"} <= set(arguments)
    # Under server-side apply a claim cannot be released.
    assert not [argument for argument in arguments if argument.startswith("--apply-strategy")]


# --- sharding ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shards() -> list[Object]:
    objects = production_with("sharding")
    return of_kind(objects, "CompositeController")


labels_of_swarms = st.dictionaries(st.just("crawbl.ai/shard") | st.text(max_size=5), st.text(max_size=3))


def owners_of(shards: list[Object], labels: dict[str, str]) -> list[str]:
    return [
        shard["metadata"]["name"]
        for shard in shards
        if selects(shard["spec"]["parentResource"].get("labelSelector", {}), labels)
    ]


def test_each_shard_takes_its_own_and_the_first_controller_the_rest(shards: list[Object]) -> None:
    assert owners_of(shards, {}) == ["userswarm"]
    for number in range(4):
        assert owners_of(shards, {"crawbl.ai/shard": str(number)}) == [f"userswarm-shard-{number}"]
    for other in ("4", "00", "", "a"):
        assert owners_of(shards, {"crawbl.ai/shard": other}) == ["userswarm"]


@given(labels=labels_of_swarms)
def test_every_swarm_falls_into_exactly_one_shard(shards: list[Object], labels: dict[str, str]) -> None:
    assert len(owners_of(shards, labels)) == 1


def test_the_client_spreads_swarms_over_all_the_shards_there_are(shards: list[Object]) -> None:
    count = len(shards) - 1
    taken = [owners_of(shards, swarm_labels(f"workspace-{number}", "user", count)) for number in range(200)]
    assert {name for names in taken for name in names} == {f"userswarm-shard-{number}" for number in range(count)}
    # A client that does not know of shards is served too.
    assert owners_of(shards, swarm_labels("workspace-1", "user", None)) == ["userswarm"]


def test_shards_differ_in_name_and_selector_only(shards: list[Object]) -> None:
    assert len(shards) == 5
    bare = []
    for shard in copy.deepcopy(shards):
        del shard["metadata"]["name"], shard["spec"]["parentResource"]["labelSelector"]
        shard["metadata"]["labels"].pop("crawbl.ai/shard", None)
        bare.append(shard)
    assert all(shard == bare[0] for shard in bare)


# --- samples -----------------------------------------------------------------------------------------------------

SAMPLES = sorted(path.stem for path in MANIFESTS.glob("samples/*.yaml"))


def sample(name: str) -> Object:
    loaded: Object = yaml.safe_load((MANIFESTS / f"samples/{name}.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_fit_the_crd(name: str) -> None:
    schema = user_swarm_schema()
    assert schema.problems(schema.with_defaults(sample(name))) == []
    assert schema.unknown_fields(sample(name)) == []


def test_the_samples_are_these() -> None:
    assert (
        sorted([*COMPONENT_KINDS, "claude-code", "echo", "full", "minimal", "original", "templated", "zeroclaw"])
        == SAMPLES
    )
    assert sample("minimal")["spec"].keys() == {"userId"}


def fields(schema: Object, path: str = "") -> set[str]:
    """Return the paths of all fields, as far as they have names of their own."""
    found = set()
    for name, field in schema.get("properties", {}).items():
        found |= {path + name} | fields(field, f"{path}{name}.") | fields(field.get("items", {}), f"{path}{name}[].")
        if isinstance(field.get("additionalProperties"), dict):
            found |= fields(field["additionalProperties"], f"{path}{name}{{}}.")
    return found


def said(value: Any, schema: Object, path: str = "") -> set[str]:
    """Return the paths of the fields that an object uses."""
    found = set()
    for name, field in schema.get("properties", {}).items():
        if name not in value:
            continue
        found |= {path + name}
        inner = value[name]
        for item in inner if isinstance(inner, list) else []:
            found |= said(item, field["items"], f"{path}{name}[].")
        if isinstance(inner, dict):
            found |= said(inner, field, f"{path}{name}.")
            if isinstance(field.get("additionalProperties"), dict):
                for item in inner.values():
                    found |= (
                        said(item, field["additionalProperties"], f"{path}{name}{{}}.")
                        if isinstance(item, dict)
                        else set()
                    )
    return found


def test_the_full_sample_and_those_of_what_is_opt_in_have_every_field() -> None:
    crd = load_crd()
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    # Meaningless beside the effect NoSchedule.
    optional = {"placement.tolerations[].tolerationSeconds"}
    shown = {field for name in ("full", "templated", *COMPONENT_KINDS) for field in said(sample(name)["spec"], spec)}
    assert fields(spec) - shown - optional == set()


def test_the_original_sample_has_the_shape_of_the_system_it_comes_from() -> None:
    spec = sample("original")["spec"]
    assert spec["storage"].keys() == {"size"}
    assert spec["runtime"].keys() == {"image", "mode", "port", "imagePullSecretName", "resources"}
    assert spec["config"].keys() >= {"defaultProvider", "defaultModel", "defaultTemperature", "tomlOverrides", "agents"}
    assert spec["exposure"]["httpRoute"]["enabled"] is False
    assert spec["suspend"] is False


# --- policy, quota, monitoring -----------------------------------------------------------------------------------


def test_the_admission_policy_reads_only_what_platform_yaml_says() -> None:
    objects = rendered("overlays/production")
    policy = named(objects, "ValidatingAdmissionPolicy", "userswarm")["spec"]
    binding = named(objects, "ValidatingAdmissionPolicyBinding", "userswarm")["spec"]
    platform = named(objects, "ConfigMap", binding["paramRef"]["name"])
    read = set(re.findall(r"params\.data\.(\w+)", yaml.safe_dump(policy, width=10_000)))
    assert binding["policyName"] == "userswarm"
    assert binding["validationActions"] == ["Deny"]
    assert binding["paramRef"]["namespace"] == platform["metadata"]["namespace"]
    assert read <= platform["data"].keys()
    assert read >= {"allowedNamespaces", "allowedImagePrefixes", "allowedSecrets", "maxStorage"}


def test_the_admission_policy_never_stands_in_the_way_of_a_deletion() -> None:
    objects = rendered("overlays/production")
    policy = named(objects, "ValidatingAdmissionPolicy", "userswarm")["spec"]
    operations = {operation for rule in policy["matchConstraints"]["resourceRules"] for operation in rule["operations"]}
    assert operations == {"CREATE", "UPDATE"}
    # Taking a finalizer off is an update that leaves the spec alone.
    assert [condition["expression"] for condition in policy["matchConditions"]] == [
        "oldObject == null || object.spec != oldObject.spec"
    ]
    binding = named(objects, "ValidatingAdmissionPolicyBinding", "userswarm")["spec"]
    assert binding["paramRef"]["parameterNotFoundAction"] == "Allow"


def test_every_variable_of_the_admission_policy_is_defined_before_it_is_used() -> None:
    policy = named(rendered("policy"), "ValidatingAdmissionPolicy", "userswarm")["spec"]
    known: set[str] = set()
    for variable in policy["variables"]:
        assert set(re.findall(r"variables\.(\w+)", variable["expression"])) <= known
        known.add(variable["name"])
    used = set(re.findall(r"variables\.(\w+)", yaml.safe_dump(policy["validations"], width=10_000)))
    assert used == known


def children_of_a_swarm() -> list[Object]:
    """Return all that a swarm of the default size consists of."""
    return compute_plan(user_swarm(), SETTINGS).children()


def test_the_quota_holds_a_thousand_swarms_of_the_default_size() -> None:
    hard = named(rendered("quota"), "ResourceQuota", "userswarms")["spec"]["hard"]
    children = children_of_a_swarm()
    (runtime,) = of_kind(children, "StatefulSet")
    resources = runtime["spec"]["template"]["spec"]["containers"][0]["resources"]
    (claim,) = of_kind(children, "PersistentVolumeClaim")
    for bound in ("requests", "limits"):
        for resource in ("cpu", "memory"):
            assert 1000 * parse(resources[bound][resource]) <= parse(hard[f"{bound}.{resource}"])
    assert 1000 * parse(claim["spec"]["resources"]["requests"]["storage"]) <= parse(hard["requests.storage"])
    made: dict[str, int] = {}
    for child in children:
        made[child["kind"]] = made.get(child["kind"], 0) + 1
    for kind, entry in (
        ("Service", "services"),
        ("ConfigMap", "configmaps"),
        ("ServiceAccount", "count/serviceaccounts"),
        ("PersistentVolumeClaim", "persistentvolumeclaims"),
        ("StatefulSet", "count/statefulsets.apps"),
    ):
        assert 1000 * made[kind] < int(hard[entry]), kind
    assert hard["services.loadbalancers"] == hard["services.nodeports"] == "0"


def test_every_container_of_a_swarm_is_within_the_limit_range_and_says_what_a_quota_demands() -> None:
    limits = named(rendered("quota"), "LimitRange", "userswarms")["spec"]["limits"]
    (container,) = (limit for limit in limits if limit["type"] == "Container")
    assert container["default"].keys() == container["defaultRequest"].keys() == container["max"].keys()
    (runtime,) = of_kind(children_of_a_swarm(), "StatefulSet")
    pod = runtime["spec"]["template"]["spec"]
    for each in [*pod["initContainers"], *pod["containers"]]:
        for resource in ("cpu", "memory"):
            low, high = (each["resources"][bound][resource] for bound in ("requests", "limits"))
            assert parse(container["min"][resource]) <= parse(low) <= parse(high), each["name"]
            assert parse(high) <= parse(container["max"][resource]), each["name"]


def test_the_limit_range_allows_what_the_admission_policy_allows() -> None:
    limits = named(rendered("quota"), "LimitRange", "userswarms")["spec"]["limits"]
    by_type = {limit["type"]: limit for limit in limits}
    platform = named(rendered("overlays/production"), "ConfigMap", "userswarm-platform")["data"]
    assert parse(by_type["Container"]["max"]["cpu"]) == parse(platform["maxCpu"])
    assert parse(by_type["Container"]["max"]["memory"]) == parse(platform["maxMemory"])
    assert parse(by_type["PersistentVolumeClaim"]["max"]["storage"]) == parse(platform["maxStorage"])


@pytest.fixture(scope="module")
def monitoring() -> list[Object]:
    return production_with("prometheus")


def exported() -> dict[str, set[str]]:
    """Return the names that the webhook and the gate export, with the labels of each."""
    names: dict[str, set[str]] = {"up": {"job", "endpoint"}}
    for metric in [*vars(Metrics()).values(), *vars(GateMetrics()).values()]:
        if isinstance(metric, Counter):
            names[f"{metric._name}_total"] = set(metric._labelnames)
        elif isinstance(metric, Histogram):
            names[f"{metric._name}_bucket"] = {*metric._labelnames, "le"}
        elif isinstance(metric, Gauge):
            names[metric._name] = set(metric._labelnames)
    return names


def state_metrics(objects: list[Object]) -> Object:
    """Return what kube-state-metrics is told to tell of UserSwarms."""
    config = yaml.safe_load(named(objects, "ConfigMap", "userswarm-kube-state-metrics")["data"]["config.yaml"])
    assert config["kind"] == "CustomResourceStateMetrics"
    (told,) = config["spec"]["resources"]
    return dict(told)


def of_state_metrics(objects: list[Object]) -> dict[str, set[str]]:
    told = state_metrics(objects)
    return {
        f"{told['metricNamePrefix']}_{metric['name']}": set(metric["each"]["info"]["labelsFromPath"])
        for metric in told["metrics"]
    }


def test_kube_state_metrics_is_told_of_fields_that_a_user_swarm_has(monitoring: list[Object]) -> None:
    told, crd = state_metrics(monitoring), load_crd()
    (version,) = crd["spec"]["versions"]
    kind = {"group": crd["spec"]["group"], "version": version["name"], "kind": crd["spec"]["names"]["kind"]}
    assert told["groupVersionKind"] == kind
    schema = version["schema"]["openAPIV3Schema"]
    for metric in told["metrics"]:
        for path in metric["each"]["info"]["labelsFromPath"].values():
            if path != ["metadata", "name"]:
                found = functools.reduce(lambda schema, field: schema["properties"][field], path, schema)
                assert found["type"] == "string", path
    phases = set(re.findall(r'phase[=!]~?"([^"]*)"', " ".join(expressions(monitoring))))
    known = schema["properties"]["status"]["properties"]["phase"]["enum"]
    assert {phase for each in phases for phase in each.split("|")} <= set(known)
    role = named(monitoring, "ClusterRole", "userswarm-kube-state-metrics")
    assert {resource: rule["verbs"] for rule in role["rules"] for resource in rule["resources"]} == {
        crd["spec"]["names"]["plural"]: ["list", "watch"],
        "customresourcedefinitions": ["list", "watch"],
    }


def expressions(objects: list[Object]) -> list[str]:
    rules = named(objects, "PrometheusRule", "userswarm")["spec"]["groups"]
    dashboard = json.loads(named(objects, "ConfigMap", "userswarm-dashboard")["data"]["userswarm.json"])
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [rule["expr"] for group in rules for rule in group["rules"]] + [target["expr"] for target in targets]


def test_alerts_and_dashboard_ask_for_metrics_that_are_exported(monitoring: list[Object]) -> None:
    names = exported() | of_state_metrics(monitoring)
    asked = set()
    for expression in expressions(monitoring):
        if "envoy_" in expression:
            continue  # tests/gate asks a real one
        for name, matchers in re.findall(r"\b(up|userswarm_\w+)(?:\{([^}]*)\})?", expression):
            assert name in names, expression
            assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= names[name], expression
            asked.add(name)
        for labels in re.findall(r"\bby \(([^)]*)\)", expression):
            name = re.search(r"\bup\b|userswarm_\w+", expression)
            assert name
            assert {label.strip() for label in labels.split(",")} <= names[name.group()], expression
    assert asked == names.keys()


@pytest.mark.parametrize(
    ("which", "ports"), [("userswarm-webhook", ["metrics"]), ("userswarm-gate", ["metrics", "envoy"])]
)
def test_prometheus_scrapes_the_ports_that_have_the_metrics(
    monitoring: list[Object], which: str, ports: list[str]
) -> None:
    monitor = named(monitoring, "ServiceMonitor", which)
    service = named([*monitoring, *rendered("gate")], "Service", which)
    assert selects(monitor["spec"]["selector"], service["metadata"]["labels"])
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == [service["metadata"]["namespace"]]
    assert [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] == ports
    assert {endpoint["path"] for endpoint in monitor["spec"]["endpoints"]} == {"/metrics"}
    assert set(ports) <= {port["name"] for port in service["spec"]["ports"]}
    # The job that alerts ask for is the Service's name.
    assert f'job="{which}"' in " ".join(expressions(monitoring))


def test_every_alert_says_how_bad_it_is_and_what_to_do(monitoring: list[Object]) -> None:
    rules = [r for group in named(monitoring, "PrometheusRule", "userswarm")["spec"]["groups"] for r in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert re.fullmatch(r"\d+[mh]", rule["for"])


def test_the_dashboard_can_be_imported() -> None:
    dashboard = json.loads((MANIFESTS / "components/prometheus/dashboard.json").read_text(encoding="utf-8"))
    assert dashboard["uid"] == "userswarm"
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies over another panel"
                taken.add((x, y))
        for target in panel.get("targets", []):
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


# --- the reaper --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("components", [["reaper-url"], ["reaper-postgres"], ["reaper-url", "reaper-claims"]])
def test_the_reaper_is_called_as_it_wants_to_be(components: list[str], tmp_path: Path) -> None:
    job = named(production_with(*components), "CronJob", "userswarm-reaper")["spec"]
    spec = job["jobTemplate"]["spec"]["template"]["spec"]
    container = spec["containers"][0]
    environ = environment(spec)
    arguments = [re.sub(r"\$\((\w+)\)", lambda match: environ[match[1]], each) for each in container["args"]]
    assert arguments[0] == "reap"
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for index, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option.endswith("-file"):
            assert str(Path(value).parent) in mounts, argument
            stand_in = tmp_path / Path(value).name
            stand_in.write_text("content", encoding="utf-8")
            arguments[index] = f"{option}={stand_in}"
    # Parsing fails for an option that the reaper does not have, or a value that it does not take.
    # A copy: click would remember the help option of a command that stands alone.
    given_options = copy.copy(reap).make_context("reap", arguments[1:]).params
    assert given_options["max_delete"] == parse_share("10%")
    assert given_options["dry_run"] is False


def test_the_reaper_runs_alone_and_not_for_ever() -> None:
    job = named(rendered("reaper"), "CronJob", "userswarm-reaper")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    assert job["startingDeadlineSeconds"] >= 10  # below that the CronJob controller may miss every run
    assert job["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 3600
    assert job["jobTemplate"]["spec"]["backoffLimit"] == 0
