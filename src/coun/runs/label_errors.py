"""Training rows whose labels look wrong to models that never saw them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from coun.errors import CounError, require_type
from coun.runs.run import Run
from coun.trust import Trust


@dataclass(frozen=True)
class SuspiciousLabel:
    """A training row whose label looks wrong.

    Attributes:
        number, id: of the row.
        label: the name of the class that the row has in the data.
        suggested: the name of the class that models which never saw the row give it.
        probability: the mean probability that these models give to *label*, 0 to 1.

    >>> row = SuspiciousLabel(7, "cat/7.png", label="cat", suggested="dog", probability=0.02)
    >>> f"{row.id} looks like a {row.suggested}"
    'cat/7.png looks like a dog'
    """

    number: int
    id: str
    label: str
    suggested: str
    probability: float


def suspicious_labels(run: Run | str | Path, *, trust: Trust = False) -> list[SuspiciousLabel]:
    """List the training rows of *run* whose labels look wrong, the least credible label first.

    The out-of-fold predictions of `coun.prepare` say what models that never saw a row make of it.
    A row is suspicious if these models are as sure of another class as they usually are of the
    rows of that class. It is a list for a person to look at: correct labels of unusual rows are
    on it, and wrong labels can be missing.

    Args:
        run: a run that is prepared for requests, or its folder.
        trust: run code that the record of a run folder names (see `Run.open`).

    Returns: the suspicious rows, by rising probability of their labels.

    Raises: CounError if the run carries no out-of-fold predictions.

    Source: confident learning, Northcutt, Jiang and Chuang, JAIR 2021, section 3.1. The rows
        are those outside the diagonal of the confident joint; they are ordered by
        self-confidence, and no noise rate is estimated.

    >>> import coun
    >>> run = coun.train(coun.load("digits", limit=60), "mlp", epochs=2)
    >>> rows = suspicious_labels(coun.prepare(run, folds=2, repeats=1))
    >>> all(row.label != row.suggested for row in rows)
    True
    """
    if isinstance(run, str | Path):
        run = Run.open(run, allow_missing=True, trust=trust)
    require_type(run, Run, "run", "a run, or its folder")
    if run.out_of_fold is None:
        raise CounError(
            f"{run.where} has no out-of-fold predictions, which show suspicious labels; make them "
            "with coun.prepare(run), on the command line coun prepare DIR"
        )
    numbers = run.data.train.numbers
    if run.split is not None:  # rows that were forgotten have no predictions
        numbers = numbers[run.split.rows(run.data, "retain")]
    places = torch.isin(run.data.train.numbers, numbers).nonzero()[:, 0]
    rows = run.data.train.take(places)
    labels, names = rows.labels.cpu(), run.data.classes
    probabilities = run.out_of_fold.of(rows).double().exp().mean(0)
    suggested = confident_classes(probabilities, labels)
    credible = probabilities.gather(1, labels[:, None])[:, 0]
    return [
        SuspiciousLabel(
            int(rows.numbers[place]),
            rows.ids[place],
            names[int(labels[place])],
            names[int(suggested[place])],
            float(credible[place]),
        )
        for place in credible.argsort(stable=True).tolist()
        if int(suggested[place]) not in (-1, int(labels[place]))
    ]


def confident_classes(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The class that each row is confidently counted in, (N,) int64; -1 for none.

    It is the most probable of the classes whose probability reaches the mean over the rows with
    that label.

    Args:
        probabilities: (N, K), of models that did not see the row.
        labels: (N,) int64.

    >>> table = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1]])
    >>> confident_classes(table, torch.tensor([0, 0, 1, 1])).tolist()
    [0, -1, 1, 0]
    """
    classes = probabilities.shape[1]
    of_label = probabilities.gather(1, labels[:, None])[:, 0]
    sums = torch.zeros(classes, dtype=of_label.dtype).index_add(0, labels, of_label)
    counts = torch.bincount(labels, minlength=classes)
    usual = torch.where(counts > 0, sums / counts.clamp(min=1), torch.inf)
    confident = torch.where(probabilities >= usual, probabilities, -1.0)
    best, place = confident.max(1)
    return torch.where(best >= 0, place, -1)
