import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from coun.errors import CounError
from coun.models.vgg import vgg7, vgg7_wide, vgg16


def test_size_and_macs():
    with torch.device("meta"):
        net = vgg16(10, (3, 32, 32)).eval()
        assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == 13
        # 14,728,266 is the well-known CIFAR VGG-16-BN with one Linear(512, 10)
        known = 14_728_266 - (512 * 10 + 10)
        head = 512 * 1024 + 1024 + 1024 * 10 + 10
        assert sum(p.numel() for p in net.parameters()) == known + head == 15_258_698
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, 32, 32))
    assert counter.get_total_flops() // 2 == 313_196_544 + 512 * 1024 + 1024 * 10


@pytest.mark.parametrize(
    ("shape", "pools"), [((1, 8, 8), 3), ((3, 16, 20), 4), ((3, 32, 32), 5), ((3, 64, 64), 5)]
)
def test_shapes_and_pools(shape, pools):
    with torch.device("meta"):
        net = vgg16(7, shape)
        features = net[:-1](torch.zeros(2, *shape))
    assert sum(isinstance(m, nn.MaxPool2d) for m in net.modules()) == pools
    assert features.shape == (2, 1024)
    assert net.head(features).shape == (2, 7)


def test_features_are_rectified():
    torch.manual_seed(0)
    features = vgg16(3, (1, 8, 8))[:-1](torch.randn(4, 1, 8, 8))
    assert features.min() == 0 < features.max()


def test_tables_are_refused():
    with pytest.raises(CounError, match="vgg16 takes images"):
        vgg16(2, (30,))


@pytest.mark.parametrize(
    ("make", "blocks", "million"), [(vgg7, (64, 128, 256), 69), (vgg7_wide, (64, 256, 256), 122)]
)
def test_the_small_networks_have_the_stated_size(make, blocks, million):
    with torch.device("meta"):
        net = make(10, (3, 32, 32)).eval()
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, 32, 32))
    first, second, third = blocks
    widths = [(32, first), (first, first), (first, second), (second, second)]
    widths += [(second, third), (third, third)]
    sides = [31, 15, 15, 7, 7, 3]  # of the maps that the 3x3 convolutions read
    parameters = 4 * 3 * 32 + sum(9 * i * o for i, o in widths) + 2 * (32 + 2 * sum(blocks))
    assert sum(p.numel() for p in net.parameters()) == parameters + 2570
    macs = 31**2 * 4 * 3 * 32
    macs += sum(9 * i * o * side**2 for (i, o), side in zip(widths, sides, strict=True))
    assert counter.get_total_flops() // 2 == macs + 2560
    assert macs // 10**6 == million


def test_the_small_network_starts_with_identities():
    """Behind the first layer, its first 32 channels are the pooled maps, normalised and kept."""
    net = vgg7(2, (1, 16, 16)).eval()
    x = torch.randn(3, 1, 16, 16)
    first = net.convs[:3](x)
    pooled = torch.nn.functional.max_pool2d(first, 8)[:, :, 0, 0]  # 15 pixels, then 7, 3 and 1
    assert torch.allclose(net[:-1](x)[:, :32], pooled, atol=1e-3)


@pytest.mark.parametrize("shape", [(3, 1, 32), (30,)])
def test_the_small_network_refuses_what_it_cannot_read(shape):
    with pytest.raises(CounError, match="vgg7"):
        vgg7(2, shape)
