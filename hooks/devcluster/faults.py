"""What can be made to go wrong in the cluster, by whom it should befall.

faults.inject(Trouble.CRASH_LOOP, "web-0", exit_code=137, reason="OOMKilled")
faults.clear()
"""

from __future__ import annotations

import enum
import fnmatch
from collections.abc import Callable
from dataclasses import dataclass

from devcluster.objects import Observed, qualified_name


class Trouble(enum.Enum):
    """The kinds of trouble; what `exit_code`, `reason`, `message` and `seconds` of a Fault mean for each."""

    NEVER_READY = "the pod runs, its readiness probe fails"
    CRASH_LOOP = "the containers exit with exit_code, for a reason such as Error or OOMKilled, again and again"
    IMAGE_PULL = "the image cannot be pulled"
    UNSCHEDULABLE = "no node takes the pod; message says why"
    INIT_FAILURE = "the first init container exits with exit_code"
    SLOW_TERMINATION = "a deleted pod takes seconds to go, or all of its grace period"
    UNHEALTHY = "the pod answers message: a text for its status, a number for that of HTTP, or hang"
    JOB_FAILS = "the pod of a Job exits with exit_code, having said message"
    JOB_STUCK = "the pod of a Job runs on and on"
    CLAIM_PENDING = "no volume is made for a claim"
    RESIZE_STUCK = "a bound claim does not get the capacity that it asks for"


@dataclass(frozen=True, slots=True)
class Fault:
    """One trouble for every object whose name, or ``namespace/name``, matches the pattern and the selector."""

    trouble: Trouble
    pattern: str = "*"
    exit_code: int = 1
    reason: str = "Error"
    message: str = ""
    seconds: float | None = None
    selector: Callable[[Observed], bool] | None = None

    def befalls(self, obj: Observed) -> bool:
        """Return whether it is this object's trouble."""
        names = (obj["metadata"]["name"], qualified_name(obj))
        if not any(fnmatch.fnmatchcase(name, self.pattern) for name in names):
            return False
        return self.selector is None or self.selector(obj)


class Faults:
    """The troubles of one cluster; whoever depends on them looks again when they change."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.listeners: list[Callable[[], None]] = []

    def inject(
        self,
        trouble: Trouble,
        pattern: str = "*",
        *,
        exit_code: int = 1,
        reason: str = "Error",
        message: str = "",
        seconds: float | None = None,
        selector: Callable[[Observed], bool] | None = None,
    ) -> Fault:
        """Let something go wrong from now on; return what `clear` takes back."""
        fault = Fault(trouble, pattern, exit_code, reason, message, seconds, selector)
        self._faults.append(fault)
        self._tell()
        return fault

    def clear(self, fault: Fault | Trouble | None = None) -> None:
        """Take back one fault, all of one trouble, or everything."""
        self._faults = [each for each in self._faults if fault is not None and fault not in {each, each.trouble}]
        self._tell()

    def find(self, trouble: Trouble, obj: Observed) -> Fault | None:
        """Return an object's fault of one kind; the one that was injected last wins."""
        return next((each for each in reversed(self._faults) if each.trouble is trouble and each.befalls(obj)), None)

    def _tell(self) -> None:
        for listener in tuple(self.listeners):
            listener()
