"""What a few steps of training on forgotten rows bring back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coun.analysis import relearn as run_relearn
from coun.audit.rank_tests import Groups
from coun.audit.scores import CHECKPOINTS, RelearnedHalf, Subject, log_odds
from coun.data import Data, Split
from coun.engine import Compute, Engine, Fit, Optimizer, Phase, Task, forward_flops, predict
from coun.errors import CounError
from coun.metrics import anamnesis_index
from coun.models import Classifier, copy_model
from coun.objectives import cross_entropy
from coun.runs import Run
from coun.seeds import Seeds

BATCH = 64
CHEAP = 2e11  # floating-point operations of all copies, up to which relearning is always done
SGD = Optimizer(lr=0.01, schedule="constant")
# Of the spread of logits: Retrains of one recipe are nearer to each other than the first, and a
# model beyond the second gives one answer to everything.
LEAST_RESCALED, MOST_RESCALED = 1.25, 1e4


def relearning_is_cheap(runs: Sequence[Run]) -> bool:
    """Whether relearning on half of the rows costs so little that it need not be requested."""
    total = 0.0
    for run in runs:
        image = run.data.views.evaluate(run.data.train.fetch(torch.arange(1)))
        total += 2 * 3 * CHECKPOINTS[-1] * BATCH * forward_flops(run.classifier, image)
    return total <= CHEAP


def relearn_half(run: Run, split: Split, *, seed: int = 0, rescale: float = 1.0) -> RelearnedHalf:
    """Train copies for a few steps on a random half of the forgotten rows; measure the other half.

    To a model that never saw them, the other half stays like test rows, whatever was trained on
    the first half. A model that only hides what it knows gets it back within a few steps; how
    soon tells more than the end, where every model may have learned the class. Each half is
    relearned by a copy of its own, so that every forgotten row is measured. All models of one
    seed see the same rows in the same order, on the CPU in float32.

    Args: rescale: multiply the weights and the bias of the last layer of the copies by this.
    """
    data = run.data
    rows = split.rows(data, "forgotten")
    order = torch.randperm(len(rows), generator=Seeds(seed).torch("relearned half"))
    first, other = order[: len(rows) // 2], order[len(rows) // 2 :].sort().values
    right = np.zeros(len(rows))
    relearned = []  # each copy, and its outputs at the last checkpoint
    for trained_on, measured in ((first, other), (other, first.sort().values)):
        classifier = copy_model(run.classifier).requires_grad_(True)
        _rescale_head(classifier, rescale)
        examples = data.train.take(rows[measured])
        numbers = data.train.numbers[rows[trained_on]]
        try:
            for _ in _relearning(classifier, data, split, numbers, seed):
                outputs = predict(classifier, data, examples)
                answers = outputs.logits.argmax(1)
                right[measured.numpy()] += (answers == examples.labels.cpu()).numpy()
        except CounError as error:
            largest = float(predict(run.classifier, data, examples).logits.abs().max())
            raise CounError(
                f"{run.where} gives logits up to {largest:.2g}, and cannot be trained further to "
                f"test what it relearns ({str(error).partition(';')[0]}); divide the weights and "
                f"the bias of its last layer '{classifier.head_name}' by a number that leaves "
                "logits below 100, which changes no predicted class"
            ) from None
        relearned.append((classifier, outputs))
    classifier, outputs = relearned[0]
    test = data.test.take(split.test_rows(data))
    odds = Groups(
        log_odds(outputs.logits, data.train.labels.cpu()[rows[other]]),
        log_odds(predict(classifier, data, test).logits, test.labels),
    )
    return RelearnedHalf(other.numpy(), odds, 100.0 * right / len(CHECKPOINTS))


def rescaling(subjects: Sequence[Subject], retrains: Sequence[Subject]) -> list[float]:
    """By what the last layer of each model's copies is multiplied before they relearn.

    A model with a higher temperature gives smaller logits, and so relearns sooner, whatever it
    remembers: Retrains of a class whose logits were halved were accused. Models whose logits
    spread otherwise than the Retrains' are therefore brought to the spread of the Retrains. The
    spread is that over the classes that are not forgotten, on test rows of these classes.

    >>> import coun
    >>> from coun.runs import predictions
    >>> data = coun.load("digits", limit=60)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.2)
    >>> model = Subject("run", predictions(run.classifier, data, split))
    >>> rescaling([model], [model]), rescaling([model], [])
    ([1.0], [1.0])
    """
    if not retrains:
        return [1.0] * len(subjects)
    usual = float(np.mean([_spread(subject) for subject in retrains]))
    scales = [usual / max(_spread(subject), 1e-12) for subject in subjects]
    return [s if LEAST_RESCALED < max(s, 1 / s) < MOST_RESCALED else 1.0 for s in scales]


def _spread(subject: Subject) -> float:
    """Median over test rows of the standard deviation of the logits of classes that remain."""
    classes = subject.labels("retain").unique()  # type: ignore[no-untyped-call]
    logits = subject.logits("test")[torch.isin(subject.labels("test"), classes)][:, classes]
    return float(logits.double().std(1, correction=0).median()) if logits.numel() else 1.0


def _rescale_head(classifier: Classifier, scale: float) -> None:
    """Multiply the logits by *scale*, where the last layer has weights of its own."""
    weights = dict(classifier.head.named_parameters())
    uses = [id(p) for _, p in classifier.named_parameters(remove_duplicate=False)]
    shared = any(uses.count(id(weight)) > 1 for weight in weights.values())
    if scale == 1 or shared or not weights.keys() <= {"weight", "bias"}:
        return
    with torch.no_grad():
        for weight in weights.values():
            weight.mul_(scale)


def _relearning(
    classifier: Classifier, data: Data, split: Split, numbers: Tensor, seed: int
) -> Iterator[int]:
    """Train *classifier* on the rows with these *numbers*, and stop at each checkpoint."""
    half = replace(split, forget=numbers.sort().values, earlier=split.forget[:0])
    compute = Compute.choose("cpu", "fp32")
    batch = {"forget": min(BATCH, len(numbers))}
    for before, checkpoint in pairwise((0, *CHECKPOINTS)):
        seeds = Seeds(seed).fork("relearn", checkpoint)
        task = Task(data, half, seeds, frozenset({"forget"}), classifier, None, compute.device)
        phase = Phase(cross_entropy("forget"), batch, steps=checkpoint - before)
        Engine(task, compute).run([Fit((phase,), 1, SGD, name="relearn")])
        yield checkpoint


def relearn_times(models: Mapping[str, Run], retrain: str, original: str, split: Split) -> Any:
    """Relearn times by model, and the anamnesis index of all but *retrain* against it."""
    results = {name: run_relearn(run, models[original], split) for name, run in models.items()}
    return {
        name: {
            "steps": result.steps,
            "censored": result.censored,
            "anamnesis_index": None
            if name == retrain
            else asdict(anamnesis_index(result.time, results[retrain].time)),
        }
        for name, result in results.items()
    }
