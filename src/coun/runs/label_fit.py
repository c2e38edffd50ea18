"""Do the labels of forget rows fit as held-out rows' do? `auto` asks before it matches them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from coun.data import Examples, Split
from coun.data.input_columns import input_columns
from coun.data.subsets import at_most
from coun.engine import predict
from coun.runs.choice import LabelFit
from coun.runs.run import Run

NEIGHBOURS = 10
RETAINED, ASKED = 3_000, 300  # rows at most: to learn from, and of each kind to ask about
SEED = 0
FEWER = 0.5  # with fewer of held-out rows' right guesses, guesses mostly differ from the labels
SURE = 0.01  # p below which chance does not explain it
DOUBT = 0.2  # the same where guesses mostly differ, as to teach a wrong label once more is worst


def label_fit(start: Run, split: Split) -> LabelFit:
    """Tell whether the labels of the forget rows fit their inputs as those of held-out rows do.

    Two judges guess labels: the nearest retained rows by their inputs, which no model has learned
    by heart, and the model. Both are asked about forget rows and about the rows that held-out
    matching would use. A row that was learned should be right at least as often as one that was
    not. Forget rows with fewer right guesses than held-out rows of the same classes are not like
    these ("unusual"). If most guesses differ from the labels, the labels are probably "wrong".

    Returns: "usual" also where there are no held-out rows, or no forget rows any more.
    """
    data = start.data
    forget, retain = split.rows(data, "forget"), split.rows(data, "retain")
    if not len(forget) or len(split.test_rows(data)) < 2:
        return "usual"
    asked = [
        data.train.take(_some(data.train, forget, ASKED)),
        data.test.take(_some(data.test, split.calibration_rows(data), ASKED)),
    ]
    retained = data.train.take(_some(data.train, retain, RETAINED))
    by_judge = [
        _guesses_of_neighbours(start, retained, asked),
        [
            predict(start.classifier, data, rows, with_features=False).logits.argmax(1).numpy()
            for rows in asked
        ],
    ]
    labels = [rows.labels.cpu().numpy() for rows in asked]
    tests = []
    for guesses in by_judge:
        hits = tuple(g == y for g, y in zip(guesses, labels, strict=True))
        expected = float(_by_class(hits[1], labels[1], labels[0]).mean())
        p = _p_of_so_few(hits, labels)
        tests.append((len(by_judge) * p, float(hits[0].mean()) < FEWER * expected))
    p, mostly_other = min(tests)
    if p < SURE:
        return "wrong" if mostly_other else "unusual"
    return "unusual" if mostly_other and p < DOUBT else "usual"


def _some(part: Examples, rows: torch.Tensor, most: int) -> torch.Tensor:
    """At most so many of *rows* of *part*, balanced over classes."""
    return rows[at_most(most, part.labels[rows].cpu(), SEED)]


def _guesses_of_neighbours(
    start: Run, retained: Examples, asked: list[Examples]
) -> list[np.ndarray]:
    from sklearn.neighbors import KNeighborsClassifier

    count = min(NEIGHBOURS, len(retained))
    neighbours = KNeighborsClassifier(count, weights="distance")
    neighbours.fit(_columns(start, retained), retained.labels.cpu().numpy())
    return [cast(np.ndarray, neighbours.predict(_columns(start, rows))) for rows in asked]


def _columns(start: Run, rows: Examples) -> np.ndarray:
    """The inputs of *rows*, (N, D); for texts, whose ids have no distance, their features."""
    columns = input_columns(start.data, rows)
    if columns is None:
        return predict(start.classifier, start.data, rows).features.flatten(1).numpy()
    return columns.numpy()


def _p_of_so_few(hits: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> float:
    """How often chance alone gives forget rows so few of the hits in their classes.

    It is exact for rows of both kinds that differ by their class only, however few held-out rows a
    class has: given the hits of both kinds in a class, those of the forget rows have a
    hypergeometric distribution (Fisher's test), and these add up over the classes.

    Args: hits, labels: of forget rows (N,) and of held-out rows (M,). A class without held-out
        rows is compared with all of them.
    """
    from scipy.stats import hypergeom

    by_count = np.ones(1)  # how likely each number of hits is
    for label in np.unique(labels[0]):
        own, others = (hit[at == label] for hit, at in zip(hits, labels, strict=True))
        others = others if len(others) else hits[1]
        drawn = (len(own) + len(others), int(own.sum() + others.sum()), len(own))
        by_count = np.convolve(by_count, hypergeom.pmf(np.arange(len(own) + 1), *drawn))
    return float(by_count[: int(hits[0].sum()) + 1].sum())


def _by_class(hits: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The share of *hits* (N,) in each of *classes* (M,); of all rows where it has none.

    Two rows more count as all rows do, so that the share of few rows is not taken at its word.
    """
    overall = float(hits.mean())
    groups = {label: hits[labels == label] for label in classes}
    return np.array(
        [(groups[label].sum() + 2 * overall) / (len(groups[label]) + 2) for label in classes]
    )
