"""The API server: stores objects and refuses what a real one refuses.

Every write is checked, defaulted, versioned, logged in `writes`, and told to whoever subscribed. Objects that go
in or come out are copies; `peek` and `scan` share the stored ones, for the cluster's own parts, which never edit
what they read. Watches read a bounded log of events by resourceVersion.

server         `ApiServer`: the verbs; it is made of the next two, one on top of the other
writing        what the server makes of a write, and when it refuses it
contents       the kinds that are served and the objects that are stored: reading, storing, telling
transitions    what a write may change of an object, and what follows from it
watching       the log of events
writes         the log of writes
steps          what an admission step is given
"""

from __future__ import annotations

from devcluster.apiserver.server import ApiServer
from devcluster.apiserver.steps import Admission, AdmissionRequest
from devcluster.apiserver.watching import WatchEvent
from devcluster.apiserver.writes import Write

__all__ = ["Admission", "AdmissionRequest", "ApiServer", "WatchEvent", "Write"]
