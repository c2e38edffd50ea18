"""Computing all experiments of a job: in this process, in workers, on a cluster, or jointly."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

from joblib import Parallel, delayed

from coun.bench.execute import cluster
from coun.bench.execute.distributed import run_distributed
from coun.bench.execute.worker import Job, work
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.files import read_json

ATTEMPTS = 3  # how often workers are started when some of them die


def run(job: Job, workers: int = 1, ray: str | None = None) -> dict[str, str]:
    """Compute the experiments of *job* that the store lacks.

    The bits of a result depend neither on the number of workers nor on other users of the
    store: each experiment runs alone, with the threads of its setting. Under torchrun all
    processes compute each experiment together, see `run_distributed`.

    Args:
        workers: number of processes.
        ray: address of a Ray cluster that runs the workers, see `cluster.run`.

    Returns: why experiments failed, by their key.

    Raises: CounError if workers die repeatedly.
    """
    process_group = ProcessGroup.current()
    if process_group.count > 1:
        if workers > 1 or ray is not None:
            raise CounError(
                "under torchrun its processes are the workers; remove --workers and --ray"
            )
        run_distributed(job, process_group)
        return {}
    for old in job.failures.glob("*.json"):
        old.unlink()
    for attempt in range(ATTEMPTS):
        try:
            if ray is not None:
                cluster.run(job, workers, ray)
            elif workers == 1:
                work(job, 0)
            else:
                calls = (delayed(work)(job, number, child=True) for number in range(workers))
                Parallel(n_jobs=workers, backend="loky", batch_size=1)(calls)
            break
        except BrokenProcessPool as error:
            if attempt == ATTEMPTS - 1:
                raise CounError(
                    f"workers died {ATTEMPTS} times (out of memory, or killed?); run the command "
                    "again to continue, with fewer --workers if memory is short"
                ) from error
    return {path.stem: read_json(path)["why"] for path in sorted(job.failures.glob("*.json"))}
