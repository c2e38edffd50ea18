"""Made-up preparations, for the methods that need some."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

import coun
from coun.data import OutOfFold
from coun.runs.kept_epochs import KeptEpoch
from coun.runs.record import OutOfFoldRecord


def prepared(run: coun.Run, repeats: int = 2) -> coun.Run:
    """*run* with made-up out-of-fold predictions, and its present weights as those of epoch 0."""
    shape = (repeats, len(run.data.train), len(run.data.classes))
    table = torch.randn(shape, generator=torch.Generator().manual_seed(1)).log_softmax(2)
    predictions = OutOfFold(tuple(run.data.ids), table, run.data.classes)
    record = OutOfFoldRecord(sha256=predictions.digest, repeats=repeats)
    changed = run.record.model_copy(update={"out_of_fold": record})
    weights = copy.deepcopy(run.model.state_dict())
    epochs = {0: KeptEpoch("0" * 64, lambda module: module.load_state_dict(weights))}
    return replace(run, record=changed, out_of_fold=predictions, kept_epochs=epochs)
