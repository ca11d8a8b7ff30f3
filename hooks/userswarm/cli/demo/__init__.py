"""`userswarm demo`: the life of a UserSwarm on an embedded cluster, told step by step.

In reading order:

    commands    the command line
    story       what is told, and the promise that is checked at each step
    world       the webhook in a process of its own, and the cluster, over loopback
    cluster     the dev cluster with this project's CRD, namespaces, controller and hooks
"""
