"""`userswarm demo`: the life of a UserSwarm on an embedded cluster, told step by step.

In reading order:

    commands    the command line
    story       what is told, and the promise that is checked at each step
    wants       what the swarm of the story is made of, needs, and leaves
    world       the webhook in a process of its own, and the cluster, over loopback
    gate, gate_world, runtimes    the same for the gate: users, tokens, Envoy, and programs that play runtimes
    cluster     the dev cluster with this project's CRD, namespaces, controller and hooks
"""
