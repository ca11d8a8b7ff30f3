"""Who may do what: no more than each needs, held against the controller's kinds."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from contract.rendered import Object, named, of_kind, offered_components, production_with, rendered
from userswarm.wire.k8s import COMPONENT_KINDS, PLATFORM_KINDS

READ = {"get", "list", "watch"}
WRITE = {"create", "update", "patch", "delete", "deletecollection"}

Permission = tuple[str, str, str]
"""API group, resource, verb."""


def permissions(role: Object) -> set[Permission]:
    """Return what a role allows, one verb on one resource each."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def allow(group: str, resources: Iterable[str], verbs: Iterable[str]) -> set[Permission]:
    return {(group, resource, verb) for resource in resources for verb in verbs}


def group_of(api_version: str) -> str:
    return api_version.rpartition("/")[0]


@pytest.fixture(scope="module")
def everything() -> list[Object]:
    components = [name for name in offered_components() if name != "reaper-postgres"]
    return production_with(*components)


def roles(objects: list[Object]) -> list[Object]:
    return of_kind(objects, "ClusterRole", "Role")


def child_kinds(objects: list[Object] | None = None) -> set[tuple[str, str]]:
    return {
        (group_of(rule["apiVersion"]), rule["resource"])
        for controller in of_kind(objects or rendered("controller"), "CompositeController")
        for rule in controller["spec"]["childResources"]
    }


def test_metacontroller_may_write_our_children_and_only_where_runtimes_are() -> None:
    objects = rendered("rbac")
    expected = {
        (group, resource, verb)
        for group, resource in child_kinds()
        # No patch: it updates; and what it deletes it deletes one by one.
        for verb in ("get", "create", "update", "delete")
    }
    role = named(objects, "Role", "userswarm-metacontroller")
    assert role["metadata"]["namespace"] == "userswarms"
    assert permissions(role) == expected


def test_metacontroller_may_read_our_kinds_and_its_own_and_touch_only_userswarms() -> None:
    expected = {(group, resource, verb) for group, resource in child_kinds() for verb in ("list", "watch")}
    expected |= allow(
        "metacontroller.k8s.io", ["compositecontrollers", "decoratorcontrollers", "controllerrevisions"], READ
    )
    expected |= allow("apiextensions.k8s.io", ["customresourcedefinitions"], READ)
    expected |= allow("", ["namespaces"], READ)
    expected |= allow("crawbl.ai", ["userswarms"], READ | {"update"})
    expected |= allow("crawbl.ai", ["userswarms/status"], {"get", "update"})
    expected |= allow("crawbl.ai", ["userswarms/finalizers"], {"update"})
    assert permissions(named(rendered("rbac"), "ClusterRole", "userswarm-metacontroller")) == expected


def test_metacontroller_reports_events_where_kubernetes_puts_them() -> None:
    role = named(rendered("rbac"), "Role", "userswarm-metacontroller-events")
    assert role["metadata"]["namespace"] == "default"
    assert permissions(role) == allow("", ["events"], {"create", "patch"})


def test_metacontroller_reads_secrets_exactly_where_a_controller_refers_to_one(everything: list[Object]) -> None:
    secrets = allow("", ["secrets"], READ)
    for objects in (rendered("overlays/dev"), rendered("overlays/production"), everything):
        refers = "secretRef" in str(of_kind(objects, "CompositeController"))
        granted: set[Permission] = set()
        for role in of_kind(objects, "ClusterRole"):
            if role["metadata"]["name"].startswith("userswarm-metacontroller"):
                granted |= permissions(role)
        assert (granted & secrets) == (secrets if refers else set())


LOOKED_UP = allow("", ["pods"], {"get", "list"})
"""What the webhook reads besides the children: a swarm's Pods, by their label too."""


def test_the_webhook_reads_children_by_name_where_runtimes_are_and_nothing_else() -> None:
    role = named(rendered("rbac"), "Role", "userswarm-webhook")
    assert role["metadata"]["namespace"] == "userswarms"
    assert permissions(role) == LOOKED_UP | {(group, resource, "get") for group, resource in child_kinds()}


def test_the_webhook_reads_elsewhere_only_with_dedicated_swarms(everything: list[Object]) -> None:
    role = named(everything, "ClusterRole", "userswarm-webhook-dedicated")
    # A Dedicated swarm may have whatever another component brings, but for what lives in one place of the platform's.
    elsewhere = {(group_of(kind.api_version), kind.resource) for kind in PLATFORM_KINDS}
    kinds = child_kinds(everything) - elsewhere
    assert permissions(role) == LOOKED_UP | {(group, resource, "get") for group, resource in kinds}
    bound = {
        "everything": {"userswarm-webhook", *(f"userswarm-webhook-{name}" for name in COMPONENT_KINDS)},
        "overlays/dev": {"userswarm-webhook"},
        "overlays/production": {"userswarm-webhook"},
    }
    for overlay, names in bound.items():
        objects = everything if overlay == "everything" else rendered(overlay)
        assert names == {
            binding["roleRef"]["name"]
            for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding")
            if binding["subjects"][0]["name"] == "userswarm-webhook"
        }, overlay


