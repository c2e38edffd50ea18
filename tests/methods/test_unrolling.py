"""Unrolling: exact after one step, first order after more."""

from __future__ import annotations

import pytest
import torch
from methods.closed_form import ONE_STEP, close, gradient, moved, smooth, still

import coun


def trained(small, **settings):
    """An Original from given weights, which are its first ones; and those weights."""
    data, start = still(small), smooth()
    return coun.train(data, start, **{**ONE_STEP, **settings}), start, data


def test_after_one_step_it_is_that_step_without_the_forget_rows(small, split):
    original, start, data = trained(small)
    run = coun.unlearn(original, split, "unrolling")
    # Exact: the retain rows' own part of the step, each row still weighing 1 / 200.
    retain = gradient(start, data, split.rows(data, "retain"))
    close(moved(run.model, start), [-0.1 * 170 / 200 * g for g in retain])


def test_more_epochs_and_batches_add_up_at_the_first_weights(small, split):
    settings = {"epochs": 3, "batch_size": 40, "schedule": "multistep", "warmup": 0.4}
    original, start, data = trained(small, **settings)
    forget = gradient(start, data, split.rows(data, "forget"))
    # Fifteen updates: rates climb to 0.1 over six, fall to 0.01 at half, 0.001 at three quarters.
    rates = [0.1 * k / 6 for k in range(6)] + [0.1] * 2 + [0.01] * 4 + [0.001] * 3
    assert sorted({row["lr"] for row in original.record["history"]})[0] == pytest.approx(0.001)
    step = sum(rates) / 15 * 3 * 30 / 40
    run = coun.unlearn(original, split, "unrolling")
    close(moved(run.model, original.model), [step * g for g in forget])
    run = coun.unlearn(original, split, "unrolling", lr=0.2, epochs=2, batch_size=30, scale=0.5)
    close(moved(run.model, original.model), [0.5 * 0.2 * 2 * g for g in forget])


def test_it_comes_closer_to_training_without_the_rows(small, split):
    original, _, data = trained(small, epochs=5, lr=0.02)
    run = coun.unlearn(original, split, "unrolling")
    # Training on the retain rows, with the rate that keeps each row's weight.
    net = smooth()
    for _ in range(5):
        result = gradient(net, data, split.rows(data, "retain"))
        with torch.no_grad():
            for p, g in zip(net.parameters(), result, strict=True):
                p.sub_(0.02 * 170 / 200 * g)

    def away(model):
        return sum(float(d.square().sum()) for d in moved(model, net))

    assert away(run.model) < 0.01 * away(original.model)


def test_batchnorm_is_undone_with_batch_statistics(small, split):
    data = still(small)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = coun.models.build("cnn", classes=10, shape=data.shape)
    original = coun.train(data, start, **ONE_STEP)
    run = coun.unlearn(original, split, "unrolling")
    forget = gradient(start.train(), data, split.rows(data, "forget"))
    close(moved(run.model, original.model), [0.1 * 30 / 200 * g for g in forget], atol=1e-6)
    buffers = zip(run.model.buffers(), original.model.buffers(), strict=True)
    assert all(torch.equal(a, b) for a, b in buffers)


def test_bare_weights_are_refused(original, split, small):
    with pytest.raises(coun.CounError, match="needs to know how the Original was trained"):
        coun.unlearn(original.model, split, "unrolling", data=small)
