"""A Kubernetes cluster with Metacontroller, in memory: it tests the hooks of any CompositeController.

    def sync(request):
        name, text = request["parent"]["metadata"]["name"], request["parent"]["spec"]["text"]
        page = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"index.html": text}}
        return {"children": [page], "status": {"pages": len(request["children"]["ConfigMap.v1"])}}

    def test_a_site_has_its_page():
        cluster = Cluster(CONTROLLER, {"sync": sync}, [CRD])
        cluster.apply(SITE)
        assert cluster.settle()
        assert cluster.api.get("v1", "ConfigMap", "default", "blog")["data"] == {"index.html": "Hello"}

CONTROLLER is the CompositeController's manifest, CRD that of its parent's kind, SITE a parent. A hook may be a URL too.
From there on: `cluster.faults` lets things go wrong, `cluster.request` asks a Service, `cluster.api.writes` tells who
wrote what, and `cluster.metacontroller` can be stopped, restarted, and made to lose calls.

In reading order:

    cluster        `Cluster`: everything wired together; start here
    clock          simulated time, on which all else is timers
    apiserver      `ApiServer`: stores objects, and refuses what a real one refuses
    kinds, store, objects, errors, selectors, metadata    what it is made of
    defaults, validation, crd, schema, quantities    what it makes of an object on its way in, and what it refuses
    admission, limit_ranges, quotas, resources    the admission controllers of a usual cluster
    ownership      managedFields and server-side apply
    metacontroller `Metacontroller`: calls the hooks, and does as they say
    children, merge    how it writes children: its three-way merge
    related        which related objects a customize answer asks for
    hooks          how it reaches the hooks: functions or URLs
    garbage        deletes what has no owner any more, and what is in a namespace that goes
    workloads/     just enough of kubelet and of the controllers of StatefulSets, Deployments, Jobs, Services and claims
    traffic        what a request to a Service meets
    faults         what can be made to go wrong
    events         how all of them tell what happened
    rest, proxy    the API and the Services over HTTP on loopback, for real clients

Nothing but these last two reads the wall clock, sleeps or starts a thread, and nothing is random: a run is the same
every time.
"""

from __future__ import annotations

from devcluster.cluster import Cluster

__all__ = ["Cluster"]
