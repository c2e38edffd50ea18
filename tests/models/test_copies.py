"""Copies of models with weight_norm, and models with lazy layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import coun
from coun.errors import CounError
from coun.models import copy_model, inner_network, make_model, weights_digest


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_model_with_weight_norm_is_copied_after_a_forward() -> None:
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)), nn.Linear(3, 2))
    x = torch.randn(5, 4)
    expected = model(x)
    copied = copy_model(model)
    with torch.no_grad():
        model[0].weight_g.zero_()
    assert torch.equal(copied(x), expected)
    copied(x).sum().backward()
    assert copied[0].weight_g.grad is not None


def lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, 10))


def test_lazy_layers_get_weights_that_the_seed_determines(small) -> None:
    first, second = (coun.train(small, lazy, epochs=1, seed=3) for _ in range(2))
    assert weights_digest(first.model) == weights_digest(second.model)
    split = coun.Split.by_index(small, [3, 4])
    retrain = coun.train(small, lazy, split=split, epochs=1)
    assert retrain.model[1].in_features == 64


def test_a_lazy_model_that_cannot_run_is_refused_in_one_line() -> None:
    with pytest.raises(CounError, match=r"cannot run a batch of shape \(2, 4\)") as caught:
        make_model(lambda: nn.Sequential(nn.LazyConv2d(3, 3)), (4,))
    assert "\n" not in str(caught.value)
    with pytest.raises(CounError, match="lazy parameter without values"):
        weights_digest(lazy())


def lightning_module(monkeypatch, **networks):
    """A module of a class of Lightning, without that package."""

    class LightningModule(nn.Module):
        def __init__(self):
            super().__init__()
            self.trainer = (number for number in range(3))  # a generator cannot be copied
            for name, network in networks.items():
                setattr(self, name, network)

        def forward(self, x):
            return self.model(x)

    monkeypatch.setattr(LightningModule, "__module__", "lightning.pytorch.core.module")
    return LightningModule()


def test_the_network_of_a_lightning_module_is_used(monkeypatch):
    net = nn.Linear(2, 2)
    alone = lightning_module(monkeypatch, model=net, loss=nn.CrossEntropyLoss())
    assert inner_network(alone) is net
    copy_model(inner_network(alone))
    two = lightning_module(monkeypatch, model=net, other=nn.Linear(2, 2))
    assert inner_network(two) is two
