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
from coun.audit.scores import CHECKPOINTS, RelearnedHalf, log_odds
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


def relearning_is_cheap(runs: Sequence[Run]) -> bool:
    """Whether relearning on half of the rows costs so little that it need not be requested."""
    total = 0.0
    for run in runs:
        image = run.data.views.evaluate(run.data.train.fetch(torch.arange(1)))
        total += 2 * 3 * CHECKPOINTS[-1] * BATCH * forward_flops(run.classifier, image)
    return total <= CHEAP


def relearn_half(run: Run, split: Split, *, seed: int = 0) -> RelearnedHalf:
    """Train copies for a few steps on a random half of the forgotten rows; measure the other half.

    To a model that never saw them, the other half stays like test rows, whatever was trained on
    the first half. A model that only hides what it knows gets it back within a few steps; how
    soon tells more than the end, where every model may have learned the class. Each half is
    relearned by a copy of its own, so that every forgotten row is measured. All models of one
    seed see the same rows in the same order, on the CPU in float32.
    """
    data = run.data
    rows = split.rows(data, "forgotten")
    order = torch.randperm(len(rows), generator=Seeds(seed).torch("relearned half"))
    first, other = order[: len(rows) // 2], order[len(rows) // 2 :].sort().values
    right = np.zeros(len(rows))
    relearned = []  # each copy, and its outputs at the last checkpoint
    for trained_on, measured in ((first, other), (other, first.sort().values)):
        classifier = copy_model(run.classifier).requires_grad_(True)
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
