"""MU-Mis: sensitivities against the Jacobian, and what happens to them."""

from __future__ import annotations

import torch
from methods.closed_form import smooth, still
from torch.autograd.functional import jacobian as jacobian_of

import coun
from coun.methods.mu_mis import EXTRA, sensitivity


def test_the_sensitivity_is_a_row_of_the_jacobian(small) -> None:
    net, x = smooth(), small.views.evaluate(small.train.images[:5]).requires_grad_()
    classes = torch.tensor([3, 0, 9, 3, 1])
    jacobian = jacobian_of(net, x.detach())  # (5, 10, 5, 1, 8, 8)
    rows = torch.arange(5)
    expected = jacobian[rows, classes, rows].flatten(1).square().sum(1)
    torch.testing.assert_close(sensitivity(net(x), x, classes), expected)


def test_the_excess_of_the_own_class_falls(fitted, split, small) -> None:
    rows = split.rows(small, "forget")

    def excess(model: torch.nn.Module) -> float:
        x = small.views.evaluate(small.train.images[rows]).requires_grad_()
        labels, logits = small.train.labels[rows], model(x)
        other = [sensitivity(logits, x, (labels + shift) % 10) for shift in range(1, 10)]
        difference = sensitivity(logits, x, labels) - torch.stack(other).mean(0)
        return float(difference.mean().detach())

    run = coun.unlearn(fitted, split, "mu_mis", epochs=3, batch_size=10, lr=1e-4)
    assert excess(run.model) < excess(fitted.model)


def test_rows_below_the_bound_have_no_gradient(small) -> None:
    data, net = still(small), smooth()
    with torch.no_grad():
        net[3].weight[0] = 0.0  # the logit of class 0 does not depend on the input
    rows = (data.train.labels == 0).nonzero().flatten()[2:8]
    split = coun.Split.by_index(data, rows.tolist())
    run = coun.unlearn(net, split, "mu_mis", data=data, epochs=1, batch_size=8, lr=0.1)
    for before, after in zip(net.parameters(), run.model.parameters(), strict=True):
        assert torch.equal(before, after)


def test_second_gradients_are_charged(original, split) -> None:
    cost = coun.unlearn(original, split, "mu_mis", epochs=2, batch_size=10).record.cost
    assert cost.trained_images == 60
    per_pass = (cost.flops / 60) / (3 + EXTRA)
    plain = coun.unlearn(original, split, "delete", epochs=2, batch_size=10).record.cost
    assert abs(plain.flops / 60 / 4 - per_pass) < 1e-6 * per_pass  # the teacher makes it 4
