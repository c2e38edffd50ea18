"""Count what each method costs at its defaults, as a share of a Retrain.

    python benchmarks/method_costs.py [NAME ...]

The request is a random 10% of 300 digits, and the Original counts as trained by the recipe of the
paper, 182 epochs, with batches of 16. Of every phase of a training one step is computed, and its
operations are multiplied by the number of steps; what a method computes beside the training is
computed whole. The share hardly depends on the network. `coun methods` shows the numbers, which go
to src/coun/plans/costs.json.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

import coun
import coun.plans
from coun.data import OutOfFold
from coun.engine import Engine, Fit
from coun.engine.batches import BatchLoader, Progress
from coun.files import read_json, write_json
from coun.methods import amnesiac, catalogue, oracle
from coun.methods.retrain import Retrain
from coun.objectives.context import Batch
from coun.runs import execution
from coun.runs.kept_epochs import KeptEpoch
from coun.runs.record import OutOfFoldRecord

COSTS = Path(coun.plans.__file__).parent / "costs.json"
ROWS, BATCH = 300, 16
COUNTED = ("forward_images", "trained_images", "flops")


class CountingEngine(Engine):
    """Computes the losses of one step of each phase, and charges them for all its steps."""

    def _fit(self, number: int, stage: Fit, saved: object) -> None:
        for module in stage.modules:
            module.to(self.compute.device)
        self._modules = stage.modules
        loader = BatchLoader(self.task, stage, group=self.group)
        steps = [
            sum(column) for column in zip(*map(loader.lengths, range(stage.epochs)), strict=True)
        ]
        for index, (phase, count) in enumerate(zip(stage.phases, steps, strict=True)):
            if count == 0:
                continue
            at, _, loaded = next(loader.batches(Progress(number, phase=index)))
            batches = {role: Batch(*values) for role, values in loaded.items()}
            before = {name: getattr(self._bill, name) for name in COUNTED}
            self._model.train()
            phase.objective(self._context(at, phase, self._model, batches, 0.0))
            for name, value in before.items():
                setattr(self._bill, name, value + count * (getattr(self._bill, name) - value))


def original() -> coun.Run:
    """Train a little, and record the recipe of the paper; predictions and epochs are made up."""
    run = coun.train(coun.load("digits", limit=ROWS), "cnn", epochs=5, batch_size=BATCH)
    shape = (3, ROWS, len(run.data.classes))
    table = torch.randn(shape, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    predictions = OutOfFold(tuple(run.data.ids), table, run.data.classes)
    recipe = Retrain(batch_size=BATCH)
    record = run.record.model_copy(
        update={
            "original": recipe.settings(),
            "out_of_fold": OutOfFoldRecord(sha256=predictions.digest, repeats=3),
        }
    )
    epochs = {epoch: KeptEpoch("", lambda module: module) for epoch in range(recipe.epochs)}
    return replace(run, record=record, out_of_fold=predictions, kept_epochs=epochs)


def share(start: coun.Run, name: str) -> float:
    """Count the method *name* at its defaults, and divide by a Retrain."""
    split, recipe = coun.Split.random(start.data, 0.1), Retrain(batch_size=BATCH).settings()
    costs = []
    for method in (name, "retrain"):
        settings = recipe if catalogue()[method].trains_from_scratch else {"tolerance": 1e9}
        known = catalogue()[method].__dataclass_fields__
        accepted = {key: value for key, value in settings.items() if key in known}
        costs.append(coun.unlearn(start, split, method, **accepted).record.cost.flops)
    return costs[0] / costs[1]


if __name__ == "__main__":
    begun = original()
    for module in (execution, oracle, amnesiac):
        module.Engine = CountingEngine  # type: ignore[attr-defined]
    table = read_json(COSTS) if COSTS.exists() else {}
    for method in sys.argv[1:] or sorted(catalogue()):
        table[method] = round(share(begun, method), 3)
        print(method, table[method], flush=True)
        write_json(COSTS, {name: table[name] for name in sorted(table)})
