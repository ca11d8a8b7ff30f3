"""Requests, pages and watches, each with its tries and time-outs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from userswarm.backend.errors import BackendError, UnreachableError
from userswarm.backend.retry import Budget, RetryPolicy, is_transient
from userswarm.backend.transport.answers import closing, is_permanent, read, refusal
from userswarm.backend.transport.watching import WatchStream
from userswarm.wire.k8s import Manifest, Observed

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Method = Literal["GET", "PATCH", "DELETE"]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `continue_token` is empty on the last one."""

    items: tuple[Manifest, ...]
    continue_token: str
    resource_version: str


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
            with closing(response):
                raise refusal(what, response, read(what, response))
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
        with closing(response):
            text = read(what, response)
            if not 200 <= response.status < 300:
                raise refusal(what, response, text)
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
            raise UnreachableError(what, error, permanent=is_permanent(error)) from error
