"""Weights of earlier epochs of an Original's training, kept so that `rewind` can return to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from coun.errors import CounError
from coun.files import file_digest
from coun.models import copy_model, load_weights, save_weights, weights_digest
from coun.runs.record import RunRecord
from coun.runs.start import Start

if TYPE_CHECKING:
    from coun.runs.run import Run

FOLDER = "epochs"


@dataclass(frozen=True)
class KeptEpoch:
    """The weights after an epoch.

    Attributes: digest: of the weights, or of their file; load: fills a module with them.
    """

    digest: str
    load: Callable[[nn.Module], object]

    def __call__(self, module: nn.Module) -> None:
        """Fill *module* with the weights."""
        self.load(module)


@dataclass
class EpochKeeper:
    """Keeps the weights of *model* after every so many epochs, on disk or in memory.

    Args:
        model: the module in training.
        every: number of epochs between two that are kept.
        last: the epoch that ends the training; its weights are those of the run itself.
        folder: the run folder; None keeps copies in memory.
    """

    model: nn.Module
    every: int
    last: int
    folder: Path | None = None
    loaders: dict[int, KeptEpoch] = field(default_factory=dict)

    def __call__(self, epoch: int) -> None:
        """Keep the weights if *epoch*, counted from 1, is one to keep."""
        if epoch % self.every or epoch == self.last:
            return
        if self.folder is None:
            copied = copy_model(self.model).cpu()
            weights = copied.state_dict()
            self.loaders[epoch] = KeptEpoch(
                weights_digest(copied), lambda module: module.load_state_dict(weights)
            )
        else:
            (self.folder / FOLDER).mkdir(exist_ok=True)
            save_weights(self.model, _path(self.folder, epoch))

    def digests(self) -> dict[int, str]:
        """Return the digests of the files, by epoch; those of an interrupted run are included."""
        if self.folder is None:
            return {}
        files = {e: _path(self.folder, e) for e in range(self.every, self.last, self.every)}
        return {epoch: file_digest(path) for epoch, path in files.items() if path.exists()}


def kept_in(folder: Path, record: RunRecord) -> dict[int, KeptEpoch]:
    """Return what loads the weights of each epoch that the run in *folder* still holds."""

    def kept(path: Path, digest: str) -> KeptEpoch:
        def load(module: nn.Module) -> None:
            if file_digest(path) != digest:
                raise CounError(
                    f"{path} is not the file that the run wrote; restore it from a copy, or "
                    "train the model again"
                )
            load_weights(module, path)

        return KeptEpoch(digest, load)

    return {
        epoch: kept(_path(folder, epoch), digest)
        for epoch, digest in record.kept_epochs.items()
        if _path(folder, epoch).exists()
    }


def kept_before(run: Run) -> dict[int, KeptEpoch]:
    """Return the kept epochs of *run*, or else those of the nearest run before it that has any."""
    present: Run | None = run
    while present is not None:
        if present.kept_epochs:
            return present.kept_epochs
        present = present.opened_start()
    return {}


def with_kept_epochs(start: Start, run: Run) -> Start:
    """Give *start* the kept epochs of *run*, and put their digest, on which a result depends, into
    its record."""
    epochs = kept_before(run)
    text = json.dumps({str(epoch): epochs[epoch].digest for epoch in sorted(epochs)})
    digest = {"kept_epochs_sha256": hashlib.sha256(text.encode()).hexdigest()}
    parent = None if start.parent is None else start.parent.model_copy(update=digest)
    return replace(start, kept_epochs=epochs, parent=parent)


def _path(folder: Path, epoch: int) -> Path:
    return folder / FOLDER / f"epoch-{epoch:04d}.safetensors"
