"""A private cluster for one release, by the scripts of a lab: brought up, measured, brought down.

The scripts are a folder with ``up.sh`` and ``down.sh``, set by LAB_BIN, LAB_WORKDIR and LAB_PORT_BASE. Each release has
a cluster of its own: what another one left in etcd or in a cache is no cost of this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import orjson

from benchmarks.lab import Lab
from contract.rendered import ROOT
from userswarm.spec.settings import PREFIX

# What every controller needs that is to make hundreds of objects at once; a cluster's own pace is not what is measured.
_PACE = {
    "LAB_MC_ARGS": "--workers=50 --client-go-qps=200 --client-go-burst=400",
    "LAB_KCM_ARGS": "--kube-api-qps=200 --kube-api-burst=400",
}

# Who asked for what, nothing of its content; Kubernetes itself is no cost of the controller.
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["lab-fakekubelet", "system:kube-controller-manager", "system:apiserver"]},
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system", "system:nodes"]},
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/openapi*", "/version", "/api*"]},
        {"level": "Metadata"},
    ],
}


@contextmanager
def private_lab(scripts: Path, release: Path, patience: float) -> Iterator[Lab]:
    """Run a fresh cluster while in this context; KUBECONFIG leads to it."""
    run = Path(os.environ["LAB_WORKDIR"]) / "run"
    settings = {}
    if release == ROOT:
        # An earlier one may not know it, and no release takes a setting that it does not know.
        settings[f"{PREFIX}SERVICE_PROXY"] = f"http://127.0.0.1:{int(os.environ.get('LAB_PORT_BASE', '16000')) + 880}"
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "audit.json"
        policy.write_bytes(orjson.dumps(_AUDIT))
        log = run / "logs" / "audit.log"
        audit = {"LAB_APISERVER_ARGS": f"--audit-log-path={log} --audit-policy-file={policy}"}
        subprocess.run([scripts / "up.sh"], env={**_PACE, **os.environ, **audit}, check=True, stdout=subprocess.DEVNULL)
        os.environ["KUBECONFIG"] = str(run / "admin.kubeconfig")
        try:
            yield Lab(run / "pids", log, release, sys.executable, settings, patience)
        finally:
            subprocess.run([scripts / "down.sh"], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Return a folder with the tree of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)
