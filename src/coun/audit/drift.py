"""Are forgotten and test rows drawn alike? Judged by inputs and labels, without any model."""

from __future__ import annotations

import numpy as np
import torch

from coun.audit.parts import RequestParts
from coun.audit.rank_tests import Groups, Strata, rank_test
from coun.data import Data, Examples, Split
from coun.data.subsets import at_most
from coun.metrics import probe_margins
from coun.metrics.arrays import Floats, Ints
from coun.seeds import Seeds

ROWS = 1_000  # of each side, at most
RETAINED = 20_000  # rows among which neighbours are looked for, at most
COLUMNS = 300  # of a row, at most
NEIGHBOURS = 10
CHUNK = 500
SEED = 0  # of the halves and of which rows are looked at


def input_drift(data: Data, split: Split) -> float | None:
    """p of test rows being drawn as training rows were (`columns_drift`, `neighbours_drift`).

    Where it is small, forgotten and test rows differ by nature, and a comparison of the two shows
    nothing about memory.

    Returns: the smallest p times the number of tests; None where there is no test.
    """
    forgotten = split.rows(data, "forgotten")[RequestParts.of(data, split).exchangeable]
    parts = {
        "retain": (data.train, split.rows(data, "retain"), RETAINED),
        "forget": (data.train, forgotten, ROWS),
        "test": (data.test, split.test_rows(data), ROWS),
    }
    columns, labels = {}, {}
    for name, (part, rows, most) in parts.items():
        if not len(rows):
            return None
        some = rows[at_most(most, part.labels[rows].cpu(), SEED)]
        columns[name] = np.concatenate([_columns(part, r) for r in torch.split(some, CHUNK)])
        labels[name] = part.labels[some].cpu().numpy()
    return drift_of(columns, labels)


def drift_of(columns: dict[str, Floats], labels: dict[str, Ints]) -> float | None:
    """Compute the p of `input_drift` from columns (N, D) and labels (N,) of the three parts.

    Args: columns, labels: by part: "retain", "forget" and "test".
    """
    tests = list(neighbours_drift(columns, labels))
    sides = {}
    shared = np.intersect1d(labels["retain"], labels["test"])
    for name in ("retain", "test"):
        rows = np.flatnonzero(np.isin(labels[name], shared))
        of_rows = torch.from_numpy(labels[name][rows])
        if len(rows) >= 4:
            sides[name] = rows[at_most(ROWS, of_rows, SEED).numpy()]
    if len(sides) == 2:
        x, y = ([part[name][rows] for name, rows in sides.items()] for part in (columns, labels))
        tests.append(columns_drift(*x, *y))
    ps = [p for p in tests if p is not None]
    return min(1.0, len(ps) * min(ps)) if ps else None


def neighbours_drift(
    columns: dict[str, Floats], labels: dict[str, Ints]
) -> tuple[float | None, float | None]:
    """p of forgotten and test rows having equally near neighbours; of neighbours with their label.

    Copies and near-copies of a row are spread over forgotten and retained rows, not over test
    rows, and a model that never saw the forgotten ones knows them by the others. Where training
    labels are wrong more often than those of test rows, a model that never saw them errs more.
    """
    from sklearn.neighbors import NearestNeighbors

    if len(np.intersect1d(labels["forget"], labels["test"])) == 0:
        return None, None
    retain_labels, spread = labels["retain"], columns["retain"].std(0) + 1e-9
    tree = NearestNeighbors().fit(columns["retain"] / spread)
    count = min(NEIGHBOURS + 1, len(retain_labels))
    nearest, agreeing = {}, {}
    for name in ("forget", "test"):
        away, places = tree.kneighbors(columns[name] / spread, count)
        nearest[name] = away[:, 0]
        agreeing[name] = (retain_labels[places[:, :NEIGHBOURS]] == labels[name][:, None]).mean(1)
    # Labels of retained rows are those of forgotten ones. Such a row is its own first neighbour.
    some = np.arange(0, len(retain_labels), 1 + len(retain_labels) // ROWS)
    _, places = tree.kneighbors(columns["retain"][some] / spread, count)
    of_retained = (retain_labels[places[:, 1:]] == retain_labels[some, None]).mean(1)
    sides = Groups(np.concatenate([agreeing["forget"], of_retained]), agreeing["test"])
    first = np.concatenate([labels["forget"], retain_labels[some]])
    distances = Groups(nearest["forget"], nearest["test"])
    return (
        rank_test(Strata.of(labels["forget"], labels["test"]), distances).p,
        rank_test(Strata.of(first, labels["test"]), sides).p,
    )


def columns_drift(
    retain: Floats, test: Floats, retain_labels: Ints, test_labels: Ints
) -> float | None:
    """p of test rows (O, D) being like retained rows (N, D) of their class, by their inputs.

    A classifier learns from half of the rows to tell the two sides apart; a rank test within
    classes judges its answers on the other half.

    Returns: p, or None where no class has rows on both sides.
    """
    generator = Seeds(SEED).numpy("input drift")
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
    spread = flat.std(1, correction=min(1, flat.shape[1] - 1))  # of one number it is 0
    columns.append(torch.stack([flat.mean(1), spread, flat.amin(1), flat.amax(1)], 1))
    values: Floats = torch.cat(columns, 1).numpy()
    return values
