"""The same workers on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coun.errors import CounError

if TYPE_CHECKING:
    from coun.bench.runner import Job

LOCAL = "local"  # an address: start a head on this machine


def run(job: Job, workers: int, address: str) -> None:
    """Have *workers* tasks of the cluster at *address* do what is missing, and wait for them.

    Each task takes the threads that the experiments ask for and, where they compute on GPUs,
    one GPU. The store and the data must lie under the same paths on every node: a shared
    file system that honours locks. Ray starts a task again if its process dies.

    Args: address: as for `ray.init`, or "local" for a head here that ends with the bench.

    Raises: CounError if Ray is not installed or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise CounError(
            "--ray needs Ray, which is not installed: pip install 'coun[ray]'"
        ) from error
    from coun.bench.runner import work

    def one(job: Job, number: int) -> None:
        work(job, number, child=True)

    threads = max((one.world.threads for one in job.experiments), default=1)
    gpus = any(one.world.device == "cuda" for one in job.experiments)
    where: dict[str, Any] = {"address": address}
    if address == LOCAL:
        where["num_cpus"] = workers * threads
    try:
        ray.init(**where, include_dashboard=False, log_to_driver=not job.quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CounError(f"no Ray cluster at '{address}': {line}") from error
    try:
        task = ray.remote(num_cpus=threads, num_gpus=int(gpus))(one)
        ray.get([task.remote(job, number) for number in range(workers)])
    finally:
        ray.shutdown()
