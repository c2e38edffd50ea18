"""A whole bench: plan it, tune where the config requests it, compute it, write the results."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coun.bench.execute.experiments import ComputeOptions
from coun.bench.execute.records import collect, collect_ensembles
from coun.bench.execute.runner import run
from coun.bench.execute.store import Store
from coun.bench.execute.tuning import tune
from coun.bench.execute.worker import Job
from coun.bench.output import maps, results
from coun.bench.output.results import CONFIG
from coun.bench.spec.config import Config
from coun.bench.spec.experiment import Experiment, closure
from coun.bench.spec.plan import make_plan
from coun.bench.spec.reading import configured, parse, read_text, with_selected_workloads
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.files import expanded, refuse_foreign, write_json, write_text
from coun.runs.folder import refuse_inside_run
from coun.trust import Trust

STORE, FAILURES, TUNED = "store", "failures", "tuned.json"
TINY = "# coun bench --tiny\n"  # the first line of the config of a tiny form in its folder


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
    trust: Trust = False,
    tiny: bool = False,
    data_root: str | Path | None = None,
) -> dict[str, Any]:
    """Run a bench and write `results.json` and `results.parquet` into *out*.

    A bench that was interrupted continues when it is started again.

    Args:
        config: a TOML file or the name of a shipped config; None, with *resume*, uses the
            config that *out* holds.
        out: the folder to write.
        workers: number of processes, each with one experiment at a time; they do not influence
            results.
        resume: continue in a folder that holds the results of another config.
        only: parts of the bench, see `Plan.only`.
        store: folder of the experiments, by default in *out*; benches may share one.
        tuning: False leaves out the search of `[tune]` and uses the settings of the config.
        ray: address of a Ray cluster that runs the workers; "local" starts one here.
        minutes: time limit; after it no experiment is started, and what is finished is
            written. 0 only writes.
        quiet: do not write progress to standard error.
        trust: run the code that the config names, such as a method `package.module:Class`. By
            default a config runs nothing, because it may be a stranger's.
        tiny: run the tiny form of the config, see `coun.bench.spec.tiny`.
        data_root: the folder that replaces `{root}` in the sources of the config.

    Returns: the content of `results.json`; its `rows` hold one record for each model and seed.

    Raises: CounError for a wrong config, for a folder that holds another bench, if a file
        cannot be written, or if the time limit is reached before tuning is finished.

    >>> import tempfile
    >>> outcome = bench("demo", tempfile.mkdtemp(), tiny=True, minutes=0, quiet=True)
    >>> outcome["planned"], len(outcome["rows"])  # what is planned, and what is measured by now
    (14, 0)
    """
    out = expanded(out)
    refuse_foreign(out, CONFIG, TUNED)
    refuse_inside_run(out)
    text = _config_text(config, out, resume, tiny)
    where = str(config or out / CONFIG)
    parsed = configured(parse(text, where, trust=trust), text.startswith(TINY), data_root)
    parsed = with_selected_workloads(parsed, only)
    is_main = ProcessGroup.current().is_main
    computer = _Computer(parsed, out, store, workers, ray, quiet, time.time() + 60 * minutes)
    tuned = None
    with _given_back(out):
        if is_main:
            write_text(out / CONFIG, text)
        if parsed.tune and tuning and not parsed.tune.frozen:
            tuned = tune(parsed, computer.compute_all, computer.store)
            if is_main:
                write_json(out / TUNED, tuned)
        plan = make_plan(parsed, tuned=tuned).only(only)
        failures = computer.compute(plan.experiments)
    if is_main:
        records = collect(plan, computer.store)
        ensembles = collect_ensembles(plan, computer.store)
        extra = {"tuning": tuned, **({"ensembles": ensembles} if plan.ensembles else {})}
        results.write(plan, records, out, failures, extra)
        maps.draw(plan, computer.store, out)
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
    trust: Trust = False,
    data_root: str | Path | None = None,
) -> dict[str, Any]:
    """Only tune: write `tuned.json` into *out* and return its content, see `tune`.

    Args: as for `bench`.

    Raises: CounError if the config has no `[tune]`, or no method with search ranges.
    """
    out = expanded(out)
    refuse_foreign(out, TUNED, CONFIG, STORE)
    refuse_inside_run(out)
    parsed = configured(parse(read_text(config), str(config), trust=trust), False, data_root)
    if not parsed.tune or not any(method.search for method in parsed.method):
        raise CounError(
            f"{config} has nothing to tune; add [tune], and search ranges to its methods"
        )
    computer = _Computer(parsed, out, store, workers, ray, quiet)
    tuned = tune(parsed, computer.compute, computer.store)
    if ProcessGroup.current().is_main:
        write_json(out / TUNED, tuned)
    return tuned


@contextlib.contextmanager
def _given_back(out: Path) -> Iterator[None]:
    """Remove *out*, if it is new, where the block fails before anything was computed."""
    is_new = not out.exists()
    try:
        yield
    except CounError:
        if is_new and out.is_dir() and {path.name for path in out.iterdir()} <= {CONFIG}:
            (out / CONFIG).unlink(missing_ok=True)
            out.rmdir()
        raise


class _Computer:
    """Computes experiments into the store of a bench."""

    def __init__(
        self,
        config: Config,
        out: Path,
        store: str | Path | None,
        workers: int,
        ray: str | None,
        quiet: bool,
        deadline: float = math.inf,
    ) -> None:
        self.store = Store(Path(store) if store else out / STORE)
        self.failures = (out / FAILURES).resolve()
        self.workers, self.ray, self.quiet, self.deadline = workers, ray, quiet, deadline
        progress = workers == 1 and ray is None and not quiet
        self.options = ComputeOptions(config.compute.checkpoint_every, progress)

    def compute(self, experiments: Iterable[Experiment]) -> dict[str, str]:
        """Compute what the store lacks; returns why experiments failed, by key."""
        job = Job(
            tuple(closure(experiments)),
            self.store.folder.resolve(),
            self.failures,
            self.options,
            self.quiet,
            self.deadline,
        )
        return run(job, self.workers, self.ray)

    def compute_all(self, experiments: Iterable[Experiment]) -> Mapping[str, str]:
        """Compute what a search chooses from, which must be complete.

        Raises: CounError if the time limit came first.
        """
        failures = self.compute(experiments)
        if time.time() >= self.deadline:
            raise CounError(
                "time limit reached before tuning finished; run the command again to continue"
            )
        return failures


def _config_text(config: str | Path | None, out: Path, resume: bool, tiny: bool) -> str:
    """The text of the config to run, if *out* may hold its results; that of a tiny form says so."""
    existing = out / CONFIG
    if config is None:
        if not (resume and existing.is_file()):
            raise CounError(
                "config is missing; expected a file, a shipped name, or --resume with the --out "
                "folder of a bench"
            )
        return read_text(existing)
    text = TINY * tiny + read_text(config)
    if existing.is_file() and not resume and existing.read_text(encoding="utf-8") != text:
        raise CounError(
            f"{out} holds another bench ({existing} differs from {config}); choose another --out, "
            "or add --resume to continue with the new config: finished work is kept"
        )
    return text
