"""CF-k: which modules are blocks, and that frozen weights keep every bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import coun
from coun.methods.cf_k import blocks, tail
from coun.models import build, weights_digest

FAST = {"epochs": 2, "batch_size": 32, "lr": 0.05}


def net(name):
    return build(name, classes=10, shape=(3, 32, 32))


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("resnet8", 4, [["stages.1.0."], ["stages.2.0."]]),
        ("resnet18", 9, [["stages.3.0."], ["stages.3.1."]]),
        ("vgg16", 14, [["convs.40.", "convs.41."], ["encoder."]]),
        ("vit", 8, [["blocks.4."], ["blocks.5.", "norm."]]),
        ("cnn", 4, [["convs.6.", "convs.7."], ["encoder."]]),
        ("mlp", 2, [["hidden1."], ["hidden2."]]),
    ],
)
def test_the_blocks_of_the_built_in_networks(name, count, last):
    model = net(name)
    result = blocks(model, model.head)
    assert len(result) == count
    assert result[-2:] == last
    assert tail(model, model.head, 2) == (
        ("",) if count == 2 else (*(path for block in last for path in block), "head.")
    )


class Layer(nn.Sequential):
    """A layer of the user: a subclass is a block, whatever its base class is."""


def test_the_blocks_of_a_network_of_the_user():
    encoder = nn.Module()
    encoder.stem = nn.Conv2d(3, 8, 3)
    encoder.layer1 = nn.Sequential(Layer(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)))
    encoder.layer2 = nn.ModuleList([Layer(nn.Conv2d(8, 8, 3)), nn.LayerNorm([8, 2, 2])])
    model = nn.Module()  # an encoder and a head, in a wrapper
    model.body = nn.Module()
    model.body.encoder, model.body.fc = encoder, nn.Linear(8, 10)
    path = "body.encoder."
    expected = [[f"{path}stem."], [f"{path}layer1.0."], [f"{path}layer2.0.", f"{path}layer2.1."]]
    assert blocks(model, model.body.fc) == expected
    assert tail(model, model.body.fc, 0) == ("body.fc.",)
    assert tail(model, model.body.fc, 3) == ("",)


@pytest.mark.parametrize(
    ("k", "trained"), [(0, ("head",)), (2, ("convs.6", "convs.7", "encoder", "head"))]
)
def test_frozen_tensors_stay_to_the_bit(original, split, k, trained):
    model = coun.unlearn(original, split, "cf_k", k=k, **FAST).model
    before = original.model.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith(trained), name


def test_with_every_block_it_is_finetune(original, split):
    plain = coun.unlearn(original, split, "finetune", **FAST)
    runs = {k: coun.unlearn(original, split, "cf_k", k=k, **FAST) for k in (3, 4, 9)}
    digests = {k: weights_digest(run.model) for k, run in runs.items()}
    assert digests[4] == digests[9] == weights_digest(plain.model) != digests[3]
