"""Projection: the ascent has no part against the retain rows."""

from __future__ import annotations

import pytest
import torch
from methods.closed_form import ONE_STEP, close, gradient, loss, moved, smooth, still

import coun
from coun.methods.projection import project
from coun.models import weights_digest


def flat(parts):
    return torch.cat([part.flatten() for part in parts]).double()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_conflict_is_removed_and_nothing_else(seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    g = [torch.randn(n, generator=generator, dtype=dtype) for n in (50, 7, 1)]
    a = [torch.randn(x.shape, generator=generator, dtype=dtype) + 0.5 * x for x in g]
    result = flat(project(a, g))
    assert flat(a) @ flat(g) > 1
    assert abs(result @ flat(g)) / (result.norm() * flat(g).norm()) < 1e-6
    # What was taken away lies along g.
    taken = flat(a) - result
    assert (taken @ flat(g)) / (taken.norm() * flat(g).norm()) == pytest.approx(1, abs=1e-5)
    opposed = [-x for x in a]
    assert all(torch.equal(x, y) for x, y in zip(project(opposed, g), opposed, strict=True))
    nothing = [torch.zeros_like(x) for x in g]
    assert all(torch.equal(x, y) for x, y in zip(project(a, nothing), a, strict=True))


def test_a_step_on_a_model_follows_the_formula(small, split):
    data, net = still(small), smooth()
    settings = {**ONE_STEP, "weight": 0.6, "max_loss": 100}
    run = coun.unlearn(net, split, "projection", data=data, **settings)
    rows = {role: split.rows(data, role) for role in ("retain", "forget")}
    g, a = (flat(gradient(net, data, rows[role])) for role in ("retain", "forget"))
    assert a @ g > 0  # the case in which something is projected
    kept = a - (a @ g) / (g @ g) * g
    assert abs(kept @ g) < 1e-6
    torch.testing.assert_close(
        flat(moved(run.model, net)), -0.1 * (g - 0.6 * kept), rtol=1e-4, atol=1e-7
    )
    values = {role: loss(net, data, r).item() for role, r in rows.items()}
    logged = run.record["history"][0]["loss"]
    assert logged == pytest.approx(values["retain"] - 0.6 * values["forget"], rel=1e-5)


def test_the_bill_is_a_forward_and_a_backward_of_each_batch(original, split):
    run = coun.unlearn(original, split, "projection", epochs=1, batch_size=30)
    assert run.record["cost"]["trained_images"] == 170 + 6 * 30


def test_the_contrastive_module_shares_its_first_view(small, split):
    data, net = still(small), smooth()
    common = {"data": data, **ONE_STEP}
    change = {}
    for name in ("projection", "finetune"):
        pair = [
            coun.unlearn(net, split, name, **common, **more).model
            for more in ({}, {"contrast": {"weight": 0.5}})
        ]
        assert weights_digest(pair[0]) != weights_digest(pair[1])
        change[name] = moved(pair[1], pair[0])
    # Added to either method, the term moves the first step alike.
    close(change["projection"], change["finetune"], atol=1e-6)
