"""Pruning equals that of torch, and pruned weights stay zero."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import coun
from coun.methods.prune import prunable, unpruned
from coun.models import build, weights_digest

FAST = {"epochs": 2, "batch_size": 32, "lr": 0.05}


def test_without_sparsity_it_is_finetune(original, split):
    runs = [
        coun.unlearn(original, split, name, **FAST, **more)
        for name, more in (("finetune", {}), ("prune", {"sparsity": 0}))
    ]
    assert weights_digest(runs[0].model) == weights_digest(runs[1].model)


@pytest.mark.parametrize("sparsity", [0.3, 0.95])
def test_the_mask_equals_that_of_torch(original, sparsity):
    net = copy.deepcopy(original.model)
    result = unpruned(prunable(net, net.head), sparsity)
    layers = [
        m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and m is not net.head
    ]
    torch_prune.global_unstructured(
        [(m, "weight") for m in layers], torch_prune.L1Unstructured, amount=sparsity
    )
    names = {m: name for name, m in net.named_modules()}
    assert set(result) == {f"{names[m]}.weight" for m in layers}
    for layer in layers:
        assert torch.equal(result[f"{names[layer]}.weight"], layer.weight_mask.bool())


def test_pruned_weights_stay_zero_and_the_others_move(original, split):
    keep = unpruned(prunable(original.model, original.model.head), 0.9)
    net = coun.unlearn(original, split, "prune", sparsity=0.9, **FAST).model
    for name, start in original.model.named_parameters():
        value, mask = net.get_parameter(name), keep.get(name, torch.ones_like(start).bool())
        assert not value[~mask].any(), name
        assert (value != start)[mask].float().mean() > 0.5, name


def test_a_model_that_consists_of_its_head_is_refused(small, split):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(coun.CounError, match="needs weights to remove"):
        coun.unlearn(net, split, "prune", data=small, **FAST)


def test_a_position_embedding_is_not_pruned():
    net = build("vit", classes=10, shape=(3, 8, 8))
    names = set(prunable(net, net.head))
    assert {"patches.2.weight", "blocks.0.attention.to_qkv.weight"} <= names
    assert not {"pos_embedding", "cls_token", "head.weight", "norm.weight"} & names
