"""Doing what a plan asks for: workers that pick what is ready, until all is there."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from coun.bench import cluster, requests
from coun.bench.experiment import Cut, Evaluate, Experiment, Score, Train, Unlearn, World
from coun.bench.protocols import attack
from coun.bench.store import RUN, Store
from coun.data import Data, Split
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.files import read_json, write_json
from coun.runs import Options, Run, measure, predictions, train, unlearn

PAUSE = 0.2  # seconds between looks at what others are computing
RETRIES = 3  # times that workers which died are replaced


@dataclass(frozen=True)
class Job:
    """What every worker is told: all experiments, needs first, and where to put them."""

    experiments: tuple[Experiment, ...]
    store: Path
    failures: Path
    checkpoint_every: float = 60.0
    quiet: bool = False
    progress: bool = False
    until: float = math.inf  # by the clock: nothing new is begun then
    here: str = field(default_factory=os.getcwd)  # what relative paths in the config count from


def run(job: Job, workers: int = 1, ray: str | None = None) -> dict[str, str]:
    """Compute what is missing with *workers* processes; what failed, by key, and why.

    Args: ray: address of a cluster that takes the workers, see `cluster.run`.

    Bits depend neither on the number of workers nor on who else uses the store: each
    experiment runs alone, with the threads that its world says.

    Under torchrun its processes do each experiment together, see `together`.

    Raises: CounError if workers die again and again.
    """
    if ProcessGroup.current().count > 1:
        if workers > 1 or ray is not None:
            raise CounError("torchrun's processes are the workers; leave --workers and --ray out")
        together(job, ProcessGroup.current())
        return {}
    for old in job.failures.glob("*.json"):
        old.unlink()
    for attempt in range(RETRIES):
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
            if attempt == RETRIES - 1:
                raise CounError(
                    f"workers died {RETRIES} times (out of memory, or killed?); repeat the "
                    "command to go on, with fewer --workers if memory is short"
                ) from error
    return {p.stem: read_json(p)["why"] for p in sorted(job.failures.glob("*.json"))}


def work(job: Job, number: int, *, child: bool = False) -> None:
    """Until nothing is left: take the first experiment that is ready and that nobody has."""
    store = Store(job.store)
    if child:
        os.chdir(job.here)
        _end_with_parent()
    while _next(job, store, number):
        pass


def together(job: Job, ranks: ProcessGroup) -> None:
    """Do one experiment after the other, each with all *ranks*; the first keeps the results.

    Nobody can go on alone, so an experiment that fails ends the bench.
    """
    store = Store(job.store)
    for one in job.experiments:
        with contextlib.ExitStack() as claims:
            if ranks.first(partial(_wait, one, store, job, claims)):
                began = time.monotonic()
                perform(one, store, job)
                if ranks.is_main:
                    _say(job, f"{one.title} ({time.monotonic() - began:.1f} s)")
    ranks.barrier()


def _wait(one: Experiment, store: Store, job: Job, claims: contextlib.ExitStack) -> bool:
    """Until *one* is there, or time is over (False), or it is claimed (True)."""
    while not store.has(one) and time.time() < job.until:
        if claims.enter_context(store.claim(one)):
            return not store.has(one)
        time.sleep(PAUSE)
    return False


def _next(job: Job, store: Store, number: int) -> bool:
    """Do one experiment, or wait for others; False once there is nothing to wait for."""
    if time.time() >= job.until:
        return False
    waiting = False
    finished = {one.key for one in job.experiments if store.has(one)}
    lost = {path.stem for path in job.failures.glob("*.json")}
    for one in job.experiments:
        if one.key in finished | lost:
            continue
        if any(need.key in lost for need in one.needs):
            lost.add(one.key)
            continue
        waiting = True
        if any(need.key not in finished for need in one.needs):
            continue
        with store.claim(one) as mine:
            if not mine or store.has(one):
                continue
            began = time.monotonic()
            try:
                perform(one, store, job, number)
            except CounError as error:
                why = f"{one.title}: {error}"
                write_json(job.failures / f"{one.key}.json", {"why": why})
                _say(job, f"failed: {why}")
                return True
            seconds = time.monotonic() - began
            done = f"[{len(finished) + 1}/{len(job.experiments)}]"
            _say(job, f"{done} {one.title} ({seconds:.1f} s)")
            return True
    if waiting:
        time.sleep(PAUSE)
    return waiting


def perform(one: Experiment, store: Store, job: Job, number: int = 0) -> None:
    """Compute *one* and keep it. Everything it needs must be there."""
    leads = ProcessGroup.current().is_main
    if leads:
        store.begin(one)
    with _threads(one.world.threads):
        options = _options(one.world, job, number)
        if isinstance(one, Train):
            result = _model(_train(one, store, options))
        elif isinstance(one, Unlearn):
            result = _model(_unlearn(one, store, options))
        elif not leads:
            return
        elif isinstance(one, Evaluate):
            result = _evaluate(one, store)
        else:
            assert isinstance(one, Score)
            result = {"scores": _score(one, store)}
    if leads:
        store.finish(one, result)


def _train(one: Train, store: Store, options: Options) -> Run:
    data = _data(one.world)
    rows = _split(one.cut, one.world, data, store) if one.cut else None
    return train(
        data,
        one.world.model,
        split=rows,
        seed=one.seed,
        out=store.place(one) / RUN,
        options=options,
        **one.world.train,
    )


def _unlearn(one: Unlearn, store: Store, options: Options) -> Run:
    data = _data(one.world)
    rows = _split(one.cut, one.world, data, store)
    start = _open(one.start, store, data)
    if one.before is not None:
        before = _split(one.before, one.world, data, store)
        data, rows = requests.later(rows, before, data)
        start = replace(start, data=data, split=None)
    return unlearn(
        start,
        rows,
        one.method,
        seed=one.seed,
        out=store.place(one) / RUN,
        options=options,
        contrast=one.contrast,
        **one.settings,
    )


def _evaluate(one: Evaluate, store: Store) -> dict[str, Any]:
    data = _data(one.world)
    rows = _split(one.cut, one.world, data, store)
    found = predictions(_open(one.subject, store, data).classifier, data, rows)
    result = measure(found, rows)
    if one.mia != "svc":
        result["mia_efficacy"] = attack(one.mia, found, rows)
    return result


def _score(one: Score, store: Store) -> list[float]:
    data = _data(one.world)
    if one.measure == "self-influence":
        return requests.self_influence(store.open(one.models[0], data), data)
    trained = []
    for model in one.models:
        assert model.cut is not None
        trained.append((store.open(model, data), _split(model.cut, one.world, data, store)))
    return requests.memorisation(trained, data)


def _open(one: Experiment, store: Store, data: Data) -> Run:
    """The model of *one*, whose own data is smaller where earlier stages removed rows."""
    if isinstance(one, Unlearn) and one.before is not None:
        whole = _split(one.cut, one.world, data, store)
        data, _ = requests.later(whole, _split(one.before, one.world, data, store), data)
    return store.open(one, data)


def _split(cut: Cut, world: World, data: Data, store: Store) -> Split:
    def scores(one: Experiment) -> list[float]:
        return list(store.result(one)["scores"])

    return requests.split(cut, data, world.material, scores)


def _data(world: World) -> Data:
    data = world.material.load()
    if data.fingerprint != world.fingerprint:
        raise CounError(
            f"the data of {world.name} changed while the bench ran: its fingerprint was "
            f"{world.fingerprint[:12]}, now it is {data.fingerprint[:12]}"
        )
    return data


def _model(run: Run) -> dict[str, Any]:
    """What tables need to know of a model."""
    kept = ("weights_sha256", "cost", "preparation_cost", "kind", "method", "environment")
    split = run.split
    return {
        **{name: run.record[name] for name in kept if name in run.record},
        "split_sha256": split.digest if split else None,
        "retained": len(split.retain if split else run.data.train),
    }


def _options(world: World, job: Job, number: int) -> Options:
    device = world.device
    if device == "cuda" and world.ranks > 1:
        device = "auto"  # a rank's own
    elif device == "cuda":
        device = f"cuda:{number % max(1, torch.cuda.device_count())}"
    return Options(
        device,
        "bf16" if world.precision == "bf16" else "fp32",
        checkpoint_every=job.checkpoint_every,
        compile=world.compile,
        progress=job.progress,
    )


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with *count* threads inside the block: results depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def _end_with_parent() -> None:
    """End this worker when the bench that started it is killed, instead of computing on."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _say(job: Job, text: str) -> None:
    if not job.quiet:
        print(text, file=sys.stderr, flush=True)
