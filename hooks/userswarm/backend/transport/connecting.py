"""How a cluster is found: what was given, the environment, the Pod this runs in, the user's own file."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from userswarm.backend.errors import ConfigurationError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


def connect(kubeconfig: str | os.PathLike[str] | None = None, api_client: ApiClient | None = None) -> ApiClient:
    """Return the way to a cluster: the client given, the kubeconfig given, ``KUBECONFIG``, the Pod this runs in, or
    ``~/.kube/config``, whichever comes first.

    Raises ConfigurationError naming what was tried.
    """
    if api_client is not None:
        return api_client
    # It takes about a second to import: not before it is needed.
    client: Any = importlib.import_module("kubernetes.client")
    config: Any = importlib.import_module("kubernetes.config")
    path = str(kubeconfig) if kubeconfig is not None else os.environ.get("KUBECONFIG", "")
    try:
        if path:
            return _from_file(config, path)
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            configuration = client.Configuration()
            config.load_incluster_config(client_configuration=configuration)
            in_cluster: ApiClient = client.ApiClient(configuration)
            return in_cluster
        home = Path("~/.kube/config").expanduser()
        if home.is_file():
            return _from_file(config, str(home))
    except Exception as error:
        # Whatever a file that is no kubeconfig makes its reader stumble over.
        what = path or "the configuration of this Pod or user"
        raise ConfigurationError(f"cannot use {what}: {error!r}") from error
    raise ConfigurationError("no cluster: set KUBECONFIG, or run in a Pod, or have a ~/.kube/config")


def _from_file(config: Any, path: str) -> ApiClient:
    api_client: ApiClient = config.new_client_from_config(config_file=path)
    return api_client
