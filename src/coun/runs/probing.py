"""Short trials that choose optimizer and learning rate for a model of unknown training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from coun.data import Data, Split
from coun.data.data_set import blank_inputs
from coun.engine import (
    Compute,
    Cost,
    Edit,
    Engine,
    Fit,
    Optimizer,
    Phase,
    Task,
    forward_flops,
    predict,
)
from coun.errors import CounError
from coun.methods import Method
from coun.models import copy_model
from coun.objectives import cross_entropy
from coun.plans.matching import Matching
from coun.runs.options import Options
from coun.runs.recipes import ATTENTIVE, family
from coun.runs.record import ProbeRecord, TrialRecord
from coun.runs.start import Start, wrap
from coun.seeds import Seeds

RATES = {"sgd": 0.05, "adamw": 1e-3}  # of fine-tuning, where no larger one is on record
SHARES = (1, 1 / 4, 1 / 16, 1 / 64, 1 / 256)
STEPS, BATCH, HELD_BACK = 12, 32, 256
TOLERANCE = 0.1  # of the way from the model's loss to that of a uniform guess
NOISE = 0.02  # nats; a model near chance would otherwise bear no step at all


@dataclass(frozen=True)
class Probe:
    """What trials chose for a method.

    Attributes:
        settings: the optimizer and the learning rate.
        record: the trials.
        cost: what they cost.
    """

    settings: dict[str, Any]
    record: ProbeRecord
    cost: Cost

    def in_words(self) -> str:
        """Say in one line what was chosen and why."""
        record, chosen = self.record, self.record.trials[-1]
        trials = f"{len(record.trials)} trial{'s' * (len(record.trials) > 1)}"
        settings = " and ".join(f"{name} {value}" for name, value in self.settings.items())
        after = "is not finite" if chosen.loss is None else f"becomes {chosen.loss:.3f}"
        doubt = "" if record.accepted else ", which is too much also with the smallest rate tried"
        return (
            f"no recipe with SGD is recorded for this model ({record.family}), so {trials} on "
            f"{record.rows:,} {record.role} rows chose {settings}; with plain descent at lr "
            f"{chosen.lr:g} the loss of held-back rows, {record.loss:.3f}, {after}{doubt} "
            "(--set lr=... and --set optimizer=... choose others)"
        )


def needs_probe(method: Method, settings: Mapping[str, Any], original: Mapping[str, Any]) -> bool:
    """Tell whether trials must choose the learning rate of *method*.

    They must where the method trains with SGD by default, the user gave no rate, and nothing
    says that the model was trained with SGD.

    Args:
        settings: what the user set.
        original: settings of the Original's training; empty where they are unknown.
    """
    if method.exact or not method.trains or "lr" in settings or not hasattr(method, "lr"):
        return False
    default = getattr(type(method)(), "optimizer", "sgd")
    return default == "sgd" and original.get("optimizer") != "sgd"


def probe(
    method: Method,
    settings: Mapping[str, Any],
    data: Data,
    split: Split,
    start: Start,
    seed: int,
    options: Options,
) -> Probe:
    """Choose optimizer and learning rate of *method* by trials from the weights of *start*.

    Each trial makes a few steps of plain descent from the same weights, on the same batches,
    with a rate that falls to 0. Its score is the loss of rows that no trial learns from. The
    largest rate is chosen that raises this loss by no more than a tenth of the way to the loss
    of a uniform guess. The rows are retained ones, or forgotten ones for a method that may read
    these only.

    For a method that first edits weights, such as negation, the trials start from the edited
    weights, which bear and need larger rates.

    The rate of a method means what its default means beside that of fine-tuning: gradient
    ascent, for example, has a default of 1/500 of it, and gets 1/500 of the chosen rate.

    Args:
        settings: what the user set; an optimizer among them is the only one that is tried.
        split: the request, with all rows that must be forgotten by now.
    """
    role = "retain" if "retain" in method.reads else "forget"
    model = copy_model(start.model)
    classifier = wrap(model, data, start.head)
    flops = forward_flops(classifier, blank_inputs(data)[:1].to(next(model.parameters()).device))
    compute = Compute.choose(options.device, options.precision, flops=flops)
    seeds = Seeds(seed).fork("probe")
    task = Task(data, split, seeds, method.reads, classifier, None, compute.device, flops)
    _divide(task, role)
    kind = family(model)
    optimizer = str(settings.get("optimizer") or ("adamw" if kind == ATTENTIVE else "sgd"))
    if not hasattr(method, "optimizer"):  # rum, whose parts have optimizers of their own
        optimizer = "sgd"
    compute.to_device(model)
    if method.edits_first:
        _edit(method, model, task)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    before = _loss(task)
    limit = before + max(NOISE, TOLERANCE * (math.log(len(data.classes)) - before))
    trials, accepted = list[TrialRecord](), False
    for rate in _rates(optimizer, method, start.original):
        model.load_state_dict(weights)
        loss = _trial(task, compute, optimizer, rate)
        trials.append(TrialRecord(optimizer=optimizer, lr=rate, loss=loss))
        accepted = loss is not None and loss <= limit
        if accepted:
            break
    chosen = _settings(method, trials[-1], _usual_rate(method, split, start.original))
    record = ProbeRecord(
        family=kind,
        role=role,
        rows=len(task.indices(role)),
        steps=STEPS,
        loss=before,
        trials=trials,
        accepted=accepted,
    )
    return Probe(chosen, record, task.cost)


def _rates(optimizer: str, method: Method, original: Mapping[str, Any]) -> list[float]:
    """The rates to try, the largest first.

    Weights that were trained at a large rate are large, and a usual one would hardly move them. So
    half of the Original's rate is tried before, as 0.05 is half of the 0.1 of SGD. Trials show only
    what descent does; a method that may raise a loss without end gets no more than the usual rate.
    """
    usual = [RATES[optimizer] * share for share in SHARES]
    if original.get("optimizer") != optimizer or not original.get("lr"):
        return usual
    if "forget" in method.reads and not isinstance(method, Matching):
        return usual
    own = [original["lr"] / 2 * share for share in SHARES]
    return [rate for rate in own if rate > usual[0]] + usual


def _divide(task: Task, role: str) -> None:
    """Define two roles of the rows of *role*: those that trials learn from, and held-back ones."""
    rows = task.indices(role)
    rows = rows[torch.randperm(len(rows), generator=task.seeds.torch("rows"))]
    # A request of one row leaves nothing to hold back; the row then serves for both.
    count = min(HELD_BACK, max(1, len(rows) // 2))
    task.define("held back", rows[:count].sort().values)
    task.define("probe", (rows[count:] if len(rows) > 1 else rows).sort().values)


def _edit(method: Method, model: nn.Module, task: Task) -> None:
    """Change the weights as *method* does before it trains."""
    with task.seeds.as_global("edit"):
        for stage in method.with_defaults_from({}).plan(model, task):
            if not isinstance(stage, Edit):
                break
            stage.apply(model)


def _usual_rate(method: Method, split: Split, original: Mapping[str, Any]) -> float:
    """The rate of *method* where the model was trained with SGD."""
    if isinstance(method, Matching):
        return method.rate_for(method.with_defaults_from(original).steps_for(split))
    return getattr(method, "lr", None) or RATES["sgd"]


def _settings(method: Method, chosen: TrialRecord, usual_rate: float) -> dict[str, Any]:
    rate = float(f"{chosen.lr * usual_rate / RATES['sgd']:.3g}")
    if not hasattr(method, "optimizer"):
        return {"lr": rate}
    return {"optimizer": chosen.optimizer, "lr": rate}


def _trial(task: Task, compute: Compute, optimizer: str, rate: float) -> float | None:
    """The loss of the held-back rows after a trial; None if the training diverged."""
    phase = Phase(cross_entropy("probe"), {"probe": BATCH}, steps=STEPS)
    kind: Any = optimizer
    stage = Fit((phase,), 1, Optimizer(kind, rate, schedule="cosine"), "probe")
    try:
        Engine(task, compute).run([stage])
    except CounError:  # the loss or the weights are not finite
        return None
    loss = _loss(task)
    return loss if math.isfinite(loss) else None


def _loss(task: Task) -> float:
    source = task.source("held back")
    task.charge(len(source), grad=False)
    logits = predict(task.classifier, task.data, source).logits
    return float(F.cross_entropy(logits, source.labels.cpu()))
