"""NegMerge: agreement against a loop, and one step of two copies in closed form."""

from __future__ import annotations

import torch
from methods.closed_form import ONE_STEP, close, gradient, moved, smooth, still

import coun
from coun.methods.negmerge import agreed
from coun.models import weights_digest


def test_only_entries_with_one_sign_are_averaged() -> None:
    vectors = torch.randn(3, 40)
    vectors[:, 0] = 0
    for column, value in enumerate(agreed(list(vectors)).tolist()):
        entries = vectors[:, column].tolist()
        one_sign = all(e > 0 for e in entries) or all(e < 0 for e in entries)
        assert abs(value - (sum(entries) / 3 if one_sign else 0)) < 1e-6


def test_two_copies_of_one_step_in_closed_form(small, split) -> None:
    # From one start both steps point the same way, so their mean is subtracted everywhere.
    data, net = still(small), smooth()
    run = coun.unlearn(net, split, "negmerge", data=data, copies=2, scale=2.0, **ONE_STEP)
    rise = gradient(net, data, split.rows(data, "forget"))
    close(moved(run.model, net), [2.0 * (0.1 + 0.05) / 2 * g for g in rise])
    names = ["copy 1", "return to the start", "copy 2", "return to the start"]
    assert run.record.stages == [*names, "subtract what all agree on"]


def test_scale_0_returns_the_start_with_its_statistics(original, split) -> None:
    run = coun.unlearn(original, split, "negmerge", epochs=1, batch_size=10, copies=2, scale=0)
    assert weights_digest(run.model) == weights_digest(original.model)
