import math

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from coun.errors import CounError
from coun.models.vit import Attention, LocalityAttention, Patchify, Shift, vit, vit_small_data


def macs(factory, classes: int) -> int:
    with torch.device("meta"):
        net = factory(classes, (3, 32, 32)).eval()
        # the plain formula, whose two matrix products are counted
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            net(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops() // 2


def test_the_papers_macs_are_those_of_spt_and_100_classes():
    assert macs(vit_small_data, 100) == 1_069_214_720
    # the plain one differs by the patch Linear alone: 48 inputs instead of 240
    assert macs(vit, 100) == 1_069_214_720 - 64 * (240 - 48) * 512 == 1_062_923_264


@pytest.mark.parametrize(("factory", "inputs"), [(vit, 48), (vit_small_data, 240)])
def test_parameter_order_for_not(factory, inputs):
    with torch.device("meta"):
        net = factory(10, (3, 32, 32))
    shapes = [tuple(p.shape) for p in net.parameters()][:5]
    assert shapes == [(1, 65, 512), (1, 1, 512), (inputs,), (inputs,), (512, inputs)]
    names = [name for name, _ in net.named_parameters()][:2]
    assert names == ["pos_embedding", "cls_token"]


@pytest.mark.parametrize("factory", [vit, vit_small_data])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 64), (3, 8, 12)])
def test_shapes(factory, shape):
    with torch.device("meta"):
        net = factory(7, shape)
        assert net(torch.zeros(2, *shape)).shape == (2, 7)
    assert net.head.in_features == 512


def test_sides_that_are_no_multiple_of_four_are_refused():
    with pytest.raises(CounError, match="4x4 patches; got 28x30"):
        vit(10, (1, 28, 30))


def test_patchify_equals_a_loop():
    x = torch.randn(2, 3, 8, 12)
    patches = Patchify()(x)
    for row in range(2):
        for column in range(3):
            patch = x[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            naive = torch.stack([patch[:, :, i, j] for i in range(4) for j in range(4)], dim=1)
            assert torch.equal(patches[:, 3 * row + column], naive.flatten(1))


def test_shift_equals_a_naive_shift():
    x = torch.randn(2, 3, 5, 6)
    naive = torch.zeros(2, 15, 5, 6)
    for copy, (down, right) in enumerate([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]):
        for i in range(5):
            for j in range(6):
                if 0 <= i - down < 5 and 0 <= j - right < 6:
                    naive[:, 3 * copy : 3 * copy + 3, i, j] = x[:, :, i - down, j - right]
    assert torch.equal(Shift()(x), naive)


def naive_attention(layer: Attention, x: torch.Tensor, scale: float, *, local: bool):
    """One sample, head by head and token by token."""
    q, k, v = layer.to_qkv(layer.norm(x)).chunk(3, dim=-1)
    out = torch.zeros_like(q)
    for head in range(12):
        part = slice(64 * head, 64 * head + 64)
        for i in range(len(x)):
            others = [j for j in range(len(x)) if not (local and i == j)]
            logits = torch.stack([scale * (q[i, part] @ k[j, part]) for j in others])
            out[i, part] = torch.softmax(logits, 0) @ v[others][:, part]
    return layer.to_out(out)


@pytest.mark.parametrize(("kind", "local"), [(Attention, False), (LocalityAttention, True)])
def test_attention_equals_a_double_loop(kind, local):
    torch.manual_seed(0)
    layer = kind().double().eval()
    scale = 64**-0.5
    if local:
        assert layer.temperature.item() == pytest.approx(math.log(scale))
        nn.init.constant_(layer.temperature, -1.3)
        scale = math.exp(-1.3)
    x = torch.randn(5, 512, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(layer(x[None])[0], naive_attention(layer, x, scale, local=local))


def test_locality_attention_never_looks_at_itself():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 12, 6, 64)
    # the identity as values: what comes out are the attention weights
    values = torch.eye(6).expand(1, 12, 6, 6)
    weights = LocalityAttention().eval().attend(q, k, values)
    assert torch.equal(weights.diagonal(dim1=-2, dim2=-1), torch.zeros(1, 12, 6))
    assert torch.allclose(weights.sum(-1), torch.ones(1, 12, 6))
    plain = Attention().eval().attend(q, k, values)
    assert (plain.diagonal(dim1=-2, dim2=-1) > 0).all()


def test_temperature_learns_and_dropout_acts_only_in_training():
    torch.manual_seed(0)
    net = vit_small_data(3, (1, 8, 8))
    x = torch.randn(2, 1, 8, 8)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
    net(x).square().sum().backward()
    assert all(block.attention.temperature.grad != 0 for block in net.blocks)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_features_are_the_normed_class_token():
    torch.manual_seed(0)
    net = vit(3, (1, 8, 8)).eval()
    seen = []
    net.head.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    net(torch.randn(2, 1, 8, 8))
    assert seen[0].shape == (2, 512)
    assert torch.allclose(seen[0].mean(-1), torch.zeros(2), atol=1e-5)
    assert torch.allclose(seen[0].var(-1, correction=0), torch.ones(2), atol=1e-3)
