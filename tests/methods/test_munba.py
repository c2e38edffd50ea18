"""MUNBa: its step against the equations of Nash bargaining, solved by scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from methods.closed_form import moved, smooth, still

import coun
from coun.methods.munba import nash_step


@pytest.mark.parametrize("seed", range(3))
def test_it_solves_the_bargaining_equations(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    g, f = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    gram = np.array([[g @ g, g @ f], [f @ g, f @ f]])
    # (G^T G) a = 1 / a, with a > 0: solved for log a.
    solution = scipy.optimize.fsolve(
        lambda u: np.log(np.maximum(gram @ np.exp(u), 1e-12)) + u, np.zeros(2), xtol=1e-12
    )
    a = np.exp(solution)
    assert np.allclose(gram @ a, 1 / a)
    (step,) = nash_step([g], [f])
    torch.testing.assert_close(step, a[0] * g + a[1] * f, rtol=1e-6, atol=1e-6)


def test_its_length_is_sqrt_2_along_the_bisector_and_helps_both() -> None:
    g, f = torch.tensor([3.0, 0.0]), torch.tensor([-1.0, 2.0])
    (step,) = nash_step([g], [f])
    bisector = g / g.norm() + f / f.norm()
    assert step.norm().item() == pytest.approx(math.sqrt(2), rel=1e-5)
    torch.testing.assert_close(step / step.norm(), bisector / bisector.norm())
    assert step @ g > 0
    assert step @ f > 0
    (short,) = nash_step([g], [f], 1.0)
    torch.testing.assert_close(short, step / step.norm())


def test_opposite_gradients_do_not_bargain() -> None:
    g = torch.tensor([2.0, -1.0])
    torch.testing.assert_close(nash_step([g], [-3 * g])[0], g - 0.3 * g)
    torch.testing.assert_close(nash_step([g], [0 * g])[0], g)


def test_one_step_moves_by_the_learning_rate(small, split) -> None:
    data, net = still(small), smooth()
    settings = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    run = coun.unlearn(net, split, "munba", data=data, epochs=1, batch_size=200, lr=0.1, **settings)
    change = torch.cat([m.flatten() for m in moved(run.model, net)])
    assert change.norm().item() == pytest.approx(0.1, rel=1e-4)


def test_each_forget_batch_bargains_once_an_epoch(original, split) -> None:
    run = coun.unlearn(original, split, "munba", epochs=2, batch_size=30)
    # 170 retain rows make 6 steps of an epoch, of which the 30 forget rows join one.
    assert run.record.cost.steps == 2 * 6
    assert [row["phase"] for row in run.record.history] == [1, 2, 1, 2]
