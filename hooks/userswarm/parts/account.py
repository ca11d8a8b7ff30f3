"""The ServiceAccount of a swarm's Pods: no token, and the secret that pulls their images."""

from __future__ import annotations

from collections.abc import Iterator

from userswarm.errors import Problem
from userswarm.parts.shape import Part, Sight, Verdict, judge_present
from userswarm.spec.secrets import check_secret
from userswarm.spec.swarm import Asked, Check, Swarm
from userswarm.wire.k8s import SERVICE_ACCOUNT, Manifest


def read(swarm: Swarm) -> str:
    """Return the name of the Secret that pulls images, empty for none."""
    secret: str = swarm.spec["runtime"].get("imagePullSecretName", "")
    return secret


def build(pull_secret: str, swarm: Swarm) -> list[Manifest]:
    """Return the ServiceAccount; its name is the swarm's."""
    account: Manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": swarm.identity.metadata(swarm.identity.name),
        "automountServiceAccountToken": False,
    }
    if pull_secret:
        account["imagePullSecrets"] = [{"name": pull_secret}]
    return [account]


def judge(pull_secret: str, swarm: Swarm, sight: Sight) -> Verdict | None:
    """Say what is wrong where it is not there."""
    return judge_present(SERVICE_ACCOUNT, swarm.identity.name, swarm, sight)


def _check_pull_secret(asked: Asked) -> Iterator[Problem]:
    secret = asked.spec["runtime"].get("imagePullSecretName", "")
    return check_secret("spec.runtime.imagePullSecretName", secret, "pull", asked)


PART = Part(
    name="account",
    condition="WorkloadReady",
    kinds=(SERVICE_ACCOUNT,),
    checks=(Check(("spec.runtime.imagePullSecretName",), _check_pull_secret),),
    read=read,
    build=build,
    judge=judge,
)
