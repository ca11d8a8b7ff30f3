"""`userswarm reap`: find the UserSwarms that have no live owner, and delete them with great care.

In reading order: `swarm` (an object of the list, as far as it matters here), `owners/` (who is alive, one file
a source), `decide` (pure: what goes, what stays, and why), `reap` (the story: list, read, wait, read again,
decide, delete), `cluster` (what is asked of Kubernetes), `claims`, `amounts`, `report`, `progress`, `commands`.

Whatever is in doubt stays: a swarm too many costs money, a swarm too few costs a user's work.
"""
