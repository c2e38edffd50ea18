"""Workers: processes that take the next experiment that is ready, until all are finished."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from coun.bench.execute.experiments import ComputeOptions, execute
from coun.bench.execute.store import Store
from coun.bench.spec.experiment import Experiment
from coun.errors import CounError
from coun.files import write_json

PAUSE = 0.2  # seconds between looks at what other processes compute


@dataclass(frozen=True)
class Job:
    """What every worker receives.

    Args:
        experiments: everything to compute, ordered so that needs come first.
        store: folder of the results.
        failures: folder for the reasons of failures.
        deadline: seconds since the epoch; no experiment is started after it.
        folder: the folder that relative paths in the config start from.
    """

    experiments: tuple[Experiment, ...]
    store: Path
    failures: Path
    compute: ComputeOptions = ComputeOptions()  # noqa: RUF009
    quiet: bool = False
    deadline: float = math.inf
    folder: str = field(default_factory=os.getcwd)

    def log(self, text: str) -> None:
        """Write a line to standard error, unless the job is quiet."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)


def work(job: Job, number: int, *, child: bool = False) -> None:
    """Compute experiments that are ready and unclaimed, until none is left.

    Args:
        number: of this worker; with several GPUs it chooses the one to use.
        child: whether this is a process of its own, which must end with its parent.
    """
    store = Store(job.store)
    if child:
        os.chdir(job.folder)
        _end_with_parent()
    while _compute_next(job, store, number):
        pass


def _compute_next(job: Job, store: Store, number: int) -> bool:
    """Compute one experiment, or wait for other processes; False once nothing is left."""
    if time.time() >= job.deadline:
        return False
    pending = False
    finished = {e.key for e in job.experiments if store.has(e)}
    failed = {path.stem for path in job.failures.glob("*.json")}
    for experiment in job.experiments:
        if experiment.key in finished | failed:
            continue
        if any(need.key in failed for need in experiment.needs):
            failed.add(experiment.key)
            continue
        pending = True
        if any(need.key not in finished for need in experiment.needs):
            continue
        with store.claim(experiment) as claimed:
            # Another worker may have finished it between the look above and the claim.
            if claimed and not store.has(experiment):
                progress = f"[{len(finished) + 1}/{len(job.experiments)}]"
                _compute(experiment, job, store, number, progress)
                return True
    if pending:
        time.sleep(PAUSE)
    return pending


def _compute(experiment: Experiment, job: Job, store: Store, number: int, progress: str) -> None:
    """Compute one experiment; a failure is recorded, so that the others continue."""
    start = time.monotonic()
    try:
        execute(experiment, store, job.compute, number)
    except CounError as error:
        reason = f"{experiment.title}: {error}"
        write_json(job.failures / f"{experiment.key}.json", {"why": reason})
        job.log(f"failed: {reason}")
    else:
        job.log(f"{progress} {experiment.title} ({time.monotonic() - start:.1f} s)")


def _end_with_parent() -> None:
    """End this worker when the bench that started it is killed, so that it does not compute on."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
