"""NoT: which weights are negated, and that negation is exact."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coun import CounError
from coun.methods import make
from coun.methods.no_t import NoT, negate
from coun.models import build


@pytest.mark.parametrize(
    ("model", "shape", "indices"),
    [("cnn", (1, 8, 8), [0]), ("resnet8", (3, 32, 32), [0]), ("vit", (3, 32, 32), [0, 4])],
)
def test_targets_are_those_of_the_paper(
    model: str, shape: tuple[int, ...], indices: list[int]
) -> None:
    net = build(model, classes=10, shape=shape)
    names = [name for name, _ in net.named_parameters()]
    assert NoT().targets(net) == tuple(names[i] for i in indices)


def test_negating_twice_restores_every_bit_and_changes_nothing_else() -> None:
    net = build("cnn", classes=10, shape=(1, 8, 8))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    target = NoT().targets(net)
    negate(net, target)
    for name, value in net.state_dict().items():
        assert torch.equal(value, -before[name] if name in target else before[name])
    negate(net, target)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_batchnorm_mirrors_a_negated_convolution() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
    nn.init.normal_(norm.bias)
    x = torch.randn(8, 3, 6, 6)
    plain = norm(conv(x))
    negate(conv, ("weight",))
    both = plain + norm(conv(x))
    torch.testing.assert_close(both, (2 * norm.bias)[:, None, None].expand_as(both))


def test_an_unknown_parameter_is_refused_with_the_nearest_name() -> None:
    net = build("mlp", classes=10, shape=(4,))
    name = next(iter(dict(net.named_parameters())))
    with pytest.raises(CounError, match="unknown parameter.*did you mean"):
        NoT(negate=(name + "x",)).targets(net)
    assert make("not", {"negate": [name]}).targets(net) == (name,)  # type: ignore[attr-defined]
    for parameter in list(net.parameters())[:2]:
        parameter.requires_grad_(False)
    with pytest.raises(CounError, match=f"'{name}' is frozen .* expected a parameter .*, such as"):
        NoT(negate=(name,)).targets(net)
    with pytest.raises(CounError, match="all weight matrices of the model are frozen"):
        NoT().targets(net.requires_grad_(False))
