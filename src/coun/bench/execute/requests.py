"""From a forget request to rows: the split to measure on, and the split that a method gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from coun.bench.spec.experiment import Experiment, ForgetSpec
from coun.bench.spec.workload import DataSpec
from coun.data import Data, Split, load
from coun.errors import CounError, unknown
from coun.runs import Run, predictions

Scores = Callable[[Experiment], list[float]]


def split(forget: ForgetSpec, data: Data, spec: DataSpec, scores: Scores) -> Split:
    """Choose the rows that *forget* forgets and retains.

    Args: scores: gives the scores of the rows, for requests that choose by a score.

    Raises: CounError if the request does not fit the data.
    """
    request = forget.request
    kind = request["kind"]
    if kind == "class":
        return Split.by_class(data, request["name"])
    if kind == "subclass":
        return Split.by_index(data, _subclass(request["name"], data, spec))
    if kind == "random" and forget.draw == "torch":
        return Split.random(data, request["fraction"], seed=forget.seed or 0)
    count = round(request["fraction"] * len(data.train))
    if kind == "random":
        # SalUn draws without replacement from RandomState(seed - 1).
        state = np.random.RandomState(((forget.seed or 0) - 1) % 2**32)
        rows = state.choice(len(data.train), count, replace=False)
    else:
        assert forget.scores is not None
        rows = _by_score(np.asarray(scores(forget.scores)), count, request.get("level", "high"))
    return Split.by_index(data, data.train.index[torch.from_numpy(rows)])


def without_earlier(whole: Split, earlier: Split, data: Data) -> tuple[Data, Split]:
    """Remove the rows of earlier stages: the data without them, and the new part of *whole*.

    A method never sees rows again that an earlier stage removed. Both draws are prefixes of
    one permutation, so *earlier* is part of *whole*.
    """
    rest = replace(data, train=data.train.take(earlier.rows(data, "retain")), source="")
    new = whole.forget[~torch.isin(whole.forget, earlier.forget)]
    return rest, Split.by_index(rest, new)


def _subclass(name: str, data: Data, spec: DataSpec) -> Tensor:
    """Numbers of the rows whose label was *name* before `groups` merged classes."""
    options = spec.options
    if not options.groups:
        raise CounError(
            "a subclass request needs groups in the data of the workload; use a class request "
            "for a whole class"
        )
    fine = load(
        spec.source,
        limit=options.limit,
        image_column=options.image_column,
        label_column=options.label_column,
    )
    if name not in fine.classes:
        raise unknown("class", name, fine.classes)
    numbers = fine.train.index[fine.train.labels == fine.classes.index(name)]
    return numbers[torch.isin(numbers, data.train.index)]


def _by_score(score: np.ndarray, count: int, level: str) -> np.ndarray:
    """Rows by score; equal scores in a seeded order, so that the file order does not decide.

    Source: RUM (Zhao et al., NeurIPS 2024): high, middle (around the median), low, and a mix
        of a third of each.
    """
    shuffled = np.random.default_rng(0).permutation(len(score))
    order = shuffled[np.argsort(-score[shuffled], kind="stable")]
    third = [count // 3 + (part < count % 3) for part in range(3)]
    sizes = {"high": (count, 0, 0), "middle": (0, count, 0), "low": (0, 0, count), "mix": third}
    high, middle, low = sizes[level]
    start = (len(order) - middle) // 2
    chosen = [order[:high], order[start : start + middle], order[len(order) - low :]]
    return np.sort(np.concatenate(chosen))


def memorisation(trained: list[tuple[Run, Split]], data: Data) -> list[float]:
    """Accuracy on a row of the models that were trained on it, minus that of the others.

    Args: trained: models, each trained on the retained half of its split.

    Source: Feldman and Zhang 2020, the estimator over random halves; RUM stratifies by it.
        A row that none or all of the models were trained on scores 0.
    """
    correct, trained_on = [], []
    for run, half in trained:
        outputs = predictions(run.classifier, data, None).outputs["retain"]
        correct.append((outputs.logits.argmax(1) == data.train.labels.cpu()).numpy())
        trained_on.append(torch.isin(data.train.index, half.retain).numpy())
    hit, inside = np.array(correct, dtype=float), np.array(trained_on)
    with_row, without_row = inside.sum(0), (~inside).sum(0)
    accuracy_with = (hit * inside).sum(0) / np.maximum(with_row, 1)
    accuracy_without = (hit * ~inside).sum(0) / np.maximum(without_row, 1)
    defined = (with_row > 0) & (without_row > 0)
    return [float(x) for x in np.where(defined, accuracy_with - accuracy_without, 0.0)]


def self_influence(run: Run, data: Data) -> list[float]:
    """Squared norm of each row's loss gradient at the Original's last layer.

    This is the influence of a row on its own loss with the identity as Hessian:
    |p - onehot(y)|^2 (|f|^2 + 1). Rows with a large score change most when they are left out.

    Source: TracIn (Pruthi et al., NeurIPS 2020) at one checkpoint, last layer. It differs from
        the bilevel search of Fan et al. 2024, which trains a selection of rows.
    """
    outputs = predictions(run.classifier, data, None).outputs["retain"]
    error = torch.softmax(outputs.logits.double(), 1)
    error[torch.arange(len(error)), data.train.labels.cpu()] -= 1
    return (error.square().sum(1) * (outputs.features.double().square().sum(1) + 1)).tolist()
