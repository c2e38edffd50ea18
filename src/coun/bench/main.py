"""A whole bench: plan, tune where asked to, compute, and write down every number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coun.bench import results
from coun.bench.config import Config
from coun.bench.experiment import Experiment, closure
from coun.bench.plan import make_plan
from coun.bench.reading import parse, read_text
from coun.bench.runner import Job, run
from coun.bench.store import Store
from coun.bench.tune import Compute, tune
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError, unknown
from coun.files import write_json, write_text

CONFIG, STORE, FAILURES, TUNED = "config.toml", "store", "failures", "tuned.json"


def bench(
    config: str | Path | None,
    out: str | Path,
    *,
    workers: int = 1,
    resume: bool = False,
    only: Sequence[str] = (),
    store: str | Path | None = None,
    tuning: bool = True,
    ray: str | None = None,
    minutes: float = math.inf,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run what *config* asks for and write `results.json` and `results.parquet` into *out*.

    Args:
        config: a file or a shipped name; None with *resume* takes the one that *out* holds.
        workers: processes, an experiment each; they change no number.
        resume: go on in a folder that holds another config's results. Repeating a command
            needs no such thing: it goes on by itself.
        only: parts of the bench, see `Plan.only`.
        ray: address of a Ray cluster that takes the workers; "local" starts one here.
        tuning: False leaves out what `[tune]` asks for and takes the config's settings.
        store: where experiments are kept, by default in *out*; benches may share one.
        minutes: begin nothing new after them, and write down what is finished; 0 only does
            the latter.

    Returns: the content of `results.json`.

    Raises: CounError for a bad config, a folder of another bench, a disk that refuses, or if
        the time is over before tuning is.
    """
    out = Path(out)
    text = _text(config, out, resume)
    parsed = with_rows(parse(text, str(config or out / CONFIG)), only)
    leads = ProcessGroup.current().is_main
    if leads:
        write_text(out / CONFIG, text)
    kept = Store(Path(store) if store else out / STORE)
    until = time.time() + 60 * minutes
    compute = _computer(parsed, out, kept, workers, ray, quiet, until)
    tuned = None
    if parsed.tune and tuning and not parsed.tune.frozen:
        tuned = tune(parsed, _whole(compute, until), kept)
        if leads:
            write_json(out / TUNED, tuned)
    plan = make_plan(parsed, tuned=tuned).only(only)
    failures = compute(plan.experiments)
    if leads:
        results.write(plan, results.collect(plan, kept), out, failures, {"tuning": tuned})
    ProcessGroup.current().barrier()
    return results.read(out)


def search(
    config: str | Path,
    out: str | Path,
    *,
    workers: int = 1,
    store: str | Path | None = None,
    ray: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Only tune: write `tuned.json` into *out* and return it, see `tune`.

    Raises: CounError if the config has no `[tune]`, or no method with search ranges.
    """
    out, parsed = Path(out), parse(read_text(config), str(config))
    if not parsed.tune or not any(method.search for method in parsed.method):
        raise CounError(f"{config} has nothing to tune; expected [tune] and methods with search")
    kept = Store(Path(store) if store else out / STORE)
    found = tune(parsed, _computer(parsed, out, kept, workers, ray, quiet), kept)
    if ProcessGroup.current().is_main:
        write_json(out / TUNED, found)
    return found


def _computer(
    config: Config,
    out: Path,
    store: Store,
    workers: int,
    ray: str | None,
    quiet: bool,
    until: float = math.inf,
) -> Callable[[Iterable[Experiment]], dict[str, str]]:
    def compute(experiments: Iterable[Experiment]) -> dict[str, str]:
        job = Job(
            tuple(closure(experiments)),
            store.folder.resolve(),
            (out / FAILURES).resolve(),
            config.compute.checkpoint_every,
            quiet,
            progress=workers == 1 and ray is None and not quiet,
            until=until,
        )
        return run(job, workers, ray)

    return compute


def _whole(compute: Compute, until: float) -> Compute:
    """*compute*, but a search cut short chooses nothing."""

    def all_of(experiments: Iterable[Experiment]) -> Mapping[str, str]:
        failures = compute(experiments)
        if time.time() >= until:
            raise CounError("the time was over before tuning was; repeat the command to go on")
        return failures

    return all_of


def with_rows(config: Config, only: Sequence[str]) -> Config:
    """*config* with only the beds that are asked for, so that no other's data is needed."""
    wanted = [word.removeprefix("bed=").split(",") for word in only if word.startswith("bed=")]
    known = [bed.name for bed in config.bed]
    for name in (name for names in wanted for name in names):
        if name not in known:
            raise unknown("bed", name, known)
    beds = tuple(bed for bed in config.bed if all(bed.name in names for names in wanted))
    return config.model_copy(update={"bed": beds})


def _text(config: str | Path | None, out: Path, resume: bool) -> str:
    held = out / CONFIG
    if config is None:
        if not (resume and held.is_file()):
            raise CounError(
                "no config; expected a file, a shipped name, or --resume with its --out"
            )
        return read_text(held)
    text = read_text(config)
    if held.is_file() and not resume and held.read_text(encoding="utf-8") != text:
        raise CounError(
            f"{out} holds another bench ({held} differs from {config}); choose another --out, or "
            "add --resume to go on with the new config: finished work is kept"
        )
    if out.exists() and not out.is_dir():
        raise CounError(f"{out} is a file; expected a folder, choose another --out")
    return text
