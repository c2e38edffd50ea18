"""Forget rows that a Retrain still knows, because retained rows are copies of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from coun.data import Examples
from coun.data.content import row_hashes
from coun.data.input_columns import CHUNK, input_columns
from coun.engine import Task
from coun.plans.matching import ROLES

NEAR = 0.25  # of the median distance from a row to the nearest retain row of its class
REFERENCE, SEED = 1_000, 0  # rows at most from which this median is taken


def known_by_copies(task: Task, labels: Mapping[str, Tensor]) -> Tensor:
    """Tell which forget rows, (n,) bool, have a copy of equal label among the retain rows.

    A Retrain learns the copy, and so knows the row as well as the Original does. A copy is equal,
    or its inputs are several times as near as those of another row of the class usually are.

    Args: labels: of the roles "retain" and "forget".
    """
    return _exact(task, labels) | _near(task, labels)


def _exact(task: Task, labels: Mapping[str, Tensor]) -> Tensor:
    hashes = row_hashes(task.data.train)
    rows = {}
    for role in ROLES:
        # As an array, because NumPy takes a tensor of one index for a number.
        digests = [digest.tobytes() for digest in hashes[task.indices(role).numpy()]]
        rows[role] = list(zip(labels[role].tolist(), digests, strict=True))
    retained = set(rows["retain"])
    return torch.tensor([row in retained for row in rows["forget"]])


def _near(task: Task, labels: Mapping[str, Tensor]) -> Tensor:
    """The same for copies that differ a little; no row for texts."""
    data = task.data
    forget = input_columns(data, data.train.take(task.indices("forget")))
    reference, reference_labels, itself = _reference(task, labels)
    usual_columns = input_columns(data, reference)
    if forget is None or usual_columns is None:
        return torch.zeros(len(labels["forget"]), dtype=torch.bool)
    middle, spread = usual_columns.mean(0), usual_columns.std(0, correction=0)
    # A constant column divided by next to nothing would drown all others.
    scale = torch.where(spread > 1e-6, 1 / spread.clamp(min=1e-6), 0.0)
    asked = (torch.cat([forget, usual_columns]) - middle) * scale
    asked_labels = torch.cat([labels["forget"], reference_labels])
    itself = torch.cat([torch.full((len(forget),), -1), itself])
    away = torch.full((len(asked),), torch.inf)
    asked, middle, scale = (x.to(task.device) for x in (asked, middle, scale))
    for label in range(len(data.classes)):  # only rows of one class are compared
        places = (asked_labels == label).nonzero().flatten()
        retained = (labels["retain"] == label).nonzero().flatten()
        for slots in torch.split(retained, CHUNK):
            columns = input_columns(data, data.train.take(task.indices("retain")[slots]))
            assert columns is not None, "rows of one data set are all texts, or none is"
            others = (columns.to(task.device) - middle) * scale
            distances = torch.cdist(asked[places.to(task.device)], others).cpu()
            distances.masked_fill_(itself[places, None] == slots, torch.inf)
            away[places] = torch.minimum(away[places], distances.amin(1))
    usual = away[len(forget) :]
    usual = usual[usual.isfinite()]
    return away[: len(forget)] < (NEAR * usual.median() if len(usual) else 0)


def _reference(task: Task, labels: Mapping[str, Tensor]) -> tuple[Examples, Tensor, Tensor]:
    """Rows whose nearest retain rows show which distance is usual.

    Held-out rows are the better ones, as it may be that most retain rows have copies.

    Returns: the rows, their labels, and their slots among the retain rows or -1.
    """
    generator = torch.Generator().manual_seed(SEED)
    if task.held_out is not None:
        some = torch.randperm(len(task.held_out), generator=generator)[:REFERENCE]
        return task.held_out.take(some), task.held_out.labels.cpu()[some], torch.full_like(some, -1)
    some = torch.randperm(len(labels["retain"]), generator=generator)[:REFERENCE]
    return task.data.train.take(task.indices("retain")[some]), labels["retain"][some], some
