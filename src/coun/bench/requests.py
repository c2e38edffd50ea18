"""From a request's words to rows: the split to measure on, and the one a method gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from coun.bench.beds import Material
from coun.bench.config import DataConfig
from coun.bench.experiment import Cut, Experiment
from coun.data import Data, Split, load
from coun.errors import CounError, unknown
from coun.runs import Run, predictions

Scores = Callable[[Experiment], list[float]]


def split(cut: Cut, data: Data, material: Material, scores: Scores) -> Split:
    """The rows that *cut* forgets and retains.

    Raises: CounError if the request does not fit the data.
    """
    request = cut.request
    kind = request["kind"]
    if kind == "class":
        return Split.by_class(data, request["name"])
    if kind == "subclass":
        return Split.by_index(data, _subclass(request["name"], data, material))
    if kind == "random" and cut.draw == "torch":
        return Split.random(data, request["fraction"], seed=cut.seed or 0)
    count = round(request["fraction"] * len(data.train))
    if kind == "random":
        # SalUn draws without replacement from RandomState(seed - 1).
        state = np.random.RandomState(((cut.seed or 0) - 1) % 2**32)
        rows = state.choice(len(data.train), count, replace=False)
    else:
        assert cut.scores is not None
        rows = _by_score(np.asarray(scores(cut.scores)), count, request.get("level", "high"))
    return Split.by_index(data, data.train.index[torch.from_numpy(rows)])


def later(whole: Split, before: Split, data: Data) -> tuple[Data, Split]:
    """What a method gets once *before* is gone: the data without it, and the rest of *whole*.

    Rows that an earlier stage removed are never seen again. Both draws are prefixes of one
    permutation, so *before* lies within *whole*.
    """
    rest = replace(data, train=data.train.take(before.rows(data, "retain")), source="")
    new = whole.forget[~torch.isin(whole.forget, before.forget)]
    return rest, Split.by_index(rest, new)


def _subclass(name: str, data: Data, material: Material) -> Tensor:
    """Rows whose label, before `groups` merged classes, was *name*."""
    config = DataConfig.model_validate_json(material.config)
    if not config.groups:
        raise CounError("a subclass request needs groups in the bed's data; for a class use class")
    fine = load(
        material.source,
        limit=config.limit,
        image_column=config.image_column,
        label_column=config.label_column,
    )
    if name not in fine.classes:
        raise unknown("class", name, fine.classes)
    wanted = fine.train.index[fine.train.labels == fine.classes.index(name)]
    return wanted[torch.isin(wanted, data.train.index)]


def _by_score(score: np.ndarray, count: int, level: str) -> np.ndarray:
    """Rows by score; ties in a seeded order, so that no file order decides.

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
    """Share of models right about a row that had it, less the share of those that had not.

    Args: trained: models, each on the retained half of its split.

    Source: Feldman and Zhang 2020, the estimator over random halves; RUM stratifies by it.
        A row that no model had, or every one, scores 0.
    """
    right, had = [], []
    for run, half in trained:
        out = predictions(run.classifier, data, None).outputs["retain"]
        right.append((out.logits.argmax(1) == data.train.labels.cpu()).numpy())
        had.append(torch.isin(data.train.index, half.retain).numpy())
    hit, inside = np.array(right, dtype=float), np.array(had)
    within, without = inside.sum(0), (~inside).sum(0)
    share = (hit * inside).sum(0) / np.maximum(within, 1)
    other = (hit * ~inside).sum(0) / np.maximum(without, 1)
    return [float(x) for x in np.where((within > 0) & (without > 0), share - other, 0.0)]


def self_influence(run: Run, data: Data) -> list[float]:
    """Squared norm of each row's loss gradient at the Original's last layer.

    It is the diagonal of the influence of a row on its own loss, with the identity for the
    Hessian: |p - onehot(y)|^2 (|f|^2 + 1). Rows that score high change most when left out.

    Source: TracIn (Pruthi et al., NeurIPS 2020) at one checkpoint, last layer. Not the
        bilevel search of Fan et al. 2024, which trains a selection.
    """
    out = predictions(run.classifier, data, None).outputs["retain"]
    error = torch.softmax(out.logits.double(), 1)
    error[torch.arange(len(error)), data.train.labels.cpu()] -= 1
    return (error.square().sum(1) * (out.features.double().square().sum(1) + 1)).tolist()
