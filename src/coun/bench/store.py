"""Where finished experiments lie: a folder each, named by hash, shared by benches."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from coun.bench.experiment import Experiment
from coun.data import Data
from coun.errors import CounError
from coun.files import cannot_write, read_json, to_json, write_text
from coun.models import weights_digest
from coun.runs import Run

DONE, SPEC, RUN = "done.json", "experiment.json", "run"


class Store:
    """Results by experiment key.

    `KEY/run` is a run folder of coun, where there is a model; `KEY/done.json` says that the
    experiment is finished, and holds its result under a checksum; `locks/KEY` is held while
    somebody computes it. The system drops a lock when its process ends, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def place(self, one: Experiment) -> Path:
        """The folder of *one*."""
        return self.folder / one.key

    def has(self, one: Experiment) -> bool:
        """Whether *one* is finished."""
        return (self.place(one) / DONE).exists()

    @contextlib.contextmanager
    def claim(self, one: Experiment) -> Iterator[bool]:
        """Try to take *one* for this process; yields False if another has it.

        Raises: CounError if the store cannot be written.
        """
        path = self.folder / "locks" / one.key
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

    def begin(self, one: Experiment) -> None:
        """Put on record what is going to be computed."""
        what = {"title": one.title, "kind": one.kind, **one.content()}
        write_text(self.place(one) / SPEC, to_json(what) + "\n")

    def finish(self, one: Experiment, result: dict[str, Any]) -> None:
        """Keep *result*: numbers that everything later is made from."""
        body = {"key": one.key, "title": one.title, "result": result}
        text = to_json({**body, "sha256": _checksum(json.loads(to_json(body)))})
        write_text(self.place(one) / DONE, text + "\n")

    def result(self, one: Experiment) -> dict[str, Any]:
        """What `finish` kept. Raises: CounError naming the file if it is damaged."""
        path = self.place(one) / DONE
        record = read_json(path)
        if not isinstance(record, dict) or record.get("key") != one.key:
            raise CounError(f"{path} is no record of '{one.title}'; delete {path.parent}")
        claimed = record.pop("sha256", None)
        if claimed != _checksum(record):
            raise CounError(
                f"{path} is damaged: its content does not have the checksum it was written with; "
                f"delete {path.parent} to compute '{one.title}' again"
            )
        result = record["result"]
        assert isinstance(result, dict)
        return result

    def open(self, one: Experiment, data: Data) -> Run:
        """The model of a finished training or unlearning, checked against its digest.

        Raises: CounError naming the folder if record or weights are damaged.
        """
        folder = self.place(one) / RUN
        run = Run.open(folder, data=data)
        if weights_digest(run.model) != self.result(one)["weights_sha256"]:
            raise CounError(
                f"the weights in {folder} are not those that were written; delete "
                f"{folder.parent} to compute '{one.title}' again"
            )
        return run


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
