"""Forward passes for measurement."""

import torch
from torch import nn
from torch.nn import functional as F

import coun
from coun.engine import predict, prediction
from coun.models import Classifier


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


class NeverOff(nn.Module):
    """A network whose dropout is not turned off by eval mode: `training` defaults to True."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(F.dropout(x.flatten(1), 0.5))


def test_a_network_that_draws_in_eval_mode_answers_alike_each_time(small):
    classifier = Classifier(NeverOff(), example=torch.zeros(2, *small.input_shape))
    before = torch.get_rng_state()
    first = predict(classifier, small, small.train).logits
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)  # what the host draws in the meantime
    assert torch.equal(predict(classifier, small, small.train).logits, first)


def test_a_network_that_draws_in_eval_mode_is_pointed_out(small, split, caplog):
    coun.unlearn(NeverOff(), split, "finetune", data=small, epochs=1, lr=0.01)
    assert sum("answers the same row differently" in text for text in caplog.messages) == 1
    caplog.clear()
    coun.train(small, NeverOff, epochs=1)
    assert sum("answers the same row differently" in text for text in caplog.messages) == 1
    caplog.clear()
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(64, 10))
    coun.unlearn(network, split, "finetune", data=small, epochs=1, lr=0.01)
    assert "differently" not in caplog.text


def test_a_gpu_without_room_leaves_the_work_to_the_cpu(original, small, monkeypatch) -> None:
    class Full(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            raise torch.OutOfMemoryError

    asked: list[int] = []
    monkeypatch.setattr(prediction, "_on_a_gpu", lambda *_: asked.append(1) or Full())
    found = predict(original.classifier, small, small.test, anywhere=True)
    assert asked
    assert torch.equal(found.logits, predict(original.classifier, small, small.test).logits)


def test_the_work_for_a_row_is_counted_once_for_each_model(original, small, monkeypatch) -> None:
    counted = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(prediction, "forward_flops", lambda *a: counted.append(a) or 1.0)
    for part in (small.train, small.test, small.test):
        assert prediction._on_a_gpu(original.classifier, small, part) is None
    assert len(counted) == 1


def test_without_a_gpu_the_model_itself_computes(original, small, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(prediction, "WORK_FOR_A_GPU", 0.0)
    assert prediction._on_a_gpu(original.classifier, small, small.test) is None
