"""Oracle matching: train some Retrains, and give the model their predictions for forget rows."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from coun.engine import Compute, Engine, Task, predict
from coun.methods.retrain import Retrain
from coun.models import copy_model
from coun.plans.matching import Matching, averaged
from coun.plans.method import FROZEN, Positive


@dataclass(frozen=True, config=FROZEN)
class OracleMatching(Matching):
    """Match the mean prediction of some Retrains for the forget rows (oracle matching, OM).

    Some Retrains say what the model should predict for the forget rows, and it is fine-tuned
    to these predictions. As one Retrain is already the exact answer, this does not save
    costs; it shows what any method could reach that matches targets, and how many Retrains a
    steady target needs.

    Formula: the loss of `out_of_fold` (`Matching`), with the mean log-probabilities of the Retrains
        as targets.
    Cost: that of the Retrains, which are trained for the request and charged to it, and that of
        `out_of_fold`.
    Limits: more expensive than a Retrain; it is for comparison only.
    Source: Georgiev et al., "Attribute-to-Delete", ICLR 2025 (arXiv 2410.23232), OM with k oracles.
    Differences: the authors' code minimises the squared error of logits with Adam (learning rate
        5e-4, 5 epochs, batches of 512, 10 oracles) on forget rows and three times as many retain
        rows; here retain rows keep their labels, and the loss is that of out-of-fold matching, so
        that the two can be compared.
    """

    name: ClassVar[str] = "oracle"
    source: ClassVar[str] = "OM, Georgiev et al., ICLR 2025"
    needs_original: ClassVar[bool] = True

    oracles: Positive = Field(
        1, description="Number of Retrains, k, whose predictions are averaged."
    )

    def further_retrains(self) -> int:
        return self.oracles

    def targets(self, task: Task, retained: Tensor) -> Tensor:
        rows = task.data.train.take(task.indices("forget"))
        predictions = []
        for number in range(self.oracles):
            oracle = copy_model(task.classifier)
            seeds = task.seeds.fork("oracle", number)
            reads = frozenset({"retain"})
            exact = Task(
                task.data, task.split, seeds, reads, oracle, task.build, task.device, task.flops
            )
            compute = Compute.choose(str(task.device), flops=task.flops)
            recipe = Retrain(**task.original["settings"])
            Engine(exact, compute).run(recipe.plan(oracle.inner, exact))
            task.charge(exact.cost.trained_images, grad=True)
            predictions.append(predict(oracle, task.data, rows).logits.log_softmax(1))
            task.charge(len(rows), grad=False)
        return averaged(torch.stack(predictions), rows.labels.cpu())
