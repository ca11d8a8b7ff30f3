import itertools
from typing import Any

import pytest

from devcluster.apiserver import AdmissionRequest
from devcluster.errors import ApiError
from devcluster.faults import Trouble
from devcluster.objects import condition
from fakes import (
    NAMESPACE,
    Workloads,
    claim,
    job,
    mounting,
    pod,
    refusal,
)

Json = dict[str, Any]
J = ("batch/v1", "Job", NAMESPACE, "j")
D = ("v1", "PersistentVolumeClaim", NAMESPACE, "d")


@pytest.fixture
def cluster() -> Workloads:
    return Workloads()


def true_conditions(obj: Json) -> dict[str, str]:
    return {each["type"]: each["reason"] for each in obj["status"].get("conditions", []) if each["status"] == "True"}


# Jobs


def test_a_job_runs_its_pod_and_is_complete(cluster: Workloads) -> None:
    cluster.api.create(job())
    cluster.clock.advance(0.1)
    status = cluster.get("Job", "j")["status"]
    assert (status["active"], status["terminating"], status["ready"]) == (1, 0, 0)
    made = cluster.list("Pod")[0]
    assert made["metadata"]["name"].startswith("j-")
    assert made["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert made["metadata"]["labels"]["job-name"] == "j"
    cluster.clock.advance(1)
    assert cluster.get("Job", "j")["status"]["ready"] == 1
    assert cluster.settle()
    finished = cluster.get("Job", "j")
    assert true_conditions(finished) == {
        "SuccessCriteriaMet": "CompletionsReached",
        "Complete": "CompletionsReached",
    }
    status = finished["status"]
    assert status["succeeded"] == 1
    assert "active" not in status
    assert "failed" not in status
    assert status["completionTime"] == condition(finished, "Complete")["lastTransitionTime"]
    ended = cluster.list("Pod")[0]
    assert ended["status"]["phase"] == "Succeeded"
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert "finalizers" not in ended["metadata"]


def test_a_failed_job_says_why(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.JOB_FAILS, "j-*", exit_code=7, message="saw a login page", reason="Error")
    cluster.api.create(job(container={"terminationMessagePolicy": "FallbackToLogsOnError"}))
    assert cluster.settle()
    failed = cluster.get("Job", "j")
    assert true_conditions(failed) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert condition(failed, "Failed")["message"] == "Job has reached the specified backoff limit"
    assert failed["status"]["failed"] == 1
    assert "completionTime" not in failed["status"]
    ended = cluster.list("Pod")[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"], ended["reason"]) == (7, "saw a login page", "Error")
    since = len(cluster.api.writes)
    cluster.api.patch(*J, {"metadata": {"labels": {"a": "b"}}})
    assert cluster.settle()
    assert cluster.api.count_writes("kube-controller-manager", since) == 0


def test_a_job_tries_again_after_pauses_that_grow(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.JOB_FAILS)
    cluster.api.create(job(backoffLimit=2))
    assert cluster.settle()
    starts = sorted(each["metadata"]["creationTimestamp"] for each in cluster.list("Pod"))
    seconds = [int(start[17:19]) for start in starts]

    assert cluster.get("Job", "j")["status"]["failed"] == 3
    assert [later - earlier for earlier, later in itertools.pairwise(seconds)] == [12, 22]


def test_a_job_whose_failed_pods_are_taken_away_tries_again_at_once(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.JOB_FAILS)
    cluster.api.create(job(backoffLimit=1))
    cluster.clock.advance(3)
    assert cluster.get("Job", "j")["status"]["failed"] == 1
    cluster.faults.clear()
    cluster.api.delete("v1", "Pod", NAMESPACE, cluster.names("Pod")[0])
    cluster.clock.advance(4)
    assert true_conditions(cluster.get("Job", "j"))["Complete"] == "CompletionsReached"


def test_a_stuck_job_runs_until_its_deadline(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.JOB_STUCK)
    cluster.api.create(job(activeDeadlineSeconds=60))
    cluster.clock.advance(59)
    assert true_conditions(cluster.get("Job", "j")) == {}
    cluster.clock.advance(1.5)
    assert true_conditions(cluster.get("Job", "j")) == {"FailureTarget": "DeadlineExceeded"}
    assert cluster.get("Job", "j")["status"]["terminating"] == 1
    assert cluster.settle()
    assert true_conditions(cluster.get("Job", "j")) == {
        "FailureTarget": "DeadlineExceeded",
        "Failed": "DeadlineExceeded",
    }
    assert cluster.names("Pod") == []


def test_a_deadline_does_not_outlast_its_job(cluster: Workloads) -> None:
    cluster.api.create(job(activeDeadlineSeconds=500))
    assert cluster.settle()

    assert cluster.clock.elapsed < 10
    assert "Complete" in true_conditions(cluster.get("Job", "j"))


def test_a_stuck_job_goes_on_once_it_is_let(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.JOB_STUCK)
    cluster.api.create(job())
    assert cluster.settle()
    assert cluster.get("Job", "j")["status"]["active"] == 1
    cluster.faults.clear()
    assert cluster.settle()
    assert "Complete" in true_conditions(cluster.get("Job", "j"))


def test_deleting_a_job_ends_its_pods_in_the_background(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.JOB_STUCK)
    cluster.api.create(job())
    assert cluster.settle()
    cluster.api.delete(*J)
    cluster.clock.advance(0.5)
    assert cluster.names("Job") == []
    assert "deletionTimestamp" in cluster.list("Pod")[0]["metadata"]
    assert cluster.settle()
    assert cluster.names("Pod") == []


def test_orphaning_leaves_the_pod_running(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.JOB_STUCK)
    cluster.api.create(job())
    assert cluster.settle()
    cluster.api.delete(*J, propagation="Orphan")
    assert cluster.settle()

    left = cluster.list("Pod")[0]
    assert (left["status"]["phase"], cluster.names("Job")) == ("Running", [])
    assert not left["metadata"].keys() & {"ownerReferences", "finalizers"}


def test_a_pod_is_let_go_once_however_often_it_changes(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.JOB_STUCK)
    cluster.api.create(job())
    assert cluster.settle()
    cluster.api.delete(*J)
    name = cluster.names("Pod")[0]
    cluster.api.patch("v1", "Pod", NAMESPACE, name, {"metadata": {"labels": {"a": "b"}}})
    since = len(cluster.api.writes)
    cluster.clock.advance(0.01)

    assert [str(write) for write in cluster.api.writes[since:]] == [
        f"patch Pod zoo/{name} by kube-controller-manager: ok"
    ]


@pytest.mark.parametrize("after", [0.05, 2.0])
def test_a_pod_that_somebody_deletes_counts_as_failed(cluster: Workloads, after: float) -> None:
    cluster.faults.inject(Trouble.JOB_STUCK)
    cluster.api.create(job())
    cluster.clock.advance(after)
    cluster.api.delete("v1", "Pod", NAMESPACE, cluster.names("Pod")[0])
    assert cluster.settle()

    assert true_conditions(cluster.get("Job", "j"))["Failed"] == "BackoffLimitExceeded"
    assert cluster.names("Pod") == []


def test_what_ended_is_counted_once_even_where_the_next_pod_cannot_be_made(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.JOB_FAILS)
    cluster.api.create(job(backoffLimit=1))
    cluster.clock.advance(3)
    refusals = [ApiError(403, "Forbidden", "quota")]

    def step(request: AdmissionRequest) -> None:
        if request.kind.kind == "Pod" and request.operation == "CREATE" and refusals:
            raise refusals.pop()

    cluster.api.admission.append(step)
    assert cluster.settle()
    assert refusals == []
    assert cluster.get("Job", "j")["status"]["failed"] == 2
    assert "FailedCreate: quota" in cluster.event_texts()


def test_a_job_that_is_going_does_nothing(cluster: Workloads) -> None:
    held = job()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.api.create(held)
    cluster.api.delete(*J)
    assert cluster.settle()

    assert cluster.names("Pod") == []


def test_a_long_name_is_cut_for_the_pods(cluster: Workloads) -> None:
    cluster.api.create(job("j" * 63))
    cluster.clock.advance(0.1)

    assert len(cluster.names("Pod")[0]) == 63


# Claims


def test_a_claim_is_bound_to_a_volume_of_its_size(cluster: Workloads) -> None:
    cluster.api.create(claim())
    assert cluster.settle()
    found = cluster.api.get(*D)

    assert found["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}
    assert found["spec"]["volumeName"] == f"pvc-{found['metadata']['uid']}"
    assert found["metadata"]["annotations"] == {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
        "volume.beta.kubernetes.io/storage-provisioner": "csi.example.com",
        "volume.kubernetes.io/storage-provisioner": "csi.example.com",
    }


@pytest.mark.parametrize("storage_class", ["", "unknown"])
def test_a_claim_of_no_known_class_stays_pending(cluster: Workloads, storage_class: str) -> None:
    cluster.api.create(claim(storageClassName=storage_class))
    cluster.api.create(pod(**mounting("d")))
    assert cluster.settle()

    assert cluster.api.get(*D)["status"] == {"phase": "Pending"}
    assert "unbound immediate" in condition(cluster.get("Pod", "p"), "PodScheduled")["message"]


def test_a_claim_can_be_kept_pending(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.CLAIM_PENDING, "d")
    cluster.api.create(claim())
    assert cluster.settle()
    assert cluster.api.get(*D)["status"]["phase"] == "Pending"
    cluster.faults.clear()
    assert cluster.settle()
    assert cluster.api.get(*D)["status"]["phase"] == "Bound"


def test_a_claim_that_goes_while_it_is_bound_and_comes_again_starts_anew(cluster: Workloads) -> None:
    cluster.api.create(claim())
    cluster.clock.advance(0.2)
    cluster.api.delete(*D)
    assert cluster.settle()
    assert cluster.names("PersistentVolumeClaim") == []
    cluster.api.create(claim())
    cluster.clock.advance(0.3)
    assert cluster.api.get(*D)["status"]["phase"] == "Pending"
    assert cluster.settle()
    assert cluster.api.get(*D)["status"]["phase"] == "Bound"


def grow(cluster: Workloads, size: str) -> None:
    cluster.api.patch(*D, {"spec": {"resources": {"requests": {"storage": size}}}})


def test_capacity_follows_a_larger_request_after_a_while(cluster: Workloads) -> None:
    cluster.api.create(claim())
    assert cluster.settle()
    grow(cluster, "2Gi")
    cluster.clock.advance(1)
    found = cluster.api.get(*D)
    assert found["status"]["capacity"] == {"storage": "1Gi"}
    assert condition(found, "Resizing")["status"] == "True"
    cluster.api.patch(*D, {"metadata": {"labels": {"a": "b"}}})
    assert cluster.settle()
    found = cluster.api.get(*D)
    assert found["status"]["capacity"] == {"storage": "2Gi"}
    assert "conditions" not in found["status"]


def test_a_resize_can_be_stuck(cluster: Workloads) -> None:
    cluster.api.create(claim())
    assert cluster.settle()
    cluster.faults.inject(Trouble.RESIZE_STUCK)
    grow(cluster, "2Gi")
    assert cluster.settle()
    assert cluster.api.get(*D)["status"]["capacity"] == {"storage": "1Gi"}
    cluster.faults.clear()
    assert cluster.settle()
    assert cluster.api.get(*D)["status"]["capacity"] == {"storage": "2Gi"}


def test_a_claim_in_use_is_kept_until_the_last_pod_is_gone(cluster: Workloads) -> None:
    cluster.api.create(claim())
    for name in ("a", "b"):
        cluster.api.create(pod(name, **mounting("d")))
    assert cluster.settle()
    cluster.api.delete(*D)
    cluster.api.delete("v1", "Pod", NAMESPACE, "a")
    assert cluster.settle()
    assert "deletionTimestamp" in cluster.api.get(*D)["metadata"]
    cluster.api.delete("v1", "Pod", NAMESPACE, "b")
    assert cluster.settle()
    assert refusal(lambda: cluster.api.get(*D)).code == 404


def test_a_finished_pod_does_not_hold_a_claim(cluster: Workloads) -> None:
    cluster.api.create(claim())
    cluster.api.create(pod(restartPolicy="Never", **mounting("d")))
    assert cluster.settle()
    assert cluster.get("Pod", "p")["status"]["phase"] == "Succeeded"
    cluster.api.delete(*D)
    assert cluster.settle()
    assert cluster.names("PersistentVolumeClaim") == []


def test_other_finalizers_of_a_claim_are_not_the_controllers(cluster: Workloads) -> None:
    held = claim()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.api.create(held)
    cluster.api.delete(*D)
    assert cluster.settle()

    assert cluster.api.get(*D)["metadata"]["finalizers"] == ["example.com/hold"]
