"""Computing each experiment with all processes of a torchrun launch together."""

from __future__ import annotations

import contextlib
import time
from functools import partial

from coun.bench.execute.experiments import execute
from coun.bench.execute.store import Store
from coun.bench.execute.worker import PAUSE, Job
from coun.bench.spec.experiment import Experiment
from coun.engine.process_group import ProcessGroup


def run_distributed(job: Job, process_group: ProcessGroup) -> None:
    """Compute one experiment after the other, each with all processes of *process_group*.

    The main process claims the experiments and saves the results. Processes cannot continue
    without each other, so an experiment that fails ends the bench.
    """
    store = Store(job.store)
    for experiment in job.experiments:
        with contextlib.ExitStack() as claims:
            if process_group.first(partial(_claim, experiment, store, job, claims)):
                start = time.monotonic()
                execute(experiment, store, job.compute)
                if process_group.is_main:
                    job.log(f"{experiment.title} ({time.monotonic() - start:.1f} s)")
    process_group.barrier()


def _claim(experiment: Experiment, store: Store, job: Job, claims: contextlib.ExitStack) -> bool:
    """Wait for the lock of *experiment*; False once it is finished or the time limit is reached."""
    while not store.has(experiment) and time.time() < job.deadline:
        if claims.enter_context(store.claim(experiment)):
            return not store.has(experiment)
        time.sleep(PAUSE)
    return False
