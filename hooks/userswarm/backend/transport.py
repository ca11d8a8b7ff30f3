"""One request to the Kubernetes API: JSON out, JSON in, our errors, our retries.

The package `kubernetes` finds the cluster and brings TLS, proxies, tokens and their renewal. Requests go through
its connection pool directly: its own methods would add urllib3's silent retries on top of ours, and differ between
its releases. Only idempotent requests are sent through here, so each may be sent twice: see `UserSwarmApi`.
"""

from __future__ import annotations

import contextlib
import email.utils
import importlib
import json
import os
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from userswarm.backend.errors import (
    ApiStatusError,
    BackendError,
    ConfigurationError,
    ConflictError,
    ExpiredError,
    SilenceError,
    UnreachableError,
)
from userswarm.backend.retry import Budget, RetryPolicy, is_transient
from userswarm.wire.k8s import Manifest, Observed

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Method = Literal["GET", "PATCH", "DELETE"]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


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


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `continue_token` is empty on the last one."""

    items: tuple[Manifest, ...]
    continue_token: str
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED or BOOKMARK; a bookmark's object has nothing but its resourceVersion."""

    type: str
    object: Manifest

    @property
    def resource_version(self) -> str:
        """Return where to go on watching after this event."""
        return str(self.object.get("metadata", {}).get("resourceVersion", ""))


