"""What a classifier computes of special batches, layouts and layers, and how it is compiled."""

import copy

import pytest
import torch
from models.user_nets import UserNet, X
from torch import nn
from torch.nn import functional as F

from coun.errors import CounError
from coun.models.outputs import Classifier


def test_autocast_and_channels_last():
    net = UserNet().eval()
    plain = Classifier(net, example=X)(X)
    classifier = Classifier(net.to(memory_format=torch.channels_last), example=X)
    out = classifier(X.to(memory_format=torch.channels_last))
    assert torch.allclose(out.features, plain.features, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        half = classifier(X)
    assert half.logits.dtype == torch.bfloat16
    assert torch.allclose(half.logits.float(), plain.logits, atol=0.05)


def test_compiles_to_one_graph():
    net = UserNet().eval()
    classifier = Classifier(net, example=X)
    compiled = torch.compile(classifier, backend="eager", fullgraph=True)
    for seed in range(3):
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        got, expected = compiled(x), classifier(x)
        assert torch.equal(got.logits, expected.logits)
        assert torch.equal(got.features, expected.features)
    with pytest.raises(CounError, match="compile the classifier"):
        Classifier(torch.compile(net, backend="eager"), example=X)


class Flat(nn.Module):
    """Its BatchNorm gets one value per channel from a batch of one row."""

    def __init__(self):
        super().__init__()
        self.conv, self.early = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.late, self.fc = nn.BatchNorm1d(6), nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.late(self.early(self.conv(x)).mean((2, 3))))


def test_a_lone_value_is_normalised_by_the_running_statistics():
    net = Flat()
    classifier = Classifier(net, example=X).train()
    classifier(X)  # gives the layers statistics
    before = copy.deepcopy(net.late.state_dict())
    expected = net.early(net.conv(X[:1])).mean((2, 3))  # the earlier layer has many values
    net.late.eval()
    expected = net.fc(net.late(expected))
    net.late.train()
    torch.testing.assert_close(classifier(X[:1]).logits, expected)
    assert net.late.training
    assert all(torch.equal(value, before[name]) for name, value in net.late.state_dict().items())
    assert not net.late._forward_pre_hooks


def test_a_network_that_fails_on_a_batch_is_named():
    class Fixed(UserNet):
        def forward(self, x):
            return super().forward(x.view(2, 3, 8, 8))

    classifier = Classifier(Fixed(), example=X)
    with pytest.raises(CounError, match=r"Fixed cannot run a batch of shape \(4, 3, 8, 8\)"):
        classifier(torch.cat([X, X]))


def test_a_batch_that_does_not_fit_into_memory_is_named():
    class Large(UserNet):
        def forward(self, x):
            if len(x) > 2:
                raise torch.OutOfMemoryError("Tried to allocate 9 TiB")
            return super().forward(x)

    classifier = Classifier(Large(), example=X)
    with pytest.raises(
        CounError, match=r"\(4, 3, 8, 8\), with Large, does not fit into the memory of cpu"
    ):
        classifier(torch.cat([X, X]))


@pytest.mark.parametrize("channels", [1, 6])
def test_group_norm_behind_a_frozen_layer_has_a_gradient(channels):
    torch.manual_seed(0)
    norm = nn.GroupNorm(1, channels)
    net = nn.Sequential(norm, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 3))
    x = torch.randn(2, channels, 8, 8)
    F.cross_entropy(net(x), torch.tensor([0, 2])).backward()
    expected, norm.weight.grad = norm.weight.grad, None
    classifier = Classifier(net.to(memory_format=torch.channels_last), example=x)
    images = x.contiguous(memory_format=torch.channels_last)  # torch itself ends the process here
    F.cross_entropy(classifier(images).logits, torch.tensor([0, 2])).backward()
    torch.testing.assert_close(norm.weight.grad, expected)
    assert not norm._forward_pre_hooks
