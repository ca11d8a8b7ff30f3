"""What the API server makes of our kinds: the form in which it stores them, and the defaults it adds.

Two steps, as in Kubernetes: decoding into Go types drops what `omitempty` drops and writes quantities in canonical
form; then defaults are filled in. Source: the captured requests of a real run on Kubernetes 1.36.

decoding       the first step
kinds          the second, for each kind
pods           the defaults of pods, and of what is made of their templates
"""

from __future__ import annotations

from devcluster.defaults.decoding import as_stored, metadata_as_stored
from devcluster.defaults.kinds import add_defaults
from devcluster.defaults.pods import quality

__all__ = ["add_defaults", "as_stored", "metadata_as_stored", "quality"]
