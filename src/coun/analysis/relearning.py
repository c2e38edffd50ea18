"""Relearn time: how fast forgotten samples come back when they are trained on again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from coun.data import Split
from coun.engine import Compute, Engine, Fit, Optimizer, Phase, Task, predict
from coun.errors import CounError
from coun.metrics import RelearnTime, accuracy
from coun.models import Classifier, copy_model
from coun.objectives import cross_entropy
from coun.runs import Run
from coun.seeds import Seeds

SGD = Optimizer(lr=0.01, schedule="constant")


@dataclass(frozen=True)
class Relearned:
    """How a model relearned.

    Args:
        steps: until the target was met; the cap if it never was.
        censored: the target was not met: the true number is larger.
        target: forget accuracy that had to be met, percent.
        accuracies: forget accuracy at the start and after each look, percent.
    """

    steps: int
    censored: bool
    target: float
    accuracies: tuple[float, ...]

    @property
    def time(self) -> RelearnTime:
        """For `coun.metrics.anamnesis_index`."""
        return RelearnTime(self.steps, not self.censored)


class _MetError(Exception):
    """Leaves the loop: the target is met."""


def relearn(
    run: Run,
    original: Run,
    split: Split | None = None,
    *,
    margin: float = 5.0,
    cap: int = 200,
    every: int = 1,
    batch_size: int = 64,
    optimizer: Optimizer = SGD,
    seed: int = 0,
) -> Relearned:
    """Fine-tune a copy of *run* on the forget rows until it knows them as *original* does.

    Known: forget accuracy (eval mode, deterministic views) of at least the Original's minus
    *margin* points. Every model of one seed sees the same batches. On the CPU in float32.

    Args:
        split: the forget rows, by default those of *run*.
        margin: alpha, points.
        cap: steps at most.
        every: look at the accuracy after so many steps; costs a pass over the forget rows.
        optimizer: one for all models, by default SGD with lr 0.01, momentum 0.9, wd 5e-4.

    Raises: CounError without a split, for an original of other data, or a bad cap or interval.

    Source: the relearn time of Golatkar et al., CVPR 2020, and AIN's of Chundawat et al.,
        2023 (alpha 5 to 10%, unverified); counted in steps here, where they count epochs.
    """
    split = split or run.split
    if split is None:
        raise CounError("nothing to relearn: the run has no forget request; pass split=...")
    if original.data.fingerprint != run.data.fingerprint:
        raise CounError("the Original is of other data; expected the same fingerprint")
    if cap < 1 or every < 1:
        raise CounError(f"relearning has cap {cap} and every {every}; expected 1 or more steps")
    data = run.data
    examples = data.train.take(split.rows(data, "forget"))

    def known(classifier: Classifier) -> float:
        return accuracy(predict(classifier, data, examples).logits, examples.labels.cpu())

    target = known(original.classifier) - margin
    classifier = copy_model(run.classifier).requires_grad_(True)
    accuracies = [known(classifier)]
    if accuracies[0] >= target:
        return Relearned(0, False, target, tuple(accuracies))
    compute = Compute.choose("cpu", "fp32")
    seeds = Seeds(seed).fork("relearn")
    task = Task(data, split, seeds, frozenset({"forget"}), classifier, None, compute.device)

    @contextlib.contextmanager
    def look(_: object) -> Iterator[None]:
        yield
        done = task.cost.steps + 1  # the loop counts an update once it is over
        if done % every == 0 or done == cap:
            accuracies.append(known(classifier))
            if accuracies[-1] >= target:
                raise _MetError

    phase = Phase(cross_entropy("forget"), {"forget": batch_size}, steps=cap)
    fit = Fit((phase,), 1, optimizer, name="relearn")
    try:
        Engine(task, compute, observe=look).run([fit])
    except _MetError:
        return Relearned(task.cost.steps + 1, False, target, tuple(accuracies))
    return Relearned(cap, True, target, tuple(accuracies))
