"""The divergence from a teacher equals a double loop."""

from __future__ import annotations

import math

import pytest
import torch

from coun.objectives import BatchContext
from coun.objectives.context import Batch
from coun.objectives.distillation import distil, kl_loss


def naive(student, teacher, t):
    """Sum over rows and classes of p log(p / q)."""
    total = 0.0
    for s, u in zip(student.tolist(), teacher.tolist(), strict=True):
        over, under = (sum(math.exp(x / t) for x in row) for row in (u, s))
        for a, b in zip(u, s, strict=True):
            p, q = math.exp(a / t) / over, math.exp(b / t) / under
            total += p * math.log(p / q)
    return total


@pytest.mark.parametrize("t", [1.0, 4.0])
def test_it_is_the_sum_over_classes_averaged_over_rows(t):
    student, teacher = torch.randn(2, 6, 5, dtype=torch.float64, generator=seeded())
    result = kl_loss(student, teacher, temperature=t)
    assert result.item() == pytest.approx(naive(student, teacher, t) / 6)
    element = kl_loss(student, teacher, temperature=t, reduction="mean")
    assert element.item() == pytest.approx(result.item() / 5)


def test_a_student_equal_to_its_teacher_has_no_gradient():
    x = torch.randn(6, 5, generator=seeded()).requires_grad_()
    loss = kl_loss(x, x.detach().clone(), temperature=2.0)
    assert loss.item() == 0
    loss.backward()
    torch.testing.assert_close(x.grad, torch.zeros_like(x), rtol=0, atol=1e-7)


def test_the_objective_has_the_factor_of_hinton(original, small):
    model, t = original.classifier.eval(), 3.0
    other = torch.randn(10, generator=seeded())

    def forward(which, x):
        out = original.classifier(x)
        return out if which is model else out._replace(logits=out.logits * 0 + other)

    batch = Batch(small.train.images[:8], small.train.labels[:8])
    views = small.views.evaluate
    step = BatchContext(model, {"a": batch}, view=lambda r, n, x: views(x), forward=forward)
    own = model(views(batch.images)).logits
    expected = t**2 * naive(own, other.expand(8, -1), t) / 8
    assert distil("a", torch.nn.Identity(), t)(step).item() == pytest.approx(expected, rel=1e-4)


def seeded():
    return torch.Generator().manual_seed(0)
