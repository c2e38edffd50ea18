"""Oracle matching: its oracles never see a forget row, and it is charged for them."""

from __future__ import annotations

import torch

import coun
from coun.engine import predict
from coun.methods import make, oracle
from coun.models import weights_digest
from coun.plans.matching import answers

FAST = {"epochs": 1, "batch_size": 32, "lr": 0.02}


def test_the_target_is_the_mean_of_models_trained_without_the_rows(
    original, split, small, monkeypatch
) -> None:
    seen, answers, run_engine = [], [], oracle.Engine

    class Watched(run_engine):
        def _update(self, at, phase, forward, loaded, optimizer, rate, progress):
            seen.extend(image.numpy().tobytes() for image in loaded["retain"][0])
            return super()._update(at, phase, forward, loaded, optimizer, rate, progress)

    def asked(model, data, rows):
        answers.append(predict(model, data, rows))
        return answers[-1]

    monkeypatch.setattr(oracle, "Engine", Watched)
    monkeypatch.setattr(oracle, "predict", asked)
    run = coun.unlearn(original, split, "oracle", **FAST, oracles=2)
    forgotten = {i.numpy().tobytes() for i in small.train.images[split.rows(small, "forget")]}
    assert forgotten
    assert forgotten.isdisjoint(seen)
    assert len(answers) == 2
    assert not torch.equal(answers[0].logits, answers[1].logits)
    one = coun.unlearn(original, split, "oracle", **FAST, oracles=1)
    exact = coun.unlearn(original, split, "retrain")
    more = run.record.cost.trained_images - one.record.cost.trained_images
    assert more == exact.record.cost.trained_images
    assert weights_digest(run.model) != weights_digest(one.model)


def test_one_oracle_is_its_own_target(original, split, small, make_task, monkeypatch) -> None:
    task = make_task(small, original.model, split, reads=("retain", "forget"), build=original.build)
    task.original = {"settings": original.record.original, "seed": 0}
    predictions = []

    def asked(model, data, rows):
        predictions.append(predict(model, data, rows))
        return predictions[-1]

    monkeypatch.setattr(oracle, "predict", asked)
    targets = make("oracle").targets(task, answers(task, "retain"))
    torch.testing.assert_close(targets, predictions[0].logits.log_softmax(1), rtol=1e-4, atol=1e-4)
