"""A run: a model with the record of how it was made, in memory or opened from its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from coun.data import Data, Split, load
from coun.errors import CounError
from coun.models import Classifier, build, load_weights
from coun.runs.folder import WEIGHTS, read_record
from coun.runs.record import RunRecord
from coun.runs.start import wrap


@dataclass(eq=False)
class Run:
    """A model, and everything needed to say where it came from.

    Attributes:
        model: the trained or unlearned module, in eval mode.
        data, split: what it was made with; split is None for an Original.
        record: the content of `run.json`: settings, seed, cost, environment, parent.
        folder: where the run is written; None for a run in memory.
        build: makes the model afresh; None where that is not known.
    """

    model: nn.Module
    data: Data
    split: Split | None
    record: RunRecord
    folder: Path | None = None
    build: Callable[[], nn.Module] | None = None

    @property
    def classifier(self) -> Classifier:
        """The model wrapped to give logits and features."""
        return wrap(self.model, self.data, self.record.model.head)

    @classmethod
    def open(cls, folder: str | Path, *, data: Data | None = None) -> Run:
        """Open the finished run in *folder*.

        Args:
            data: the data of the run; by default it is loaded from the recorded source.

        Raises: CounError if the folder holds no finished run, the data changed since (its
            fingerprint differs), or the weights do not fit the model.
        """
        folder = Path(folder)
        record = read_record(folder)
        if data is None:
            if not record.data.source:
                raise CounError(
                    f"{folder} was made from data passed in Python; pass data=... again"
                )
            data = load(record.data.source, limit=record.data.limit, **record.data.origin)
        if data.fingerprint != record.data.fingerprint:
            raise CounError(
                f"the data of {folder} changed: its fingerprint was "
                f"{record.data.fingerprint[:12]}, now it is {data.fingerprint[:12]}; restore the "
                "data or train again"
            )
        if record.model.name is None:
            raise CounError(f"{folder} holds a module passed in Python; load its weights there")
        make_model = partial(build, record.model.name, classes=len(data.classes), shape=data.shape)
        model = make_model()
        load_weights(model, folder / WEIGHTS)
        split = Split.from_json(data, record.split) if record.split else None
        return cls(model.eval(), data, split, record, folder, make_model)

    @property
    def where(self) -> str:
        """How messages name this run: its folder, or its method for a run in memory."""
        return str(self.folder) if self.folder else f"a run of {self.record.method.name}"
