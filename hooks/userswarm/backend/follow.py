"""Follow one UserSwarm by name: list it, watch from there, and list again whenever the watch cannot be trusted.

When a watch's window is over, watching goes on from the last resourceVersion. When that has expired (410), when the
connection breaks, and when it is silent for longer than it may be, only a fresh list tells what was missed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from userswarm.backend.api import UserSwarmApi, is_transient
from userswarm.backend.errors import BackendError, ExpiredError
from userswarm.wire.k8s import Manifest


def follow(
    api: UserSwarmApi, name: str, *, timeout: float, window: float, silence: float
) -> Generator[Manifest | None, None, None]:
    """Yield the UserSwarm now and after each change, None while there is none; end when the time is up.

    At least one state is yielded, or an error raised. `window` and `silence`: see `Transport.watch`. Once there was
    an answer, an API server that cannot be reached is tried again until the time is up.
    """
    policy = api.policy
    deadline = policy.clock() + timeout
    answered = False
    failures = 0
    version = ""
    while True:
        left = deadline - policy.clock()
        if answered and left <= 0:
            return
        try:
            if not version:
                page = next(api.pages(field_selector=f"metadata.name={name}", budget=policy.budget(left)))
                answered = True
                yield page.items[0] if page.items else None
                version = page.resource_version
                continue
            # Not silent for longer than the time that is left, and a little for the answer's way.
            stream = api.watch(
                name=name, resource_version=version, window=min(window, left), silence=min(silence, left + 0.1)
            )
            with contextlib.closing(stream.events()) as events:
                for event in events:
                    failures = 0
                    version = event.resource_version or version
                    if event.type != "BOOKMARK":
                        yield None if event.type == "DELETED" else event.object
                    if policy.clock() >= deadline:
                        return
        except BackendError as error:
            if not answered or not (is_transient(error) or isinstance(error, ExpiredError)):
                raise
            version = ""
            failures += 1
            policy.sleep(min(policy.delay(failures), max(0.0, deadline - policy.clock())))
