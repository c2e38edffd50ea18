import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from coun.errors import CounError
from coun.models.vgg import vgg16


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
