"""What the kubelet writes about the containers of a pod, and what a container needs before it can start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from devcluster.apiserver import ApiServer
from devcluster.objects import Manifest, Observed, key_of, same_json, set_condition, uid_of


def waiting(reason: str, message: str = "") -> Manifest:
    """Return the state of a container that does not run."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def running(now: str) -> Manifest:
    """Return the state of a container that runs."""
    return {"running": {"startedAt": now}}


def terminated(exit_code: int, reason: str, message: str, started: str, now: str) -> Manifest:
    """Return the state of a container that ended."""
    state: Manifest = {
        "exitCode": exit_code,
        "reason": reason,
        "startedAt": started,
        "finishedAt": now,
        "containerID": "containerd://0",
    }
    if message:
        state["message"] = message
    return {"terminated": state}


def termination_message(container: Observed, exit_code: int, text: str) -> str:
    """Return what of a container's last words gets into its status.

    Nothing here writes /dev/termination-log, so only a container that failed, and that asks for its log to be used
    instead, leaves a message.
    """
    logs = container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    return text[-2048:] if logs and exit_code else ""


def new_statuses(containers: list[Observed], reason: str) -> list[Manifest]:
    """Return the statuses of containers that have not been started."""
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "started": False,
            "restartCount": 0,
            "state": waiting(reason),
            "lastState": {},
        }
        for container in containers
    ]


def summarize(pod: Observed, status: Manifest, now: str, *, probe_passes: bool) -> None:
    """Set phase and conditions of a pod from its containers' states."""
    for name, entries in (("init", status.get("initContainerStatuses", [])), ("main", status["containerStatuses"])):
        for entry in entries:
            state = entry["state"]
            entry["started"] = "running" in state
            done = "terminated" in state and state["terminated"]["exitCode"] == 0
            entry["ready"] = done if name == "init" else "running" in state and probe_passes
    inits, mains = status.get("initContainerStatuses", []), status["containerStatuses"]
    unready_inits = [entry["name"] for entry in inits if not entry["ready"]]
    unready = [entry["name"] for entry in mains if not entry["ready"]]
    codes = [entry["state"]["terminated"]["exitCode"] for entry in mains if "terminated" in entry["state"]]
    failed_init = any("terminated" in entry["state"] and not entry["ready"] for entry in inits)
    if pod["spec"]["restartPolicy"] != "Always" and (failed_init or len(codes) == len(mains)):
        status["phase"] = "Failed" if failed_init or any(codes) else "Succeeded"
    elif not unready_inits and any(entry["state"].keys() & {"running", "terminated"} for entry in mains):
        status["phase"] = "Running"
    elif status.get("phase") != "Running":
        status["phase"] = "Pending"
    initialized = f"containers with incomplete status: [{' '.join(unready_inits)}]" if unready_inits else ""
    reason = "ContainersNotInitialized" if unready_inits else ""
    set_condition(status, "Initialized", not unready_inits, now, reason, initialized)
    reason, message = "", ""
    if status["phase"] in {"Succeeded", "Failed"}:
        reason = "PodCompleted" if status["phase"] == "Succeeded" else "PodFailed"
    elif unready:
        reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    for condition in ("Ready", "ContainersReady"):
        set_condition(status, condition, not unready, now, reason, message)


def missing_config(api: ApiServer, namespace: str, container: Observed) -> str:
    """Return the kubelet's words for the first Secret or ConfigMap that a container's environment lacks."""
    for source in _environment_sources(container):
        for field, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            reference = source.get(field)
            if reference is None or reference.get("optional"):
                continue
            found = api.peek("v1", kind, namespace, reference["name"])
            if found is None:
                return f'{kind.lower()} "{reference["name"]}" not found'
            key = reference.get("key")
            if key is not None and key not in found.get("data", {}):
                return f"couldn't find key {key} in {kind} {namespace}/{reference['name']}"
    return ""


def _environment_sources(container: Observed) -> Iterator[Mapping[str, Any]]:
    yield from container.get("envFrom", ())
    for entry in container.get("env", ()):
        source = entry.get("valueFrom", {})
        yield {
            "secretRef": source.get("secretKeyRef"),
            "configMapRef": source.get("configMapKeyRef"),
        }


def missing_volume(api: ApiServer, pod: Observed) -> str:
    """Return the kubelet's words for the first Secret or ConfigMap that a pod's volumes lack."""
    namespace, _ = key_of(pod)
    for volume in pod["spec"].get("volumes", ()):
        for kind, name, optional in _volume_sources(volume):
            if not optional and api.peek("v1", kind, namespace, name) is None:
                return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {kind.lower()} "{name}" not found'
    return ""


def _volume_sources(volume: Observed) -> Iterator[tuple[str, str, bool]]:
    for source in (volume, *volume.get("projected", {}).get("sources", ())):
        for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
            if field in source:
                wanted = source[field]
                # A volume says secretName where a projected source says name.
                yield kind, wanted.get("secretName") or wanted["name"], bool(wanted.get("optional"))


def named_objects(pod: Observed) -> Iterator[tuple[str, str]]:
    """Yield kind and name of every Secret and ConfigMap that a pod names."""
    spec = pod["spec"]
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        for source in _environment_sources(container):
            for field, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
                if source.get(field):
                    yield kind, source[field]["name"]
    for volume in spec.get("volumes", ()):
        yield from ((kind, name) for kind, name, _ in _volume_sources(volume))


def claims_of(pod: Observed) -> list[str]:
    """Return the names of the claims that a pod mounts."""
    return [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes", ())
        if "persistentVolumeClaim" in volume
    ]


def write_status(api: ApiServer, pod: Observed, status: Manifest, *, actor: str) -> None:
    """Write a pod's status; the defaults that the API server adds are in both, so only a real change is written."""
    if not same_json(pod["status"], status):
        fresh = api.peek_uid(uid_of(pod))
        api.update_status({**fresh, "status": status}, actor=actor)
