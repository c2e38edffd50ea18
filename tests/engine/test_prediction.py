"""Forward passes for measurement."""

import torch

from coun.engine import predict


def test_predictions_are_those_of_one_batch(small, original, monkeypatch):
    monkeypatch.setattr("coun.engine.prediction.CPU_BATCH", 64)
    outputs = predict(original.classifier, small, small.train)
    with torch.no_grad():
        at_once = original.classifier(small.views.evaluate(small.train.images))
    torch.testing.assert_close(outputs.logits, at_once.logits)
    torch.testing.assert_close(outputs.features, at_once.features)


def test_without_features_the_logits_are_the_same(small, original):
    outputs = predict(original.classifier, small, small.train)
    without = predict(original.classifier, small, small.train, with_features=False)
    assert torch.equal(without.logits, outputs.logits)
    assert without.features.shape == (len(small.train), 0)


def test_rows_of_a_role_are_looked_up_once(small, split, make_task, original):
    task = make_task(small, original.model, split, reads=("retain",))
    assert task.indices("retain") is task.indices("retain")