@pytest.mark.parametrize("component", COMPONENT_KINDS)
@pytest.mark.parametrize(
    ("account", "verbs"), [("metacontroller", READ | {"create", "update", "delete"}), ("userswarm-webhook", {"get"})]
)
def test_a_component_gives_what_its_kinds_need(component: str, account: str, verbs: set[str]) -> None:
    objects = production_with(component)
    granted: set[Permission] = set()
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        if binding["subjects"][0]["name"] == account:
            granted |= permissions(named(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"]))
    needed = {
        (group_of(kind.api_version), kind.resource, verb) for kind in COMPONENT_KINDS[component] for verb in verbs
    }
    assert needed - granted == set()


def test_only_the_webhooks_own_pods_mount_its_token(everything: list[Object]) -> None:
    for objects in (rendered("overlays/dev"), rendered("overlays/production"), everything):
        account = named(objects, "ServiceAccount", "userswarm-webhook")
        pod = named(objects, "Deployment", "userswarm-webhook")["spec"]["template"]["spec"]
        assert account["automountServiceAccountToken"] is False
        assert pod["automountServiceAccountToken"] is True
        assert pod["serviceAccountName"] == "userswarm-webhook"


def test_a_backend_may_do_what_the_client_does_and_no_more() -> None:
    role = named(rendered("rbac"), "ClusterRole", "userswarm-backend")
    assert permissions(role) == allow("crawbl.ai", ["userswarms"], READ | {"create", "patch", "delete"})


def test_the_reaper_lists_and_deletes_userswarms_and_nothing_else(everything: list[Object]) -> None:
    for objects in (rendered("reaper"), everything):
        role = named(objects, "ClusterRole", "userswarm-reaper")
        assert permissions(role) == allow("crawbl.ai", ["userswarms"], {"list", "delete"})
    bound = {
        binding["roleRef"]["name"]
        for binding in of_kind(everything, "RoleBinding", "ClusterRoleBinding")
        if binding["subjects"][0]["name"] == "userswarm-reaper"
    }
    assert bound == {"userswarm-reaper", "userswarm-reaper-claims"}
    claims = named(everything, "Role", "userswarm-reaper-claims")
    assert permissions(claims) == allow("", ["persistentvolumeclaims"], {"list"})
    assert not of_kind(rendered("reaper"), "Role")


def test_roles_for_people_add_up_from_viewer_to_admin() -> None:
    people = {role["metadata"]["name"].removeprefix("userswarm-"): role for role in roles(rendered("rbac"))}

    def aggregated(built_in: str) -> set[Permission]:
        label = f"rbac.authorization.k8s.io/aggregate-to-{built_in}"
        found: set[Permission] = set()
        for role in people.values():
            if role["metadata"]["labels"].get(label) == "true":
                found |= permissions(role)
        return found

    view, edit, admin = aggregated("view"), aggregated("edit"), aggregated("admin")
    assert view == allow("crawbl.ai", ["userswarms", "userswarms/status"], READ)
    assert edit == view | allow("crawbl.ai", ["userswarms"], {"create", "update", "patch", "delete"})
    assert admin > edit
    assert {resource for _, resource, _ in admin} == {"userswarms", "userswarms/status"}


def test_an_auditor_reads_and_never_what_users_wrote() -> None:
    auditor = permissions(named(rendered("rbac"), "ClusterRole", "userswarm-auditor"))
    assert {verb for _, _, verb in auditor} == READ
    assert not {"secrets", "configmaps", "pods/log", "pods/exec"} & {resource for _, resource, _ in auditor}


def test_no_role_has_a_star_or_leads_to_more_than_it_says(everything: list[Object]) -> None:
    dangerous = {"pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token", "roles", "clusterroles"}
    exceptions = {
        ("userswarm-metacontroller-secrets", "secrets"),
        # The webhook may see them, by name.
        ("userswarm-webhook-dedicated", "roles"),
        # test_dedicated says what these may do.
        ("userswarm-metacontroller-dedicated", "roles"),
        ("userswarm-metacontroller-dedicated", "clusterroles"),
        ("userswarm-namespace-admin", "secrets"),
        ("userswarm-namespace-admin", "pods/exec"),
        ("userswarm-namespace-admin", "pods/portforward"),
    }
    for role in roles([*everything, *rendered("reaper")]):
        name = role["metadata"]["name"]
        for group, resource, verb in permissions(role):
            assert "*" not in {group, resource, verb}, name
            assert verb in READ | WRITE or (name, resource, verb) == (
                "userswarm-metacontroller-dedicated",
                "clusterroles",
                "bind",
            )
            if resource in dangerous | {"secrets"}:
                assert (name, resource) in exceptions


def test_every_binding_binds_a_role_that_exists_to_one_account(everything: list[Object]) -> None:
    there = {(role["kind"], role["metadata"].get("namespace"), role["metadata"]["name"]) for role in roles(everything)}
    for binding in of_kind(everything, "RoleBinding", "ClusterRoleBinding"):
        reference = binding["roleRef"]
        namespace = binding["metadata"].get("namespace") if reference["kind"] == "Role" else None
        assert (reference["kind"], namespace, reference["name"]) in there
        assert [subject["kind"] for subject in binding["subjects"]] == ["ServiceAccount"]
