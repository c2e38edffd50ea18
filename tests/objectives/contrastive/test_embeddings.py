import torch
from objectives.contrastive.cases import normal
from torch.nn import functional as F

from coun.objectives.contrastive.embeddings import unit_rows


def test_unit_rows_are_normalised_rows_to_the_bit():
    for x in (normal(20, 7), normal(20, 7).float() * 1e-6):
        computed, other = (x.clone().requires_grad_() for _ in range(2))
        weights = normal(20, 7).to(x.dtype)
        seen, wanted = unit_rows(computed), F.normalize(other, dim=1)
        (seen * weights).sum().backward()
        (wanted * weights).sum().backward()
        assert torch.equal(seen, wanted)
        assert torch.equal(computed.grad, other.grad)


def test_zero_rows_stay_zero_and_get_a_zero_gradient():
    x = normal(3, 4)
    x[1] = 0
    x.requires_grad_()
    unit = unit_rows(x)
    (unit * normal(3, 4, seed=1)).sum().backward()
    assert not unit[1].any()
    assert not x.grad[1].any()
    assert x.grad[[0, 2]].all()
