"""Give every user a private, isolated agent runtime on Kubernetes.

In reading order:

    cli           the commands: serve, render, demo, explain, crd, bootstrap, probe, reap
    server/       the web server that Metacontroller calls
    sync          one UserSwarm: from what is observed to what is desired
    finalize      the same for a UserSwarm that goes away
    customize     which other objects the two want to see
    teardown      in which order the children go, and what has to be gone before
    status        phase, conditions, verified: from observation only
    freeze        the children as last applied, for a UserSwarm that cannot be built
    verify        when each child counts as ready
    children/     one builder for each kind of child
    observe       the observed children and related objects, indexed
    identity      every name, label, selector and checksum
    parent        valid UserSwarm JSON -> UserSwarm
    schema        the CRD: defaults and validation
    envelope      the keys of a hook's request and response
    quantity      Kubernetes quantities
    settings      what the platform's operator decides
    k8s, errors, manifests    shapes, exceptions, where our manifests lie
    runtime/      runs inside a swarm's Pods: bootstrap and probe
    backend/      for backends: create UserSwarms, find their endpoints
    reaper/       deletes UserSwarms whose owner is gone
    devcluster/   an in-memory cluster for `userswarm demo` and the tests
"""
