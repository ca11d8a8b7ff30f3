"""Which kinds the API server serves, and what it knows about each."""

from __future__ import annotations

from dataclasses import dataclass

from devcluster.crd import CustomResource
from devcluster.objects import group_of


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: `names` is the rule for metadata.name, `generation` whether metadata.generation counts spec changes."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True
    names: str = "subdomain"
    generation: bool = False
    status: bool = False
    custom: CustomResource | None = None

    @property
    def resource(self) -> str:
        """The resource as error messages spell it: ``statefulsets.apps``."""
        group = group_of(self.api_version)
        return f"{self.plural}.{group}" if group else self.plural

    @property
    def qualified(self) -> str:
        """The kind as messages about validation spell it: ``StatefulSet.apps``."""
        group = group_of(self.api_version)
        return f"{self.kind}.{group}" if group else self.kind


BUILT_IN = (
    Kind("v1", "Namespace", "namespaces", namespaced=False, names="label", status=True),
    Kind("v1", "Pod", "pods", generation=True, status=True),
    Kind("v1", "Service", "services", names="label", status=True),
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("v1", "Secret", "secrets"),
    Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", status=True),
    Kind("v1", "Event", "events"),
    Kind("apps/v1", "StatefulSet", "statefulsets", generation=True, status=True),
    Kind("batch/v1", "Job", "jobs", generation=True, status=True),
    Kind("v1", "ResourceQuota", "resourcequotas", status=True),
    Kind("v1", "LimitRange", "limitranges"),
    Kind("apps/v1", "Deployment", "deployments", generation=True, status=True),
    Kind("apps/v1", "ReplicaSet", "replicasets", generation=True, status=True),
    # Its Jobs are named after it and the minute, and may have 63 characters.
    Kind("batch/v1", "CronJob", "cronjobs", names="cron-job", generation=True, status=True),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", generation=True),
    Kind("rbac.authorization.k8s.io/v1", "Role", "roles"),
    Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    # Of a neighbour that is often there: CloudNativePG. It takes any spec, and nobody acts on it.
    Kind("postgresql.cnpg.io/v1", "Database", "databases", generation=True, status=True),
    Kind("postgresql.cnpg.io/v1", "DatabaseRole", "databaseroles", generation=True, status=True),
    Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", generation=True),
    Kind(
        "metacontroller.k8s.io/v1alpha1",
        "CompositeController",
        "compositecontrollers",
        namespaced=False,
        generation=True,
        status=True,
    ),
)