class Transport:
    """Sends requests through an ApiClient; safe for use by many threads."""

    def __init__(
        self, api_client: ApiClient, policy: RetryPolicy | None = None, *, timeout: tuple[float, float] = (5.0, 20.0)
    ) -> None:
        """`timeout`: seconds to connect, and between two bytes of an answer."""
        self.api_client = api_client
        self.policy = policy or RetryPolicy()
        self._timeout = timeout

    def close(self) -> None:
        """Close the connections."""
        api_client: Any = self.api_client
        api_client.close()

    def request(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Observed | None = None,
        content_type: str = JSON,
        budget: Budget | None = None,
    ) -> Manifest:
        """Return the answer, after as many tries as the budget holds; the request has to be idempotent.

        Raises ApiStatusError or one of its kind, or UnreachableError.
        """
        budget = budget or self.policy.budget()
        while True:
            try:
                return self.request_once(method, path, query=query, body=body, content_type=content_type)
            except BackendError as error:
                if not is_transient(error):
                    raise
                budget.pause(error)

    def page(
        self,
        path: str,
        *,
        limit: int,
        continue_token: str = "",
        query: Mapping[str, str] | None = None,
        budget: Budget | None = None,
    ) -> Page:
        """Return one page of the collection at `path`.

        Raises ExpiredError where the continue token is too old.
        """
        asked = {**(query or {}), "limit": str(limit)}
        if continue_token:
            asked["continue"] = continue_token
        answer = self.request("GET", path, query=asked, budget=budget)
        items = answer.get("items")
        metadata = answer.get("metadata")
        if not isinstance(items, list) or not isinstance(metadata, dict):
            raise UnreachableError(f"GET {path}", "the answer is no list", permanent=True)
        return Page(tuple(items), str(metadata.get("continue") or ""), str(metadata.get("resourceVersion") or ""))

    def pages(
        self, path: str, *, limit: int = 500, query: Mapping[str, str] | None = None, budget: Budget | None = None
    ) -> Iterator[Page]:
        """Yield every page of one consistent list.

        Each page has a budget of its own unless one is given. Raises ExpiredError where reading took so long that
        the API server has forgotten that state: the pages so far are then not the whole.
        """
        token = ""
        while True:
            page = self.page(path, limit=limit, continue_token=token, query=query, budget=budget)
            yield page
            token = page.continue_token
            if not token:
                return

    def watch(
        self,
        path: str,
        *,
        resource_version: str,
        window: float,
        silence: float,
        query: Mapping[str, str] | None = None,
    ) -> WatchStream:
        """Start to watch the collection at `path`, for `window` seconds at most, from a resourceVersion on.

        `silence`: seconds without a byte after which reading raises SilenceError. Not retried: whoever watches
        has to read anew in any case. Raises ExpiredError where the resourceVersion is too old.
        """
        asked = {
            **(query or {}),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, round(window))),
        }
        what = f"watch {path}"
        response = self._send("GET", path, asked, None, JSON, read_timeout=silence, what=what)
        if response.status != 200:
            with _closing(response):
                raise _refusal(what, response, _read(what, response))
        return WatchStream(what, response)

    def request_once(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Observed | None = None,
        content_type: str = JSON,
    ) -> Manifest:
        """Return the answer to a single try; raise as `request` does."""
        what = f"{method} {path}"
        response = self._send(method, path, query or {}, body, content_type, read_timeout=self._timeout[1], what=what)
        with _closing(response):
            text = _read(what, response)
            if not 200 <= response.status < 300:
                raise _refusal(what, response, text)
            try:
                answer = json.loads(text)
            except ValueError as error:
                raise UnreachableError(what, f"the answer is not JSON ({error})") from error
            if not isinstance(answer, dict):
                raise UnreachableError(what, "the answer is no JSON object")
            return answer

    def _send(
        self,
        method: Method,
        path: str,
        query: Mapping[str, str],
        body: Observed | None,
        content_type: str,
        *,
        read_timeout: float,
        what: str,
    ) -> Any:
        """Return urllib3's response, its body not read yet."""
        import urllib3

        api = self.api_client
        headers = {**api.default_headers, "Accept": JSON}
        if api.cookie:
            headers["Cookie"] = api.cookie
        # Asked for each time: a Pod's token is renewed while we run.
        for setting in api.configuration.auth_settings().values():
            headers[setting["key"]] = setting["value"]
        if body is not None:
            headers["Content-Type"] = content_type
        url = api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            return api.rest_client.pool_manager.request(
                method,
                url,
                headers=headers,
                body=None if body is None else json.dumps(body).encode(),
                timeout=urllib3.Timeout(connect=self._timeout[0], read=read_timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(what, error, permanent=_is_permanent(error)) from error


class WatchStream:
    """The events of one watch, in order; read once. `stop` may be called from any thread."""

    def __init__(self, what: str, response: Any) -> None:
        self._what = what
        self._response = response

    def events(self) -> Generator[WatchEvent, None, None]:
        """Yield events until the server ends the watch, which is no error; close the generator to leave earlier.

        Raises ExpiredError for a 410 inside the stream, ApiStatusError for any other error event, UnreachableError
        where the connection breaks, SilenceError where nothing comes for too long.
        """
        import urllib3

        rest = b""
        with _closing(self._response):
            try:
                for chunk in self._response.stream():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield self._parse(line)
            except urllib3.exceptions.ReadTimeoutError as error:
                raise SilenceError(self._what, error) from error
            except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
                # The last two: what reading a response that another thread closed comes to.
                raise UnreachableError(self._what, f"the watch broke off: {error!r}") from error
        if rest.strip():
            raise UnreachableError(self._what, "the watch broke off within an event")

    def _parse(self, line: bytes) -> WatchEvent:
        event = json.loads(line)
        if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
            raise ValueError(f"not a watch event: {line[:200]!r}")  # noqa: TRY004 - of the server's text, not of ours
        if event.get("type") == "ERROR":
            raise _status_error(self._what, int(event["object"].get("code") or 500), event["object"], None)
        return WatchEvent(str(event.get("type")), event["object"])

    def stop(self) -> None:
        """End the watch, also while another thread waits for its next event."""
        shutdown = getattr(self._response, "shutdown", None)  # since urllib3 2.3; else it ends with its window
        if shutdown is not None:
            # It may have ended by itself at this very moment.
            with contextlib.suppress(RuntimeError, ValueError, OSError):
                shutdown()


@contextlib.contextmanager
def _closing(response: Any) -> Iterator[None]:
    """Give the connection back to the pool once its answer is read whole; drop it otherwise."""
    try:
        yield
    except BaseException:
        response.close()
        raise
    finally:
        response.release_conn()


def _read(what: str, response: Any) -> bytes:
    import urllib3

    try:
        return bytes(response.read())
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise UnreachableError(what, error) from error


def _refusal(what: str, response: Any, text: bytes) -> ApiStatusError:
    try:
        status = json.loads(text)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        # A proxy in front of the API server, say: its text is all there is.
        status = {"message": text[:500].decode(errors="replace").strip()}
    return _status_error(what, int(response.status), status, response.headers.get("Retry-After"))


def _status_error(what: str, code: int, status: Observed, retry_after: str | None) -> ApiStatusError:
    kind = {409: ConflictError, 410: ExpiredError}.get(code, ApiStatusError)
    details = status.get("details")
    details = details if isinstance(details, dict) else {}
    return kind(
        what,
        code,
        reason=str(status.get("reason") or ""),
        message=str(status.get("message") or ""),
        details=details,
        retry_after=_retry_after(retry_after) if retry_after else details.get("retryAfterSeconds"),
    )


def _retry_after(text: str) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number, or a date (RFC 9110, 10.2.3)."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _is_permanent(error: Exception) -> bool:
    """Tell whether a failed connection fails the next time too: a certificate or an address that cannot be used."""
    import urllib3

    if isinstance(error, urllib3.exceptions.LocationValueError | urllib3.exceptions.URLSchemeUnknown):
        return True
    return isinstance(error, urllib3.exceptions.SSLError) and any(
        isinstance(part, ssl.SSLCertVerificationError) for part in error.args
    )
