"""Layers that a user put into eval mode in a network in train mode."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

import coun
from coun.models.modes import layers_put_into_eval_mode


class KeepsStatistics(nn.Sequential):
    """A network that leaves its BatchNorm in eval mode, as code for detection does."""

    def train(self, mode: bool = True) -> KeepsStatistics:
        super().train(mode)
        self[2].eval()
        return self


def network(kind: type[nn.Sequential] = nn.Sequential) -> nn.Sequential:
    layers = (nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1))
    return kind(nn.Flatten(), *layers, nn.Linear(16, 10)).train()


@pytest.fixture
def forgets(small, split, caplog):
    def unlearn(net: nn.Module) -> tuple[bool, str]:
        """Whether the statistics of the BatchNorm stay, and what is said before."""
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run = coun.unlearn(net, split, "finetune", data=small, epochs=1, lr=0.01)
        stays = torch.equal(run.model[2].running_mean, net[2].running_mean)
        return stays, caplog.text

    return unlearn


def test_a_warning_says_that_a_layer_in_eval_mode_is_trained(forgets) -> None:
    net = network()
    net[2].eval()
    stays, said = forgets(net)
    assert not stays
    assert "layer 2 is in eval mode" in said
    net[4].eval()
    assert "layers 2, 4 are in eval mode" in forgets(net)[1]
    assert [layer.training for layer in net] == [True, True, False, True, False, True]


def test_what_the_warning_advises_keeps_the_statistics(forgets) -> None:
    stays, said = forgets(network(KeepsStatistics))
    assert (stays, "eval mode" in said) == (True, False)


def test_frozen_weights_keep_the_statistics(forgets) -> None:
    net = network()
    net[2].eval().requires_grad_(False)
    stays, said = forgets(net)
    assert (stays, "eval mode" in said) == (True, False)


def test_a_network_in_eval_mode_is_what_a_trained_one_is(forgets) -> None:
    stays, said = forgets(network().eval())
    assert (stays, "eval mode" in said) == (False, False)
    assert layers_put_into_eval_mode(network()) == []
