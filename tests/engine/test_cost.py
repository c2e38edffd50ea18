"""Operations are counted as torch counts them, without importing its compiler."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import coun
from coun.engine import forward_flops
from coun.engine.cost import _Operations
from coun.models.zoo import build


@pytest.mark.parametrize("name", ["cnn", "resnet8", "vit", "mlp"])
def test_operations_are_those_of_torch(name: str) -> None:
    model, image = build(name, classes=10, shape=(3, 32, 32)).eval(), torch.zeros(1, 3, 32, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    assert forward_flops(model, image) == counter.get_total_flops() > 0


def test_torch_does_not_wrap_the_counter_with_its_compiler() -> None:
    assert not hasattr(_Operations.__torch_dispatch__, "__wrapped__")


def test_layers_of_a_transformer_are_counted_also_without_gradients() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    products = 5 * (16 * 48 + 16 * 16 + 2 * 16 * 32)  # projections, output, two linear layers
    # torch does not count the fused attention of a CPU itself, 800 more here.
    assert forward_flops(layer, torch.zeros(1, 5, 16)) >= 2 * products
    assert torch.backends.mha.get_fastpath_enabled()


def test_what_torch_loads_with_the_first_optimizer_is_no_cost(small, monkeypatch) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    sgd = torch.optim.SGD

    def first(parameters, *values, **options):
        clock.now += 100 if isinstance(parameters, list) else 1  # the model's come one by one
        return sgd(parameters, *values, **options)

    monkeypatch.setattr("coun.engine.loop.time", clock)
    monkeypatch.setattr(torch.optim, "SGD", first)
    run = coun.train(small, "mlp", epochs=1, options=coun.Options(device="cpu"))
    assert clock.now == 101
    assert run.record.cost.seconds == 1
