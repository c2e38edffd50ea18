"""CT: kernels are transposed, which a transposed picture undoes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import coun
from coun.methods.ct import transpose


def test_a_transposed_kernel_sees_the_transposed_picture() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
    x = torch.randn(2, 1, 9, 9)
    plain = net(x.transpose(2, 3)).transpose(2, 3)
    transpose(net)
    torch.testing.assert_close(net(x), plain)


def test_only_square_kernels_change_and_twice_is_nothing() -> None:
    net = nn.ModuleList([nn.Conv2d(2, 3, (1, 3)), nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 5)])
    before = [c.weight.detach().clone() for c in net]
    transpose(net)
    same = [torch.equal(c.weight, b) for c, b in zip(net, before, strict=True)]
    assert same == [True, True, False]
    transpose(net)
    assert all(torch.equal(c.weight, b) for c, b in zip(net, before, strict=True))


def test_it_is_fine_tuning_after_the_edit(original, split) -> None:
    twice = coun.unlearn(original, split, "ct", epochs=1, lr=0.02, batch_size=32)
    transpose(original.model)
    plain = coun.unlearn(original, split, "finetune", epochs=1, lr=0.02, batch_size=32, lr_floor=0)
    # The number of a stage seeds its draws, so the runs agree in kind, not in bits.
    assert twice.record.stages == ["transpose kernels", "ct"]
    assert twice.record.cost.steps == plain.record.cost.steps


def test_a_network_without_kernels_is_refused(small, split) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(coun.CounError, match="no square convolution kernel"):
        coun.unlearn(net, split, "ct", data=small, epochs=1)
