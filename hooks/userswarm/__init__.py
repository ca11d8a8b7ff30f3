"""Give every user a private, isolated agent runtime on Kubernetes.

In reading order:

    cli/          the commands: serve, render, explain, crd, demo, templates, rollout, bootstrap, gate, reap
    sync          one UserSwarm: from what is observed to what is desired
    finalize      the same for a UserSwarm that goes away
    compose/      puts the parts together, and names none of them: desired (the children for now), status (phase,
                  conditions, verified), made of judging (what it comes to), progress (since when) and telling (whether
                  that is worth a write), needs (what has to be seen besides), teardown (how all goes), replace (what
                  cannot be changed), plan (all that follows from a spec alone; the one cache)
    parts/        one room for each capability, all of one shape (`shape`); PARTS is the one ordered tuple:
                  suspension, lifecycle/, dedicated/ (namespace, limits, network, access, tenant), storage/, account,
                  configuration, service, template/ (the revision, a database), runtime, verification
    spec/         what an object says: schema (the CRD), parent (valid or every problem), swarm, identity (every name,
                  label and selector), quantity, settings (what the platform's operator decides), template/ (what the
                  platform offers by name, and what it makes of a swarm), pods/ (what any Pod may say)
    wire/         JSON in and out: envelope (the keys of a request and an answer), observe, conditions, freeze
                  (children as last applied), k8s
    errors        every exception that is raised on purpose
    server/       the web server that Metacontroller calls; it looks up what a hook needs, and asks once more
    gate/         decides for a proxy who may reach which runtime, and where it is
    web/          what our web servers have in common: gunicorn, log, metrics
    runtime/      runs inside a swarm's Pods: bootstrap, and the steps of templates
    backend/      for backends: create UserSwarms, find their endpoints
    reaper/       deletes UserSwarms whose owner is gone

Beside it, `devcluster` is an in-memory Kubernetes with Metacontroller for testing hooks of any kind.
"""
