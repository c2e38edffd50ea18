"""Workers on a Ray cluster."""

from __future__ import annotations

from typing import Any

from coun.bench.execute.worker import Job, work
from coun.errors import CounError, first_line

LOCAL = "local"  # the address that starts a cluster on this machine


def run(job: Job, workers: int, address: str) -> None:
    """Run *workers* tasks on a Ray cluster and wait for them.

    Each task uses the threads that the experiments need and, where they compute on a GPU, one
    GPU. Store and data must have the same paths on every node, on a shared file system that
    supports locks. Ray restarts a task whose process dies.

    Args: address: as for `ray.init`, or "local" for a cluster that ends with the bench.

    Raises: CounError if Ray is not installed or the cluster does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise CounError(
            "--ray needs Ray, which is not installed: pip install 'coun[ray]'"
        ) from error

    def run_worker(job: Job, number: int) -> None:
        work(job, number, child=True)

    threads = max((e.setting.threads for e in job.experiments), default=1)
    needs_gpu = any(e.setting.device == "cuda" for e in job.experiments)
    options: dict[str, Any] = {"address": address}
    if address == LOCAL:
        options["num_cpus"] = workers * threads
    try:
        ray.init(**options, include_dashboard=False, log_to_driver=not job.quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CounError(
            f"the Ray cluster at '{address}' does not answer: {first_line(error)}"
        ) from error
    try:
        task = ray.remote(num_cpus=threads, num_gpus=int(needs_gpu))(run_worker)
        ray.get([task.remote(job, number) for number in range(workers)])
    finally:
        ray.shutdown()
