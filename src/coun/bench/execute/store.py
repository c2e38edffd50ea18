"""The store: finished experiments, one folder each, named by hash and shared by benches.

The hash of an experiment keeps the names that version 0.1 used, so that stores of it stay valid.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from coun.bench.spec.experiment import Experiment
from coun.data import Data
from coun.errors import CounError
from coun.files import cannot_write, read_json, unsealed, write_json, write_sealed
from coun.models import weights_digest
from coun.runs import Run

DONE, SPEC, RUN = "done.json", "experiment.json", "run"


class Store:
    """The results of experiments, by experiment key.

    `KEY/run` is a run folder of coun, for experiments that make a model. `KEY/done.json` marks
    a finished experiment and holds its result with a checksum. `locks/KEY` is locked while a
    process computes the experiment; the operating system releases the lock when the process
    ends, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def place(self, experiment: Experiment) -> Path:
        """The folder of *experiment*."""
        return self.folder / experiment.key

    def has(self, experiment: Experiment) -> bool:
        """Whether *experiment* is finished."""
        return (self.place(experiment) / DONE).exists()

    @contextlib.contextmanager
    def claim(self, experiment: Experiment) -> Iterator[bool]:
        """Try to lock *experiment* for this process; yields False if another process holds it.

        Raises: CounError if the store cannot be written.
        """
        path = self.folder / "locks" / experiment.key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            yield True
        finally:
            lock.release()

    def begin(self, experiment: Experiment) -> None:
        """Record what is about to be computed."""
        content = {"title": experiment.title, "kind": experiment.kind, **experiment.content()}
        write_json(self.place(experiment) / SPEC, content)

    def finish(self, experiment: Experiment, result: dict[str, Any]) -> None:
        """Save *result* with a checksum, and mark *experiment* as finished."""
        body = {"key": experiment.key, "title": experiment.title, "result": result}
        write_sealed(self.place(experiment) / DONE, body)

    def result(self, experiment: Experiment) -> dict[str, Any]:
        """Read what `finish` saved. Raises: CounError that names the file if it is damaged."""
        path = self.place(experiment) / DONE
        record = read_json(path)
        if not isinstance(record, dict) or record.get("key") != experiment.key:
            raise CounError(
                f"{path} is not the record of '{experiment.title}'; delete {path.parent} to "
                "compute it again"
            )
        advice = f"delete {path.parent} to compute '{experiment.title}' again"
        record, sealed = unsealed(record, path, advice)
        result = record.get("result")
        if not sealed or not isinstance(result, dict):
            raise CounError(f"{path} is damaged; {advice}")
        return result

    def open(self, experiment: Experiment, data: Data) -> Run:
        """Open the model of a finished training or unlearning.

        Raises: CounError that names the folder if the record or the weights are damaged.
        """
        folder = self.place(experiment) / RUN
        run = Run.open(folder, data=data, trust=frozenset({experiment.setting.model}))
        if weights_digest(run.model) != self.result(experiment)["weights_sha256"]:
            raise CounError(
                f"the weights in {folder} differ from those that were saved; delete "
                f"{folder.parent} to compute '{experiment.title}' again"
            )
        return run
