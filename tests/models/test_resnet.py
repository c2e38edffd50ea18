import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from coun.errors import CounError
from coun.models.resnet import resnet8, resnet18, resnet20

NETS = [(resnet18, 512), (resnet20, 64), (resnet8, 256)]


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def macs(net: nn.Module, side: int) -> int:
    with FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, 3, side, side, device="meta"))
    return counter.get_total_flops() // 2


def meta(factory, side: int = 32) -> nn.Module:
    with torch.device("meta"):
        return factory(10, (3, side, side))


def test_resnet18_has_the_published_size():
    assert parameters(meta(resnet18)) == 11_173_962
    assert macs(meta(resnet18), 32) == 555_422_720
    # all but the head's 5,120 grow with the area
    assert macs(meta(resnet18), 64) == 4 * (555_422_720 - 5_120) + 5_120


def test_resnet20_is_option_a_plus_two_projections():
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert parameters(meta(resnet20)) == 269_722 + projections == 272_474
    assert sum(isinstance(m, nn.Conv2d) for m in meta(resnet20).modules()) == 19 + 2


def test_resnet8_costs_a_quarter_of_itself_at_full_resolution():
    net = meta(resnet8)
    assert 1.1e6 < parameters(net) < 1.3e6
    half = macs(net, 32)
    net.conv.stride = (1, 1)
    head = 256 * 10
    assert macs(net, 32) - head == 4 * (half - head)


@pytest.mark.parametrize(("factory", "width"), NETS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 64)])
def test_shapes_of_logits_and_features(factory, width, shape):
    with torch.device("meta"):
        net = factory(7, shape)
        features = net[:-1](torch.zeros(2, *shape))
    assert features.shape == (2, width)
    assert net.head(features).shape == (2, 7)


def test_resnet8_works_at_16_8_4():
    sides = []
    net = meta(resnet8)
    for stage in net.stages:
        stage.register_forward_hook(lambda _m, _i, out: sides.append(out.shape[-1]))
    net(torch.zeros(2, 3, 32, 32, device="meta"))
    assert sides == [16, 8, 4]


def test_convolutions_start_from_kaiming_fan_out():
    torch.manual_seed(0)
    weight = resnet8(10, (3, 32, 32)).stages[2][0].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_every_parameter_learns():
    torch.manual_seed(0)
    net = resnet8(10, (1, 8, 8))
    net(torch.randn(4, 1, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_tables_are_refused():
    with pytest.raises(CounError, match=r"resnet18 takes images.*\(30,\)"):
        resnet18(2, (30,))
