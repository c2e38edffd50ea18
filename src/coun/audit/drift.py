"""Do test rows come from where the training rows come from? Judged by the inputs alone."""

from __future__ import annotations

import numpy as np
import torch

from coun.audit.rank_tests import Groups, Strata, rank_test
from coun.data import Data, Examples, Split
from coun.data.examples import stratified
from coun.metrics import probe_margins
from coun.metrics.arrays import Floats, Ints
from coun.seeds import Seeds

ROWS = 1_000  # of each side, at most
COLUMNS = 300  # of a row, at most


def input_drift(data: Data, split: Split, *, seed: int = 0) -> float | None:
    """p of test rows being like retained rows of their class, by their inputs.

    A classifier learns from half of the rows to tell the two sides apart; a rank test within
    classes judges its answers on the other half. Where it succeeds, test rows differ by nature,
    and a comparison of forgotten with test rows shows nothing about memory.

    Returns: p, or None where no class has rows on both sides.
    """
    sides = [
        (data.train, split.rows(data, "retain")),
        (data.test, split.test_rows(data)),
    ]
    first, second = (part.labels[rows].cpu().numpy() for part, rows in sides)
    shared = np.intersect1d(first, second)
    values, labels = [], []
    for part, rows in sides:
        at_hand = part.labels[rows].cpu()
        rows = rows[torch.isin(at_hand, torch.from_numpy(shared))]
        if len(rows) < 4:
            return None
        some = rows[stratified(part.labels[rows].cpu(), min(ROWS, len(rows)), seed)]
        values.append(_columns(part, some))
        labels.append(part.labels[some].cpu().numpy())
    return columns_drift(values[0], values[1], labels[0], labels[1], seed=seed)


def columns_drift(
    retain: Floats, test: Floats, retain_labels: Ints, test_labels: Ints, *, seed: int = 0
) -> float | None:
    """The same from columns (N, D), (O, D) and labels (N,), (O,)."""
    generator = Seeds(seed).numpy("input drift")
    orders = [generator.permutation(len(x)) for x in (retain, test)]
    halves = [(order[: len(order) // 2], order[len(order) // 2 :]) for order in orders]
    x = np.concatenate([retain[halves[0][0]], test[halves[1][0]]])
    y = np.repeat([0, 1], [len(halves[0][0]), len(halves[1][0])])
    rows = np.concatenate([retain[halves[0][1]], test[halves[1][1]]])
    score = probe_margins((x, y), (rows, np.zeros(len(rows), np.int64)))
    first, second = np.split(score, [len(halves[0][1])])
    classes = [retain_labels[halves[0][1]], test_labels[halves[1][1]]]
    if len(np.intersect1d(classes[0], classes[1])) == 0:
        return None
    return rank_test(Strata.of(*classes), Groups(first, second)).p


def _columns(part: Examples, rows: torch.Tensor) -> Floats:
    """Pixels, averaged down, and how bright, varied and rough each picture is."""
    inputs = part.fetch(rows).double()
    columns = [inputs.flatten(1)]
    if inputs.ndim == 4:
        side = max(1, int((COLUMNS / inputs.shape[1]) ** 0.5))
        if side < min(inputs.shape[2:]):
            columns = [torch.nn.functional.adaptive_avg_pool2d(inputs, side).flatten(1)]
        columns += [inputs.diff(dim=d).abs().flatten(2).mean(2) for d in (2, 3)]
    elif inputs.ndim == 2:
        columns.append(inputs**2)
    flat = inputs.flatten(1)
    columns.append(torch.stack([flat.mean(1), flat.std(1), flat.amin(1), flat.amax(1)], 1))
    values: Floats = torch.cat(columns, 1).numpy()
    return values
