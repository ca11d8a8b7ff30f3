"""A real control plane on loopback: etcd, kube-apiserver, kube-controller-manager; no node, no scheduler.

Admission is as upstream's default, authorization RBAC. Everybody is known by a token, so no client needs a certificate.
Nothing outlives the tests: each program hangs on a pipe whose other end only this process holds, so it ends however
this process ends. The API server has no way to Services and Pods, so that nothing is dialled outside loopback.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from unit.server.certificates import Authority

_PATIENCE = 300
"""Seconds after which a control plane that has not come up is taken for broken."""

# Killed, not asked: the API server would wait for its watchers, and the data is thrown away.
_UNTIL_THE_PIPE_CLOSES = '"$@" & child=$!; cat >/dev/null; kill -KILL "$child"; wait "$child"'


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the API server is, and how to be its administrator."""

    url: str
    token: str
    authority: Path
    kubeconfig: Path
    kubectl: Path


@contextmanager
def running(binaries: Path, folder: Path) -> Iterator[ControlPlane]:
    """Start a control plane with its files and logs in `folder`; stop it at the end."""
    authority = Authority.make(folder / "pki")
    server = authority.issue("kube-apiserver")
    accounts = authority.issue("service-accounts")
    _ask(folder, "openssl", "ec", "-in", str(accounts.key), "-pubout", "-out", "accounts.pub")
    client_port, peer_port, api_port = _free_ports(3)
    etcd, api = f"http://127.0.0.1:{client_port}", f"https://127.0.0.1:{api_port}"
    tokens = {
        "admin": ("tests", "system:masters"),
        "controllers": ("system:kube-controller-manager", ""),
    }
    secret = {name: secrets.token_hex(16) for name in tokens}
    lines = [f'{secret[name]},{user},{name},"{groups}"' for name, (user, groups) in tokens.items()]
    (folder / "tokens.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "no-egress.json").write_text(json.dumps(_no_egress(folder)), encoding="utf-8")
    for name in tokens:
        (folder / f"{name}.kubeconfig").write_text(
            json.dumps(kubeconfig_for(api, authority.pair.certificate, secret[name])), encoding="utf-8"
        )

    with ExitStack() as stack:
        stack.enter_context(
            _program(
                folder,
                binaries / "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            )
        )
        stack.enter_context(
            _program(
                folder,
                binaries / "kube-apiserver",
                f"--etcd-servers={etcd}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={api_port}",
                "--endpoint-reconciler-type=none",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=RBAC",
                f"--token-auth-file={folder / 'tokens.csv'}",
                f"--tls-cert-file={server.certificate}",
                f"--tls-private-key-file={server.key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={folder / 'accounts.pub'}",
                f"--service-account-signing-key-file={accounts.key}",
                f"--egress-selector-config-file={folder / 'no-egress.json'}",
            )
        )
        ready = ControlPlane(
            api, secret["admin"], authority.pair.certificate, folder / "admin.kubeconfig", binaries / "kubectl"
        )
        _wait(ready, folder, "/readyz")
        stack.enter_context(
            _program(
                folder,
                binaries / "kube-controller-manager",
                f"--kubeconfig={folder / 'controllers.kubeconfig'}",
                "--use-service-account-credentials",
                f"--root-ca-file={authority.pair.certificate}",
                "--leader-elect=false",
                "--secure-port=0",
                "--concurrent-gc-syncs=20",
                # There are no volumes here: the tests say themselves that a claim is bound, and nobody may contradict.
                "--controllers=*,-persistentvolume-binder-controller",
            )
        )
        _wait(ready, folder, "/api/v1/namespaces/default/serviceaccounts/default")
        yield ready


@contextmanager
def _program(folder: Path, *command: str | Path) -> Iterator[None]:
    """Run a program, with its log in `folder`, until the block is left or this process ends."""
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        guard = subprocess.Popen(
            ["sh", "-c", _UNTIL_THE_PIPE_CLOSES, "sh", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # An interrupt from the keyboard is for the tests, which end this after they have put things away.
            start_new_session=True,
        )
    try:
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait()


def _wait(control_plane: ControlPlane, folder: Path, path: str) -> None:
    """Wait until the API server answers 200 at a path; fail with the ends of the logs."""
    request = urllib.request.Request(
        control_plane.url + path, headers={"Authorization": f"Bearer {control_plane.token}"}
    )
    context = ssl.create_default_context(cafile=control_plane.authority)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with opener.open(request, timeout=5):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                ends = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in sorted(folder.glob("*.log")))
                raise RuntimeError(f"no control plane after {_PATIENCE} s: {path}: {error}\n{ends}") from error
        time.sleep(0.1)


def _no_egress(folder: Path) -> dict[str, object]:
    nobody = {"uds": {"udsName": str(folder / "nobody.sock")}}
    return {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [
            {"name": "cluster", "connection": {"proxyProtocol": "HTTPConnect", "transport": nobody}},
        ],
    }


def kubeconfig_for(url: str, authority: Path, token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "tests", "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        "current-context": "tests",
    }


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody has now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _ask(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
