"""What must hold on a GPU as on a CPU. It runs where a device is named: `make test-gpu`."""

from __future__ import annotations

import copy
import os
from dataclasses import replace

import pytest
import torch
from methods.canonical import CANONICAL
from prepared import prepared

import coun
from coun.data import Views
from coun.engine import prediction
from coun.engine.prediction import predict
from coun.models import Classifier, weights_digest

DEVICE = os.environ.get("COUN_TEST_DEVICE", "")
pytestmark = pytest.mark.skipif(not DEVICE, reason="COUN_TEST_DEVICE names no device")
OPTIONS = coun.Options(DEVICE or "auto", "fp32")


@pytest.fixture(scope="module")
def trained(small) -> coun.Run:
    return prepared(coun.train(small, "cnn", epochs=3, options=OPTIONS))


@pytest.mark.parametrize("name", sorted(CANONICAL))
def test_a_seed_fixes_the_bits_of_every_method(name, trained, split) -> None:
    before = weights_digest(trained.model)
    runs = [
        coun.unlearn(trained, split, name, **CANONICAL[name], seed=3, options=OPTIONS)
        for _ in range(2)
    ]
    assert weights_digest(runs[0].model) == weights_digest(runs[1].model)
    assert weights_digest(trained.model) == before
    assert all(bool(torch.isfinite(p).all()) for p in runs[0].model.parameters())


@pytest.mark.parametrize("name", ["vgg7", "resnet18", "vit"])
def test_a_seed_fixes_the_bits_of_every_kind_of_network_in_bf16(name) -> None:
    data = coun.load("rehearsal:cifar-10")
    options = coun.Options(DEVICE, "bf16")
    runs = [coun.train(data, name, epochs=3, batch_size=20, options=options) for _ in range(2)]
    assert weights_digest(runs[0].model) == weights_digest(runs[1].model)


def test_training_and_outputs_are_those_of_a_cpu(small) -> None:
    """Without random changes of the images, which each device draws from a stream of its own."""
    plain = replace(small, views=Views("N", mean=(0.5,), std=(0.5,)))
    cpu, other = (
        coun.train(plain, "cnn", epochs=2, options=coun.Options(device, "fp32"))
        for device in ("cpu", DEVICE)
    )
    for a, b in zip(cpu.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=5e-2, atol=5e-3)
    example = small.views.evaluate(small.train.images[:2])
    outputs = []
    for device in ("cpu", DEVICE):
        net = copy.deepcopy(cpu.model).to(device)
        outputs.append(predict(Classifier(net, example=example.to(device)), plain, small.test))
    # With inputs rounded to 10 bits, the difference would be some thousandths.
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits, rtol=1e-4, atol=1e-4)


def test_a_model_on_the_cpu_is_measured_on_a_gpu(trained, small, monkeypatch) -> None:
    monkeypatch.setattr(prediction, "WORK_FOR_A_GPU", 0.0)
    models, copied = [], prediction.copy_model
    monkeypatch.setattr(prediction, "copy_model", lambda m: models.append(copied(m)) or models[-1])
    expected = predict(trained.classifier, small, small.test)
    found = predict(trained.classifier, small, small.test, anywhere=True)
    assert [next(m.parameters()).device.type for m in models] == ["cuda"] * (DEVICE == "cuda")
    assert next(trained.model.parameters()).device.type == "cpu"
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-4)


def test_a_run_that_was_interrupted_ends_with_the_same_bits(small, tmp_path, killed_at) -> None:
    options = replace(OPTIONS, checkpoint_every=0)

    def train(name: str) -> coun.Run:
        return coun.train(small, "cnn", epochs=2, out=tmp_path / name, options=options)

    whole = train("whole")
    with killed_at(4):
        train("again")
    assert train("again").record.weights_sha256 == whole.record.weights_sha256


def test_runs_of_a_gpu_are_evaluated_and_audited(trained, split, small) -> None:
    retrain = coun.train(small, "cnn", split=split, epochs=3, options=OPTIONS)
    run = coun.unlearn(trained, split, "coun", epochs=1, options=OPTIONS)
    metrics = coun.evaluate(run, against=retrain)
    assert 0 <= metrics["average_gap"] <= 100
    assert coun.audit.audit([run], [retrain], original=trained).verdict.label
