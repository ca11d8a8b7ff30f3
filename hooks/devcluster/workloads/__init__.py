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
kubelet          schedules, starts, probes, restarts and ends pods
containers       what a pod's status says about its containers
"""
