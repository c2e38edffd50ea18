"""Relearn time: how soon forgotten rows are known again when they are trained on."""

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
    """How a model relearned its forget rows.

    Attributes:
        steps: until the target was met, or the limit if it was not.
        censored: whether the target was not met, so that the true number is larger.
        target: the forget accuracy that had to be reached, percent.
        accuracies: the forget accuracy at the start and after each check, percent.

    >>> Relearned(3, censored=False, target=90.0, accuracies=(50.0, 92.0)).time
    RelearnTime(rounds=3, reached=True)
    """

    steps: int
    censored: bool
    target: float
    accuracies: tuple[float, ...]

    @property
    def time(self) -> RelearnTime:
        """The steps, as `coun.metrics.anamnesis_index` takes them."""
        return RelearnTime(self.steps, not self.censored)


class _MetError(Exception):
    """Raised to leave the training loop when the target is met."""


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
    """Fine-tune a copy of *run* on the forget rows until it knows them as the Original does.

    The target is the forget accuracy of the Original (eval mode, deterministic views) minus
    *margin* points. Training is on the CPU in float32.

    Args:
        run: the model; it is not changed.
        original: the model that the target is taken from.
        split: the forget rows, by default those of *run*.
        margin: alpha, in points.
        cap: the largest number of steps.
        every: the number of steps between two checks of the accuracy; each check costs one
            pass over the forget rows.
        batch_size: of the forget rows.
        optimizer: the same for all models, by default SGD with learning rate 0.01, momentum 0.9
            and weight decay 5e-4.
        seed: fixes the batches: all models with one seed see the same ones.

    Raises: CounError without a split, for an original of other data, or a bad cap or interval.

    Source: the relearn time of Golatkar et al., CVPR 2020, and AIN's of Chundawat et al.,
        2023 (alpha 5 to 10%, unverified); counted in steps here, where they count epochs.

    >>> import coun
    >>> data = coun.load("digits", limit=100)
    >>> original, split = coun.train(data, "mlp", epochs=2), coun.Split.random(data, 0.1)
    >>> relearn(original, original, split).steps  # it has forgotten nothing
    0
    """
    split = split or run.split
    if split is None:
        raise CounError("nothing to relearn: the run has no forget request; pass split=...")
    if original.data.fingerprint != run.data.fingerprint:
        raise CounError("the Original was trained on other data; expected the same fingerprint")
    if cap < 1 or every < 1:
        raise CounError(
            f"relearning with cap {cap} and every {every}; expected at least 1 step for each"
        )
    data = run.data
    examples = data.train.take(split.rows(data, "forget"))

    def forget_accuracy(classifier: Classifier) -> float:
        return accuracy(predict(classifier, data, examples).logits, examples.labels.cpu())

    target = forget_accuracy(original.classifier) - margin
    classifier = copy_model(run.classifier).requires_grad_(True)
    accuracies = [forget_accuracy(classifier)]
    if accuracies[0] >= target:
        return Relearned(0, False, target, tuple(accuracies))
    compute = Compute.choose("cpu", "fp32")
    seeds = Seeds(seed).fork("relearn")
    task = Task(data, split, seeds, frozenset({"forget"}), classifier, None, compute.device)

    @contextlib.contextmanager
    def check(_: object) -> Iterator[None]:
        yield
        done = task.cost.steps + 1  # the loop counts a step after it has ended
        if done % every == 0 or done == cap:
            accuracies.append(forget_accuracy(classifier))
            if accuracies[-1] >= target:
                raise _MetError

    phase = Phase(cross_entropy("forget"), {"forget": batch_size}, steps=cap)
    fit = Fit((phase,), 1, optimizer, name="relearn")
    try:
        Engine(task, compute, observe=check).run([fit])
    except _MetError:
        return Relearned(task.cost.steps + 1, False, target, tuple(accuracies))
    return Relearned(cap, True, target, tuple(accuracies))
