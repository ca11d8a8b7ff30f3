"""Give every user a private, isolated agent runtime on Kubernetes.

In reading order:

    cli           the commands: serve, render, demo, explain, crd, bootstrap, probe, reap
    server/       the web server that Metacontroller calls
    rendering, explaining    what `render` and `explain` print
    sync          one UserSwarm: from what is observed to what is desired
    finalize      the same for a UserSwarm that goes away
    customize     which other objects the two want to see
    desired       which children a swarm shall have now: what has to wait
    teardown      in which order the children go, and what has to be gone before
    status        phase, conditions, verified: from observation only
    freeze        the children as last applied, for a UserSwarm that cannot be built
    plan          all that follows from a spec alone; the one cache
    smoke_test    which attempt of the smoke test is due
    place         whether a swarm's own namespace is there, and ours or lent to us
    verify        when each child counts as ready; pod_trouble names what keeps a Pod from it
    children/     one builder for each kind of child; dedicated/ has those of a swarm with its own namespace
    observe       the observed children and related objects, indexed
    identity      every name, label, selector and checksum; slugs makes names safe
    parent        valid UserSwarm JSON -> UserSwarm
    isolation     what a swarm with its own namespace has besides: quota, limits, access
    workloads/    a tenant's own objects in it: every field they may have, and how they are completed
    config_toml   the layers of a runtime's config.toml
    schema        the CRD: defaults and validation
    envelope      the keys of a hook's request and response
    quantity      Kubernetes quantities
    settings      what the platform's operator decides
    k8s, errors, manifests    shapes, exceptions, where our manifests lie
    runtime/      runs inside a swarm's Pods: bootstrap and probe
    backend/      for backends: create UserSwarms, find their endpoints
    reaper/       deletes UserSwarms whose owner is gone
    demo/         what `userswarm demo` tells, on the in-memory cluster of the package devcluster beside this one
"""
