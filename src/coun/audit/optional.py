"""The parts of an audit that train models; each is done only on request or where it is cheap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coun.analysis import relearn as run_relearn
from coun.attacks import scaled_logit
from coun.audit.rank_tests import Groups
from coun.audit.scores import CHECKPOINTS, LIMIT, RelearnedHalf
from coun.data import Data, Split
from coun.data.row_views import TokenDropout
from coun.data.views import Transform
from coun.engine import Compute, Engine, Fit, Optimizer, Phase, Task, forward_flops, predict
from coun.errors import CounError
from coun.metrics import anamnesis_index
from coun.metrics.arrays import Floats
from coun.models import Classifier, Outputs, copy_model
from coun.objectives import cross_entropy
from coun.runs import Membership, Run, membership, shadows
from coun.runs.record import RunRecord
from coun.seeds import Seeds

BATCH = 64
NOISE = 0.1  # of a row's standard deviation
NOISE_BATCH = 100  # each batch gets the same noise, so its size is part of what is measured
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
        log_odds(outputs, data.train.labels.cpu()[rows[other]]),
        log_odds(predict(classifier, data, test), test.labels),
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


def log_odds(outputs: Outputs, labels: Tensor) -> Floats:
    """Log-odds of the true class (N,), in nats, clamped."""
    values = scaled_logit(outputs.logits, labels.cpu()).clamp(-LIMIT, LIMIT)
    return np.asarray(values.numpy(), dtype=np.float64)


@dataclass(frozen=True)
class NearbyViews:
    """The inputs of *views* with noise: a tenth of each row's own standard deviation.

    Of texts, a tenth of the tokens is hidden instead.
    """

    views: Transform

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a training view, without noise."""
        return self.views(images, generator)

    def evaluate(self, images: Tensor) -> Tensor:
        """Return the evaluation view with noise, always the same."""
        inputs, generator = self.views.evaluate(images), torch.Generator().manual_seed(0)
        if inputs.dtype == torch.int64:
            return TokenDropout(NOISE)(inputs, generator)
        noise = torch.randn(inputs.shape, generator=generator)
        spread = inputs.flatten(1).std(1, correction=0).view(-1, *(1,) * (inputs.ndim - 1))
        return inputs + NOISE * spread * noise.to(inputs)


def nearby_odds(run: Run, split: Split) -> Groups:
    """Log-odds of slightly changed copies of the forgotten rows (M,) and the test rows (O,).

    A model that looks up the forgotten rows, and gives them the answers of another model, still
    gives its own answers to rows beside them.
    """
    data = run.data
    noisy = replace(data, views=NearbyViews(data.views))
    parts = (
        data.train.take(split.rows(data, "forgotten")),
        data.test.take(split.test_rows(data)),
    )
    return Groups(
        *(
            log_odds(predict(run.classifier, noisy, part, batch_size=NOISE_BATCH), part.labels)
            for part in parts
        )
    )


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


def recipe_of_shadows(runs: Sequence[Run]) -> RunRecord:
    """The record of the first run of which it is known how its Original was trained.

    Raises: CounError if there is none, or its model cannot be built by name.
    """
    record = next((run.record for run in runs if run.record.original), None)
    if record is None:
        raise CounError(
            "shadow models are trained as the Original was, and no model of this audit has a "
            "record of that; leave out shadows"
        )
    if record.model.name is None:
        raise CounError("shadow models need a model that can be built by name; leave out shadows")
    return record


def shadow_attacks(
    models: Mapping[str, Run],
    data: Data,
    split: Split,
    count: int,
    cache: str | Path | None,
    recipe: RunRecord,
) -> dict[str, Membership]:
    """LiRA offline and RMIA of forget rows against test rows, with *count* shadow models.

    They are trained as *recipe* records it of the Original, and kept under *cache* if it is given.
    """
    name = recipe.model.name
    assert name is not None
    place = Path(cache) / "shadows" if cache is not None else None
    made = shadows(data, name, count, out=place, **recipe.original)
    return {key: membership(run, made, split) for key, run in models.items()}


def canary_scores(run: Run, data: Data) -> tuple[Floats, Floats]:
    """Log-odds of the canaries' labels (N,), and 1 for those that took part in training."""
    assert data.canaries is not None
    examples = data.canaries.examples
    odds = log_odds(predict(run.classifier, data, examples), examples.labels)
    return odds, data.canaries.member.double().numpy()


def attack_scores(attacks: Membership) -> dict[str, Groups]:
    """The attacks' scores as signed scores of an audit: higher means remembered."""
    names = {"lira_offline": "lira", "rmia": "rmia"}
    return {
        short: Groups(*(np.asarray(part, dtype=np.float64) for part in attacks.scores[name]))
        for name, short in names.items()
    }
