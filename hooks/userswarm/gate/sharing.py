"""The Redis in which several gates count together, and what is answered where it does not.

Who waits for it waits outside: it has two seconds, and is asked anew only where a connection was lost.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from userswarm.gate.answers import Refused
from userswarm.gate.settings import PREFIX

if TYPE_CHECKING:
    import redis

logger = logging.getLogger("userswarm.gate")

_PATIENCE = 2.0


def connect(url: str) -> redis.Redis:
    """Return a client, which connects when it is first asked."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Not after a timeout, too: what was counted already would be counted twice.
    once_more = Retry(NoBackoff(), 1, (redis.ConnectionError,))
    return redis.Redis.from_url(url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, retry=once_more)


def uncounted(error: Exception) -> Refused:
    """Return the refusal of a request that cannot be counted; the operator is told why, and where to look."""
    logger.error("%sLIMITS_STORAGE: nothing can be counted: %s", PREFIX, error)
    return Refused(503, "no-counter", "requests cannot be counted now", retry_after=5)
