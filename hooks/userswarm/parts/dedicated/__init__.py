"""A Dedicated swarm: a namespace of its own, its walls, and the tenant's own workloads in it."""
