"""Just enough of a cluster's controllers and kubelet to run what a UserSwarm is made of.

reconciler       the work queue that the controllers share
stateful_sets    StatefulSet -> revision -> pod with an ordinal
jobs             Job -> pod -> Complete or Failed
endpoints        Service -> EndpointSlice
claims           PersistentVolumeClaim -> Bound, grown, protected while in use
kubelet          schedules, starts, probes, restarts and ends pods
containers       what a pod's status says about its containers
"""
