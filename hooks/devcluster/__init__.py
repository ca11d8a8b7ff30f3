"""An in-memory Kubernetes cluster with Metacontroller, so that the hooks run in full anywhere.

In reading order:

    cluster        `Cluster`: everything wired together; start here
    clock          simulated time, on which all else is timers
    apiserver      `ApiServer`: stores objects, and refuses what a real one refuses
    kinds, store, objects, errors, selectors, metadata    what it is made of
    defaults, validation, policies, crd    what it makes of an object on its way in, and what it refuses
    admission, limit_ranges, quotas, resources    the admission controllers of a usual cluster
    ownership      managedFields and server-side apply
    metacontroller `Metacontroller`: calls the hooks, and does as they say
    merge          its three-way merge
    related        which related objects a customize answer asks for
    hooks          how it reaches the hooks: in process or over HTTP
    garbage        deletes what has no owner any more, and what is in a namespace that goes
    workloads/     just enough of kubelet and of the controllers of StatefulSets, Deployments, Jobs, Services and claims
    faults         what can be made to go wrong
    events         how all of them tell what happened

Nothing here reads the wall clock, sleeps, starts a thread, or is random: a run is the same every time.
"""
