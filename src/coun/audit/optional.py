"""The parts of an audit that train models; each is done only on request or where it is cheap."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coun.analysis import relearn as run_relearn
from coun.attacks import scaled_logit
from coun.audit.rank_tests import Groups
from coun.audit.scores import LIMIT, RelearnedHalf
from coun.data import Data, Examples, Split
from coun.engine import Compute, Engine, Fit, Optimizer, Phase, Task, forward_flops, predict
from coun.errors import CounError
from coun.metrics import anamnesis_index
from coun.metrics.arrays import Floats
from coun.objectives import cross_entropy
from coun.runs import Membership, Run, membership, shadows
from coun.seeds import Seeds

STEPS, BATCH = 20, 64
CHEAP = 1e11  # floating-point operations of all copies, up to which relearning is always done
SGD = Optimizer(lr=0.01, schedule="constant")


def relearning_is_cheap(runs: list[Run]) -> bool:
    """Whether relearning on half of the rows costs so little that it need not be requested."""
    total = 0.0
    for run in runs:
        image = run.data.views.evaluate(run.data.train.fetch(torch.arange(1)))
        total += 3 * STEPS * BATCH * forward_flops(run.classifier, image)
    return total <= CHEAP


def relearn_half(run: Run, split: Split, *, seed: int = 0) -> RelearnedHalf:
    """Train a copy for a few steps on a random half of the forgotten rows; measure the other half.

    To a model that never saw them, the other half stays like test rows, whatever was trained on
    the first half. A model that only hides what it knows gets it back in a few steps. All models
    of one seed see the same rows in the same order, on the CPU in float32.
    """
    data = run.data
    rows = split.rows(data, "forgotten")
    order = torch.randperm(len(rows), generator=Seeds(seed).torch("relearned half"))
    first, other = order[: len(rows) // 2], order[len(rows) // 2 :].sort().values
    none = split.forget[:0]
    half = replace(split, forget=data.train.numbers[rows[first]].sort().values, earlier=none)
    classifier = copy.deepcopy(run.classifier).requires_grad_(True)
    compute = Compute.choose("cpu", "fp32")
    seeds = Seeds(seed).fork("relearn")
    task = Task(data, half, seeds, frozenset({"forget"}), classifier, None, compute.device)
    phase = Phase(cross_entropy("forget"), {"forget": min(BATCH, len(first))}, steps=STEPS)
    Engine(task, compute).run([Fit((phase,), 1, SGD, name="relearn")])

    def odds(examples: Examples) -> Floats:
        logits = predict(classifier, data, examples).logits
        values = scaled_logit(logits, examples.labels.cpu()).clamp(-LIMIT, LIMIT)
        return np.asarray(values.numpy(), dtype=np.float64)

    test = data.test.take(split.test_rows(data))
    return RelearnedHalf(other.numpy(), Groups(odds(data.train.take(rows[other])), odds(test)))


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


def shadow_attacks(
    models: Mapping[str, Run], data: Data, split: Split, count: int, cache: str | Path | None
) -> dict[str, Membership]:
    """LiRA offline and RMIA of forget rows against test rows, with *count* shadow models.

    They are trained as the Original was, and kept under *cache* if it is given.
    """
    record = next(iter(models.values())).record
    name = record.model.name
    if name is None:
        raise CounError("shadow models need a model that can be built by name; leave out shadows")
    place = Path(cache) / "shadows" if cache is not None else None
    made = shadows(data, name, count, out=place, **record.original)
    return {key: membership(run, made, split) for key, run in models.items()}


def canary_scores(run: Run, data: Data) -> tuple[Floats, Floats]:
    """Log-odds of the canaries' labels (N,), and 1 for those that took part in training."""
    assert data.canaries is not None
    examples = data.canaries.examples
    logits = predict(run.classifier, data, examples).logits
    odds = scaled_logit(logits, examples.labels).clamp(-LIMIT, LIMIT)
    return np.asarray(odds.numpy(), np.float64), data.canaries.member.double().numpy()


def attack_scores(attacks: Membership) -> dict[str, Groups]:
    """The attacks' scores as signed scores of an audit: higher means remembered."""
    names = {"lira_offline": "lira", "rmia": "rmia"}
    return {
        short: Groups(*(np.asarray(part, dtype=np.float64) for part in attacks.scores[name]))
        for name, short in names.items()
    }
