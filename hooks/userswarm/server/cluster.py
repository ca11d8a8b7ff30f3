"""Read access to the Kubernetes API: GET by name, LIST by label; nothing is written, watched or kept.

A client of some hundred lines instead of the `kubernetes` package, which takes half a second and 60 MB to import.
In a cluster it is the Pod's ServiceAccount; elsewhere KUBECONFIG, with a token or a client certificate.
"""

from __future__ import annotations

import base64
import http.client
import logging
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
import yaml

from userswarm.server.gathering import ObjectNeed, Unavailable

logger = logging.getLogger(__name__)

NO_API = Unavailable("no access to the Kubernetes API is configured")

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_MOST_BYTES = 4 * 1024 * 1024
_MOST_LISTED = 100
_SECONDS = 5  # for one step of a connection; whoever calls has a limit for the whole


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is, and as whom it is asked; files are read again for each connection, since they are rotated."""

    server: str
    token: Callable[[], str | None]
    tls: Callable[[], ssl.SSLContext]


def find_access(environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access that the environment gives; raises Unavailable where there is none."""
    if environ.get("KUBECONFIG"):
        path = Path(environ["KUBECONFIG"].split(os.pathsep)[0])
        try:
            return _from_kubeconfig(yaml.safe_load(path.read_bytes()), path.parent)
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            raise Unavailable(f"KUBECONFIG={str(path)!r} gives no access to the Kubernetes API: {error!r}") from error
    host, token = environ.get("KUBERNETES_SERVICE_HOST"), service_account / "token"
    if not host or not token.is_file():
        raise NO_API
    host = f"[{host}]" if ":" in host else host
    return Access(
        f"https://{host}:{environ.get('KUBERNETES_SERVICE_PORT', '443')}",
        lambda: token.read_text(encoding="ascii").strip(),
        lambda: ssl.create_default_context(cafile=service_account / "ca.crt"),
    )


def _from_kubeconfig(config: Any, directory: Path) -> Access:
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    token: str | None = user.get("token")
    token_file = user.get("tokenFile")
    if not token and not token_file and not _material(user, "client-certificate", directory):
        raise ValueError(f"user {context['user']!r} has neither a token nor a client certificate")

    def tls() -> ssl.SSLContext:
        authority = _material(cluster, "certificate-authority", directory)
        made = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        certificate, key = (_material(user, name, directory) for name in ("client-certificate", "client-key"))
        if certificate and key:
            with tempfile.NamedTemporaryFile() as both:  # OpenSSL reads files only
                both.write(certificate + b"\n" + key)
                both.flush()
                made.load_cert_chain(both.name)
        return made

    def read_token() -> str | None:
        return (directory / token_file).read_text(encoding="ascii").strip() if token_file else token

    return Access(cluster["server"], read_token, tls)


def _named(entries: Any, name: str) -> Any:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise ValueError(f"nothing is named {name!r}")


def _material(holder: Mapping[str, Any], field: str, directory: Path) -> bytes | None:
    """Return what a field holds: as data, or in a file."""
    if holder.get(f"{field}-data"):
        return base64.b64decode(holder[f"{field}-data"])
    return (directory / holder[field]).read_bytes() if holder.get(field) else None


class Api:
    """The API over connections that stay open: as many as are asked at once."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._server = urlsplit(access.server)
        self._idle: list[http.client.HTTPConnection] = []

    def read(self, need: ObjectNeed) -> list[dict[str, Any]]:
        """Return the objects that are there; raises Unavailable, OSError or HTTPException where that is not known."""
        version = need["apiVersion"]
        parts = ["apis" if "/" in version else "api", *version.split("/")]
        if "namespace" in need:
            parts += ["namespaces", need["namespace"]]
        path = "".join(f"/{quote(part, safe='')}" for part in [*parts, need["resource"]])
        if "names" in need:
            found = [self._get(f"{path}/{quote(name, safe='')}") for name in need["names"]]
            objects = [each for each in found if each is not None]
        else:
            objects = self._list(path, need["labelSelector"]["matchLabels"])
        for each in objects:
            # Items of a list come without these.
            each.update(apiVersion=version, kind=need["kind"])
            each["metadata"].pop("managedFields", None)
        return objects

    def _get(self, path: str) -> dict[str, Any] | None:
        status, answer = self._request(path)
        if status == 404 and answer.get("reason") == "NotFound" and answer.get("details", {}).get("name"):
            return None
        return _good(status, answer)

    def _list(self, path: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        query = urlencode({"labelSelector": selector, "limit": _MOST_LISTED})
        answer = _good(*self._request(f"{path}?{query}"))
        if answer["metadata"].get("continue"):
            raise Unavailable(f"the Kubernetes API has more than {_MOST_LISTED} objects labelled {selector}")
        return list(answer["items"] or ())

    def _request(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of an answer."""
        while True:
            used_before = bool(self._idle)
            connection = self._idle.pop() if used_before else self._connect()
            try:
                connection.request("GET", self._server.path.rstrip("/") + path, headers=self._headers())
                response = connection.getresponse()
                body = response.read(_MOST_BYTES + 1)
            except ConnectionError:
                connection.close()
                if used_before:  # the server may have closed it meanwhile
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            break
        if len(body) > _MOST_BYTES:
            connection.close()
            raise Unavailable(f"the Kubernetes API answers with more than {_MOST_BYTES} bytes")
        self._idle.append(connection)
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        return response.status, answer if isinstance(answer, dict) else {}

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._server.hostname or "", self._server.port
        if self._server.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=self._access.tls())
        return http.client.HTTPConnection(host, port, timeout=_SECONDS)

    def _headers(self) -> dict[str, str]:
        token = self._access.token()
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        return {"Accept": "application/json", "User-Agent": "userswarm", **bearer}


def find_api(environ: Mapping[str, str]) -> Api | Unavailable:
    """Return the API that the environment leads to, or why there is none, which is logged."""
    try:
        return Api(find_access(environ))
    except Unavailable as why:
        logger.warning("hooks see nothing but what Metacontroller sends: %s", why)
        return why


def _good(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    if status != 200 or "metadata" not in answer:
        raise Unavailable(f"the Kubernetes API answers {status}: {answer.get('message', 'no reason given')}")
    return answer
