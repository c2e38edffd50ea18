"""What each way to fulfil a request would cost, before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from coun.data import Split
from coun.data.data_set import blank_inputs
from coun.engine import Compute, Cost, Engine, Fit, Phase, Task, forward_flops
from coun.methods import Method, make
from coun.models import copy_model
from coun.objectives import cross_entropy
from coun.runs import Options, Run
from coun.runs.choice import NEARLY_RETRAIN
from coun.runs.cost import operations, retrain_share
from coun.runs.recipes import inherited, recipe
from coun.runs.start import wrap
from coun.seeds import Seeds

STEPS = 3  # that are timed, after one that is not


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a method, beside that of a Retrain.

    Attributes:
        method: its name.
        share: of a Retrain's operations; None where it is unknown.
        flops, minutes: floating-point operations and minutes on this machine; None where
            the share is unknown.
        retrain_flops, retrain_minutes: of a Retrain.
    """

    method: str
    share: float | None
    flops: float | None
    minutes: float | None
    retrain_flops: float
    retrain_minutes: float

    def in_words(self) -> str:
        """One line for the person who decides."""
        retrain = _amount("a Retrain", self.retrain_flops, self.retrain_minutes)
        if self.method == "retrain":
            return f"cost: {retrain}"
        if self.share is None or self.flops is None or self.minutes is None:
            return f"cost: {self.method} unknown, {retrain}"
        line = (
            f"cost: {_amount(self.method, self.flops, self.minutes)} "
            f"({self.share:.2f} of a Retrain); {retrain}"
        )
        if self.share >= NEARLY_RETRAIN:
            line += "; consider --method retrain, which is exact and hardly dearer"
        return line


def _amount(name: str, flops: float, minutes: float) -> str:
    time = f"{minutes:,.1f} min" if minutes >= 1 else f"{max(1, math.ceil(minutes * 60))} s"
    return f"{name} about {operations(flops)}, {time}"


def retrain_settings(start: Run) -> dict[str, Any]:
    """The settings of a Retrain for the model of *start*."""
    settings = inherited("retrain", start.record)
    if settings and start.record.kind != "given":
        return settings
    return recipe(start.record.model.name, settings, network=start.model).settings()


def estimate(start: Run, split: Split, method: Method, options: Options) -> Estimate:
    """Estimate the cost of *method* from planned epochs and a few timed steps.

    A copy of the model is trained for the steps; *start* is not changed.
    """
    recorded = start.record.original or retrain_settings(start)
    retrain = make("retrain", retrain_settings(start)).settings()
    flops_per_row, rows_per_second = _speed(start, split, int(retrain["batch_size"]), options)
    rows = len(split.rows(start.data, "retain")) * retrain["epochs"]
    retrain_flops, retrain_minutes = rows * flops_per_row, rows / rows_per_second / 60
    method = method.with_defaults_from(recorded)
    share = 1.0 if method.name == "retrain" else retrain_share(method, split, recorded)
    return Estimate(
        method.name,
        share,
        None if share is None else share * retrain_flops,
        None if share is None else share * retrain_minutes,
        retrain_flops,
        retrain_minutes,
    )


def _speed(start: Run, split: Split, batch_size: int, options: Options) -> tuple[float, float]:
    """Operations per row of a training step, and rows per second, from a few steps."""
    classifier = wrap(copy_model(start.model), start.data, start.record.model.head)
    flops = forward_flops(classifier, blank_inputs(start.data)[:1])
    compute = Compute.choose(options.device, options.precision, flops=flops)
    cost = Cost()
    size = min(batch_size, len(split.retain))
    for steps in (1, STEPS):  # the first step also pays for what torch prepares once
        task = Task(
            start.data,
            split,
            Seeds(0),
            frozenset({"retain"}),
            classifier,
            start.build,
            compute.device,
            flops,
        )
        phase = Phase(cross_entropy("retain"), {"retain": size}, steps=steps)
        cost = Engine(task, compute).run([Fit((phase,), 1, name="timing")]).cost
    return 3 * flops, cost.samples_seen / max(cost.seconds, 1e-9)
