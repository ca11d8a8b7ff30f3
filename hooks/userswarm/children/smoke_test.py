"""The Job that proves a runtime answers: through its Service, with the body that a healthy one has.

Its Pod is not selected by the Service, has no token, and keeps its logs: no TTL removes the evidence.
"""

from __future__ import annotations

from userswarm.children.pod import restricted_container, restricted_pod_spec
from userswarm.isolation import PROBE_RESOURCES
from userswarm.spec.identity import ATTEMPT_ANNOTATION, SMOKE_TEST, Identity
from userswarm.spec.parent import UserSwarm
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import Manifest

PROBE_CONTAINER = "probe"

START_ALLOWANCE = 120
"""Seconds that scheduling and pulling may take on top of the probe's own time."""


def build_smoke_test(
    swarm: UserSwarm, identity: Identity, settings: Settings, series: str = "", attempt: int = 1
) -> Manifest:
    """Return the Job of one attempt; `series` says what is tested and goes into its name."""
    metadata = identity.metadata(identity.smoke_test(series, attempt), SMOKE_TEST)
    metadata["annotations"][ATTEMPT_ANNOTATION] = str(attempt)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            # We count the attempts ourselves: a Job's own retries would not wait for a runtime to recover.
            "backoffLimit": 0,
            "activeDeadlineSeconds": swarm.verification_timeout + START_ALLOWANCE,
            "template": {
                "metadata": {"labels": identity.labels(SMOKE_TEST)},
                "spec": {
                    **restricted_pod_spec(swarm, identity, settings),
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": PROBE_CONTAINER,
                            "image": settings.helper_image,
                            "command": ["userswarm", "probe"],
                            "args": [
                                endpoint(swarm, identity) + swarm.verification_path,
                                "--timeout",
                                str(swarm.verification_timeout),
                                "--expect-json",
                                "status=ok",
                            ],
                            "resources": {side: dict(amounts) for side, amounts in PROBE_RESOURCES.items()},
                            "securityContext": restricted_container(),
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                        }
                    ],
                },
            },
        },
    }


def endpoint(swarm: UserSwarm, identity: Identity) -> str:
    """Return the private URL of a swarm, without a path."""
    return f"http://{identity.name}.{identity.namespace}.svc:{swarm.port}"
