"""A whole bench: plan, tune where asked to, compute, and write down every number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coun.bench import results
from coun.bench.config import parse, read_text
from coun.bench.plan import Plan, make_plan
from coun.bench.runner import Job, run
from coun.bench.store import Store
from coun.errors import CounError
from coun.files import write_text

CONFIG, STORE, FAILURES = "config.toml", "store", "failures"


def bench(
    config: str | Path | None,
    out: str | Path,
    *,
    workers: int = 1,
    resume: bool = False,
    only: Sequence[str] = (),
    store: str | Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run what *config* asks for and write `results.json` and `results.parquet` into *out*.

    Args:
        config: a file or a shipped name; None with *resume* takes the one that *out* holds.
        workers: processes, an experiment each; they change no number.
        resume: go on in a folder that holds another config's results. Repeating a command
            needs no such thing: it goes on by itself.
        only: parts of the bench, see `Plan.only`.
        store: where experiments are kept, by default in *out*; benches may share one.

    Returns: the content of `results.json`.

    Raises: CounError for a bad config, a folder of another bench, or a disk that refuses.
    """
    out = Path(out)
    text = _text(config, out, resume)
    plan = make_plan(parse(text, str(config or out / CONFIG))).only(only)
    write_text(out / CONFIG, text)
    kept = Store(Path(store) if store else out / STORE)

    def compute(wanted: Plan) -> dict[str, str]:
        job = Job(
            tuple(wanted.experiments),
            kept.folder,
            out / FAILURES,
            wanted.config.compute.checkpoint_every,
            quiet,
            progress=workers == 1 and not quiet,
        )
        return run(job, workers)

    failures = compute(plan)
    rows = results.collect(plan, kept)
    results.write(plan, rows, out, failures, {})
    return results.read(out)


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
