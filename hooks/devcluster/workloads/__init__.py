"""Just enough of a cluster's controllers and kubelet to run what CompositeControllers make.

reconciler       the work queue that the controllers share
stateful_sets    StatefulSet -> revision -> pod with an ordinal
deployments      Deployment -> ReplicaSet
replica_sets     ReplicaSet -> pods
jobs             Job -> pod -> Complete or Failed
endpoints        Service -> EndpointSlice
claims           PersistentVolumeClaim -> Bound, grown, protected while in use
quotas           ResourceQuota -> what its namespace uses
namespaces       Namespace -> what every namespace has
kubelet          what makes it look at a pod
stages           starts, probes, restarts and ends pods
scheduler        binds pods to the node
runs             the pods on their way, and what they wait for
containers       what a pod's status says about its containers
"""
